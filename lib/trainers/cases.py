# SPDX-License-Identifier: Apache-2.0
"""Labelled studies as prepared arrays in memory, split by patient, and the windows drawn from them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ..configs import ModelConfig, TrainingConfig
from ..studies import CaseRef
from ..transforms.augment import build_augment
from ..transforms.load import load_label, load_sequence
from ..transforms.prepare import prepare, prepare_label
from ..types import InputError
from .draws import class_draws, crop_anywhere, pixel_priors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A prepared labelled study.

    Attributes:
        image_id: Id in the store.
        patient: Studies of one patient never lie on both sides of the split.
        frames: (T, C, h, w) float16 on the network's grid.
        masks: (T, K, h, w) uint8.
        channel_present: False for a channel that is missing, (C,); empty means that all are there.
    """

    image_id: str
    patient: str
    frames: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]
    channel_present: tuple[bool, ...] = ()

    @property
    def has_channel(self) -> npt.NDArray[np.bool_]:
        """Which channels are there, (C,)."""
        return np.array(self.channel_present or (True,) * self.frames.shape[1], dtype=bool)


class OfPatient(Protocol):
    """Anything that belongs to a patient."""

    @property
    def patient(self) -> str:
        """Whose it is."""


C = TypeVar("C", bound=OfPatient)


def load_cases(
    refs: Iterable[CaseRef], config: ModelConfig, progress: Callable[[int], None] | None = None
) -> list[Case]:
    """Read and prepare labelled studies; one that cannot be read is reported in the log and left out.

    Raises:
        InputError: If none can be read.
    """
    cases, problems = [], []
    for i, ref in enumerate(refs):
        try:
            cases.append(_load_case(ref, config))
        except InputError as error:
            logger.warning("left out of training: %s", error)
            problems.append(str(error))
        if progress is not None:
            progress(i + 1)
    if not cases:
        detail = "; ".join(problems) if problems else "no study has a label with the tag 'final' yet"
        raise InputError(f"model '{config.name}' cannot be trained: {detail}")
    return cases


def _load_case(ref: CaseRef, config: ModelConfig) -> Case:
    sequence, geometry = load_sequence(ref.image, config.input)
    label = load_label(ref.label, geometry, sequence.kind)
    frames, grid = prepare(sequence, config.input)
    masks = prepare_label(label, grid, len(config.labels))
    return Case(ref.image_id, ref.patient, frames.astype(np.float16), masks, sequence.channel_present)


def split_by_patient(cases: list[C], val_fraction: float, seed: int) -> tuple[list[C], list[C]]:
    """Split into training and validation cases; all studies of a patient lie on one side.

    The patients with the lowest hash validate, so the split does not depend on the order of the studies and changes
    little when patients are added. At least one patient validates; a single patient does both (the caller says so).

    Args:
        cases: All labelled cases.
        val_fraction: Share of the patients that validate; 0 for none.
        seed: Changes the split.
    """
    if val_fraction <= 0:
        return cases, []
    ranked = sorted({case.patient for case in cases}, key=lambda patient: _hash(f"{seed}:{patient}"))
    held_out = set(ranked[: max(1, round(val_fraction * len(ranked)))])
    train = [case for case in cases if case.patient not in held_out]
    val = [case for case in cases if case.patient in held_out]
    return (train or cases), val


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Batch:
    """Training windows.

    Attributes:
        frames: (B, T, C, H, W) float; zeros where a channel is missing.
        frame_mask: (B, T) bool, real frames.
        masks: Lesions, (B, T, K, H, W) uint8.
        channel_present: (B, C) bool, at least one per row; None when every sequence has every channel.
    """

    frames: torch.Tensor
    frame_mask: torch.Tensor
    masks: npt.NDArray[np.uint8]
    channel_present: torch.Tensor | None = None


