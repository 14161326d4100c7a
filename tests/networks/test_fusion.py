# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lib.configs import FrameRecurrenceConfig, FusionConfig, NetworkConfig, load_configs
from lib.networks.encoder import FrameEncoder
from lib.networks.fusion import ModalityFusion
from lib.networks.lesion_net import LesionNet
from lib.registry import build_network

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("additive", "scaled_dot_product")


def fusion(kind: str = "additive", n_modalities: int = 3, stride: int = 2) -> ModalityFusion:
    torch.manual_seed(0)
    return ModalityFusion(n_modalities, 8, stride, 4, FusionConfig(kind=kind, hidden=6))


def lesion_net(kind: str, n_modalities: int = 3, cell: str = "lstm") -> LesionNet:
    torch.manual_seed(0)
    config = NetworkConfig(
        in_channels=n_modalities,
        channels=(8, 12, 16),
        norm_groups=4,
        frame_recurrence=FrameRecurrenceConfig(cell=cell, hidden=6),
        fusion=FusionConfig(kind=kind, hidden=6),
    )
    return LesionNet(config, 1).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("n_modalities", [1, 2, 5])
def test_weights_are_shares_of_what_is_there(kind: str, stride: int, n_modalities: int) -> None:
    net = fusion(kind, n_modalities, stride)
    generator = torch.Generator().manual_seed(n_modalities)
    frames = torch.randn(16, n_modalities, 16, 24, generator=generator)
    present = torch.rand(16, n_modalities, generator=generator) < 0.5
    present[:, 0] |= ~present.any(1)
    fused, weights = net(frames, present)
    assert fused.shape == (16, 8, 16 // stride, 24 // stride)
    torch.testing.assert_close(weights.sum(1), torch.ones(16))
    assert not weights[~present].any()
    assert (weights[present] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_missing_modality_holds_changes_nothing(kind: str) -> None:
    net, frames = fusion(kind), torch.randn(4, 3, 16, 16)
    present = torch.tensor([[True, False, True]]).expand(4, 3)
    other = frames.clone()
    other[:, 1] = 1e3 * torch.randn(4, 16, 16)
    for mine, its in zip(net(frames, present), net(other, present), strict=True):
        torch.testing.assert_close(mine, its)
    assert not torch.allclose(net(frames)[0], net(other)[0], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_modality_left_is_its_own_stem(kind: str) -> None:
    net, frames = fusion(kind), torch.randn(2, 3, 16, 16)
    fused, weights = net(frames, torch.tensor([[False, False, True]]).expand(2, 3))
    torch.testing.assert_close(fused, net.stems[2](frames[:, 2:]))
    assert weights.tolist() == [[0.0, 0.0, 1.0]] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_follow_what_the_frame_shows_and_can_be_learned(kind: str) -> None:
    """Of two modalities the one with structure is to be weighed, whichever it is."""
    net = fusion(kind, 2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        frames, good = torch.zeros(32, 2, 16, 16), torch.randint(2, (32,), generator=generator)
        frames[torch.arange(32), good] = torch.randn(32, 16, 16, generator=generator)
        return frames, good

    for _ in range(60):
        frames, good = batch()
        loss = nn.functional.nll_loss(net(frames)[1].log(), good)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    frames, good = batch()
    assert (net(frames)[1].argmax(1) == good).float().mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_every_stem_learns_unless_its_modality_is_missing(kind: str) -> None:
    net = fusion(kind)
    fused, _ = net(torch.randn(2, 3, 16, 16), torch.tensor([[True, False, True]]).expand(2, 3))
    fused.square().mean().backward()
    gradients = [float(stem[0].weight.grad.abs().sum()) for stem in net.stems]
    assert gradients[0] > 0
    assert gradients[1] == 0
    assert gradients[2] > 0
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


# --- in the lesion net


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["none", "lstm"])
def test_the_lesion_net_says_how_much_each_modality_counts(kind: str, cell: str) -> None:
    net, frames = lesion_net(kind, cell=cell), torch.randn(2, 5, 3, 16, 16)
    present = torch.tensor([[True, True, True], [False, True, False]])
    with torch.inference_mode():
        output = net(frames, channel_present=present)
        alone = net(frames[1:], channel_present=present[1:])
    assert output.modality_weights.shape == (2, 5, 3)
    torch.testing.assert_close(output.modality_weights.sum(-1), torch.ones(2, 5))
    assert output.modality_weights[1].tolist() == [[0.0, 1.0, 0.0]] * 5
    torch.testing.assert_close(output.mask_logits[1:], alone.mask_logits, atol=1e-5, rtol=1e-4)


def test_the_encoder_called_without_presence_sees_all_channels() -> None:
    encoder, frames = lesion_net("additive").encoder, torch.randn(3, 3, 16, 16)
    features, weights = encoder.encode(frames, torch.ones(3, 3, dtype=torch.bool))
    assert weights is not None
    for mine, its in zip(encoder(frames), features, strict=True):
        assert torch.equal(mine, its)


# --- without fusion


def test_without_fusion_the_first_convolution_mixes_the_channels() -> None:
    torch.manual_seed(0)
    encoder = FrameEncoder(3, (8, 12), 2, 4, 0.0)
    frames = torch.randn(2, 3, 16, 16)
    assert isinstance(encoder.stem, nn.Conv2d)
    features, weights = encoder.encode(frames, torch.tensor([[True, False, True]]).expand(2, 3))
    assert weights is None
    assert torch.equal(features[0], encoder.levels[0](encoder.stem(frames)))


@pytest.mark.parametrize("config", load_configs(ROOT / "configs").values(), ids=lambda config: config.name)
def test_shipped_weights_belong_to_the_network_without_fusion(config) -> None:
    """Their names and shapes are those of the network before fusion; saying that all channels are there is a no-op."""
    of_another_kind = config.report is not None or config.network.name != "lesion_net"
    if config.pretrained is None or config.network.fusion.kind != "none" or of_another_kind:
        pytest.skip("has no weights, or a network of another kind")
    network = build_network(config).eval()
    state = load_file(ROOT / "monailabel_app" / "pretrained" / config.pretrained)
    network.load_state_dict(state, strict=True)
    assert not [name for name in state if "fusion" in name or "stems" in name]
    frames = torch.randn(1, 4, config.network.in_channels, 64, 64)
    with torch.inference_mode():
        plain = network(frames)
        told = network(frames, channel_present=torch.ones(1, config.network.in_channels, dtype=torch.bool))
        x = network.encoder.stem(frames.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        first = network.encoder.levels[0](x)
        assert torch.equal(
            network.encoder(frames.flatten(0, 1).contiguous(memory_format=torch.channels_last))[0], first
        )
    assert plain.modality_weights is None
    assert torch.equal(plain.mask_logits, told.mask_logits)
    assert torch.equal(plain.presence_logits, told.presence_logits)
