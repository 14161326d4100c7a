# SPDX-License-Identifier: Apache-2.0
"""A model on a stream: what it says, that it says what the batch says, what it costs, what it refuses."""

import dataclasses
import io
import statistics
import time
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import nn

from lib.configs import (
    FrameRecurrenceConfig,
    InferenceConfig,
    InputConfig,
    MapRecurrenceConfig,
    ModelConfig,
    NetworkConfig,
    override,
)
from lib.findings.lesions import lesions_from_boxes, outlined_lesions
from lib.phantom.cine import cine
from lib.prediction.predictor import FrameBox, Prediction, Predictor
from lib.prediction.stream_input import MAX_FRAME_BYTES, StreamInput, StreamPreparation, stream_input
from lib.prediction.streaming import MAX_LESIONS_PER_FRAME, FrameStream
from lib.registry import build_network
from lib.transforms.prepare import in_range, resample
from lib.types import Finding, InputError, Sequence, SequenceKind, Source
from monailabel_app.bench.streaming import benchmark_stream

N_FRAMES, SIZE = 12, (60, 84)
GIVEN = StreamInput(*SIZE, (1.0, 1.2), 25.0)
SOURCE = Source(model="stream_toy", version="v0001")


def config_of(task: str = "segmentation", flip_tta: bool = False, **changes: Any) -> ModelConfig:
    config = ModelConfig(
        task=task,
        description="toy",
        labels={"cyst": 1, "nodule": 2},
        network=NetworkConfig(
            channels=(8, 8, 12),
            norm_groups=4,
            frame_recurrence=FrameRecurrenceConfig("lstm", 8, False),
            map_recurrence=MapRecurrenceConfig("conv_gru", 8, False, level=1),
        ),
        input=InputConfig(kind=SequenceKind.CINE, channels=("image",), max_size_px=48),
        inference=InferenceConfig(flip_tta=flip_tta, max_frames=N_FRAMES, score_threshold=0.1),
        name="stream_toy",
    )
    return override(config, changes)


def predictor_of(config: ModelConfig) -> Predictor:
    """Random in every weight, and with a middling bias, so that there is something to find."""
    torch.manual_seed(3)
    network = build_network(config)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.25)
    return Predictor(config, network)


def stream_of(config: ModelConfig, given: StreamInput = GIVEN) -> FrameStream:
    return FrameStream(predictor_of(config), config, given, SOURCE)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """(T, 1, H, W) intensities of an ultrasound-like clip."""
    return cine(1, n_frames=N_FRAMES, size=SIZE).image[:, None].astype(np.float32)


def batch(predictor: Predictor, clip: np.ndarray, given: StreamInput) -> Prediction:
    """The same model on all frames at once, which are prepared as a stream prepares them."""
    prepare = StreamPreparation(given, predictor.config.input)
    frames = np.concatenate([prepare(frame) for frame in clip])
    return predictor.restore(predictor.maps(frames), prepare.grid)


def box_table(boxes: tuple[FrameBox, ...]) -> np.ndarray:
    """A row per box: its corners, score and class."""
    return np.array([[*b.box, b.score, b.class_index] for b in boxes])


@pytest.mark.parametrize("flip_tta", [False, True])
@pytest.mark.parametrize("content_px", [None, (3, 57, 10, 81)])
def test_streamed_equals_batch(clip: np.ndarray, flip_tta: bool, content_px: tuple[int, ...] | None) -> None:
    config, given = config_of("detection", flip_tta), dataclasses.replace(GIVEN, content_px=content_px)
    expected = batch(predictor_of(config), clip, given)
    stream = stream_of(config, given)
    assert expected.mask.std(axis=0).max() > 0.01, "the frames differ"
    for t, frame in enumerate(clip):
        found = stream.predict(frame)
        np.testing.assert_allclose(found.mask[0], expected.mask[t], atol=1e-4)
        np.testing.assert_allclose(found.presence[0], expected.presence[t], atol=1e-4)
        one, other = box_table(found.boxes[0]), box_table(expected.boxes[t])
        assert one.shape == other.shape
        assert len(one) > 0
        distances = np.abs(one[:, None] - other).max(axis=2)  # equal scores may stand in another order
        assert distances.min(axis=1).max() < 2e-3
        assert distances.min(axis=0).max() < 2e-3
    np.testing.assert_allclose(found.study, expected.study, atol=1e-4)
    np.testing.assert_allclose(found.attention[0], expected.attention[-1], atol=1e-4)


