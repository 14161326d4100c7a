# SPDX-License-Identifier: Apache-2.0
"""The frames of an image as a viewer shows them, beside the frames that models see.

Models see every stack the same way round, and an isotropic volume always from below. A DICOM viewer shows the stored
frames as they are. Mostly both are the same; where not, boxes and masks have to be moved from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nibabel.orientations as orientations
import numpy as np
import numpy.typing as npt

from ..types import Box, Finding, FloatArray, Sequence, SequenceKind
from .geometry import RAS_TO_LPS, VolumeGeometry
from .orient import frame_origins_lps_mm, sequence_geometry

Corner = tuple[int, int, int]
"""First frame, row and column of a part of the frames."""


@dataclass(frozen=True)
class ShownFrames:
    """The frames of one volume or clip, as a viewer counts them.

    Of a DICOM image these are its stored frames, pixel for pixel, in the order in which models see them (in stored
    order where models see other planes). Of another file they are the frames that models of stacks see.

    Attributes:
        geometry: Leads from the image's array (X, Y, Z) to these frames.
        positions: Of each frame, (T,), in ``position_unit``.
        position_unit: mm along the normal, or s.
        spacing_mm: Between pixels along rows (x) and columns (y), and between frames; 0 where frames are moments.
        sop_instance_uids: Of each frame; empty without DICOM.
        frame_numbers: Of each frame within its instance, from 1; empty without DICOM.
        origins_lps_mm: Centre of each frame's first pixel in LPS mm, (T, 3), where the slices are unevenly spaced; None
            where the geometry's affine is exact.
    """

    geometry: VolumeGeometry
    positions: tuple[float, ...]
    position_unit: str
    spacing_mm: tuple[float, float, float]
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...]
    origins_lps_mm: FloatArray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns)."""
        sizes = [0, 0, 0]
        for size, (target, _) in zip(self.geometry.shape, self.geometry.to_frame_axes, strict=True):
            sizes[2 - int(target)] = size
        return sizes[0], sizes[1], sizes[2]

    def same_as(self, geometry: VolumeGeometry) -> bool:
        """Whether these are the frames that models see, in the geometry that leads to those."""
        return bool(np.array_equal(self.geometry.to_frame_axes, geometry.to_frame_axes))

    def same_order_as(self, geometry: VolumeGeometry) -> bool:
        """Whether frame ``t`` shows what models see on frame ``t``, be it another way round."""
        ours, theirs = self.geometry.to_frame_axes, geometry.to_frame_axes
        along = [int(np.flatnonzero(axes[:, 0] == 2)[0]) for axes in (ours, theirs)]
        return along[0] == along[1] and bool(ours[along[0], 1] == theirs[along[0], 1])

    def to_json(self) -> dict[str, Any]:
        """What a client has to know to place something on a frame."""
        _, rows, columns = self.shape
        return {
            "positions": [round(position, 4) for position in self.positions],
            "position_unit": self.position_unit,
            "sop_instance_uids": list(self.sop_instance_uids),
            "frame_numbers": list(self.frame_numbers),
            "rows": rows,
            "columns": columns,
            "spacing_mm": [round(mm, 4) for mm in self.spacing_mm],
            "affine_lps": _rounded(self.geometry.affine_lps, 6),
            "origins_lps_mm": None if self.origins_lps_mm is None else _rounded(self.origins_lps_mm, 4),
        }


def _rounded(rows: FloatArray, digits: int) -> list[list[float]]:
    return [[round(float(value), digits) for value in row] for row in rows]


def shown_frames(sequence: Sequence) -> ShownFrames:
    """The frames of a sequence for a viewer.

    Args:
        sequence: As its source stores it, before :func:`lib.transforms.orient.oriented`.
    """
    if not sequence.sop_instance_uids:
        return _of_file(sequence)
    geometry = _stored_planes(sequence_geometry(sequence))
    order = list(range(geometry.shape[2]))[:: int(geometry.to_frame_axes[2, 1])]
    positions = [sequence.positions[z] for z in order]
    is_stack = sequence.kind is SequenceKind.STACK
    if is_stack:
        positions = [abs(position - positions[0]) for position in positions]
    x, y, step = geometry.spacing_mm
    return ShownFrames(
        geometry=geometry,
        positions=tuple(positions),
        position_unit=sequence.position_unit,
        spacing_mm=(x, y, step if is_stack else 0.0),
        sop_instance_uids=tuple(sequence.sop_instance_uids[z] for z in order),
        frame_numbers=tuple(sequence.frame_numbers[z] for z in order),
        origins_lps_mm=frame_origins_lps_mm(sequence, geometry),
    )


