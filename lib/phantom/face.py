# SPDX-License-Identifier: Apache-2.0
"""What lies in front of and below the brain: eyes, sinuses, nasal cavity, muscles, spinal canal."""

import numpy as np
from scipy import ndimage

from .fields import Field, Grid, add_capsule, mix, smooth_noise, smoothstep

FAR_MM = -12.0
Points = tuple[tuple[float, ...], tuple[float, ...]]


def face_map(rng: np.random.Generator, grid: Grid) -> Field:
    """Brightness ``(T, h, w)`` relative to white matter, about symmetric in head coordinates."""
    coarse, fine = (_symmetric_noise(rng, grid, scale) for scale in (9.0, 4.5))
    face = 0.7 + 0.12 * fine
    face = mix(face, 1.5 + 0.35 * fine, smoothstep((coarse - 0.6) * 2.5))
    face = mix(face, 0.12, smoothstep((-coarse - 0.75) * 3))
    face = mix(face, 0.25, np.exp(-((fine / 0.13) ** 2)) * np.clip(0.6 + 0.3 * coarse, 0, 1))
    behind = smoothstep((grid.y - 25) / 15)
    face = mix(face, 0.75 + 0.25 * fine - 0.5 * np.exp(-((coarse / 0.12) ** 2)), behind * 0.8)
    face = _orbits(rng, grid, face)
    face = _air(rng, grid, face, fine)
    return _canal(grid, face)


def _symmetric_noise(rng: np.random.Generator, grid: Grid, scale_mm: float) -> Field:
    """Noise over ``(z, y, |x|)``, sampled in head coordinates: one anatomical template, mirrored."""
    step = scale_mm / 3
    axes = [np.arange(low, high, step, dtype=np.float32) for low, high in ((-140, 20), (-130, 130), (0, 130))]
    template = smooth_noise(rng, (axes[0], axes[1], axes[2]), (scale_mm * 1.3, scale_mm, scale_mm))
    low = np.flatnonzero((grid.z < 10).any(axis=(1, 2)))
    out = np.zeros(grid.z.shape, np.float32)
    for frame in low:
        where = [(grid.z[frame] + 140) / step, (grid.y[0] + 130) / step, np.abs(grid.x[0]) / step]
        out[frame] = ndimage.map_coordinates(template, where, order=1, mode="nearest", prefilter=False)
    return out


def _union(grid: Grid, parts: list[tuple[Points, tuple[float, float]]], both: bool = True) -> Field:
    field = np.full(grid.z.shape, FAR_MM, np.float32)
    for (p, q), radii in parts:
        for side in (-1, 1) if both else (1,):
            add_capsule(field, grid, ((side * p[0], p[1], p[2]), (side * q[0], q[1], q[2])), radii)
    return field


def _orbits(rng: np.random.Generator, grid: Grid, face: Field) -> Field:
    """Bright fat cone, eye muscles and nerve in it, dark globes with a thin wall and a lens."""
    x, y, z = rng.normal((31, -70, -24), (1, 2, 2))
    fat = _union(grid, [(((x, y + 4, z), (15, -32, -20)), (17.0, 4.0))])
    face = mix(face, rng.uniform(1.6, 2.6), smoothstep(fat / 2 + 0.5))
    strings = _union(
        grid,
        [
            (((x, y + 10, z), (14, -34, -19)), (2.0, 2.0)),
            (((x - 12, y + 2, z), (14, -36, -20)), (2.4, 1.5)),
            (((x + 12, y + 4, z), (18, -36, -20)), (2.4, 1.5)),
        ],
    )
    face = mix(face, 0.8, smoothstep(strings / 1.5 + 0.5))
    globe = _union(grid, [(((x, y, z), (x, y + 0.5, z)), (12.0, 12.0))])
    face = mix(face, 0.9, smoothstep(globe / 1.5 + 0.5))
    face = mix(face, rng.uniform(0.15, 0.3), smoothstep((globe - 1.5) / 1.5 + 0.5))
    lens = _union(grid, [(((x - 2, y - 8, z), (x + 2, y - 8, z)), (2.0, 2.0))])
    return mix(face, 0.6, smoothstep(lens / 1.5 + 0.5))


def _air(rng: np.random.Generator, grid: Grid, face: Field, fine: Field) -> Field:
    """Air cells, now and then with bright mucosa along their wall, the nasal cavity with its turbinates."""
    r = rng.uniform(0.75, 1.15)
    cells = _union(
        grid,
        [
            (((27, -60, -50), (26, -48, -52)), (13 * r, 11 * r)),
            (((6, -62, -26), (7, -40, -28)), (5 * r, 5 * r)),
            (((5, -26, -29), (6, -18, -30)), (8 * r, 6 * r)),
            (((12, -84, -2), (18, -82, 4)), (3 * r, 2.5 * r)),
            (((50, 18, -36), (56, 28, -44)), (7.0, 6.0)),
            (((0, -20, -58), (0, -4, -80)), (9.0, 8.0)),
        ],
    )
    wall = np.exp(-(((cells - 0.5) / 1.2) ** 2)) * rng.choice([0.0, 0.6, 1.6], p=[0.4, 0.4, 0.2])
    mastoid = 0.5 * smoothstep(fine - 0.4) * (np.abs(grid.x) > 40)
    face = mix(face, 0.05 + wall + mastoid, smoothstep(cells / 1.5 + 0.5))
    nose = _union(grid, [(((0, -84, -44), (0, -36, -46)), (10.0, 11.0))], both=False)
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * np.abs(grid.x) / 6.5 + 1.2 * fine + grid.y / 14)
    return mix(face, 0.1 + rng.uniform(0.6, 1.6) * stripes**2, smoothstep(nose / 2 + 0.5))


def _canal(grid: Grid, face: Field) -> Field:
    """The cord in its dark canal, under the brain stem, with bone around it."""
    for radius, value in ((16.0, 0.5), (11.0, 0.12), (6.0, 1.0)):
        ring = _union(grid, [(((0, 29, -66), (0, 34, -130)), (radius, radius))], both=False)
        face = mix(face, value, smoothstep(ring / 1.5 + 0.5))
    return face
