# SPDX-License-Identifier: Apache-2.0
"""Phantoms as training cases: written to files and prepared as any study is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..configs import ModelConfig
from ..phantom import PhantomStack, chest_stack, cine, head_stack, write_nifti
from ..studies import CaseRef
from ..types import InputError
from .cases import Case, load_cases

PHANTOM_SEED = 10_000
FRAME_STEP_MM = 1.0


class PhantomMaker(Protocol):
    """Makes a phantom from a seed; ``n_lesions`` None leaves the number to the seed."""

    def __call__(self, seed: int, *, n_lesions: int | None) -> PhantomStack:
        """Make it."""


def clip_stack(seed: int, *, n_lesions: int | None = None) -> PhantomStack:
    """An ultrasound-like clip as a file holds it, its frames a nominal :data:`FRAME_STEP_MM` apart.

    Args:
        seed: Of the clip.
        n_lesions: Not heeded: every clip has one lesion, which is not to be seen on its first and last frames.
    """
    clip = cine(seed)
    spacing = (*clip.pixel_spacing_mm, FRAME_STEP_MM)
    return PhantomStack(clip.image.astype(np.uint16), clip.mask, clip.mask, spacing, (), modality="US")


PHANTOMS: dict[str, PhantomMaker] = {"head": head_stack, "chest": chest_stack, "cine": clip_stack}
"""By ``training.phantom``."""


def phantom_cases(config: ModelConfig, count: int) -> list[Case]:
    """Make labelled phantoms, one in eight without a lesion, and prepare them like any study.

    A phantom has one channel. To a model of several it is the reference channel; the others are missing.

    Raises:
        InputError: If the model's labels are not those of the phantoms.
    """
    if count == 0:
        return []
    make, cases = PHANTOMS[config.training.phantom], []
    channel = config.input.channels[config.input.reference_index]
    with tempfile.TemporaryDirectory(prefix="lesionloop-") as name:
        for i in range(count):
            stack = as_labels(make(PHANTOM_SEED + i, n_lesions=0 if i % 8 == 7 else None), config)
            image, label = Path(name) / f"phantom{i}_{channel}.nii.gz", Path(name) / f"phantom{i}_label.nii.gz"
            write_nifti(stack, image, label)
            cases += load_cases([CaseRef(f"phantom{i}", f"phantom{i}", image, label)], config)
            image.unlink()
            label.unlink()
    return cases


def as_labels(stack: PhantomStack, config: ModelConfig) -> PhantomStack:
    """A phantom whose mask has the values of a model's labels; a single label stands for every kind of lesion.

    Raises:
        InputError: If the model tells other kinds apart than the phantom has.
    """
    if len(config.labels) == 1:
        return replace(stack, mask=(stack.mask > 0).astype(np.uint8))
    if set(stack.labels) - set(config.labels):
        raise InputError(
            f"model '{config.name}' has the labels {', '.join(config.labels)}; the lesions of phantoms of training."
            f"phantom '{config.training.phantom}' are {', '.join(stack.labels)}"
        )
    values = np.array([0, *(config.labels[name] for name in stack.labels)], np.uint8)
    return replace(stack, mask=values[stack.mask])
