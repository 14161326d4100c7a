# SPDX-License-Identifier: Apache-2.0
"""3D Slicer Markups files (schema 1.0.3) with ROIs -> findings."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np

from ..transforms.geometry import VolumeGeometry
from ..transforms.labels import Grid
from ..types import Box, Finding, FloatArray, InputError

# What lib.infers.writers puts into the names, because Slicer keeps nothing else: "lesion 2 0.87".
OUR_NAME = re.compile(r"(?P<label>.+) (?P<id>\d+) (?P<score>[01]\.\d\d)")
GENERIC_NAMES = re.compile(r"(Detection ROI|ROI|R|R_ROI|MarkupsROI)?[\s_-]*\d*", re.IGNORECASE)
DEFAULT_LABEL = "lesion"
EDGE_MM = 1e-3
"""ROIs end at slice edges, and files round."""


def findings_from_markups(data: dict[str, Any], grid: Grid, name: str) -> list[Finding]:
    """One finding per ROI that has a control point; an ROI without one says that nothing was found.

    Label and score come from names that this app wrote; another name is the label, and the score is 1 because a
    person drew it.

    Args:
        data: The document.
        grid: Of the image.
        name: Of the file, for messages.

    Raises:
        InputError: If a markup is not an ROI box, or lies outside the image.
    """
    try:
        rois = [roi for roi in data["markups"] if roi["type"] != "ROI" or roi["controlPoints"]]
        findings = [_finding(roi, number, grid) for number, roi in enumerate(rois, 1)]
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


def _finding(roi: dict[str, Any], number: int, grid: Grid) -> Finding:
    if roi["type"] != "ROI" or roi.get("roiType", "Box") != "Box":
        raise ValueError(f"markup {number} is a {roi['type']}; only ROIs of type Box are boxes")
    label, number, score = _named(roi, number)
    corners = _corners_lps_mm(roi)
    low, high = corners.min(axis=0), corners.max(axis=0)
    boxes = _boxes(corners, grid)
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


def _boxes(corners_lps_mm: FloatArray, grid: Grid) -> dict[int, Box]:
    """The outline on every frame whose centre lies in the ROI, else on the nearest one, cut at the image's edge."""
    width, height, n_frames = frame_size(grid.geometry)
    affine = grid.geometry.affine_lps
    origins = grid.origins_lps_mm
    if origins is None:
        origins = affine[:3, 3] + np.arange(n_frames)[:, None] * affine[:3, 2]
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    extent, places = corners_lps_mm @ normal, origins @ normal
    low, high = extent.min() - EDGE_MM, extent.max() + EDGE_MM
    inside = np.flatnonzero((places >= low) & (places <= high))
    if not len(inside) and places.min() <= high and places.max() >= low:
        inside = np.abs(places - (low + high) / 2).argmin(keepdims=True)
    boxes = {int(t): _outline(corners_lps_mm - origins[t], affine, width, height) for t in inside}
    return {t: box for t, box in boxes.items() if box[0] < box[2] and box[1] < box[3]}


def _outline(corners_mm: FloatArray, affine: FloatArray, width: int, height: int) -> Box:
    """The box around corners, given from a frame's first pixel, on that frame, cut at its edge."""
    x, y = np.round(np.linalg.pinv(affine[:3, :2]) @ corners_mm.T, 4)
    return (
        float(max(x.min() + 0.5, 0.0)),
        float(max(y.min() + 0.5, 0.0)),
        float(min(x.max() + 0.5, width)),
        float(min(y.max() + 0.5, height)),
    )
