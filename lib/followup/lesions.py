# SPDX-License-Identifier: Apache-2.0
"""Where the lesions of a visit are, in its own frames and in those of the other visit.

Nothing is resampled: a lesion is taken to the other visit as points, the centres of its voxels, or of the pixels inside
its boxes where it has no mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..transforms.registration import frame_indices, frame_origins
from ..types import Box, Finding, FloatArray, Sequence
from .growth import BoolArray, Size, sizes_of

MAX_POINTS = 5000


@dataclass(frozen=True)
class VisitFindings:
    """What was found at a visit.

    Attributes:
        sequence: Where its frames lie; the intensities are not looked at.
        findings: On these frames; those without a box are left out.
        instances: (T, H, W), the id of the finding that a voxel belongs to, 0 for none; None for boxes only.
    """

    sequence: Sequence
    findings: tuple[Finding, ...]
    instances: npt.NDArray[np.integer[Any]] | None = None


@dataclass(frozen=True)
class Way:
    """How the points of a visit come to the other one.

    Attributes:
        to_common: From its LPS mm to those in which lesions are compared, (4, 4).
        to_other: From those to the LPS mm of the other visit, (4, 4).
        other: The other visit's frames.
    """

    to_common: FloatArray
    to_other: FloatArray
    other: Sequence


@dataclass(frozen=True)
class Lesion:
    """A lesion and where it is.

    Attributes:
        finding: As it was found.
        sizes: As :func:`lib.followup.growth.sizes_of` gives them.
        mask: Its voxels (t, h, w) in a part of its frames.
        start: First frame, row and column of that part.
        elsewhere: Frame, row and column of its points at the other visit, (3, N).
        center: Of mass, in the LPS mm in which lesions are compared, (3,).
        reach_mm: From the centre to its farthest side.
        volume: In mm3, of its boxes where it has no mask.
        elsewhere_frame: Frame of the other visit that its centre lies on; None where it is outside the images.
    """

    finding: Finding
    sizes: dict[str, Size]
    mask: BoolArray
    start: tuple[int, int, int]
    elsewhere: npt.NDArray[np.intp]
    center: FloatArray
    reach_mm: float
    volume: float
    elsewhere_frame: int | None


def lesions_at(visit: VisitFindings, way: Way) -> list[Lesion]:
    """The lesions of a visit that have a box."""
    regions = [] if visit.instances is None else ndimage.find_objects(visit.instances)
    found = []
    for finding in visit.findings:
        if not finding.boxes:
            continue
        region = regions[finding.id - 1] if 0 < finding.id <= len(regions) else None
        if visit.instances is not None and region is not None:
            start, mask = (region[0].start, region[1].start, region[2].start), visit.instances[region] == finding.id
            sizes = sizes_of(finding, visit.sequence, mask, start[0])
        else:
            start, mask = _rasterised(finding.boxes)
            sizes = sizes_of(finding, visit.sequence, None)
        found.append(_lesion(finding, sizes, mask, start, visit.sequence, way))
    return found


def _lesion(
    finding: Finding,
    sizes: dict[str, Size],
    mask: BoolArray,
    start: tuple[int, int, int],
    sequence: Sequence,
    way: Way,
) -> Lesion:
    voxels = np.argwhere(mask) + start
    volumes = _frame_volumes(sequence)[np.clip(voxels[:, 0], 0, len(sequence.positions) - 1)]
    points = _moved(_points(sequence, voxels), way.to_common)
    center = np.average(points, axis=0, weights=volumes)
    sampled = points[:: len(points) // MAX_POINTS + 1]
    there = np.rint(frame_indices(way.other, _moved(np.vstack([center, sampled]), way.to_other))).astype(np.intp)
    frames, _, height, width = way.other.frames.shape
    inside = bool((there[:, 0] >= 0).all() and (there[:, 0] < (frames, height, width)).all())
    return Lesion(
        finding=finding,
        sizes=sizes,
        mask=mask,
        start=start,
        elsewhere=there[:, 1:],
        center=center,
        reach_mm=float(np.ptp(points, axis=0).max() + max(*sequence.spacing_mm, frame_step_mm(sequence))) / 2,
        volume=float(volumes.sum()),
        elsewhere_frame=int(there[0, 0]) if inside else None,
    )


def _rasterised(boxes: dict[int, Box]) -> tuple[tuple[int, int, int], BoolArray]:
    """The pixels whose centres are inside the boxes, at least one of each: where they start, and (t, h, w)."""
    whole = {}
    for t, (x0, y0, x1, y1) in boxes.items():
        left, top = round(x0), round(y0)
        whole[t] = (left, top, max(round(x1), left + 1), max(round(y1), top + 1))
    corners = np.array(list(whole.values()))
    (x, y), (right, bottom) = corners[:, :2].min(axis=0).tolist(), corners[:, 2:].max(axis=0).tolist()
    first = min(whole)
    mask = np.zeros((max(whole) - first + 1, bottom - y, right - x), np.bool_)
    for t, (x0, y0, x1, y1) in whole.items():
        mask[t - first, y0 - y : y1 - y, x0 - x : x1 - x] = True
    return (first, y, x), mask


def _points(sequence: Sequence, voxels: npt.NDArray[np.intp]) -> FloatArray:
    """LPS mm (N, 3) of frame, row and column indices (N, 3)."""
    origins = frame_origins(sequence)[np.clip(voxels[:, 0], 0, len(sequence.positions) - 1)]
    return np.asarray(origins + voxels[:, :0:-1] @ sequence.affine_lps[:3, :2].T)


def _moved(points: FloatArray, affine: FloatArray) -> FloatArray:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def frame_step_mm(sequence: Sequence) -> float:
    """Mean distance between frames."""
    edges = sequence.slice_edges_mm
    return float((edges[-1] - edges[0]) / (len(edges) - 1))


def _frame_volumes(sequence: Sequence) -> FloatArray:
    """Volume of a voxel of each frame in mm3, (T,)."""
    return np.asarray(sequence.spacing_mm[0] * sequence.spacing_mm[1] * np.diff(sequence.slice_edges_mm))


def shares_of(before: Lesion, after: Lesion) -> tuple[float, float]:
    """Part of the earlier lesion that lies in the later one, and of the later that lies in the earlier."""
    if np.linalg.norm(before.center - after.center) > 2 * (before.reach_mm + after.reach_mm):
        return 0.0, 0.0
    return _share_inside(before, after), _share_inside(after, before)


def _share_inside(lesion: Lesion, other: Lesion) -> float:
    index = lesion.elsewhere - np.array(other.start)[:, None]
    within = ((index >= 0) & (index < np.array(other.mask.shape)[:, None])).all(axis=0)
    return float(np.count_nonzero(other.mask[tuple(index[:, within])]) / index.shape[1])