def _of_file(sequence: Sequence) -> ShownFrames:
    """A file does not say whether it is a stack or a clip: whatever reads it, its frames are counted as a stack's."""
    n_frames, _, rows, columns = sequence.frames.shape
    geometry = VolumeGeometry.from_affine(RAS_TO_LPS @ sequence.affine_lps, (columns, rows, n_frames))
    shown = ShownFrames(geometry, (), "mm", geometry.spacing_mm, (), ())
    return replace(shown, positions=geometry.positions_mm(shown.shape[0]))


def _stored_planes(geometry: VolumeGeometry) -> VolumeGeometry:
    """The (X, Y) planes of the array as they are, in the order in which models see them."""
    backwards = geometry.frames_are_slices and geometry.to_frame_axes[2, 1] < 0
    axes = np.array([[0, 1], [1, 1], [2, -1 if backwards else 1]], np.float64)
    affine_lps = geometry.array_affine_lps @ orientations.inv_ornt_aff(axes, geometry.shape)
    return VolumeGeometry(geometry.shape, axes, affine_lps, geometry.array_affine_lps)


def boxes_on(boxes: dict[int, Box], source: VolumeGeometry, target: VolumeGeometry) -> dict[int, Box]:
    """Boxes on the frames of one geometry of an image -> boxes on the frames of another.

    Where the planes differ, every frame that the boxes reach gets the outline of all of them.
    """
    if np.array_equal(source.to_frame_axes, target.to_frame_axes) or not boxes:
        return boxes
    planes = {z: box for z, box in source.boxes_to_array(boxes).items() if 0 <= z < source.shape[2]}
    return target.boxes_to_frames(planes)


def findings_on(findings: list[Finding], source: VolumeGeometry, target: VolumeGeometry) -> list[Finding]:
    """As :func:`boxes_on`; places in mm stay, and scores of frames where the planes are the same."""
    if np.array_equal(source.to_frame_axes, target.to_frame_axes):
        return findings
    return [_finding_on(finding, source, target) for finding in findings]


def _finding_on(finding: Finding, source: VolumeGeometry, target: VolumeGeometry) -> Finding:
    slices = source.frames_are_slices and target.frames_are_slices
    unit = (0.0, 0.0, 1.0, 1.0)
    scores = {
        frame: score
        for t, score in (finding.frame_scores.items() if slices else ())
        for frame in boxes_on({t: unit}, source, target)
    }
    return replace(finding, boxes=boxes_on(finding.boxes, source, target), frame_scores=scores)


def region_on(
    mask: npt.NDArray[np.bool_], corner: Corner, source: VolumeGeometry, target: VolumeGeometry
) -> tuple[npt.NDArray[np.bool_], Corner]:
    """A part of the frames of one geometry of an image -> the same part of the frames of another.

    Args:
        mask: (t, h, w).
        corner: Where its first voxel lies.
        source: Of the frames it is cut from.
        target: Of the frames it shall be on.

    Returns:
        The mask there, and where its first voxel lies.
    """
    if np.array_equal(source.to_frame_axes, target.to_frame_axes):
        return mask, corner
    steps = np.rint(np.linalg.inv(target.affine_lps) @ source.affine_lps).astype(int)  # a signed permutation
    part, low = mask.transpose(2, 1, 0), corner[::-1]
    axes = np.abs(steps[:3, :3]).argmax(axis=1)  # of each axis of the target, the axis of the source
    signs = [int(steps[i, axis]) for i, axis in enumerate(axes)]
    moved = part.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    x, y, t = (
        int(steps[i, 3]) + (low[axis] if sign > 0 else 1 - low[axis] - part.shape[axis])
        for i, (axis, sign) in enumerate(zip(axes, signs, strict=True))
    )
    return moved.transpose(2, 1, 0), (t, y, x)
