# SPDX-License-Identifier: Apache-2.0
"""Which way a lesion has spread: how its centre and its six sides have moved in the patient.

A side is that of the ellipsoid with the lesion's own centre and second moments: ``centre +- sqrt(5) sd`` along the
axis. All voxels have a say in it, weighted by their volume, so that single voxels of a ragged border do not move it,
and nothing is resampled on tilted or uneven slices. How near to the truth that is:
docs/explanation/tracking.md.

A side has moved where it did so by more than the error of the registration and half a voxel of either visit can make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..transforms.registration import frame_origins
from ..types import FloatArray, Sequence
from .growth import DIRECTIONS, displacement_words
from .lesions import Lesion

SIDES = tuple(word for words in DIRECTIONS for word in words)
"""Left, right, posterior, anterior, superior, inferior: both ends of the LPS axes."""
ELLIPSOID = math.sqrt(5)
"""Half axis of an ellipsoid over the standard deviation of its points along it."""


@dataclass(frozen=True)
class Extent:
    """Where a lesion is and how far it reaches.

    Attributes:
        center: Of mass, LPS mm, (3,).
        sides_mm: How far it reaches from the origin to each of :data:`SIDES`, (6,).
        half_voxel_mm: Half the extent of a voxel along the LPS axes, (3,).
    """

    center: FloatArray
    sides_mm: FloatArray
    half_voxel_mm: FloatArray


@dataclass(frozen=True)
class Spread:
    """How a lesion has moved and reached out between two visits.

    Attributes:
        center_mm: Displacement of the centre of mass, LPS mm.
        sides_mm: Outward displacement of each side by its name; negative where the lesion has drawn back.
        tolerance_mm: A displacement up to this one, along left-right, posterior-anterior and superior-inferior, may
            come from the registration and the voxels.
        directions: Sides that have moved outwards by more than the tolerance, the farthest first.
    """

    center_mm: tuple[float, float, float]
    sides_mm: dict[str, float]
    tolerance_mm: tuple[float, float, float]
    directions: tuple[str, ...]

    @property
    def main(self) -> str | None:
        """The side that has moved outwards farthest, or None where none has by more than the tolerance."""
        return self.directions[0] if self.directions else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        known_to_mm = float(np.linalg.norm(self.tolerance_mm) / math.sqrt(3))
        return {
            "center_mm": [round(v, 2) for v in self.center_mm],
            "center": displacement_words(np.array(self.center_mm), known_to_mm),
            "sides_mm": {side: round(mm, 2) for side, mm in self.sides_mm.items()},
            "tolerance_mm": [round(v, 2) for v in self.tolerance_mm],
            "directions": list(self.directions),
            "main": self.main,
        }


def extent_of(lesion: Lesion, sequence: Sequence, to_reference: FloatArray) -> Extent:
    """Where a lesion is, and where its sides are.

    Args:
        lesion: As :func:`lib.followup.lesions.lesions_at` gives it.
        sequence: The frames it is on.
        to_reference: From their LPS mm to those of the visit that all are registered to, (4, 4).
    """
    voxels = np.argwhere(lesion.mask) + lesion.start
    frame = np.clip(voxels[:, 0], 0, len(sequence.positions) - 1)
    thick_mm = np.diff(sequence.slice_edges_mm)
    points = frame_origins(sequence)[frame] + voxels[:, :0:-1] @ sequence.affine_lps[:3, :2].T
    points = points @ to_reference[:3, :3].T + to_reference[:3, 3]
    weights = thick_mm[frame]
    center = np.average(points, axis=0, weights=weights)
    voxel_axes = to_reference[:3, :3] @ sequence.affine_lps[:3, :3]
    within = (voxel_axes**2).sum(axis=1) / 12  # points stand for voxels, which have a spread of their own
    half_axes = ELLIPSOID * np.sqrt(np.average((points - center) ** 2, axis=0, weights=weights) + within)
    sides = np.stack([half_axes + center, half_axes - center], axis=1).reshape(6)
    return Extent(center, sides, np.abs(voxel_axes).sum(axis=1) / 2)


def spread_between(before: Extent, after: Extent, registration_error_mm: float) -> Spread:
    """How the sides of a lesion have moved.

    Args:
        before: At the earlier visit.
        after: At the later one, in the same LPS mm.
        registration_error_mm: How far the transform between the two may be off.
    """
    tolerance = np.sqrt(registration_error_mm**2 + (before.half_voxel_mm**2 + after.half_voxel_mm**2) / 3)
    moved = after.sides_mm - before.sides_mm
    outward = [int(i) for i in np.argsort(-moved, kind="stable") if moved[i] > tolerance[i // 2]]
    shift = (after.center - before.center).tolist()
    return Spread(
        (shift[0], shift[1], shift[2]),
        dict(zip(SIDES, moved.tolist(), strict=True)),
        tuple(tolerance.tolist()),
        tuple(SIDES[i] for i in outward),
    )
