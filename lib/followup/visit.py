# SPDX-License-Identifier: Apache-2.0
"""What was found at a visit, from a model's answer or from what is stored, on the frames that viewers show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..configs import InferenceConfig, ModelConfig
from ..findings.lesions import outlined_lesions
from ..prediction.predictor import Prediction
from ..transforms.shown import shown_frames
from ..types import Finding, InputError, Sequence, SequenceKind, Source, VolumeSeries
from .lesions import VisitFindings

EVERYTHING = InferenceConfig(mask_threshold=0.5, score_threshold=0.0, min_volume_ml=0.0)
"""What a person has drawn is a lesion, however small."""
Document = dict[str, Any]


def shown_stack(image: Sequence | VolumeSeries, name: str) -> Sequence:
    """A stack with its frames as viewers count them; see :mod:`lib.transforms.shown`.

    Args:
        image: As :func:`lib.dicom.series.read_series` gives it.
        name: For the message.

    Raises:
        InputError: If it is no stack.
    """
    if not isinstance(image, Sequence) or image.kind is not SequenceKind.STACK:
        raise InputError(f"image '{name}' is a {image.kind.value}, not a stack: visits are compared stack by stack")
    shown = shown_frames(image)
    order = slice(None, None, int(shown.geometry.to_frame_axes[2, 1]))
    return replace(
        image,
        frames=image.frames[order],
        positions=shown.positions,
        affine_lps=shown.geometry.affine_lps,
        sop_instance_uids=shown.sop_instance_uids,
        frame_numbers=shown.frame_numbers,
        origins_lps_mm=None if image.origins_lps_mm is None else image.origins_lps_mm[order],
    )


def findings_of_answer(findings: list[Document], mask: Document | None, sequence: Sequence) -> VisitFindings:
    """What a model found, or a person has stored as boxes.

    Args:
        findings: Of an answer to a request with ``frame_mask``, as JSON values.
        mask: The answer's document with a part for each finding (:mod:`lib.transforms.frame_masks`); None for boxes.
        sequence: The frames they are on.

    Raises:
        InputError: If a finding is not one.
    """
    found = tuple(Finding.from_json(finding) for finding in findings)
    if mask is None:
        return VisitFindings(sequence, found)
    instances = _frames_like(sequence, np.uint16)
    for part in mask["parts"]:
        _draw(part, instances, int(part["finding"] or 0))
    return VisitFindings(sequence, found, instances)


def findings_of_mask(mask: Document, sequence: Sequence, source: Source) -> VisitFindings:
    """The lesions of a stored mask, measured: connected voxels of one label are a lesion.

    Args:
        mask: A document with a part for each label.
        sequence: Its frames.
        source: Who or what made it.
    """
    drawn = []
    for part in mask["parts"]:
        frames = _frames_like(sequence, np.bool_)
        _draw(part, frames, 1)
        drawn.append((str(part["label"]), frames))
    return findings_of_labels(drawn, sequence, source)


def findings_of_labels(
    masks: Iterable[tuple[str, npt.NDArray[np.bool_]]], sequence: Sequence, source: Source
) -> VisitFindings:
    """The lesions of masks, measured: connected voxels of one label are a lesion.

    Args:
        masks: Label and voxels (T, H, W) of each.
        sequence: Their frames.
        source: Who or what made them.
    """
    instances = _frames_like(sequence, np.uint16)
    findings: list[Finding] = []
    for label, mask in masks:
        drawn = mask.astype(np.float32)
        certain = Prediction(drawn[:, None], ((),) * len(drawn), np.ones(len(drawn), np.float32), None, None)
        config = ModelConfig("segmentation", "", {label: 1}, inference=EVERYTHING)
        for lesion in outlined_lesions(certain, sequence, config, source):
            findings.append(replace(lesion.finding, id=len(findings) + 1))
            instances[lesion.region][lesion.mask] = len(findings)
    return VisitFindings(sequence, tuple(findings), instances)


def without_pixels(visit: VisitFindings) -> VisitFindings:
    """The same without the intensities, which take most of the memory and are not looked at any more."""
    empty = np.broadcast_to(np.float32(0), visit.sequence.frames.shape)
    return replace(visit, sequence=replace(visit.sequence, frames=empty))


def _frames_like(sequence: Sequence, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    frames, _, height, width = sequence.frames.shape
    return np.zeros((frames, height, width), dtype)


def _draw(part: Document, frames: npt.NDArray[Any], value: int) -> None:
    """Set the pixels of a part of a document."""
    for frame, runs in part["frames"].items():
        pixels = frames[int(frame)].reshape(-1)
        for start, length in zip(runs[::2], runs[1::2], strict=True):
            pixels[start : start + length] = value
