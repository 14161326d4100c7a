# SPDX-License-Identifier: Apache-2.0
"""Smooth random fields and soft shapes on a half-resolution grid, and the way back to full resolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Field = NDArray[np.float32]


def as_field(values: ArrayLike) -> Field:
    """The values as float32, without a copy where they are already."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Grid:
    """Sample positions, in anatomical mm, of every other pixel of a stack, and its head coordinates.

    Attributes:
        shape: ``(T, H, W)`` of the full-resolution stack.
        z_mm: ``(T,)`` frame positions; y_mm ``(h,)`` and x_mm ``(w,)``: positions of every other row and column.
        x, y: ``(1, h, w)`` head coordinates (Left, Posterior) after the head's in-plane rotation and shift.
        z: ``(T, h, w)`` head coordinate (Superior) after its tilt.
        pixel_mm: in-plane pixel size; frame_mm: slice distance.
    """

    shape: tuple[int, int, int]
    z_mm: Field
    y_mm: Field
    x_mm: Field
    x: Field
    y: Field
    z: Field
    pixel_mm: float
    frame_mm: float

    def noise(self, rng: np.random.Generator, scale_mm: float, scale_z_mm: float | None = None) -> Field:
        """Unit-variance smooth noise ``(T, h, w)``, correlated over about ``scale_mm``."""
        return smooth_noise(rng, (self.z_mm, self.y_mm, self.x_mm), (scale_z_mm or scale_mm, scale_mm, scale_mm))

    def refine(self, field: Field) -> Field:
        """Linear interpolation of ``(T, h, w)`` to the full ``(T, H, W)``."""
        _, height, width = self.shape
        return _double(_double(field, 1)[:, :height], 2)[:, :, :width]

    def normalised(self, distance_mm: Field) -> Field:
        """Distance in units of the edge width that a voxel of this size blurs it to (partial volume)."""
        if len(distance_mm) < 2:
            return distance_mm / np.float32(self.pixel_mm)
        return as_field(distance_mm / (self.pixel_mm + 0.6 * np.abs(np.gradient(distance_mm, axis=0))))


def _double(field: Field, axis: int) -> Field:
    moved = np.moveaxis(field, axis, 0)
    out = np.empty((2 * len(moved) - 1, *moved.shape[1:]), np.float32)
    out[::2] = moved
    np.add(moved[:-1], moved[1:], out=out[1::2])
    out[1::2] *= 0.5
    return np.moveaxis(out, 0, axis)


def smooth_noise(rng: np.random.Generator, axes_mm: tuple[Field, Field, Field], scale_mm: tuple[float, ...]) -> Field:
    """Unit-variance noise on a rectilinear grid: a cubic B-spline over independent normal coefficients.

    Args:
        rng: the only source of randomness.
        axes_mm: the positions along each of the three axes.
        scale_mm: knot distance along each axis.
    """
    bases = [_spline_basis(axis, scale) for axis, scale in zip(axes_mm, scale_mm, strict=True)]
    field = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    field = np.tensordot(bases[0], field, axes=(1, 0))
    return as_field(np.matmul(np.matmul(bases[1], field), bases[2].T))


def _spline_basis(positions_mm: Field, scale_mm: float) -> Field:
    """``(n, knots)`` cubic B-spline weights, scaled to unit variance on average over a period."""
    t = (positions_mm - positions_mm[0]) / scale_mm + 2.0
    distance = np.abs(t[:, None] - np.arange(int(np.ceil(t[-1])) + 3)[None])
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, inner, outer)
    return as_field(weights / np.sqrt(151 / 315))


def smoothstep(value: Field) -> Field:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(value, 0, 1)
    return t * t * (3 - 2 * t)


def sigmoid(value: Field) -> Field:
    """Logistic function, as a cheap tanh."""
    return as_field(0.5 + 0.5 * np.tanh(0.5 * value))


def soft(distance: Field) -> Field:
    """Coverage of a voxel by a shape, from its normalised signed distance (positive inside)."""
    return np.clip(distance + np.float32(0.5), 0, 1)


def mix(a: Field | float, b: Field | float, weight: Field) -> Field:
    """``a`` where weight is 0, ``b`` where it is 1."""
    return a + (b - a) * weight


def add_capsule(
    field: Field, grid: Grid, ends: tuple[tuple[float, ...], tuple[float, ...]], radii_mm: tuple[float, float]
) -> None:
    """Union, in place, of ``field`` (signed mm, positive inside) with a cone-like capsule.

    Args:
        field: ``(T, h, w)``.
        grid: where it is sampled.
        ends: two ``(x, y, z)`` head positions, mm.
        radii_mm: radius at each end.
    """
    p, q = np.asarray(ends, np.float32)
    reach = max(radii_mm) + 12
    low, high = np.minimum(p, q) - reach, np.maximum(p, q) + reach
    plane = (grid.x[0] > low[0]) & (grid.x[0] < high[0]) & (grid.y[0] > low[1]) & (grid.y[0] < high[1])
    tilted = (grid.z > low[2]) & (grid.z < high[2]) & plane
    frames, rows, cols = (np.flatnonzero(tilted.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    if not len(frames):
        return
    f, r, c = (slice(index[0], index[-1] + 1) for index in (frames, rows, cols))
    dx, dy, dz = grid.x[:, r, c] - p[0], grid.y[:, r, c] - p[1], grid.z[f, r, c] - p[2]
    axis = q - p
    t = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / max(float(axis @ axis), 1e-6), 0, 1)
    distance = np.sqrt((dx - t * axis[0]) ** 2 + (dy - t * axis[1]) ** 2 + (dz - t * axis[2]) ** 2)
    block = field[f, r, c]
    np.maximum(block, np.float32(radii_mm[0]) + np.float32(radii_mm[1] - radii_mm[0]) * t - distance, out=block)


def ellipsoid(grid: Grid, center: tuple[float, ...], axes_mm: tuple[float, ...]) -> Field:
    """Approximate signed mm (positive inside) ``(T, h, w)`` to an ellipsoid in head coordinates."""
    u = ((grid.x - center[0]) / axes_mm[0]) ** 2 + ((grid.y - center[1]) / axes_mm[1]) ** 2
    radius = np.sqrt(u + ((grid.z - center[2]) / axes_mm[2]) ** 2)
    return as_field(min(axes_mm) * (1 - radius))