def found_on(prediction: Prediction, frame: Sequence, config: ModelConfig) -> list[Finding]:
    if config.task == "detection":
        return lesions_from_boxes(prediction, frame, config, SOURCE)
    return [lesion.finding for lesion in outlined_lesions(prediction, frame, config, SOURCE, MAX_LESIONS_PER_FRAME)]


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_findings_are_those_of_the_batch_on_each_frame(clip: np.ndarray, task: str) -> None:
    config = config_of(task)
    expected = batch(predictor_of(config), clip, GIVEN)
    stream, counts = stream_of(config), []
    for t, frame in enumerate(clip):
        result = stream.push(frame, t, t / 25)
        one = Prediction(
            expected.mask[t : t + 1], expected.boxes[t : t + 1], expected.presence[t : t + 1], expected.study, None
        )
        alone = Sequence(frame[None], SequenceKind.CINE, (0.0,), GIVEN.spacing_mm, np.eye(4))
        findings = found_on(one, alone, config)
        assert len(result.findings) == len(findings)
        for finding in result.findings:
            same = [f for f in findings if f.label == finding.label and abs(f.score - finding.score) < 1e-3]
            assert any(np.allclose(f.boxes[0], finding.boxes[t], atol=0.1) for f in same)
        assert all(f.source == SOURCE and f.track_id for f in result.findings)
        counts.append(len(findings))
    assert max(counts) > 0


def test_result_as_json(clip: np.ndarray) -> None:
    stream = stream_of(config_of())
    for t, frame in enumerate(clip[:6]):
        data = stream.push(frame, t + 10, 0.4 + t / 25).to_json()
    assert (data["frame"], data["time_s"]) == (15, 0.6)
    assert set(data["study"]) == {"cyst", "nodule"}
    assert 0 <= data["presence"] <= 1
    assert 0 < data["attention"] < 1
    finding = data["findings"][0]
    assert set(finding) == {"id", "label", "score", "track_id", "confirmed", "measurements", "box"}
    assert "volume" not in finding["measurements"]
    x0, y0, x1, y1 = finding["box"]
    assert 0 <= x0 < x1 <= SIZE[1]
    assert 0 <= y0 < y1 <= SIZE[0]
    assert any(f["confirmed"] for f in data["findings"]), "something is there on all of these frames"


def test_lesions_are_told_when_they_are_born_and_when_they_are_lost(clip: np.ndarray) -> None:
    stream = stream_of(config_of())
    results = [stream.push(frame, t, t / 25) for t, frame in enumerate(clip)]
    events = [event for result in results for event in result.to_json()["events"]]
    born = [event["track_id"] for event in events if event["kind"] == "born"]
    assert born
    assert len(set(born)) == len(born)
    assert {event["track_id"] for event in events if event["kind"] == "lost"} <= set(born)
    seen: set[int] = set()
    for result in results:
        seen |= set(result.born)
        assert result.confirmed <= seen, "a track is told before it is confirmed on a finding"
    for t, result in enumerate(results):
        later = {finding.track_id for one in results[t:] for finding in one.findings}
        assert later.isdisjoint(result.lost), "a lesion that was lost does not come again"
    stream.reset()
    assert stream.push(clip[0], 0, 0.0).to_json()["events"] == []


