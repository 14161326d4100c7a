# SPDX-License-Identifier: Apache-2.0
"""3D Slicer Markups files (schema 1.0.3) with ROIs -> findings."""

from __future__ import annotations

import itertools
import re
from math import ceil, floor
from typing import Any

import numpy as np

from ..transforms.geometry import VolumeGeometry
from ..types import Box, Finding, FloatArray, InputError

# What lib.infers.writers puts into the names, because Slicer keeps nothing else: "lesion 2 0.87".
OUR_NAME = re.compile(r"(?P<label>.+) (?P<id>\d+) (?P<score>[01]\.\d\d)")
GENERIC_NAMES = re.compile(r"(Detection ROI|ROI|R|R_ROI|MarkupsROI)?[\s_-]*\d*", re.IGNORECASE)
DEFAULT_LABEL = "lesion"


def findings_from_markups(data: dict[str, Any], geometry: VolumeGeometry, name: str) -> list[Finding]:
    """One finding per ROI that has a control point; an ROI without one says that nothing was found.

    Label and score come from names that this app wrote; another name is the label, and the score is 1 because a
    person drew it.

    Args:
        data: The document.
        geometry: Of the image.
        name: Of the file, for messages.

    Raises:
        InputError: If a markup is not an ROI box, or lies outside the image.
    """
    try:
        rois = [roi for roi in data["markups"] if roi["type"] != "ROI" or roi["controlPoints"]]
        findings = [_finding(roi, number, geometry) for number, roi in enumerate(rois, 1)]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{name}: cannot be read as 3D Slicer Markups ({reason})") from error
    ids = [finding.id for finding in findings]
    if len(set(ids)) == len(ids):
        return findings
    return [_renumbered(finding, number) for number, finding in enumerate(findings, 1)]


def frame_size(geometry: VolumeGeometry) -> tuple[int, int, int]:
    """(W, H, T): the size of the frames that models see."""
    size = [0, 0, 0]
    for axis, (frame_axis, _) in enumerate(geometry.to_frame_axes):
        size[int(frame_axis)] = geometry.shape[axis]
    return size[0], size[1], size[2]


def _renumbered(finding: Finding, number: int) -> Finding:
    return Finding.from_json({**finding.to_json(), "id": number})


def _finding(roi: dict[str, Any], number: int, geometry: VolumeGeometry) -> Finding:
    if roi["type"] != "ROI" or roi.get("roiType", "Box") != "Box":
        raise ValueError(f"markup {number} is a {roi['type']}; only ROIs of type Box are boxes")
    label, number, score = _named(roi, number)
    corners = _corners_lps_mm(roi)
    low, high = corners.min(axis=0), corners.max(axis=0)
    boxes = _boxes(corners, geometry)
    if not boxes:
        raise ValueError(f"ROI '{roi.get('name', number)}' lies outside the image")
    center = (low + high) / 2
    return Finding(
        id=number,
        label=label,
        score=score,
        boxes=boxes,
        box_lps_mm=(*map(float, low), *map(float, high)),  # type: ignore[arg-type]
        center_lps_mm=(float(center[0]), float(center[1]), float(center[2])),
        frame_scores=dict.fromkeys(boxes, score),
    )


def _named(roi: dict[str, Any], number: int) -> tuple[str, int, float]:
    names = [str(roi["controlPoints"][0].get("label", "")), str(roi.get("name", ""))]
    for name in names:
        if match := OUR_NAME.fullmatch(name):
            return match["label"], int(match["id"]), min(1.0, float(match["score"]))
    own = [name.strip() for name in names if not GENERIC_NAMES.fullmatch(name.strip())]
    label = re.sub(r"[\s_-]*\d+$", "", own[0]) if own else ""  # Slicer numbers the control points: "cyst-1"
    return label or DEFAULT_LABEL, number, 1.0


def _corners_lps_mm(roi: dict[str, Any]) -> FloatArray:
    """The eight corners, (8, 3)."""
    center = np.array(roi.get("center") or roi["controlPoints"][0]["position"], np.float64)
    size = np.array(roi["size"], np.float64)
    axes = np.array(roi.get("orientation") or np.eye(3).ravel(), np.float64).reshape(3, 3)
    if not (np.isfinite([*center, *size, *axes.ravel()]).all() and center.shape == size.shape == (3,)):
        raise ValueError("centre, size and orientation must be finite numbers")
    if not (size > 0).all():
        raise ValueError(f"ROI '{roi.get('name', '')}' has size {size.tolist()}")
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    corners = center + (signs * size) @ axes.T
    flip = np.array([-1.0, -1.0, 1.0]) if str(roi.get("coordinateSystem", "LPS")).upper() == "RAS" else 1.0
    return np.asarray(corners * flip)


def _boxes(corners_lps_mm: FloatArray, geometry: VolumeGeometry) -> dict[int, Box]:
    """The outline on every frame whose centre lies in the ROI, else on the nearest one, cut at the image's edge."""
    points = np.c_[corners_lps_mm, np.ones(8)] @ np.linalg.inv(geometry.affine_lps).T[:, :3]
    (low_x, low_y, low_t), (high_x, high_y, high_t) = np.round(points.min(0), 4), np.round(points.max(0), 4)
    width, height, n_frames = frame_size(geometry)
    box = (max(low_x + 0.5, 0.0), max(low_y + 0.5, 0.0), min(high_x + 0.5, width), min(high_y + 0.5, height))
    first, last = ceil(low_t), floor(high_t)
    if first > last:
        first = last = round((low_t + high_t) / 2)
    if not (box[0] < box[2] and box[1] < box[3]):
        return {}
    return {t: tuple(float(v) for v in box) for t in range(max(first, 0), min(last, n_frames - 1) + 1)}  # type: ignore[misc]
