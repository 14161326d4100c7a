# SPDX-License-Identifier: Apache-2.0
"""Studies with a class as prepared arrays in memory, and the windows drawn from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..classification.labels import ClassedStudy, class_index
from ..classification.sampling import class_priors, sampling_weights
from ..configs import ModelConfig
from ..transforms.augment import build_augment
from ..transforms.load import load_sequence
from ..transforms.prepare import prepare
from ..types import InputError

logger = logging.getLogger(__name__)
LARGEST_STRIDE = 4
"""Windows leave out up to three frames of four, so that the frame rate of the device does not matter."""


@dataclass(frozen=True)
class Clip:
    """A prepared study with its class.

    Attributes:
        image_id: Id in the store.
        patient: Studies of one patient never lie on both sides of the split.
        frames: (T, C, h, w) float16 on the network's grid.
        class_index: From 0.
        channel_present: False for a channel that is missing, (C,); empty means that all are there.
    """

    image_id: str
    patient: str
    frames: npt.NDArray[np.float16]
    class_index: int
    channel_present: tuple[bool, ...] = ()


def load_clips(
    studies: Iterable[ClassedStudy], config: ModelConfig, progress: Callable[[int], None] | None = None
) -> list[Clip]:
    """Read and prepare studies; one that cannot be read is reported in the log and left out.

    Raises:
        InputError: If fewer than two classes are left.
    """
    clips, problems = [], []
    for i, study in enumerate(studies):
        try:
            index = class_index(study.class_name, config.labels, study.image_id)
            sequence, _ = load_sequence(study.image, config.input)
            frames, _ = prepare(sequence, config.input)
            clips.append(
                Clip(study.image_id, study.patient, frames.astype(np.float16), index, sequence.channel_present)
            )
        except InputError as error:
            logger.warning("left out of training: %s", error)
            problems.append(str(error))
        if progress is not None:
            progress(i + 1)
    if len({clip.class_index for clip in clips}) < 2:
        detail = "; ".join(problems) if problems else "label studies of two classes or more"
        raise InputError(f"model '{config.name}' cannot be trained: {detail}")
    return clips


def true_classes(clips: Sequence[Clip]) -> npt.NDArray[np.intp]:
    """Class index of each clip, (N,)."""
    return np.array([clip.class_index for clip in clips], dtype=np.intp)


@dataclass
class ClipBatch:
    """Training windows: frames (B, T, C, H, W), real frames (B, T), class indices (B,), channels there (B, C)."""

    frames: torch.Tensor
    frame_mask: torch.Tensor
    classes: torch.Tensor
    channel_present: torch.Tensor | None


class ClipSampler:
    """Draws augmented windows from clips, rare classes more often than they come.

    Args:
        clips: Where to draw from.
        config: Window, size, batch, balance, augmentation, seed.
    """

    def __init__(self, clips: list[Clip], config: ModelConfig) -> None:
        self.clips, self.settings = clips, config.training
        self.rng = np.random.default_rng(self.settings.seed)
        channels = clips[0].frames.shape[1]
        self.augment = build_augment(self.settings.augment, self.settings.size_px, self.settings.seed, channels)
        classes = true_classes(clips)
        self.weights = sampling_weights(classes, [clip.patient for clip in clips], config.classification.balance)
        self.priors = torch.from_numpy(class_priors(classes, self.weights, len(config.labels))).float()

    def batch(self) -> ClipBatch:
        """Draw one batch; sequences shorter than the window are padded at the end and masked."""
        b, t, size = self.settings.batch_size, self.settings.window, self.settings.size_px
        channels = self.clips[0].frames.shape[1]
        frames, real = np.zeros((b, t, channels, size, size), np.float32), np.zeros((b, t), bool)
        drawn = [self.clips[i] for i in self.rng.choice(len(self.clips), b, p=self.weights)]
        there = np.array([clip.channel_present or (True,) * channels for clip in drawn], dtype=bool)
        for i, clip in enumerate(drawn):
            window = self._window(clip)
            frames[i, : len(window)], real[i, : len(window)] = window, True
            frames[i, :, ~there[i]] = 0.0
        return ClipBatch(
            torch.from_numpy(frames),
            torch.from_numpy(real),
            torch.from_numpy(true_classes(drawn)),
            None if there.all() else torch.from_numpy(there),
        )

    def _window(self, clip: Clip) -> npt.NDArray[np.float32]:
        """Frames at an even distance, changed at random, (T, C, size, size)."""
        n, window, size = len(clip.frames), self.settings.window, self.settings.size_px
        stride = int(self.rng.integers(1, max(1, min(LARGEST_STRIDE, n // window)) + 1))
        start = int(self.rng.integers(max(1, n - (window - 1) * stride)))
        chosen = clip.frames[start : start + window * stride : stride][:window].astype(np.float32)
        t, c = chosen.shape[:2]
        image = torch.from_numpy(chosen).flatten(0, 1)
        unused = torch.zeros(1, *image.shape[1:])
        augmented = self.augment({"image": image, "mask": unused})["image"]
        changed: npt.NDArray[np.float32] = augmented.numpy().reshape(t, c, size, size)
        return changed[::-1].copy() if self.rng.random() < self.settings.augment.reverse else changed