def test_reset_forgets(clip: np.ndarray) -> None:
    stream = stream_of(config_of())
    first = [stream.push(frame, t, 0.0).to_json() for t, frame in enumerate(clip[:5])]
    later = stream.push(clip[0], 0, 0.0).to_json()
    stream.reset()
    again = [stream.push(frame, t, 0.0).to_json() for t, frame in enumerate(clip[:5])]
    assert again == first
    assert later != first[0]


def test_streams_of_one_network_do_not_meet(clip: np.ndarray) -> None:
    config = config_of()
    predictor = predictor_of(config)
    one, two, alone = (FrameStream(predictor, config, GIVEN, SOURCE) for _ in range(3))
    for t in range(4):
        mixed = one.push(clip[t], t, 0.0).to_json()
        two.push(clip[-1 - t], t, 0.0)
        assert mixed == alone.push(clip[t], t, 0.0).to_json()


def test_no_frame_sees_a_later_one(clip: np.ndarray) -> None:
    config = config_of()
    changed = clip.copy()
    changed[5:] = changed[5:, :, ::-1]
    one, other = stream_of(config), stream_of(config)
    same = [
        one.push(a, t, 0.0).to_json() == other.push(b, t, 0.0).to_json()
        for t, (a, b) in enumerate(zip(clip[:8], changed[:8], strict=True))
    ]
    assert same[:5] == [True] * 5
    assert not any(same[5:])


def test_cost_per_frame_does_not_grow() -> None:
    """A stream that has seen 180 frames and one that has seen 20 take turns: what slows one down slows both."""
    config = config_of(**{"inference.mask_threshold": 0.99, "inference.score_threshold": 0.99})
    frames = np.random.default_rng(0).integers(0, 255, (8, 1, *SIZE)).astype(np.float32)
    streams, process = {180: stream_of(config), 20: stream_of(config)}, psutil.Process()
    for seen, stream in streams.items():
        for t in range(seen):
            if t == 40:
                resident = process.memory_info().rss
            stream.push(frames[t % 8], t, 0.0)
    times: dict[int, list[float]] = {seen: [] for seen in streams}
    for t in range(40):
        for seen, stream in streams.items():
            start = time.thread_time()  # of the processor: others that use the machine do not count
            stream.push(frames[t % 8], seen + t, 0.0)
            times[seen].append(time.thread_time() - start)
    late, early = (1000 * statistics.median(times[seen]) for seen in (180, 20))
    assert late < 1.5 * early, f"{early:.2f} ms at frame 40, {late:.2f} ms at frame 200"
    assert process.memory_info().rss - resident < 20 * 2**20


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"network.frame_recurrence.bidirectional": True}, ["network.frame_recurrence.bidirectional: false"]),
        ({"network.map_recurrence.bidirectional": True}, ["network.map_recurrence.bidirectional: false"]),
        ({"network.name": "unet3d", "network.boxes": False}, ["network.name: lesion_net"]),
    ],
)
def test_a_model_that_needs_later_frames_is_refused(changes: dict[str, Any], keys: list[str]) -> None:
    with pytest.raises(InputError, match="stream_toy") as refused:
        stream_of(config_of(**changes))
    assert all(key in str(refused.value) for key in keys)


@pytest.mark.parametrize("cell", ["none", "mlp", "gru"])
def test_models_with_less_memory_stream_too(clip: np.ndarray, cell: str) -> None:
    config = config_of(**{"network.frame_recurrence.cell": cell, "network.map_recurrence.cell": "none"})
    expected = batch(predictor_of(config), clip[:4], GIVEN)
    stream = stream_of(config)
    for t in range(4):
        result = stream.push(clip[t], t, 0.0)
        assert result.presence == pytest.approx(float(expected.presence[t]), abs=1e-4)
    assert (result.attention is None) == (result.study == {}) == (cell == "none")


# ---- what comes in


