# SPDX-License-Identifier: Apache-2.0
"""What goes into a stream: how its frames are sent, and how a frame becomes what the network sees.

A batch is scaled by the mean and deviation of all of its frames and cut to their common foreground. A stream cannot
know these. It uses the mean and deviation of its first frames, which then stay (or those that the sender knows), and
cuts what the sender tells it to.

References:
    Chan, Golub, LeVeque. Algorithms for computing the sample variance. The American Statistician 1983;37:242-247.
"""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..configs import InputConfig
from ..transforms.prepare import FrameGrid, content_on, foreground, in_range, resample, resampled_size
from ..types import FloatArray, InputError

MAX_FRAME_BYTES = 8 * 1024 * 1024
IMAGE_FORMATS = ("PNG", "JPEG")
MIN_SIDE_PX, MAX_SIDE_PX = 16, 4096
MIN_FOREGROUND_PX = 2
Side = Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)]
Pitch = Annotated[float, Field(ge=1e-3, le=100)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class StreamInput:
    """What is the same for all frames of a stream; sent before the first of them.

    Attributes:
        rows: Height of a frame, pixels.
        columns: Width of a frame, pixels.
        spacing_mm: Distance between pixel centres, (x, y).
        frame_rate_hz: Frames per second; None where the sender gives the time of each frame.
        encoding: ``raw``: bytes of the pixels, channel by channel, row by row; ``image``: a PNG or JPEG file.
        dtype: Type of raw pixels, little-endian.
        content_px: Part of the frames (y0, y1, x0, x1) that holds the image; None for all of it.
        statistics_frames: The first frames whose mean and deviation scale all that follow; each of them is scaled by
            what is known up to it. Frames without foreground do not count.
        mean: Mean intensity of the foreground per channel, where the sender knows it; then nothing is learned.
        std: Its standard deviation; goes with ``mean``.
        window: Frames that may wait for their answer; one that comes on top is dropped.
    """

    rows: Side
    columns: Side
    spacing_mm: tuple[Pitch, Pitch]
    frame_rate_hz: Annotated[float, Field(ge=0.01, le=1000)] | None = None
    encoding: Literal["raw", "image"] = "raw"
    dtype: Literal["uint8", "uint16", "int16", "float32"] = "uint8"
    content_px: tuple[int, int, int, int] | None = None
    statistics_frames: Annotated[int, Field(ge=1, le=1000)] = 16
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    window: Annotated[int, Field(ge=1, le=8)] = 4

    def __post_init__(self) -> None:
        """Check what spans several values.

        Raises:
            ValueError: If the content lies outside of the frames, or of mean and deviation one is missing.
        """
        if self.content_px is not None:
            y0, y1, x0, x1 = self.content_px
            if not (y0 >= 0 and y0 + MIN_SIDE_PX <= y1 <= self.rows):
                raise ValueError(f"content_px: rows {y0} to {y1} of {self.rows} are not {MIN_SIDE_PX} rows or more")
            if not (x0 >= 0 and x0 + MIN_SIDE_PX <= x1 <= self.columns):
                raise ValueError(f"content_px: columns {x0} to {x1} of {self.columns} are not {MIN_SIDE_PX} or more")
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std go together, one value of each per channel")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return self.rows, self.columns

    def fitting(self, config: InputConfig) -> StreamInput:
        """The same, checked against what a model reads.

        Raises:
            InputError: If frames would be too large, or have other channels than the model.
        """
        channels = len(config.channels)
        if self.frame_bytes(channels) > MAX_FRAME_BYTES:
            raise InputError(
                f"a frame of {self.rows} x {self.columns} pixels ({self.dtype}) is larger than"
                f" {MAX_FRAME_BYTES // 1024**2} MiB; send it smaller, or as 8 bit"
            )
        if self.encoding == "image" and channels != 1:
            raise InputError(f"the model reads {channels} channels: send them raw, not as PNG or JPEG")
        if self.mean is not None and len(self.mean) != channels:
            raise InputError(f"mean and std have {len(self.mean)} values, the model reads {channels} channels")
        return self

    def frame_bytes(self, channels: int) -> int:
        """Size of a raw frame."""
        return channels * self.rows * self.columns * np.dtype(self.dtype).itemsize

    def read_frame(self, data: bytes, channels: int) -> npt.NDArray[np.float32]:
        """A frame as it was sent -> (C, H, W).

        Raises:
            InputError: If it has another size, cannot be decoded or holds values that are not numbers.
        """
        if self.encoding == "image":
            return _decoded(data, self.size)[None]
        if len(data) != self.frame_bytes(channels):
            raise InputError(
                f"a frame has {len(data)} bytes; {channels} x {self.rows} x {self.columns} pixels of {self.dtype} are"
                f" {self.frame_bytes(channels)}"
            )
        pixels = np.frombuffer(data, np.dtype(self.dtype).newbyteorder("<")).reshape(channels, *self.size)
        frame = pixels.astype(np.float32)
        if not np.isfinite(frame).all():
            raise InputError("a frame holds values that are not finite numbers")
        return frame


def stream_input(data: dict[str, Any]) -> StreamInput:
    """Read what a sender says about its frames.

    Raises:
        InputError: If a key is unknown or missing, or a value does not fit; the message names the key.
    """
    try:
        return TypeAdapter(StreamInput).validate_python(data)
    except ValidationError as error:
        problems = "; ".join(f"'{'.'.join(map(str, e['loc']))}': {e['msg']}" for e in error.errors())
        raise InputError(f"the stream cannot be opened: {problems}") from error


def _decoded(data: bytes, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A PNG or JPEG file as grey values (H, W); its size is looked at before its pixels."""
    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            if image.size != size[::-1]:
                raise InputError(
                    f"a frame has {image.height} x {image.width} pixels; announced were {size[0]} x {size[1]}"
                )
            deep = image.mode.startswith("I")
            return np.asarray(image if deep else image.convert("L"), dtype=np.float32)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("a frame is not a readable PNG or JPEG image") from error


class StreamPreparation:
    """Turns one frame after the other into what the network sees.

    Args:
        given: What is known of the frames.
        config: What the model reads.

    Raises:
        InputError: If the model cannot read such frames.
    """

    def __init__(self, given: StreamInput, config: InputConfig) -> None:
        self.given, self.config = given.fitting(config), config
        size = resampled_size(given.size, given.spacing_mm, config)
        self.grid = FrameGrid(given.size, size, content_on(given.content_px, given.size, size))
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far."""
        channels = len(self.config.channels)
        self._learned = 0
        self._count = np.zeros(channels)
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)  # sum of the squared differences to the mean
        if self.given.mean is not None and self.given.std is not None:
            self._learned = self.given.statistics_frames
            self._count[:], self._mean[:] = 1, self.given.mean
            self._squares[:] = np.square(self.given.std)

    def __call__(self, frame: FloatArray) -> npt.NDArray[np.float32]:
        """(C, H, W) in the sender's intensities -> (1, C, h, w) on :attr:`grid`, scaled and clipped.

        Raises:
            InputError: If the frame has another shape than was announced.
        """
        expected = (len(self.config.channels), *self.given.size)
        if frame.shape != expected:
            raise InputError(f"a frame has shape {frame.shape}; announced was {expected}")
        y0, y1, x0, x1 = self.grid.crop
        cropped = resample(frame[None], self.grid.resampled)[..., y0:y1, x0:x1]
        if self.config.intensity_range is not None:
            return in_range(cropped, self.config)
        if self._learned < self.given.statistics_frames:
            self._learn(cropped)
        std = np.sqrt(self._squares / np.maximum(self._count, 1))
        constant = std <= 1e-6 * np.maximum(np.abs(self._mean), 1.0)  # what is left then is rounding
        scaled = (cropped[0] - self._mean[:, None, None]) / np.where(constant, 1.0, std)[:, None, None]
        clipped: npt.NDArray[np.float32] = np.clip(scaled, *self.config.clip).astype(np.float32)
        return clipped[None]

    def _learn(self, frame: npt.NDArray[np.float32]) -> None:
        """Take the foreground of a frame (1, C, h, w) into mean and deviation (Chan et al.)."""
        inside = foreground(frame, self.config.foreground_fraction)[0]
        if (inside.sum(axis=(1, 2)) < MIN_FOREGROUND_PX).all():
            return
        self._learned += 1
        for c, (values, seen) in enumerate(zip(frame[0], inside, strict=True)):
            new = values[seen].astype(np.float64)
            if len(new) == 0:
                continue
            total, delta = self._count[c] + len(new), new.mean() - self._mean[c]
            self._squares[c] += ((new - new.mean()) ** 2).sum() + delta**2 * self._count[c] * len(new) / total
            self._mean[c] += delta * len(new) / total
            self._count[c] = total
