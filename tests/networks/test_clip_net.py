# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from lib.configs import FrameRecurrenceConfig, FusionConfig, NetworkConfig
from lib.networks.clip_net import ClipNet
from lib.types import InputError


def net(cell: str = "gru", *, bidirectional: bool = False, attention: str = "additive", channels: int = 1) -> ClipNet:
    torch.manual_seed(0)
    recurrence = FrameRecurrenceConfig(cell=cell, hidden=8, bidirectional=bidirectional, attention=attention)
    fusion = FusionConfig("additive" if channels > 1 else "none", 8)
    config = NetworkConfig(
        name="clip_net",
        in_channels=channels,
        channels=(8, 12, 16),
        norm_groups=4,
        frame_recurrence=recurrence,
        fusion=fusion,
    )
    return ClipNet(config, 4).eval()


@pytest.mark.parametrize("cell", ["mlp", "rnn", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("attention", ["none", "additive", "scaled_dot_product"])
def test_shapes_and_weights(cell: str, bidirectional: bool, attention: str) -> None:
    network = net(cell, bidirectional=bidirectional, attention=attention)
    output = network(torch.randn(2, 5, 1, 32, 24))
    assert output.study_logits.shape == (2, 4)
    assert output.frame_logits.shape == (2, 5, 4)
    assert torch.allclose(output.attention.sum(1), torch.ones(2))
    assert output.embedding.shape == (2, network.study_head.out.in_features)
    assert output.modality_weights is None


@pytest.mark.parametrize("cell", ["mlp", "gru", "lstm"])
def test_padded_frames_change_nothing(cell: str) -> None:
    network, frames = net(cell), torch.randn(1, 4, 1, 32, 32)
    padded = torch.cat([frames, torch.randn(1, 3, 1, 32, 32)], dim=1)
    mask = torch.arange(7)[None] < 4
    assert torch.allclose(network(padded, mask).study_logits, network(frames).study_logits, atol=1e-5)


def test_the_frame_average_is_the_mean_of_what_it_says_of_single_frames() -> None:
    network, frames = net("mlp", attention="none"), torch.randn(1, 6, 1, 32, 32)
    single = torch.stack([network(frames[:, t : t + 1]).study_logits for t in range(6)]).mean(0)
    assert torch.allclose(network(frames).study_logits, single, atol=1e-5)


def test_recurrence_knows_the_order_and_the_average_does_not() -> None:
    frames = torch.randn(1, 6, 1, 32, 32)
    recurrent, average = net("gru", attention="none"), net("mlp", attention="none")
    assert not torch.allclose(recurrent(frames).study_logits, recurrent(frames.flip(1)).study_logits, atol=1e-4)
    assert torch.allclose(average(frames).study_logits, average(frames.flip(1)).study_logits, atol=1e-5)


@pytest.mark.parametrize("cell", ["mlp", "gru", "lstm"])
@pytest.mark.parametrize("attention", ["none", "additive"])
def test_frame_by_frame_it_says_what_it_says_at_once(cell: str, attention: str) -> None:
    network, frames, memory = net(cell, attention=attention), torch.randn(2, 7, 1, 32, 32), None
    at_once = network(frames)
    for t in range(7):
        logits, _, memory = network.step(frames[:, t], memory)
        assert torch.allclose(logits, at_once.frame_logits[:, t], atol=1e-4)
    assert torch.allclose(logits, at_once.study_logits, atol=1e-4)


def test_a_missing_channel_is_left_out() -> None:
    network, frames = net(channels=2), torch.randn(1, 3, 2, 32, 32)
    present = torch.tensor([[True, False]])
    output = network(frames, None, present)
    assert torch.allclose(output.modality_weights[..., 1], torch.zeros(1, 3))
    frames[:, :, 1] = 99.0
    assert torch.allclose(network(frames, None, present).study_logits, output.study_logits, atol=1e-5)


def test_a_network_without_memory_over_frames_is_refused() -> None:
    with pytest.raises(InputError, match="mlp is the one without memory"):
        net("none")
