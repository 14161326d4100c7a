# SPDX-License-Identifier: Apache-2.0
"""What a phantom is: a stack or a cine with the exact truth about its lesions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box2d = tuple[int, int, int, int]


@dataclass(frozen=True)
class PhantomLesion:
    """One lesion; every number is taken from the discrete mask.

    Attributes:
        id: the lesion's value in the instance mask, from 1; the same lesion keeps its id over visits.
        center_lps_mm: centroid of the voxel centres, LPS mm.
        volume_mm3: number of voxels times the voxel volume.
        box_lps_mm: ``(x0, y0, z0, x1, y1, z1)``, the outer voxel edges, LPS mm.
        frame_boxes: frame to ``(x0, y0, x1, y1)`` pixels, x1 and y1 exclusive: the box of the whole
            cross-section on that frame, also where it falls into several parts.
        label: what kind of lesion it is.
    """

    id: int
    center_lps_mm: tuple[float, float, float]
    volume_mm3: float
    box_lps_mm: tuple[float, ...]
    frame_boxes: dict[int, Box2d]
    label: str = "lesion"


@dataclass(frozen=True)
class PhantomStack:
    """An axial head or chest stack: frames run from inferior to superior.

    Attributes:
        image: ``(T, H, W)`` uint16 of a head, int16 (HU) of a chest.
        mask: ``(T, H, W)`` uint8, in a lesion the value of its label (from 1), 0 outside.
        instances: ``(T, H, W)`` uint8, the lesion's id.
        spacing_mm: ``(x, y, z)`` between voxel centres.
        lesions: the truth, by id.
        day: days since the first visit.
        labels: names of the mask's values, from 1.
        modality: as DICOM calls it.
    """

    image: NDArray[np.uint16] | NDArray[np.int16]
    mask: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    lesions: tuple[PhantomLesion, ...]
    day: int = 0
    labels: tuple[str, ...] = ("lesion",)
    modality: str = "MR"

    @property
    def origin_lps_mm(self) -> tuple[float, float, float]:
        """LPS position of the centre of voxel (0, 0, 0); the grid is centred on the LPS origin."""
        return lps_origin_mm(self.image.shape, self.spacing_mm)

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) RAS affine of the array in (X, Y, Z) order: x to Left, y to Posterior, z to Superior."""
        x, y, z = self.origin_lps_mm
        sx, sy, sz = self.spacing_mm
        affine = np.diag([-sx, -sy, sz, 1.0])
        affine[:3, 3] = -x, -y, z
        return affine


@dataclass(frozen=True)
class PhantomCine:
    """An ultrasound-like clip with one moving lesion.

    Attributes:
        image: ``(T, H, W)`` uint8.
        mask: ``(T, H, W)`` uint8, 1 in the lesion.
        frame_time_ms: time between frames.
        pixel_spacing_mm: ``(x, y)``.
        boxes: frame to ``(x0, y0, x1, y1)`` pixels, x1 and y1 exclusive; only frames that show the lesion.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    frame_time_ms: float
    pixel_spacing_mm: tuple[float, float]
    boxes: dict[int, Box2d]


def lps_origin_mm(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """LPS position of voxel (0, 0, 0) of a centred ``(T, H, W)`` grid."""
    frames, height, width = shape
    sx, sy, sz = spacing_mm
    return (-sx * (width - 1) / 2, -sy * (height - 1) / 2, -sz * (frames - 1) / 2)


def frame_boxes(mask: NDArray[np.bool_]) -> dict[int, Box2d]:
    """Box of everything that is set on each frame of a ``(T, H, W)`` mask; frames without any are left out."""
    boxes = {}
    for frame in np.flatnonzero(mask.any(axis=(1, 2))):
        rows, cols = np.flatnonzero(mask[frame].any(axis=1)), np.flatnonzero(mask[frame].any(axis=0))
        boxes[int(frame)] = (int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1)
    return boxes


def measure(instances: NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> tuple[PhantomLesion, ...]:
    """The truth about every lesion of a ``(T, H, W)`` instance mask, by id."""
    lesions = []
    origin = np.asarray(lps_origin_mm(instances.shape, spacing_mm))
    spacing = np.asarray(spacing_mm)
    for lesion_id, block in enumerate(ndimage.find_objects(instances), start=1):
        if block is None:
            continue
        part = instances[block] == lesion_id
        start = np.array([block[2].start, block[1].start, block[0].start])
        stop = np.array([block[2].stop, block[1].stop, block[0].stop])
        index = np.argwhere(part).mean(axis=0)[::-1] + start
        edges = np.concatenate([origin + (start - 0.5) * spacing, origin + (stop - 0.5) * spacing])
        center = origin + index * spacing
        boxes = {
            frame + block[0].start: (x0 + start[0], y0 + start[1], x1 + start[0], y1 + start[1])
            for frame, (x0, y0, x1, y1) in frame_boxes(part).items()
        }
        lesions.append(
            PhantomLesion(
                id=lesion_id,
                center_lps_mm=(float(center[0]), float(center[1]), float(center[2])),
                volume_mm3=float(part.sum() * spacing.prod()),
                box_lps_mm=tuple(float(edge) for edge in edges),
                frame_boxes={f: (int(b[0]), int(b[1]), int(b[2]), int(b[3])) for f, b in boxes.items()},
            )
        )
    return tuple(lesions)
