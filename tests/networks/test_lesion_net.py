# SPDX-License-Identifier: Apache-2.0
from itertools import product

import pytest
import torch
from torch import Tensor

from lib.configs import FrameRecurrenceConfig, MapRecurrenceConfig, NetworkConfig
from lib.networks.lesion_net import LesionNet, LesionOutput

SMALL = (8, 12, 16)  # strides 2, 4, 8
FRAME_CELLS = ("rnn", "gru", "lstm")
MAP_CELLS = ("conv_rnn", "conv_gru", "conv_lstm")


def config(
    frame: FrameRecurrenceConfig | None = None, maps: MapRecurrenceConfig | None = None, **kwargs
) -> NetworkConfig:
    kwargs = {"channels": SMALL, "norm_groups": 4, **kwargs}
    return NetworkConfig(
        frame_recurrence=frame or FrameRecurrenceConfig(cell="none"),
        map_recurrence=maps or MapRecurrenceConfig(cell="none"),
        **kwargs,
    )


def frame_memory(cell: str = "lstm", **kwargs) -> FrameRecurrenceConfig:
    return FrameRecurrenceConfig(cell=cell, **{"hidden": 6, **kwargs})


def map_memory(cell: str = "conv_gru", **kwargs) -> MapRecurrenceConfig:
    return MapRecurrenceConfig(cell=cell, **{"hidden": 5, "level": 2, **kwargs})


