# SPDX-License-Identifier: Apache-2.0
"""What a frame of a stream costs, early and late, next to running a window of the last frames again."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..roots import lib_module

AROUND = 10
"""Frames whose median stands for the one in the middle."""
WINDOWS = 5


@dataclass(frozen=True)
class StreamBenchmark:
    """Milliseconds of processor time on one thread: what others do on the machine does not count.

    Attributes:
        size: Rows and columns of a frame.
        frame_ms: By frame number, the median of the frames around it: prepared, predicted, findings followed.
        window: Frames of the window that a model without memory would run again at each frame.
        window_ms: What that costs: the network alone.
        grown_mib: Memory that the process has taken from the first frame measured to the last.
    """

    size: int
    frame_ms: dict[int, float]
    window: int
    window_ms: float
    grown_mib: float

    def table(self) -> Table:
        """For people."""
        caption = f"processor time, one thread; memory grew by {self.grown_mib:.1f} MiB"
        table = Table(title=f"{self.size} x {self.size} pixels", caption=caption, box=SIMPLE_HEAD)
        table.add_column("")
        table.add_column("ms", justify="right")
        for frame, milliseconds in self.frame_ms.items():
            table.add_row(f"frame {frame}", f"{milliseconds:.1f}")
        table.add_row(f"the last {self.window} frames again", f"{self.window_ms:.1f}")
        return table


def benchmark_stream(size: int = 192, frames: tuple[int, ...] = (10, 100, 1000), window: int = 16) -> StreamBenchmark:
    """Time a forward-only network of the shipped models' size, with random weights, on a clip that repeats.

    Args:
        size: Rows and columns of a frame; the network sees them at this size.
        frames: Numbers of the frames to measure, rising.
        window: Frames to run again, for comparison.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = _config(size)
        predictor = lib_module("prediction.predictor").Predictor(config, lib_module("registry").build_network(config))
        clip = lib_module("phantom").cine(0, n_frames=48, size=(size, size)).image[:, None].astype(np.float32)
        times, memory = _run(predictor, config, clip, frames[-1] + AROUND)
        again_ms = _window_ms(predictor, clip, window)
    finally:
        torch.set_num_threads(threads)
    near = {frame: statistics.median(times[max(1, frame - AROUND) : frame + AROUND]) for frame in frames}
    return StreamBenchmark(size, near, window, again_ms, (memory[-1] - memory[frames[0]]) / 2**20)


def _config(size: int) -> Any:
    configs, types = lib_module("configs"), lib_module("types")
    return configs.ModelConfig(
        task="segmentation",
        description="benchmark",
        labels={"lesion": 1},
        network=configs.NetworkConfig(
            frame_recurrence=configs.FrameRecurrenceConfig(bidirectional=False),
            map_recurrence=configs.MapRecurrenceConfig("conv_gru", bidirectional=False),
        ),
        input=configs.InputConfig(kind=types.SequenceKind.CINE, channels=("image",), spacing_mm=1.0, max_size_px=size),
        inference=configs.InferenceConfig(flip_tta=False),
        name="benchmark",
    )


def _run(predictor: Any, config: Any, clip: Any, count: int) -> tuple[list[float], list[int]]:
    """Milliseconds of each frame, and the memory of the process after it in bytes."""
    process, size = psutil.Process(), clip.shape[-1]
    given = lib_module("prediction.stream_input").StreamInput(size, size, (1.0, 1.0), 25.0)
    stream = lib_module("prediction.streaming").FrameStream(predictor, config, given, lib_module("types").Source())
    times, memory = [], []
    for number in range(count):
        start = time.thread_time()
        stream.push(clip[number % len(clip)], number, number / 25)
        times.append(1000 * (time.thread_time() - start))
        memory.append(process.memory_info().rss)
    return times, memory


def _window_ms(predictor: Any, clip: Any, window: int) -> float:
    times = []
    for _ in range(WINDOWS + 1):
        start = time.thread_time()
        predictor.maps(clip[:window] / 255)
        times.append(1000 * (time.thread_time() - start))
    return statistics.median(times[1:])
