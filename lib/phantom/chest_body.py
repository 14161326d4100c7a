# SPDX-License-Identifier: Apache-2.0
"""A chest without lesions and without noise in Hounsfield units: wall, ribs, spine, mediastinum, lungs and vessels.

Nothing is fitted to or copied from patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .chest_grid import ChestGrid
from .chest_vessels import add_capsules, airways, vessel_tree
from .fields import Field, as_field, mix, smooth_noise, smoothstep

AIR, FAT, MUSCLE, BLOOD, BONE = -1000.0, -95.0, 50.0, 40.0, 380.0
LUNG_HU = (-890.0, -820.0)
RIB_DISTANCE_MM = 25.0
EDGE_MM = 1.5
"""Over how many mm an outline fades: partial volume of a voxel of common size."""


@dataclass(frozen=True)
class Chest:
    """A chest without lesions.

    Attributes:
        image: ``(T, H, W)`` HU without noise.
        lung: ``(T, H, W)``, what the lungs fill, vessels in them included.
        depth_mm: ``(T, H, W)``, depth under the pleura, 0 outside of the lungs.
        vessels: ``(T, H, W)``, the vessels in the lungs.
        grid: where the voxels lie.
    """

    image: Field
    lung: NDArray[np.bool_]
    depth_mm: Field
    vessels: NDArray[np.bool_]
    grid: ChestGrid


def make_chest(rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Chest:
    """A random chest seen on the given grid."""
    grid = _pose(rng, shape, spacing_mm)
    skin = _outline(rng, grid)
    lungs = _lungs(rng, grid)
    lung = lungs > 0
    image = _wall(rng, grid, skin, lungs)
    air = _parenchyma(rng, grid)
    image = mix(image, air, _coverage(lungs))
    tubes = [part for side in (-1, 1) for part in vessel_tree(rng, side)]
    covered = add_capsules(grid, tubes) * lung
    image = mix(image, as_field(rng.uniform(BLOOD, 120.0)), covered)
    image = mix(image, AIR, add_capsules(grid, airways(rng)))
    return Chest(as_field(image), lung, _depth_mm(lung, grid), covered > 0.5, grid)


def _pose(rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> ChestGrid:
    """Random size and shift; the slab lies where there is lung as far as it can."""
    frames, height, width = shape
    sx, sy, sz = spacing_mm
    fit = min(1.0, min(width * sx / 350.0, height * sy / 245.0))
    size = fit * rng.uniform(0.9, 1.05)
    reach = max(0.0, 95.0 - frames * sz / size / 2)
    middle = rng.uniform(-reach, reach)
    x = (np.arange(width) - (width - 1) / 2) * sx / size + rng.normal(0, 3)
    y = (np.arange(height) - (height - 1) / 2) * sy / size + rng.normal(0, 3)
    z = (np.arange(frames) - (frames - 1) / 2) * sz / size + middle
    axes = as_field(x)[None, None], as_field(y)[None, :, None], as_field(z)[:, None, None]
    return ChestGrid(*axes, spacing_mm=(sx / size, sy / size, sz / size))


def _depth_mm(lung: NDArray[np.bool_], grid: ChestGrid) -> Field:
    """Distance to the outside of the lungs, (T, H, W); the ends of the slab are no pleura."""
    depth = np.zeros(lung.shape, np.float32)
    if lung.any():
        (whole,) = ndimage.find_objects(lung.astype(np.uint8))
        wide = (whole[0], *(slice(max(s.start - 1, 0), s.stop + 1) for s in whole[1:]))
        depth[wide] = ndimage.distance_transform_edt(lung[wide], sampling=grid.spacing_mm[::-1])
    return depth


def _coverage(inside_mm: Field) -> Field:
    return np.clip(inside_mm / np.float32(EDGE_MM) + np.float32(0.5), 0, 1)


def _ellipse(grid: ChestGrid, center: tuple[float, float], axes_mm: tuple[float, float], power: float = 2.0) -> Field:
    """About the signed mm inside a superellipse of every slice, (1, H, W)."""
    u = np.abs((grid.x - center[0]) / axes_mm[0]) ** power + np.abs((grid.y - center[1]) / axes_mm[1]) ** power
    return as_field(min(axes_mm) * (1 - u ** (1 / power)))


def _ellipsoid(grid: ChestGrid, center: tuple[float, ...], axes_mm: tuple[float, ...]) -> Field:
    """About the signed mm inside an ellipsoid, (T, H, W)."""
    parts = zip((grid.x, grid.y, grid.z), center, axes_mm, strict=True)
    radius = np.sqrt(sum((axis - c) ** 2 / a**2 for axis, c, a in parts))
    return as_field(min(axes_mm) * (1 - radius))


def _outline(rng: np.random.Generator, grid: ChestGrid) -> Field:
    """Signed mm inside the skin, (T, H, W); shoulders are wider."""
    wide, deep = rng.normal(158, 5), rng.normal(108, 4)
    shoulders = 1 + 0.07 * smoothstep((grid.z - 50) / 60)
    u = np.abs(grid.x / (wide * shoulders)) ** 2.6 + np.abs(grid.y / deep) ** 2.6
    return as_field(deep * (1 - u ** (1 / 2.6)))


def _lungs(rng: np.random.Generator, grid: ChestGrid) -> Field:
    """Signed mm inside the lungs, (T, H, W): two lobes of air around heart, great vessels and spine."""
    inside = np.full(grid.shape, -1e3, np.float32)
    taper = np.clip(1 - (np.clip(grid.z, 0, None) / 150) ** 2, 0.02, None) ** 0.5
    for side in (-1, 1):
        wide, deep = rng.normal(57, 3), rng.normal(82, 3)
        u = np.abs((grid.x - side * 70) / (wide * taper)) ** 2.3 + np.abs((grid.y - 4) / (deep * taper)) ** 2.3
        lobe = wide * (1 - u ** (1 / 2.3))
        dome = rng.normal(-85, 8) - ((grid.x - side * 65) ** 2 + (grid.y + 10) ** 2) / 130
        np.maximum(inside, np.minimum(lobe, 0.8 * (grid.z - dome)), out=inside)
    heart = _ellipsoid(grid, (rng.normal(18, 4), -30.0, -55.0), (rng.normal(52, 4), 46.0, 58.0))
    hilum = _ellipsoid(grid, (0.0, 8.0, 0.0), (34.0, 36.0, 60.0))
    spine = _ellipse(grid, (0.0, 72.0), (27.0, 32.0))
    aorta = _ellipse(grid, (24.0, 48.0), (13.0, 13.0))
    for part in (heart, hilum, spine, aorta):
        np.minimum(inside, -part, out=inside)
    ripple = smooth_noise(rng, grid.axes_mm, (45.0, 45.0, 45.0))
    return as_field(inside + 1.5 * ripple)


def _wall(rng: np.random.Generator, grid: ChestGrid, skin: Field, lungs: Field) -> Field:
    """Everything but the lungs: air, fat, muscle, ribs, spine, great vessels, and the table."""
    fat_mm = rng.uniform(8, 26)
    image = mix(AIR, FAT + 12 * smooth_noise(rng, grid.axes_mm, (20.0, 12.0, 12.0)), _coverage(skin))
    image = mix(image, MUSCLE, _coverage(skin - np.float32(fat_mm)))
    image = mix(image, BLOOD, _coverage(_ellipsoid(grid, (18.0, -30.0, -55.0), (50.0, 44.0, 56.0))))
    image = mix(image, as_field(rng.uniform(BLOOD, 180)), _coverage(_ellipse(grid, (24.0, 48.0), (11.0, 11.0))))
    vertebra = np.maximum(_ellipse(grid, (0.0, 74.0), (17.0, 14.0)), _ellipse(grid, (0.0, 95.0), (6.0, 16.0)))
    image = mix(image, BONE - 180 * smoothstep(vertebra / 8), _coverage(vertebra))
    around = -lungs  # mm outside of the lungs
    wave = np.cos(2 * np.pi * (grid.z + 0.45 * grid.y + rng.uniform(0, RIB_DISTANCE_MM)) / RIB_DISTANCE_MM)
    rib = np.minimum(np.minimum(around - 4, 12 - around), 5.0 * (wave - 0.2))
    rib = np.minimum(rib, 48 - skin)  # lungs also end at the heart, where there are no ribs
    image = mix(image, BONE, _coverage(rib) * (skin > fat_mm / 2))
    table = np.abs(grid.y - 122) - 3
    return as_field(np.where((table < 0) & (skin < 0) & (np.abs(grid.x) < 170), -250.0, image))


def _parenchyma(rng: np.random.Generator, grid: ChestGrid) -> Field:
    """HU of lung tissue: denser at the back, where one lies, and mottled."""
    mottled = smooth_noise(rng, grid.axes_mm, (18.0, 18.0, 18.0))
    return as_field(rng.uniform(*LUNG_HU) + 0.35 * grid.y + 12 * mottled)
