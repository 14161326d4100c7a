# SPDX-License-Identifier: Apache-2.0
"""Where the voxels of a chest phantom lie.

Chest coordinates are mm: x to Left, y to Posterior, z to Superior, about the middle of the chest at the carina.
"""

from __future__ import annotations

from dataclasses import dataclass

from .fields import Field


@dataclass(frozen=True)
class ChestGrid:
    """Where voxels lie in chest coordinates: ``z`` (T, 1, 1), ``y`` (1, H, 1), ``x`` (1, 1, W) in mm, and the spacing.

    Attributes:
        x, y, z: positions of the voxel centres.
        spacing_mm: ``(x, y, z)``, in chest mm.
    """

    x: Field
    y: Field
    z: Field
    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, W)``."""
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]

    @property
    def axes_mm(self) -> tuple[Field, Field, Field]:
        """Positions along z, y and x."""
        return self.z.ravel(), self.y.ravel(), self.x.ravel()
