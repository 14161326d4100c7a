# SPDX-License-Identifier: Apache-2.0
"""Lung nodules: solid, ground-glass, part-solid and calcified, alone, at the pleura or at a vessel.

References:
    Hansell et al. Fleischner Society: glossary of terms for thoracic imaging. Radiology 2008 (the kinds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .chest_body import Chest
from .fields import Field, as_field, smooth_noise

KINDS = ("solid", "ground_glass", "part_solid", "calcified")
"""By value in the mask, from 1."""
FREQUENCIES = (0.46, 0.22, 0.16, 0.16)
DIAMETERS_MM = {"solid": (4, 25), "ground_glass": (5, 25), "part_solid": (8, 25), "calcified": (4, 14)}
SOLID_HU, GLASS_HU, CHALK_HU = (-40.0, 50.0), (-680.0, -420.0), (280.0, 900.0)
PLACES = ("free", "pleura", "vessel")
PLACE_SHARES = (0.5, 0.25, 0.25)
MIN_VOXELS = 5
ATTEMPTS = 60

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Nodule:
    """A nodule in a block of the stack.

    Attributes:
        kind: one of :data:`KINDS`.
        block: where in the ``(T, H, W)`` stack.
        mask: ``(t, h, w)``, its voxels.
        inside_mm: ``(t, h, w)``, about the mm inside its outline, negative outside.
        radius_mm: nominal.
    """

    kind: str
    block: Slices
    mask: NDArray[np.bool_]
    inside_mm: Field
    radius_mm: float


def place_nodules(rng: np.random.Generator, chest: Chest, kinds: list[str], exact: bool) -> list[Nodule]:
    """Put nodules into the lungs, at least two voxels apart.

    Args:
        rng: the only source of randomness.
        chest: the anatomy.
        kinds: of each nodule.
        exact: whether one that finds no room is an error; else it is left out.

    Raises:
        ValueError: if a nodule finds no room and ``exact`` is set.
    """
    free = chest.lung.copy()
    nodules = []
    for number, kind in enumerate(kinds, start=1):
        nodule = _placed(rng, chest, kind, free)
        if nodule is not None:
            nodules.append(nodule)
            _occupy(free, nodule)
        elif exact:
            raise ValueError(f"nodule {number} of {len(kinds)} found no room; ask for fewer or for a larger stack")
    return nodules


def _placed(rng: np.random.Generator, chest: Chest, kind: str, free: NDArray[np.bool_]) -> Nodule | None:
    low, high = DIAMETERS_MM[kind]
    radius_mm = float(np.exp(rng.uniform(np.log(low), np.log(high)))) / 2
    place = str(rng.choice(PLACES, p=PLACE_SHARES))
    candidates = np.flatnonzero(_places(chest, place, radius_mm, free))
    for attempt in range(ATTEMPTS if len(candidates) else 0):
        start = np.unravel_index(int(candidates[rng.integers(len(candidates))]), free.shape)
        center = (int(start[0]), int(start[1]), int(start[2]))
        block, inside_mm = _shape(rng, chest, center, radius_mm * 1.01**attempt)
        mask = (inside_mm > 0) & chest.lung[block]
        labels, _ = ndimage.label(mask)
        own = labels[center[0] - block[0].start, center[1] - block[1].start, center[2] - block[2].start]
        part: NDArray[np.bool_] = (labels == own) & (labels > 0)
        if part.sum() >= MIN_VOXELS and (free[block] | ~part).all():
            return Nodule(kind, block, part, inside_mm, radius_mm)
    return None


def _places(chest: Chest, place: str, radius_mm: float, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels where a nodule's centre may lie; anywhere in the lungs where there is no such place."""
    inside = free & (chest.depth_mm > min(0.8 * radius_mm, 4.0))
    if place == "pleura":
        wanted = free & (chest.depth_mm > 0.3 * radius_mm) & (chest.depth_mm < 0.9 * radius_mm)
    elif place == "vessel":
        wanted = inside & ndimage.binary_dilation(chest.vessels, iterations=1)
    else:
        wanted = inside & (chest.depth_mm > 1.2 * radius_mm) & ~chest.vessels
    return wanted if wanted.any() else inside if inside.any() else free


def _shape(
    rng: np.random.Generator, chest: Chest, center: tuple[int, int, int], radius_mm: float
) -> tuple[Slices, Field]:
    """About the mm inside a turned ellipsoid with lobes, around a voxel."""
    steps = chest.grid.spacing_mm[::-1]
    bounds = [
        slice(max(c - n, 0), min(c + n + 1, size))
        for c, size, step in zip(center, chest.lung.shape, steps, strict=True)
        for n in [int(np.ceil(1.7 * radius_mm / step)) + 1]
    ]
    z, y, x = (
        ((np.arange(s.start, s.stop) - c) * step).astype(np.float32)
        for s, c, step in zip(bounds, center, steps, strict=True)
    )
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rng.uniform(0.85, 1.2, 3)
    turned = turn * (stretch / stretch.prod() ** (1 / 3))[:, None] / radius_mm
    gz, gy, gx = np.meshgrid(z, y, x, indexing="ij", sparse=True)
    radius = np.sqrt(sum((row[0] * gx + row[1] * gy + row[2] * gz) ** 2 for row in turned))
    lobes = smooth_noise(rng, (z, y, x), (max(0.7 * radius_mm, 2.0),) * 3)
    level = 1 - radius + rng.uniform(0.03, 0.14) * lobes
    return (bounds[0], bounds[1], bounds[2]), (radius_mm * level).astype(np.float32)


def _occupy(free: NDArray[np.bool_], nodule: Nodule) -> None:
    wide = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in nodule.block)
    taken = np.zeros(free[wide].shape, bool)
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(nodule.block, wide, strict=True))
    taken[inner] = nodule.mask
    free[wide] &= ~ndimage.binary_dilation(taken, np.ones((3, 3, 3), bool), iterations=2)


def paint_nodule(rng: np.random.Generator, image: Field, chest: Chest, nodule: Nodule) -> None:
    """Add a nodule to the noise-free HU ``(T, H, W)``, in place."""
    edge_mm = chest.grid.spacing_mm[0] * (2.0 if nodule.kind == "ground_glass" else 1.0)
    near = ndimage.binary_dilation(nodule.mask) & (chest.lung[nodule.block] | nodule.mask)
    soft = np.where(near, np.clip(0.5 + nodule.inside_mm / edge_mm, 0, 1), 0)
    weight = as_field(np.where(nodule.mask, np.maximum(soft, 0.75), soft))
    glass = nodule.kind in ("ground_glass", "part_solid")
    _over(image, nodule.block, float(rng.uniform(*(GLASS_HU if glass else SOLID_HU))), weight)
    if nodule.kind in ("part_solid", "calcified"):
        deepest = float(nodule.inside_mm[nodule.mask].max())
        share = rng.uniform(0.25, 0.55)  # of the depth, outside of the core
        core = np.clip(0.5 + (nodule.inside_mm - share * deepest) / edge_mm, 0, 1)
        core = np.where(nodule.inside_mm >= deepest, 1.0, core) * nodule.mask
        _over(image, nodule.block, float(rng.uniform(*(SOLID_HU if glass else CHALK_HU))), as_field(core))


def _over(image: Field, block: Slices, hu: float, weight: Field) -> None:
    """What is denser than the nodule (a vessel through ground glass) stays."""
    below = image[block]
    image[block] = np.maximum(below, below + weight * (hu - below))
