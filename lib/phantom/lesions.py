# SPDX-License-Identifier: Apache-2.0
"""Irregular lesions in a phantom head: where they are, how they grow over visits, how bright they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import Field, smooth_noise
from .head import Head

MIN_RADIUS_MM, MAX_RADIUS_MM = 4.0, 30.0
MIN_VOXELS = 24
"""A lesion has at least about this many voxels, so that its growth can be told; coarse stacks get larger ones."""
ATTEMPTS = 80
CONTRASTS = (0.4, 0.4, 0.2)
"""How often a lesion is subtle, plain, bright."""

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Seed:
    """One lesion over all visits, in a block of the stack.

    Attributes:
        block: where in the ``(T, H, W)`` stack.
        level: shape function in the block: falls outwards, about 1 per radius.
        masks: per visit the mask in the block, or None while the lesion is not there yet.
        radius_mm: nominal radius, image mm.
        contrast: brightness over white matter.
        core: brightness change of the core, 0 for none.
        edge_mm: width of the soft edge.
        texture: ``(t, h, w)`` relative brightness inside.
    """

    block: Slices
    level: Field
    masks: tuple[NDArray[np.bool_] | None, ...]
    radius_mm: float
    contrast: float
    core: float
    edge_mm: float
    texture: Field


def place_lesions(
    rng: np.random.Generator,
    head: Head,
    spacing_mm: tuple[float, float, float],
    factors: list[tuple[float, ...]],
) -> list[Seed]:
    """Put lesions into the brain, one by one, at least two voxels apart at their largest.

    Args:
        rng: the only source of randomness.
        head: the anatomy.
        spacing_mm: (x, y, z).
        factors: per lesion its volume at each visit, relative to its first; 0 while it is not there.

    Raises:
        ValueError: if a lesion finds no room (a tiny stack, or too many lesions).
    """
    free = (head.depth_mm > 0) & (head.depth_mm > 0.4 * head.grid.pixel_mm)
    seeds: list[Seed] = []
    for number, factor in enumerate(factors, start=1):
        seed = _try_places(rng, head, spacing_mm, factor, free)
        if seed is None:
            raise ValueError(
                f"lesion {number} of {len(factors)} found no room in a {free.shape} stack after {ATTEMPTS} attempts; "
                "ask for fewer lesions, less growth or a larger stack"
            )
        seeds.append(seed)
        _occupy(free, seed)
    return seeds


def _occupy(free: NDArray[np.bool_], seed: Seed) -> None:
    largest = np.any([mask for mask in seed.masks if mask is not None], axis=0)
    wide = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in seed.block)
    taken = np.zeros(free[wide].shape, bool)
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(seed.block, wide, strict=True))
    taken[inner] = largest
    free[wide] &= ~ndimage.binary_dilation(taken, np.ones((3, 3, 3), bool), iterations=2)


def _try_places(
    rng: np.random.Generator,
    head: Head,
    spacing_mm: tuple[float, float, float],
    factor: tuple[float, ...],
    free: NDArray[np.bool_],
) -> Seed | None:
    candidates = np.flatnonzero(free)
    if not len(candidates):
        return None
    wanted = _radius_mm(rng, MAX_RADIUS_MM / max(factor) ** (1 / 3))
    shrinks = min(part for part in factor if part)
    smallest_mm = float(9 * MIN_VOXELS / (4 * np.pi) * np.prod(spacing_mm) / shrinks) ** (1 / 3)
    for attempt in range(ATTEMPTS):
        anatomical_mm = max(wanted * 0.97**attempt, MIN_RADIUS_MM)
        radius_mm = max(anatomical_mm * head.scale, smallest_mm)
        index = np.unravel_index(int(candidates[rng.integers(len(candidates))]), free.shape)
        center = tuple(int(i) for i in index)
        if head.depth_mm[center] < min(0.35 * anatomical_mm, 8) * (1 - attempt / ATTEMPTS):
            continue
        block, level = _shape(rng, free.shape, spacing_mm, center, radius_mm)
        masks = _grow(level, free[block], factor)
        if masks is not None:
            return _appearance(rng, head, spacing_mm, block, level, masks, radius_mm)
    return None


def _radius_mm(rng: np.random.Generator, largest_mm: float) -> float:
    """Small and large lesions alike: half uniform, half log-uniform."""
    largest_mm = max(largest_mm, MIN_RADIUS_MM + 1)
    if rng.random() < 0.5:
        return float(rng.uniform(MIN_RADIUS_MM, largest_mm))
    return float(np.exp(rng.uniform(np.log(MIN_RADIUS_MM), np.log(largest_mm))))


def _axes_mm(block: Slices, spacing_mm: tuple[float, float, float], center: tuple[int, ...]) -> list[Field]:
    steps = spacing_mm[::-1]
    return [
        ((np.arange(s.start, s.stop) - c) * step).astype(np.float32)
        for s, step, c in zip(block, steps, center, strict=True)
    ]


def _shape(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float, float],
    center: tuple[int, ...],
    radius_mm: float,
) -> tuple[Slices, Field]:
    """A turned ellipsoid's shape function with lobes: 1 at the centre, about 0 at the radius."""
    reach = [int(np.ceil(2.1 * radius_mm / step)) + 1 for step in spacing_mm[::-1]]
    bounds = [slice(max(c - n, 0), min(c + n + 1, size)) for c, n, size in zip(center, reach, shape, strict=True)]
    block = (bounds[0], bounds[1], bounds[2])
    axes = _axes_mm(block, spacing_mm, center)
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rng.uniform(0.7, 1.4, 3)
    turned = turn * (stretch / stretch.prod() ** (1 / 3))[:, None] / radius_mm
    squared = sum((row[0] * x + row[1] * y + row[2] * z) ** 2 for row in turned)
    lobes = smooth_noise(rng, (axes[0], axes[1], axes[2]), (max(0.6 * radius_mm, spacing_mm[2] / 2),) * 3)
    fringe = smooth_noise(rng, (axes[0], axes[1], axes[2]), (max(0.22 * radius_mm, 1.5 * spacing_mm[0]),) * 3)
    rough = rng.uniform(0.08, 0.28)
    return block, (1 - np.sqrt(squared) + rough * lobes + 0.25 * rough * fringe).astype(np.float32)