def awake(network: LesionNet) -> LesionNet:
    """Give the zero-initialised outputs of the memories random weights, so that what they know reaches every output."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            assert parameter.any(), name
    return network.eval()


def build(network: NetworkConfig, n_classes: int = 1) -> LesionNet:
    torch.manual_seed(0)
    return awake(LesionNet(network, n_classes))


def per_frame(output: LesionOutput) -> dict[str, Tensor]:
    """Every output that has a frame axis (B, T, ...), but not the attention, which sums to 1 over the frames."""
    assert output.boxes is not None
    maps = {
        "mask": output.mask_logits,
        "heatmap": output.boxes.heatmap_logits,
        "log_size": output.boxes.log_size,
        "offset": output.boxes.offset,
    }
    return maps if output.presence_logits is None else {**maps, "presence": output.presence_logits}


ALL_MEMORIES = [
    *(config(frame_memory(c, bidirectional=b, depth=d)) for c, b, d in product(FRAME_CELLS, (True, False), (1, 2))),
    *(config(None, map_memory(c, bidirectional=b, depth=d)) for c, b, d in product(MAP_CELLS, (True, False), (1, 2))),
    config(frame_memory("mlp")),
    config(frame_memory("mlp", bidirectional=False)),
    config(frame_memory("gru", attention="scaled_dot_product"), map_memory("conv_lstm", level=0)),
    config(frame_memory("lstm", attention="none", bidirectional=False), map_memory("conv_gru", bidirectional=False)),
]


def memory_id(value: NetworkConfig) -> str:
    frame, maps = value.frame_recurrence, value.map_recurrence
    parts = [
        f"{m.cell}-{'both' if m.bidirectional else 'forward'}-{m.depth}" for m in (frame, maps) if m.cell != "none"
    ]
    return "+".join(parts) or "none"


def is_causal(value: NetworkConfig) -> bool:
    return not any(m.bidirectional for m in (value.frame_recurrence, value.map_recurrence) if m.cell != "none")


SHAPES = [
    # config, classes, input shape, mask shape, heatmap shape
    (config(), 1, (1, 3, 1, 32, 40), (1, 3, 1, 32, 40), (1, 3, 1, 8, 10)),
    (config(stem_stride=1), 2, (2, 2, 1, 16, 16), (2, 2, 2, 16, 16), (2, 2, 2, 8, 8)),
    (config(stem_stride=4, in_channels=3), 1, (1, 2, 3, 64, 32), (1, 2, 1, 64, 32), (1, 2, 1, 8, 4)),
    (config(channels=(8, 16)), 1, (1, 2, 1, 16, 16), (1, 2, 1, 16, 16), (1, 2, 1, 8, 8)),
    (config(boxes=False), 3, (1, 2, 1, 16, 16), (1, 2, 3, 16, 16), None),
    (config(frame_memory(), dropout=0.2), 1, (1, 1, 1, 16, 16), (1, 1, 1, 16, 16), (1, 1, 1, 4, 4)),
    *((c, 2, (2, 4, 1, 16, 24), (2, 4, 2, 16, 24), (2, 4, 2, 4, 6)) for c in ALL_MEMORIES),
    (NetworkConfig(), 1, (1, 2, 1, 64, 64), (1, 2, 1, 64, 64), (1, 2, 1, 16, 16)),
]


@pytest.mark.parametrize(("network", "classes", "shape", "mask_shape", "heatmap_shape"), SHAPES)
def test_shapes(network, classes, shape, mask_shape, heatmap_shape) -> None:
    torch.manual_seed(0)
    net = LesionNet(network, classes)
    output = net(torch.randn(shape))
    assert output.mask_logits.shape == mask_shape
    if heatmap_shape is None:
        assert output.boxes is None
    else:
        assert output.boxes.heatmap_logits.shape == heatmap_shape
        assert output.boxes.log_size.shape == output.boxes.offset.shape == (*heatmap_shape[:2], 2, *heatmap_shape[3:])
        assert shape[-1] == heatmap_shape[-1] * output.boxes.stride
    if network.frame_recurrence.cell == "none":
        assert output.presence_logits is output.study_logits is output.attention is None
    else:
        assert output.presence_logits.shape == output.attention.shape == shape[:2]
        assert output.study_logits.shape == (shape[0], classes)
    total = sum(v.sum() for v in (output.mask_logits, output.presence_logits, output.study_logits) if v is not None)
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("network", ALL_MEMORIES, ids=memory_id)
def test_padded_frames_change_nothing(network: NetworkConfig) -> None:
    net = build(network)
    frames = torch.randn(2, 5, 1, 16, 16)
    garbage = 100 * torch.randn(2, 3, 1, 16, 16)
    padded = torch.cat([frames, garbage], 1)
    mask = torch.arange(8).expand(2, 8) < 5
    with torch.inference_mode():
        alone, with_padding = net(frames), net(padded, mask)
    for name, value in per_frame(alone).items():
        torch.testing.assert_close(per_frame(with_padding)[name][:, :5], value, atol=1e-4, rtol=1e-4, msg=name)
    if alone.attention is not None:
        torch.testing.assert_close(with_padding.attention[:, :5], alone.attention, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(with_padding.study_logits, alone.study_logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("network", [ALL_MEMORIES[0], ALL_MEMORIES[12], ALL_MEMORIES[-2]], ids=memory_id)
def test_sequences_of_a_batch_do_not_see_each_other(network: NetworkConfig) -> None:
    net = build(network)
    frames, mask = torch.randn(2, 5, 1, 16, 16), torch.tensor([[True] * 5, [True, True, False, False, False]])
    with torch.inference_mode():
        both, short = net(frames, mask), net(frames[1:, :2])
    for name, value in per_frame(short).items():
        torch.testing.assert_close(per_frame(both)[name][1:, :2], value, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("network", [c for c in ALL_MEMORIES if is_causal(c)], ids=memory_id)
def test_forward_only_does_not_see_the_future(network: NetworkConfig) -> None:
    net = build(network)
    frames = torch.randn(1, 6, 1, 16, 16)
    changed = frames.clone()
    changed[:, 4:] = 50 * torch.randn(1, 2, 1, 16, 16)
    with torch.inference_mode():
        first, second = net(frames), net(changed)
    for name, value in per_frame(first).items():
        torch.testing.assert_close(per_frame(second)[name][:, :4], value[:, :4], atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("network", [c for c in ALL_MEMORIES if is_causal(c)], ids=memory_id)
def test_forward_only_gives_on_a_prefix_what_it_gives_on_the_whole(network: NetworkConfig) -> None:
    net = build(network)
    frames = torch.randn(1, 6, 1, 16, 16)
    with torch.inference_mode():
        whole, prefix = net(frames), net(frames[:, :3])
    for name, value in per_frame(prefix).items():
        torch.testing.assert_close(per_frame(whole)[name][:, :3], value, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("network", [c for c in ALL_MEMORIES if c.frame_recurrence.cell != "mlp"], ids=memory_id)
def test_memory_carries_the_past_and_if_bidirectional_the_future(network: NetworkConfig) -> None:
    net = build(network)
    frames = torch.randn(1, 5, 1, 16, 16)
    changed = frames.clone()
    changed[:, 2] += 3 * torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        difference = (net(changed).mask_logits - net(frames).mask_logits).abs().amax((0, 2, 3, 4))
    assert difference[3] > 1e-6
    assert bool(difference[1] > 1e-6) == (not is_causal(network))


@pytest.mark.parametrize("network", ALL_MEMORIES, ids=memory_id)
def test_starts_as_its_cnn_only_twin(network: NetworkConfig) -> None:
    torch.manual_seed(0)
    net, twin = LesionNet(network, 1).eval(), LesionNet(config(), 1).eval()
    shared = {name: value for name, value in net.state_dict().items() if name in twin.state_dict()}
    twin.load_state_dict(shared, strict=True)
    frames = torch.randn(2, 3, 1, 16, 16)
    with torch.inference_mode():
        mine, its = net(frames), twin(frames)
    torch.testing.assert_close(mine.mask_logits, its.mask_logits)
    torch.testing.assert_close(mine.boxes.heatmap_logits, its.boxes.heatmap_logits)
    torch.testing.assert_close(mine.boxes.log_size, its.boxes.log_size)


def test_lesions_are_rare_at_the_start() -> None:
    torch.manual_seed(0)
    output = LesionNet(config(), 1)(torch.randn(1, 2, 1, 32, 32))
    assert torch.sigmoid(output.mask_logits).mean() < 0.1
    assert torch.sigmoid(output.boxes.heatmap_logits).mean() < 0.1


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    torch.manual_seed(0)
    net, frames = LesionNet(config(dropout=0.5), 1), torch.randn(1, 2, 1, 16, 16)
    assert not torch.equal(net(frames).mask_logits, net(frames).mask_logits)
    net.eval()
    assert torch.equal(net(frames).mask_logits, net(frames).mask_logits)


def test_unet3d_keeps_the_contract() -> None:
    from lib.networks.unet3d import UNet3d

    torch.manual_seed(0)
    net = UNet3d(NetworkConfig(name="unet3d", channels=(8, 16, 16, 16), norm_groups=4), 2)
    output = net(torch.randn(1, 5, 1, 32, 24))
    assert output.mask_logits.shape == (1, 5, 2, 32, 24)
    assert output.boxes is output.presence_logits is output.study_logits is output.attention is None