def hello(**changes: Any) -> dict[str, Any]:
    return {"rows": 60, "columns": 84, "spacing_mm": [1, 1.2], "frame_rate_hz": 25, **changes}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 5000}, "rows"),
        ({"rows": "many"}, "rows"),
        ({"columns": None}, "columns"),
        ({"spacing_mm": [0, 1]}, "spacing_mm"),
        ({"spacing_mm": [float("nan"), 1]}, "spacing_mm"),
        ({"spacing_mm": [1]}, "spacing_mm"),
        ({"frame_rate_hz": -1}, "frame_rate_hz"),
        ({"frame_rate_hz": float("inf")}, "frame_rate_hz"),
        ({"dtype": "complex64"}, "dtype"),
        ({"encoding": "dicom"}, "encoding"),
        ({"content_px": [0, 61, 0, 84]}, "content_px"),
        ({"content_px": [-1, 60, 0, 84]}, "content_px"),
        ({"content_px": [0, 60, 80, 84]}, "content_px"),
        ({"mean": [3.0]}, "mean and std"),
        ({"mean": [3.0], "std": [0.0]}, "std"),
        ({"mean": [3.0], "std": [1.0, 2.0]}, "mean and std"),
        ({"statistics_frames": 0}, "statistics_frames"),
        ({"window": 100}, "window"),
        ({"colour": True}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        stream_input(hello(**changes))


def test_what_the_model_does_not_read_is_refused() -> None:
    config = config_of().input
    with pytest.raises(InputError, match=f"larger than {MAX_FRAME_BYTES // 1024**2} MiB"):
        StreamPreparation(stream_input(hello(rows=4096, columns=4096)), config)
    with pytest.raises(InputError, match="2 values"):
        StreamPreparation(stream_input(hello(mean=[1, 2], std=[1, 2])), config)
    two = dataclasses.replace(config, channels=("t1", "t2"))
    with pytest.raises(InputError, match="send them raw"):
        StreamPreparation(stream_input(hello(encoding="image")), two)
    prepare = StreamPreparation(GIVEN, config)
    with pytest.raises(InputError, match="shape"):
        prepare(np.zeros((1, 84, 60), np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_raw_frames_arrive_as_they_were(dtype: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (channels, *SIZE)).astype(dtype)
    data = pixels.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    given = dataclasses.replace(GIVEN, dtype=dtype)
    np.testing.assert_array_equal(given.read_frame(data, channels), pixels)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(InputError, match=f"{len(wrong)} bytes"):
            given.read_frame(wrong, channels)


def test_values_that_are_no_numbers_are_refused() -> None:
    pixels = np.full(SIZE, np.nan, np.float32)
    with pytest.raises(InputError, match="not finite"):
        dataclasses.replace(GIVEN, dtype="float32").read_frame(pixels.tobytes(), 1)


def as_file(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_encoded_frames() -> None:
    given = dataclasses.replace(GIVEN, encoding="image")
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    grey = (2 * rows + columns).astype(np.uint8)
    np.testing.assert_array_equal(given.read_frame(as_file(grey, "PNG"), 1)[0], grey)
    deep = (200 * grey.astype(np.uint16)).astype(np.uint16)
    np.testing.assert_array_equal(given.read_frame(as_file(deep, "PNG"), 1)[0], deep)
    assert np.abs(given.read_frame(as_file(grey, "JPEG"), 1)[0] - grey).mean() < 2
    colour = np.stack([grey, grey, grey], axis=-1)
    np.testing.assert_allclose(given.read_frame(as_file(colour, "PNG"), 1)[0], grey, atol=1)
    for data, message in [
        (as_file(grey.T.copy(), "PNG"), "announced were 60 x 84"),
        (as_file(grey, "BMP"), "not a readable PNG or JPEG"),
        (as_file(grey, "PNG")[:-60], "not a readable PNG or JPEG"),
        (b"", "not a readable PNG or JPEG"),
    ]:
        with pytest.raises(InputError, match=message):
            given.read_frame(data, 1)


# ---- the scale


def foreground_of(prepared: np.ndarray) -> np.ndarray:
    return prepared[prepared > prepared.min() + 0.3]


def test_the_scale_is_learned_from_the_first_frames_and_then_stays(clip: np.ndarray) -> None:
    given = dataclasses.replace(GIVEN, statistics_frames=4)
    prepare = StreamPreparation(given, config_of().input)
    for frame in clip[:4]:
        inside = foreground_of(prepare(frame))
    assert abs(inside.mean()) < 0.2
    assert 0.7 < inside.std() < 1.2
    once, twice = prepare(clip[9]), prepare(clip[9])
    np.testing.assert_array_equal(once, twice)
    prepare(10 * clip[9])
    np.testing.assert_array_equal(once, prepare(clip[9]))


def test_a_running_mean_is_the_mean_of_all(clip: np.ndarray) -> None:
    config = dataclasses.replace(config_of().input, foreground_fraction=-1.0, clip=(-100, 100))  # all pixels
    prepare = StreamPreparation(dataclasses.replace(GIVEN, statistics_frames=N_FRAMES), config)
    prepared = np.concatenate([prepare(frame) for frame in clip])
    last = np.concatenate([prepare(frame) for frame in clip])
    assert last.mean() == pytest.approx(0, abs=1e-4)
    assert last.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(prepared[-1], last[-1])


def test_dark_frames_at_the_start_teach_nothing(clip: np.ndarray) -> None:
    given = dataclasses.replace(GIVEN, statistics_frames=2)
    dark, plain = StreamPreparation(given, config_of().input), StreamPreparation(given, config_of().input)
    for _ in range(5):
        assert np.isfinite(dark(np.zeros((1, *SIZE), np.float32))).all()
    for frame in clip[:4]:
        np.testing.assert_array_equal(dark(frame), plain(frame))


def test_a_model_with_a_range_needs_no_scale(clip: np.ndarray) -> None:
    config = dataclasses.replace(config_of().input, intensity_range=(0.0, 200.0), foreground_fraction=0.0)
    stream = StreamPreparation(GIVEN, config)
    frames = np.concatenate([stream(frame) for frame in clip])
    expected = in_range(resample(clip, stream.grid.resampled), config)
    np.testing.assert_array_equal(frames, expected)  # each frame by itself, whatever came before


def test_a_scale_that_the_sender_knows(clip: np.ndarray) -> None:
    given = dataclasses.replace(GIVEN, mean=(50.0,), std=(20.0,))
    config = config_of().input
    known = StreamPreparation(given, config)
    frame = np.full((1, *SIZE), 70.0, np.float32)
    np.testing.assert_allclose(known(frame), 1.0, atol=1e-5)
    known(clip[0])
    known.reset()
    np.testing.assert_allclose(known(frame), 1.0, atol=1e-5)


@pytest.mark.parametrize("gain", [1.0, 40.0])
def test_the_scale_is_near_that_of_the_batch(gain: float) -> None:
    """What a stream cannot know costs little: after its first frames it is scaled nearly as the whole clip is."""
    from lib.transforms.prepare import prepare as prepare_all

    frames = gain * cine(4, n_frames=40, size=(120, 160)).image[:, None].astype(np.float32)
    given, config = StreamInput(120, 160, (1.0, 1.0), 25.0), config_of().input
    whole = Sequence(frames, SequenceKind.CINE, tuple(range(40)), (1.0, 1.0), np.eye(4), ("image",), (True,))
    expected, grid = prepare_all(whole, config)
    prepare = StreamPreparation(given, config)
    streamed = np.concatenate([prepare(frame) for frame in frames])
    y0, y1, x0, x1 = grid.crop
    assert np.abs(streamed[16:, :, y0:y1, x0:x1] - expected[16:]).mean() < 0.1


def test_benchmark_in_small() -> None:
    result = benchmark_stream(64, (5, 30), window=8)
    assert set(result.frame_ms) == {5, 30}
    assert all(0 < milliseconds < result.window_ms for milliseconds in result.frame_ms.values())
    assert result.table().row_count == 3
