# SPDX-License-Identifier: Apache-2.0
"""A label as a client sends it -> what it is, checked against its image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..transforms.frame_masks import is_frame_mask, read_frame_mask
from ..transforms.labels import MASK_SUFFIXES, Grid, mask_suffix, read_mask
from ..transforms.shown import ShownFrames
from ..types import Finding, InputError, Report
from .documents import findings_of, holds_boxes, is_markups, read_json, report_of, time_points_of
from .names import BOXES, FINAL, ORIGINAL, REPORT, TAGS

SegReader = Callable[[Path], npt.NDArray[np.uint8]]
"""Reads a DICOM SEG onto the image's grid, (X, Y, Z)."""
Frames = Callable[[], tuple[ShownFrames, ...]]
"""Gives the frames of the image as viewers count them, of each of its volumes."""


@dataclass(frozen=True)
class Incoming:
    """A label that fits its image.

    Attributes:
        tag: Where it belongs: boxes that 3D Slicer submits as ``final`` belong under ``boxes``.
        mask: (X, Y, Z) on the image's grid, of a mask.
        findings: Of boxes, on the frames that models see.
        time_points: Volume that each finding is on, of boxes that say so.
        report: Of a report.
        as_is: The file can be kept as it is.
        suffix: Of the file to keep.
        said: What the file itself says of the label: ``label_names`` and ``time_point`` of a mask by frames.
    """

    tag: str
    mask: npt.NDArray[np.uint8] | None = None
    findings: tuple[Finding, ...] | None = None
    time_points: tuple[int, ...] | None = None
    report: Report | None = None
    as_is: bool = True
    suffix: str = ""
    said: dict[str, Any] = field(default_factory=dict)

    def with_info(self, info: dict[str, Any]) -> dict[str, Any]:
        """What the client sent with the file, and what the file itself says.

        Raises:
            InputError: If they are of different volumes.
        """
        volume, given = self.said.get("time_point"), info.get("time_point")
        if volume is not None and given not in (None, "", volume, str(volume)):
            raise InputError(f"time_point is {given!r}, but the mask names frames of time point {volume}")
        return {**info, **self.said}


def read_label(path: Path, tag: str, grid: Callable[[], Grid], frames: Frames, read_seg: SegReader) -> Incoming:
    """Read a label file.

    Args:
        path: NIfTI, NRRD, MetaImage or DICOM SEG with a mask; JSON with a mask by frames, findings, ROIs or a report.
        tag: What the client calls it.
        grid: Gives the image's grid; called only where the label has to fit it.
        frames: For a mask by frames.
        read_seg: For a DICOM SEG.

    Raises:
        InputError: If the file does not hold what the tag says, or does not fit the image.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path.name}: the label file is missing or empty")
    name = path.name.lower()
    if name.endswith(".json"):
        return _document(path, tag, grid, frames)
    if tag in (BOXES, REPORT):
        raise InputError(f"{path.name}: a label with the tag '{tag}' is a JSON file")
    if mask_suffix(path):
        mask = read_mask(path, grid())
        suffix = mask_suffix(path).removeprefix(".seg") if mask.complete else ".nii.gz"
        return Incoming(tag, mask=mask.values, as_is=mask.complete, suffix=suffix)
    if name.endswith(".dcm"):
        return Incoming(tag, mask=read_seg(path), as_is=False, suffix=".nii.gz")
    if tag in TAGS:
        raise InputError(f"{path.name}: a mask ends in {', '.join(MASK_SUFFIXES)} or is a DICOM SEG (.dcm)")
    return Incoming(tag, suffix=path.suffix.lower())


def _document(path: Path, tag: str, grid: Callable[[], Grid], frames: Frames) -> Incoming:
    data = read_json(path)
    if tag == REPORT:
        return Incoming(tag, report=report_of(data, path.name), suffix=".json")
    if tag == BOXES or (tag in (FINAL, ORIGINAL) and holds_boxes(data)):
        findings = tuple(findings_of(data, grid(), path.name))
        times = time_points_of(data, len(findings), path.name)
        own = _boxes_tag(tag)
        return Incoming(own, findings=findings, time_points=times, as_is=not is_markups(data), suffix=".json")
    if tag in (FINAL, ORIGINAL) and is_frame_mask(data):
        drawn = read_frame_mask(data, frames(), path.name)
        said = {"label_names": drawn.labels} | ({} if drawn.time_point is None else {"time_point": drawn.time_point})
        return Incoming(tag, mask=drawn.mask, as_is=False, suffix=".nii.gz", said=said)
    if tag in TAGS:
        raise InputError(f"{path.name}: a label with the tag '{tag}' is a mask, or a JSON file with findings or ROIs")
    return Incoming(tag, suffix=".json")


def _boxes_tag(tag: str) -> str:
    """A model's proposal stays beside its masks; it never takes the place of a clinician's boxes."""
    return tag if tag == ORIGINAL else BOXES


def findings_json(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The document that is kept under ``boxes``."""
    return {"findings": [finding.to_json() for finding in findings]}
