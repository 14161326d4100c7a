# SPDX-License-Identifier: Apache-2.0
"""Volume array <-> ordered frames, whatever the orientation of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel.orientations as orientations
import numpy as np
import numpy.typing as npt

from ..types import Box, Box3d, FloatArray, Sequence

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Patient directions in which column, row and frame index grow, by the axis along which the frames lie.
# Rows run as a radiologist looks at them: from anterior (axial) or superior (sagittal, coronal) downwards.
FRAME_AXES = {"S": ("L", "P", "S"), "L": ("P", "I", "L"), "P": ("L", "I", "P")}
ANISOTROPY = 1.2


@dataclass(frozen=True)
class VolumeGeometry:
    """How the axes of an (X, Y, Z) array relate to frames (T, H, W) and to the patient.

    Attributes:
        shape: Of the volume array.
        to_frame_axes: nibabel orientation transform from the array to (W, H, T).
        affine_lps: Maps frame indices (x, y, t, 1) to LPS mm.
        array_affine_lps: Maps indices of the volume array to LPS mm.
    """

    shape: tuple[int, int, int]
    to_frame_axes: FloatArray
    affine_lps: FloatArray
    array_affine_lps: FloatArray

    @classmethod
    def from_affine(
        cls, affine_ras: FloatArray, shape: tuple[int, int, int], *, keep_slices: bool = False
    ) -> VolumeGeometry:
        """Find the frame axis: of a single slice, across it; else the one with the widest spacing; else axial.

        Args:
            affine_ras: Voxel index to RAS mm, (4, 4), as in NIfTI.
            shape: (X, Y, Z).
            keep_slices: The frames must be the slices along Z, as they were acquired: their spacing is uneven, so
                there are no other planes to cut.
        """
        source = orientations.io_orientation(affine_ras)
        spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
        widest = int(np.argmax(spacing))
        anisotropic = spacing[widest] > ANISOTROPY * np.delete(spacing, widest).max()
        if shape.count(1) == 1:
            widest, anisotropic = shape.index(1), True
        if keep_slices:
            widest, anisotropic = 2, True
        frame_code = ("L", "P", "S")[int(source[widest, 0])] if anisotropic else "S"
        target = orientations.axcodes2ornt(FRAME_AXES[frame_code])
        transform = orientations.ornt_transform(source, target)
        affine = affine_ras @ orientations.inv_ornt_aff(transform, shape)
        return cls(shape, transform, RAS_TO_LPS @ affine, RAS_TO_LPS @ affine_ras)

    @classmethod
    def as_stored(cls, affine_lps: FloatArray, shape: tuple[int, int, int]) -> VolumeGeometry:
        """Frames are the (X, Y) planes of the array as they are, for images without a place in the patient."""
        identity = orientations.axcodes2ornt("RAS")
        return cls(shape, identity, affine_lps, affine_lps)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between centres along column and row, and between frames along their normal, in mm."""
        return affine_spacing_mm(self.affine_lps)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    def to_frames(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(X, Y, Z, ...) -> (T, H, W, ...)."""
        oriented = orientations.apply_orientation(volume, self.to_frame_axes)
        return np.swapaxes(oriented, 0, 2)

    def to_volume(self, frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(T, H, W) -> (X, Y, Z): the inverse of :meth:`to_frames`."""
        back = np.empty_like(self.to_frame_axes)
        for source, (target, flip) in enumerate(self.to_frame_axes):
            back[int(target)] = (source, flip)
        return orientations.apply_orientation(np.swapaxes(frames, 0, 2), back)  # type: ignore[no-any-return]

    @property
    def frames_are_slices(self) -> bool:
        """Whether each frame is one (X, Y) plane of the array."""
        return int(self.to_frame_axes[2, 0]) == 2

    def boxes_to_array(self, boxes: dict[int, Box]) -> dict[int, Box]:
        """Boxes on frames -> boxes on the (X, Y) planes of the array, by Z index.

        Where frames are not planes of the array, every plane that the boxes reach gets the outline of all of them.
        """
        return _mapped_boxes(boxes, np.linalg.inv(self.array_affine_lps) @ self.affine_lps, self.frames_are_slices)

    def boxes_to_frames(self, boxes: dict[int, Box]) -> dict[int, Box]:
        """Boxes on the (X, Y) planes of the array -> boxes on frames: the inverse of :meth:`boxes_to_array`."""
        return _mapped_boxes(boxes, np.linalg.inv(self.affine_lps) @ self.array_affine_lps, self.frames_are_slices)

    def positions_mm(self, n_frames: int) -> tuple[float, ...]:
        """Position of each frame along the stack in mm, the first at 0."""
        return tuple(float(t * self.spacing_mm[2]) for t in range(n_frames))


def _mapped_boxes(boxes: dict[int, Box], index_to_index: FloatArray, plane_to_plane: bool) -> dict[int, Box]:
    """Map boxes by the affine between two index spaces, a signed permutation of the axes."""
    if not boxes:
        return {}
    if plane_to_plane:
        return {_plane(index_to_index, t): _mapped_box(index_to_index, {t: box})[:4] for t, box in boxes.items()}
    x0, y0, x1, y1, low, high = _mapped_box(index_to_index, boxes)
    return {t: (x0, y0, x1, y1) for t in range(round(low + 0.5), round(high + 0.5))}


def _plane(index_to_index: FloatArray, t: int) -> int:
    return round(float((index_to_index @ np.array([0.0, 0.0, t, 1.0]))[2]))


def _mapped_box(index_to_index: FloatArray, boxes: dict[int, Box]) -> tuple[float, float, float, float, float, float]:
    """(x0, y0, x1, y1) in outer pixel edges, and the outer edges along the frame axis in indices."""
    low_x, low_y, low_t, high_x, high_y, high_t = box_lps(index_to_index, boxes)
    return (
        round(low_x + 0.5, 4),
        round(low_y + 0.5, 4),
        round(high_x + 0.5, 4),
        round(high_y + 0.5, 4),
        low_t,
        high_t,
    )


def affine_spacing_mm(affine: FloatArray) -> tuple[float, float, float]:
    """Distance between centres along the first and second index, and between planes along their normal, in mm.

    Under gantry tilt the planes are nearer to each other than the step from one to the next is long.
    """
    x, y = np.linalg.norm(affine[:3, 0]), np.linalg.norm(affine[:3, 1])
    normal = np.cross(affine[:3, 0], affine[:3, 1]) / (x * y)
    length = np.linalg.norm(normal)  # below 1 where the first two axes are not at right angles
    return float(x), float(y), float(abs(affine[:3, 2] @ normal) / length)


def unsheared(affine: FloatArray) -> FloatArray:
    """The affine of a stack whose slices lie straight above each other, as ITK programs (3D Slicer) show all stacks.

    Rows and columns of the first slice, and the distance between the slices, stay as they are. An affine with right
    angles comes back unchanged.
    """
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal = normal / np.linalg.norm(normal)
    straight = affine.copy()
    straight[:3, 2] = normal * (affine[:3, 2] @ normal)
    return straight


def point_lps(affine_lps: FloatArray, x: float, y: float, t: float) -> tuple[float, float, float]:
    """Frame indices (voxel centres at whole numbers) -> LPS mm."""
    px, py, pz = (affine_lps @ np.array([x, y, t, 1.0]))[:3]
    return float(px), float(py), float(pz)


def box_lps(affine_lps: FloatArray, boxes: dict[int, Box]) -> Box3d:
    """The axis-aligned LPS box around per-frame pixel boxes, outer voxel edges, in mm.

    Args:
        affine_lps: Frame indices to LPS mm.
        boxes: By frame; at least one.
    """
    x0, y0 = (min(box[i] for box in boxes.values()) - 0.5 for i in (0, 1))
    x1, y1 = (max(box[i] for box in boxes.values()) - 0.5 for i in (2, 3))
    t0, t1 = min(boxes) - 0.5, max(boxes) + 0.5
    corners = np.array([point_lps(affine_lps, x, y, t) for x in (x0, x1) for y in (y0, y1) for t in (t0, t1)])
    low, high = corners.min(0), corners.max(0)
    return (float(low[0]), float(low[1]), float(low[2]), float(high[0]), float(high[1]), float(high[2]))


def sequence_point_lps(sequence: Sequence, x: float, y: float, t: float) -> tuple[float, float, float]:
    """As :func:`point_lps`, along the true positions of unevenly spaced frames."""
    if sequence.origins_lps_mm is None:
        return point_lps(sequence.affine_lps, x, y, t)
    at = np.arange(len(sequence.origins_lps_mm))
    origin = np.array([_extrapolated(t, at, axis) for axis in sequence.origins_lps_mm.T])
    px, py, pz = origin + sequence.affine_lps[:3, :2] @ np.array([x, y])
    return float(px), float(py), float(pz)


def sequence_box_lps(sequence: Sequence, boxes: dict[int, Box]) -> Box3d:
    """As :func:`box_lps`, along the true positions of unevenly spaced frames."""
    if sequence.origins_lps_mm is None:
        return box_lps(sequence.affine_lps, boxes)
    x0, y0 = (min(box[i] for box in boxes.values()) - 0.5 for i in (0, 1))
    x1, y1 = (max(box[i] for box in boxes.values()) - 0.5 for i in (2, 3))
    ends = (min(boxes) - 0.5, max(boxes) + 0.5)
    corners = np.array([sequence_point_lps(sequence, x, y, t) for x in (x0, x1) for y in (y0, y1) for t in ends])
    (ax, ay, az), (bx, by, bz) = corners.min(0), corners.max(0)
    return (float(ax), float(ay), float(az), float(bx), float(by), float(bz))


def _extrapolated(t: float, at: npt.NDArray[Any], values: npt.NDArray[Any]) -> float:
    """Linear interpolation that goes on beyond both ends."""
    if len(at) < 2:
        return float(values[0])
    left = int(np.clip(np.floor(t), 0, len(at) - 2))
    return float(values[left] + (t - left) * (values[left + 1] - values[left]))
