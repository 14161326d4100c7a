# SPDX-License-Identifier: Apache-2.0
"""Lesion sizes in mm and ml.

A mask's outline runs through the midpoints between neighbouring pixels inside and outside (marching squares at 0.5,
as the mesh of IBSI and pyradiomics), so that a row of n pixels is n pixels long and a disc keeps its diameter. Axes
are measured as RECIST 1.1 asks (Eisenhauer et al. Eur J Cancer 2009;45:228-247): in the plane of the frames, on the
frame with the largest area, the longest diameter and the greatest extent perpendicular to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from ..types import Box, FloatArray, Measurement

EDGE_MIDPOINTS = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])


def axes_mm(mask: npt.NDArray[Any], spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Long axis (maximum Feret diameter) and short axis (extent perpendicular to it) of a mask on one frame.

    Args:
        mask: (H, W), non-zero inside; at least one pixel.
        spacing_mm: (x, y) between pixel centres.

    Returns:
        (long, short) in mm.
    """
    inside = mask.astype(bool)
    border = inside & ~binary_erosion(inside)
    centers = np.argwhere(border)[:, ::-1]  # (N, 2) as x, y
    points = (centers[:, None] + EDGE_MIDPOINTS).reshape(-1, 2) * np.asarray(spacing_mm)
    hull = points[ConvexHull(points).vertices]
    distances = squareform(pdist(hull))
    i, j = np.unravel_index(np.argmax(distances), distances.shape)
    long_axis = hull[j] - hull[i]
    across = hull @ np.array([-long_axis[1], long_axis[0]]) / distances[i, j]
    return float(distances[i, j]), float(across.max() - across.min())


def measure_mask(
    mask: npt.NDArray[Any], image: FloatArray, spacing_mm: tuple[float, float], voxel_volumes_ml: FloatArray | None
) -> dict[str, Measurement]:
    """Measure one lesion.

    Args:
        mask: (T, H, W), non-zero inside; at least one voxel. A part of the sequence that holds the lesion will do.
        image: Intensities of the same voxels, (T, H, W).
        spacing_mm: In-plane (x, y).
        voxel_volumes_ml: Volume of a voxel of each frame, (T,); None where frames are not slices of a volume.

    Returns:
        ``long_axis``, ``short_axis`` (mm), ``volume`` (ml, with voxel volumes), ``mean_intensity`` (arbitrary units).
    """
    inside = mask.astype(bool)
    areas = inside.sum(axis=(1, 2))
    largest = inside[int(np.argmax(areas))]
    long_axis, short_axis = axes_mm(largest, spacing_mm)
    measured = {"long_axis": _mm(long_axis), "short_axis": _mm(short_axis)}
    if voxel_volumes_ml is not None:
        measured["volume"] = Measurement(round(float(areas @ voxel_volumes_ml), 4), "ml")
    measured["mean_intensity"] = Measurement(round(float(image[inside].mean(dtype=np.float64)), 3), "a.u.")
    return measured


def measure_boxes(
    boxes: dict[int, Box], spacing_mm: tuple[float, float], depth_mm: float | None
) -> dict[str, Measurement]:
    """Measure the box around per-frame boxes, outer pixel edges.

    Args:
        boxes: By frame; at least one.
        spacing_mm: In-plane (x, y).
        depth_mm: Extent of the boxes' frames; None where frames are not slices of a volume.

    Returns:
        ``width``, ``height`` and, for a volume, ``depth`` in mm.
    """
    corners = np.array(list(boxes.values()))
    width, height = corners[:, 2:].max(axis=0) - corners[:, :2].min(axis=0)
    measured = {"width": _mm(width * spacing_mm[0]), "height": _mm(height * spacing_mm[1])}
    if depth_mm is not None:
        measured["depth"] = _mm(depth_mm)
    return measured


def _mm(value: float) -> Measurement:
    return Measurement(round(float(value), 3), "mm")