def _grow(
    level: Field, free: NDArray[np.bool_], factor: tuple[float, ...]
) -> tuple[NDArray[np.bool_] | None, ...] | None:
    """Connected masks whose voxel counts have the asked ratios (within 3%), each the top of ``level``."""
    ranked = np.where(free, level, -np.inf)
    start = int(ranked.argmax())
    first = _connected(ranked > 0, start)
    base = int(first.sum())
    if base < MIN_VOXELS or base < 0.5 * int((level > 0).sum()):
        return None
    order = np.sort(ranked[np.isfinite(ranked)])[::-1]
    masks: list[NDArray[np.bool_] | None] = []
    for part in factor:
        mask = _of_size(ranked, order, start, round(part * base)) if part else None
        if part and mask is None:
            return None
        masks.append(mask)
    return tuple(masks)


def _of_size(ranked: Field, order: Field, start: int, size: int) -> NDArray[np.bool_] | None:
    take = size
    for _ in range(6):
        if not 0 < take <= len(order):
            return None
        mask = _connected(ranked >= order[take - 1], start)
        count = int(mask.sum())
        if abs(count - size) <= 0.03 * size:
            return mask
        take += size - count
    return None


def _connected(mask: NDArray[np.bool_], start: int) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    part: NDArray[np.bool_] = (labels == labels.flat[start]) & mask
    return part


def _appearance(
    rng: np.random.Generator,
    head: Head,
    spacing_mm: tuple[float, float, float],
    block: Slices,
    level: Field,
    masks: tuple[NDArray[np.bool_] | None, ...],
    radius_mm: float,
) -> Seed:
    axes = [
        (np.arange(s.start, s.stop) * step).astype(np.float32) for s, step in zip(block, spacing_mm[::-1], strict=True)
    ]
    texture = 1 + rng.uniform(0.02, 0.10) * smooth_noise(rng, (axes[0], axes[1], axes[2]), (8 * head.scale,) * 3)
    return Seed(
        block=block,
        level=level,
        masks=masks,
        radius_mm=radius_mm,
        contrast=float(
            rng.choice([rng.uniform(0.28, 0.45), rng.uniform(0.45, 0.75), rng.uniform(0.75, 1.2)], p=CONTRASTS)
        ),
        core=float(rng.uniform(0.3, 1.1)) if rng.random() < 0.3 and radius_mm > 8 * head.scale else 0.0,
        edge_mm=float(rng.uniform(0.8, 4.0)) * head.scale,
        texture=texture.astype(np.float32),
    )


def paint(image: Field, head: Head, seed: Seed, visit: int) -> None:
    """Add a lesion's look at a visit to the noise-free brightness ``(T, H, W)``, in place."""
    mask = seed.masks[visit]
    if mask is None:
        return
    threshold = seed.level[mask].min()
    inside_mm = (seed.level - threshold) * seed.radius_mm
    weight = np.clip(0.5 + inside_mm / seed.edge_mm, 0, 1) * np.clip(
        head.parenchyma[seed.block] * 1.2 + 0.25 * mask, 0, 1
    )
    weight *= np.where(mask, 1.0, ndimage.binary_dilation(mask, iterations=2) * 0.9)
    bright = (1 + seed.contrast) * seed.texture
    if seed.core:
        deep = np.clip((inside_mm - 0.45 * inside_mm.max()) / (0.25 * inside_mm.max()), 0, 1)
        bright = bright - seed.core * (seed.contrast + 0.35) * deep
    image[seed.block] += weight * (np.clip(bright, 0.15, None) - image[seed.block])
