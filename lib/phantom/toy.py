# SPDX-License-Identifier: Apache-2.0
"""Short sequences in which only memory tells lesions from what looks like them.

A lesion stays for some frames and drifts; a distractor is on one frame only. On a single frame they are drawn from the
same distribution of size, place and brightness, so a detector that sees single frames finds both: its precision is the
share of the lesions among all blobs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MARGIN_PX = 5.0
CLEAR_PX = 2.0
"""Least distance between the edges of blobs on the same or neighbouring frames: none looks as if it went on."""
MAX_TRIES = 200


@dataclass(frozen=True)
class ToySettings:
    """What the sequences are like.

    Attributes:
        frames: Frames of a sequence.
        size_px: Rows and columns.
        lesion_frames: Fewest and most frames on which the lesion is.
        radius_px: Smallest and largest radius of a blob.
        drift_px: Largest shift of the lesion per frame, along each axis.
        distractors: Distractors of a sequence, at most two on a frame.
        brightness: Of every blob; the background is 0.
        noise_std: Standard deviation of the noise.
    """

    frames: int = 8
    size_px: int = 40
    lesion_frames: tuple[int, int] = (4, 6)
    radius_px: tuple[float, float] = (2.5, 3.5)
    drift_px: float = 0.5
    distractors: int = 8
    brightness: float = 2.0
    noise_std: float = 0.5


@dataclass(frozen=True)
class ToySequence:
    """One sequence and the truth about it.

    Attributes:
        image: (T, H, W).
        lesion: (T, H, W).
        distractors: (T, H, W).
    """

    image: npt.NDArray[np.float32]
    lesion: npt.NDArray[np.bool_]
    distractors: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Blob:
    frame: int
    center: npt.NDArray[np.float64]
    radius: float

    def touches(self, other: _Blob) -> bool:
        """Whether the two are close to each other on the same or neighbouring frames."""
        apart = float(np.hypot(*(self.center - other.center)))
        return abs(self.frame - other.frame) <= 1 and apart < self.radius + other.radius + CLEAR_PX


def toy_sequence(seed: int, settings: ToySettings | None = None) -> ToySequence:
    """Make a sequence with one lesion and some distractors.

    Args:
        seed: The same seed and settings give the same sequence.
        settings: None for the defaults.

    Raises:
        ValueError: If the settings are impossible, or the frames have no room for all distractors.
    """
    settings = settings or ToySettings()
    _check(settings)
    rng = np.random.default_rng(seed)
    lesion = _lesion(rng, settings)
    distractors = _distractors(rng, settings, lesion)
    shape = (settings.frames, settings.size_px, settings.size_px)
    masks = [_painted(blobs, shape) for blobs in (lesion, distractors)]
    image = settings.brightness * (masks[0] | masks[1]) + rng.normal(0, settings.noise_std, shape)
    return ToySequence(image.astype(np.float32), masks[0], masks[1])


def _check(settings: ToySettings) -> None:
    shortest, longest = settings.lesion_frames
    if not 1 <= shortest <= longest <= settings.frames:
        raise ValueError(f"lesion_frames is {settings.lesion_frames}; a sequence has {settings.frames} frames")
    if not 0 <= settings.distractors <= 2 * settings.frames:
        raise ValueError(f"distractors is {settings.distractors}; {settings.frames} frames take two each")
    if settings.size_px < 4 * MARGIN_PX:
        raise ValueError(f"size_px is {settings.size_px}; at least {4 * MARGIN_PX:.0f} are needed")


def _lesion(rng: np.random.Generator, settings: ToySettings) -> list[_Blob]:
    shortest, longest = settings.lesion_frames
    length = int(rng.integers(shortest, longest + 1))
    start = int(rng.integers(0, settings.frames - length + 1))
    place, drift = _place(rng, settings), rng.uniform(-settings.drift_px, settings.drift_px, 2)
    radius = float(rng.uniform(*settings.radius_px))
    return [_Blob(start + i, place + drift * (i - (length - 1) / 2), radius) for i in range(length)]


def _distractors(rng: np.random.Generator, settings: ToySettings, lesion: list[_Blob]) -> list[_Blob]:
    placed: list[_Blob] = []
    for frame in rng.permutation(np.repeat(np.arange(settings.frames), 2))[: settings.distractors]:
        radius = float(rng.uniform(*settings.radius_px))
        for _ in range(MAX_TRIES):
            blob = _Blob(int(frame), _place(rng, settings), radius)
            if not any(blob.touches(other) for other in [*lesion, *placed]):
                placed.append(blob)
                break
        else:
            raise ValueError(f"no room for {settings.distractors} distractors on {settings.size_px} pixels")
    return placed


def _place(rng: np.random.Generator, settings: ToySettings) -> npt.NDArray[np.float64]:
    return rng.uniform(MARGIN_PX, settings.size_px - MARGIN_PX, 2)


def _painted(blobs: list[_Blob], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Discs, (T, H, W)."""
    mask = np.zeros(shape, bool)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    for blob in blobs:
        y, x = blob.center
        mask[blob.frame] |= (rows - y) ** 2 + (columns - x) ** 2 <= blob.radius**2
    return mask
