# SPDX-License-Identifier: Apache-2.0
"""Branching tubes through the lungs: the round spot that a vessel is on one slice goes on to the next ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .chest_grid import ChestGrid
from .fields import Field

SMALLEST_MM, LARGEST_MM = 0.55, 5.5
"""Radius at which branches end, and of the trunk at the hilum."""
Point = NDArray[np.float64]


@dataclass(frozen=True)
class Capsule:
    """A straight piece of a tube: its ends ``(x, y, z)`` in chest mm and its radius."""

    start: Point
    end: Point
    radius_mm: float


def vessel_tree(rng: np.random.Generator, side: int) -> list[Capsule]:
    """Arteries and veins of a lung.

    Args:
        rng: the only source of randomness.
        side: 1 for the left lung, -1 for the right one.
    """
    tubes: list[Capsule] = []
    for up in (1.2, 0.8, 0.3, -0.3, -0.7, -1.1):
        start = np.array([side * 30.0, rng.normal(8, 5), 12.0 * up])
        heading = np.array([side * rng.uniform(0.6, 1.0), rng.normal(0, 0.6), up])
        _branch(rng, tubes, start, heading / np.linalg.norm(heading), rng.uniform(0.6, 1.0) * LARGEST_MM)
    return tubes


def _branch(rng: np.random.Generator, tubes: list[Capsule], start: Point, heading: Point, radius_mm: float) -> None:
    length_mm = (7.0 + 4.5 * radius_mm) * rng.uniform(0.7, 1.3)
    bent = heading + rng.normal(0, 0.12, 3)
    end = start + length_mm * bent / np.linalg.norm(bent)
    tubes.append(Capsule(start, end, radius_mm))
    for share in (rng.uniform(0.78, 0.92), rng.uniform(0.55, 0.75)):
        if radius_mm * share >= SMALLEST_MM:
            turned = bent + rng.normal(0, 0.75 if share < 0.78 else 0.35, 3)
            _branch(rng, tubes, end, turned / np.linalg.norm(turned), radius_mm * share)


def airways(rng: np.random.Generator) -> list[Capsule]:
    """The air in trachea and main bronchi."""
    carina = np.array([0.0, 12.0, rng.normal(12, 4)])
    trachea = Capsule(carina, carina + np.array([0.0, -12.0, 150.0]), rng.uniform(7, 9))
    ends = [carina + np.array([side * 36.0, 4.0, -26.0]) for side in (-1, 1)]
    return [trachea, *(Capsule(carina, end, rng.uniform(4.5, 6)) for end in ends)]


def add_capsules(grid: ChestGrid, capsules: list[Capsule]) -> Field:
    """How much of each voxel the tubes fill together, ``(T, H, W)``, 0 to 1.

    An edge is as wide as the voxel is in the direction of the edge's normal, so that thick slices blur what runs
    along them and keep sharp what runs through them.
    """
    covered = np.zeros(grid.shape, np.float32)
    for capsule in capsules:
        block = _block(grid, capsule)
        if block is not None:
            np.maximum(covered[block], _coverage(grid, capsule, block), out=covered[block])
    return covered


def _block(grid: ChestGrid, capsule: Capsule) -> tuple[slice, slice, slice] | None:
    """The part of the grid that a tube can reach."""
    parts = []
    axes = grid.z.ravel(), grid.y.ravel(), grid.x.ravel()
    for axis, p, q, step in zip(axes, capsule.start[::-1], capsule.end[::-1], grid.spacing_mm[::-1], strict=True):
        reach = capsule.radius_mm + step
        first, end = np.searchsorted(axis, (min(p, q) - reach, max(p, q) + reach))
        if first == end:
            return None
        parts.append(slice(int(first), int(end)))
    return parts[0], parts[1], parts[2]


def _coverage(grid: ChestGrid, capsule: Capsule, block: tuple[slice, slice, slice]) -> Field:
    z = grid.z[block[0]] - np.float32(capsule.start[2])
    y = grid.y[:, block[1]] - np.float32(capsule.start[1])
    x = grid.x[:, :, block[2]] - np.float32(capsule.start[0])
    along = (capsule.end - capsule.start).astype(np.float32)
    t = np.clip((x * along[0] + y * along[1] + z * along[2]) / max(float(along @ along), 1e-6), 0, 1)
    dz = z - t * along[2]
    distance = np.sqrt((x - t * along[0]) ** 2 + (y - t * along[1]) ** 2 + dz**2)
    steep = np.abs(dz) / np.maximum(distance, np.float32(1e-3))
    width = grid.spacing_mm[0] * (1 - steep) + grid.spacing_mm[2] * steep
    filled: Field = np.clip(0.5 + (np.float32(capsule.radius_mm) - distance) / width, 0, 1).astype(np.float32)
    return filled
