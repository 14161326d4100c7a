# SPDX-License-Identifier: Apache-2.0
"""JSON labels: findings, 3D Slicer's ROIs, and reports, checked against the image they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..dicom.files import atomic_write
from ..transforms.geometry import VolumeGeometry
from ..transforms.labels import Grid
from ..types import Box, Finding, InputError, Report
from .markups import findings_from_markups, frame_size

MAX_JSON_BYTES = 64 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: If the file is not one.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise InputError(f"{path.name}: {path.stat().st_size} bytes; a JSON label has at most {MAX_JSON_BYTES}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name}: not JSON ({error})") from error
    if not isinstance(data, dict):
        raise InputError(f"{path.name}: must hold a JSON object, not a {type(data).__name__}")
    return data


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write a JSON object, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")


def is_markups(data: dict[str, Any]) -> bool:
    """Whether a document is a 3D Slicer Markups file."""
    return "markups" in data


def holds_boxes(data: dict[str, Any]) -> bool:
    """Whether a document is findings or ROIs."""
    return "findings" in data or is_markups(data)


def findings_of(data: dict[str, Any], grid: Grid, name: str) -> list[Finding]:
    """Findings from ``{"findings": [...]}`` or a Markups file.

    Args:
        data: The document.
        grid: Of the image; the boxes are on the frames that models see.
        name: Of the file, for messages.

    Raises:
        InputError: If it is neither, a value is wrong, or a box is on a frame that the image does not have.
    """
    if is_markups(data):
        return findings_from_markups(data, grid, name)
    found = data.get("findings")
    if not isinstance(found, list):
        raise InputError(f'{name}: boxes are {{"findings": [...]}} or a 3D Slicer Markups file')
    try:
        findings = [Finding.from_json(item) for item in found]
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if len({finding.id for finding in findings}) < len(findings):
        raise InputError(f"{name}: two findings have the same id")
    for finding in findings:
        _check_boxes(finding, grid, name)
    return findings


def time_points_of(data: dict[str, Any], count: int, name: str) -> tuple[int, ...] | None:
    """Which volume of a dynamic image each of ``count`` findings is on: ``time_point``, or ``time_points`` one by one.

    Raises:
        InputError: If they are not whole numbers, one for each finding.
    """
    given = data.get("time_points", [data["time_point"]] * count if data.get("time_point") is not None else None)
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != count or not all(type(k) is int and k >= 0 for k in given):
        raise InputError(f"{name}: time_point is one whole number, time_points are {count}, one for each finding")
    return tuple(given)


def _check_boxes(finding: Finding, grid: Grid, name: str) -> None:
    sizes = {frame_size(grid.geometry)} | (set() if grid.frames_known else {grid.shape})
    frames = max(size[2] for size in sizes)
    for frame, box in finding.boxes.items():
        if not 0 <= frame < frames:
            raise InputError(f"{name}: finding {finding.id} has a box on frame {frame}; the image has {frames} frames")
        if not (box[0] < box[2] and box[1] < box[3] and any(_overlaps(box, *size[:2]) for size in sizes)):
            width, height, _ = frame_size(grid.geometry)
            raise InputError(
                f"{name}: finding {finding.id}, frame {frame}: box {list(box)} is empty, or outside the image of "
                f"{width} x {height} px"
            )


def _overlaps(box: Box, width: int, height: int) -> bool:
    return box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0


def report_of(data: dict[str, Any], name: str) -> Report:
    """The report in a document.

    Raises:
        InputError: If it is none.
    """
    try:
        return Report.from_json(data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def on_array(findings: list[Finding], geometry: VolumeGeometry) -> list[Finding]:
    """Findings on frames -> on the (X, Y) planes of the image's array; places in mm stay as they are."""
    moved = [_moved(finding, geometry.boxes_to_array, geometry.frames_are_slices) for finding in findings]
    planes = range(geometry.shape[2])  # a box may reach beyond the image, and then beyond its planes
    return [replace(f, boxes={t: box for t, box in f.boxes.items() if t in planes}) for f in moved]


def on_frames(findings: list[Finding], geometry: VolumeGeometry) -> list[Finding]:
    """The inverse of :func:`on_array`; where frames are not planes of the array the outline of all boxes is left."""
    return [_moved(finding, geometry.boxes_to_frames, geometry.frames_are_slices) for finding in findings]


def _moved(finding: Finding, boxes: Callable[[dict[int, Box]], dict[int, Box]], plane_to_plane: bool) -> Finding:
    scores = finding.frame_scores if plane_to_plane else {}
    moved = {next(iter(boxes({t: (0.0, 0.0, 1.0, 1.0)}))): score for t, score in scores.items()}
    return replace(finding, boxes=boxes(finding.boxes), frame_scores=moved)