class WindowSampler:
    """Draws augmented windows of consecutive frames from cases.

    Args:
        cases: Where to draw from.
        config: Window, size, batch, share of windows with a lesion, balance of the classes, place, augmentation, seed.

    Attributes:
        priors: Share of each class among the lesion pixels that are drawn, (K,).
    """

    def __init__(self, cases: list[Case], config: TrainingConfig) -> None:
        self.cases, self.config = cases, config
        self.rng = np.random.default_rng(config.seed)
        channels = cases[0].frames.shape[1]
        self.augment = build_augment(config.augment, config.size_px, config.seed, channels)
        self.lesion_frames = [np.flatnonzero(case.masks.any(axis=(1, 2, 3))) for case in cases]
        masks = [case.masks for case in cases]
        self.draws = class_draws(masks, [case.patient for case in cases], config.class_balance)
        self.priors = torch.from_numpy(pixel_priors(masks, self.draws))

    def batch(self) -> Batch:
        """Draw one batch; sequences shorter than the window are padded at the end and masked."""
        size, window = self.config.size_px, self.config.window
        first = self.cases[0]
        channels, classes = first.frames.shape[1], first.masks.shape[1]
        b = self.config.batch_size
        frames = np.zeros((b, window, channels, size, size), np.float32)
        masks = np.zeros((b, window, classes, size, size), np.uint8)
        real, present = np.zeros((b, window), bool), np.ones((b, channels), bool)
        for i in range(b):
            index, must_hold = self._draw()
            image, mask = self._window(index, must_hold)
            present[i] = self._channels(self.cases[index].has_channel)
            frames[i, : len(image)], masks[i, : len(mask)] = image, mask
            frames[i, :, ~present[i]] = 0.0
            real[i, : len(image)] = True
        known = None if present.all() else torch.from_numpy(present)
        return Batch(torch.from_numpy(frames), torch.from_numpy(real), masks, known)

    def _channels(self, there: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which channels of a sequence are shown, (C,): each of those there is dropped by chance, one always stays."""
        if not self.config.augment.modality_dropout or there.sum() < 2:
            return there
        drawn = self.rng.random(len(there))
        kept: npt.NDArray[np.bool_] = there & (drawn >= self.config.augment.modality_dropout)
        if not kept.any():
            kept[self.rng.choice(np.flatnonzero(there))] = True
        return kept

    def _draw(self) -> tuple[int, npt.NDArray[np.bool_] | None]:
        """Index of a case, and the lesion pixels (T, h, w) one of which its window has to hold; None for no matter."""
        if self.draws is not None and self.rng.random() < self.config.lesion_fraction:
            index, class_index = self.draws.draw(self.rng)
            return index, self.cases[index].masks[:, class_index].astype(bool)
        index = int(self.rng.integers(len(self.cases)))
        holds = self.lesion_frames[index]
        if self.draws is None and len(holds) and self.rng.random() < self.config.lesion_fraction:
            return index, self.cases[index].masks.any(axis=1)
        return index, None

    def _window(
        self, index: int, must_hold: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        case, window = self.cases[index], self.config.window
        start = self._start(len(case.frames), must_hold)
        frames, masks = case.frames[start : start + window].astype(np.float32), case.masks[start : start + window]
        size = self.config.size_px
        if self.config.crop == "anywhere":
            lesion = None if must_hold is None else must_hold[start : start + window].any(axis=0)
            frames, masks = crop_anywhere(self.rng, frames, masks, lesion, size)
        image, mask = torch.from_numpy(frames), torch.from_numpy(masks)
        t, c, k = len(image), image.shape[1], mask.shape[1]
        changed = self.augment({"image": image.flatten(0, 1), "mask": mask.flatten(0, 1)})
        frames = changed["image"].numpy().reshape(t, c, size, size)
        masks = changed["mask"].numpy().reshape(t, k, size, size).astype(np.uint8)
        if self.rng.random() < self.config.augment.reverse:
            return frames[::-1], masks[::-1]
        return frames, masks

    def _start(self, n_frames: int, must_hold: npt.NDArray[np.bool_] | None) -> int:
        """First frame of a window; it holds a frame of the lesion pixels (T, h, w), if any are given."""
        window = self.config.window
        last = max(0, n_frames - window)
        if must_hold is None:
            return int(self.rng.integers(last + 1))
        frame = int(self.rng.choice(np.flatnonzero(must_hold.any(axis=(1, 2)))))
        low, high = max(0, frame - window + 1), min(frame, last)
        return int(self.rng.integers(low, high + 1))
