# SPDX-License-Identifier: Apache-2.0
"""One frame at a time gives what all frames at once give, in every forward-only network that a config can name."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from lib.configs import FrameRecurrenceConfig, MapRecurrenceConfig, NetworkConfig
from lib.networks.attention import build_attention, running_context
from lib.networks.lesion_net import LesionNet, LesionOutput
from lib.networks.recurrence import FrameRecurrence, MapRecurrence, RunningContext
from lib.networks.streaming import StreamState, stream_step, streaming_obstacles

ATTENTIONS = ("none", "additive", "scaled_dot_product")


def forward_only(maps: str, frames: str, attention: str = "additive", depth: int = 1, boxes: bool = True) -> LesionNet:
    """A small network whose every weight is random: as built, its memories start as the identity."""
    torch.manual_seed(0)
    config = NetworkConfig(
        channels=(4, 6, 8),
        norm_groups=2,
        frame_recurrence=FrameRecurrenceConfig(frames, 5, False, depth, attention),
        map_recurrence=MapRecurrenceConfig(maps, 4, False, depth, level=1),
        boxes=boxes,
    )
    network = LesionNet(config, 2).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@torch.inference_mode()
def streamed(network: LesionNet, frames: Tensor) -> list[LesionOutput]:
    state: StreamState | None = None
    outputs = []
    for t in range(frames.shape[1]):
        output, state = stream_step(network, frames[:, t], state)
        outputs.append(output)
    return outputs


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-4)


@pytest.mark.parametrize(
    ("maps", "frames", "attention", "depth"),
    [
        *product(("none", "conv_rnn", "conv_gru", "conv_lstm"), ("none", "lstm"), ("additive",), (1,)),
        *product(("conv_gru",), ("mlp", "rnn", "gru", "lstm"), ATTENTIONS, (1, 2)),
    ],
)
def test_streamed_equals_batch(maps: str, frames: str, attention: str, depth: int) -> None:
    network = forward_only(maps, frames, attention, depth)
    clip = torch.randn(2, 7, 1, 32, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        batch = network(clip)
    outputs = streamed(network, clip)
    for t, one in enumerate(outputs):
        assert close(one.mask_logits[:, 0], batch.mask_logits[:, t])
        for name in ("heatmap_logits", "log_size", "offset"):
            assert close(getattr(one.boxes, name)[:, 0], getattr(batch.boxes, name)[:, t])
        if frames != "none":
            assert close(one.presence_logits[:, 0], batch.presence_logits[:, t])
    if frames != "none":  # the last frame has seen them all
        assert close(outputs[-1].study_logits, batch.study_logits)
        assert close(outputs[-1].attention[:, 0], batch.attention[:, -1])
    assert not close(batch.mask_logits[:, 0], batch.mask_logits[:, 1])


def test_the_memory_matters_and_the_state_keeps_its_size() -> None:
    network = forward_only("conv_lstm", "gru", depth=2)
    clip = torch.randn(1, 40, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    state, sizes = None, []
    with torch.inference_mode():
        for t in range(40):
            output, state = stream_step(network, clip[:, t], state)
            kept = [*state.maps, state.frames.embedding, state.frames.hidden, *vars(state.frames.pooled).values()]
            sizes.append([tuple(tensor.shape) for tensor in kept])
        alone, _ = stream_step(network, clip[:, -1], None)
    assert all(size == sizes[0] for size in sizes)
    assert not close(output.mask_logits, alone.mask_logits)
    assert not close(output.presence_logits, alone.presence_logits)


def test_without_box_head() -> None:
    network = forward_only("conv_gru", "lstm", boxes=False)
    (output,) = streamed(network, torch.randn(1, 1, 1, 16, 16))
    assert output.boxes is None
    assert output.attention.item() == 1


@pytest.mark.parametrize("spread", [1.0, 100.0, 1e4])
def test_running_softmax_is_the_softmax_of_what_was_seen(spread: float) -> None:
    generator = torch.Generator().manual_seed(2)
    scores = spread * torch.randn(3, 200, generator=generator)
    items = torch.randn(3, 200, 5, generator=generator)
    expected = running_context(scores, items, torch.ones(3, 200, dtype=torch.bool))
    pooled = RunningContext.first(scores[:, 0], items[:, 0])
    for t in range(1, 200):
        pooled = pooled.add(scores[:, t], items[:, t])
        assert torch.isfinite(pooled.context).all()
        assert close(pooled.context, expected[:, t])
        assert close(pooled.weight(scores[:, t]), scores[:, : t + 1].softmax(1)[:, t])


def test_obstacles_name_the_config_keys() -> None:
    both = NetworkConfig(map_recurrence=MapRecurrenceConfig("conv_gru"))
    assert streaming_obstacles(both) == [
        "network.frame_recurrence.bidirectional: false",
        "network.map_recurrence.bidirectional: false",
    ]
    assert streaming_obstacles(NetworkConfig(frame_recurrence=FrameRecurrenceConfig("mlp"))) == [
        "network.frame_recurrence.bidirectional: false"  # the control pools its context over all frames
    ]
    assert streaming_obstacles(NetworkConfig(name="unet3d")) == ["network.name: lesion_net"]
    for maps, frames in product(("none", "conv_gru"), ("none", "lstm")):
        one_way = NetworkConfig(
            map_recurrence=MapRecurrenceConfig(maps, bidirectional=False),
            frame_recurrence=FrameRecurrenceConfig(frames, bidirectional=False),
        )
        assert streaming_obstacles(one_way) == []
    assert streaming_obstacles(NetworkConfig(frame_recurrence=FrameRecurrenceConfig("none"))) == []


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_one_frame_has_all_the_attention(attention: str) -> None:
    memory = FrameRecurrence(3, FrameRecurrenceConfig("gru", 4, False, 1, attention))
    state, weight, kept = memory.step(torch.randn(2, 3), None)
    assert weight.tolist() == [1, 1]
    assert torch.equal(kept.pooled.context, state)
    assert type(memory.pool) is type(build_attention(attention, 4))


def test_map_memory_step_starts_as_the_identity() -> None:
    memory = MapRecurrence(3, 4, "conv_gru", bidirectional=False)
    level = torch.randn(2, 3, 5, 4)
    out, states = memory.step(level, None)
    assert torch.equal(out, level)
    assert [tuple(state.shape) for state in states] == [(2, 4, 5, 4)]
