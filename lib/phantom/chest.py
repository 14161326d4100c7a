# SPDX-License-Identifier: Apache-2.0
"""Chest CT stacks in Hounsfield units: anatomy, nodules of four kinds, then what the scanner adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .chest_body import make_chest
from .chest_nodules import FREQUENCIES, KINDS, paint_nodule, place_nodules
from .fields import Field
from .types import PhantomStack, measure

CHEST_LABELS = KINDS
"""Names of the mask's values, from 1."""
SLICE_DISTANCES_MM = (1.25, 2.0, 2.5, 3.0, 4.0, 5.0)
MAX_RANDOM_NODULES = 6
LOWEST_HU, HIGHEST_HU = -1024, 3071


def chest_stack(
    seed: int,
    *,
    n_frames: int = 32,
    size: int | tuple[int, int] = 256,
    spacing_mm: tuple[float, float, float] | None = None,
    n_lesions: int | None = None,
    kinds: tuple[str, ...] | None = None,
) -> PhantomStack:
    """A chest CT-like axial stack with lung nodules and their exact truth.

    The chest is shrunk to fit (its nodules are not) when the field of view is smaller than a chest.

    Args:
        seed: the same seed and arguments give the same bytes.
        n_frames: at least 1.
        size: pixels, one number or (H, W), at least 32.
        spacing_mm: (x, y, z) between voxel centres; None for 1.4 mm pixels and a slice distance that the seed chooses.
        n_lesions: None for 1 to 6 at random, as far as there is room; 0 for a healthy chest.
        kinds: of each nodule, in place of ``n_lesions``.

    Returns:
        Image in HU (int16); the mask holds the kind: 1 solid, 2 ground glass, 3 part-solid, 4 calcified.

    Raises:
        ValueError: for an impossible size, count or kind, or when the asked nodules find no room.
    """
    height, width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng([seed, 2])  # another stream than the heads of the same seed
    spacing_mm = spacing_mm or (1.4, 1.4, float(rng.choice(SLICE_DISTANCES_MM)))
    if n_frames < 1 or min(height, width) < 32 or min(spacing_mm) <= 0:
        raise ValueError(f"a stack needs a frame of 32x32 pixels or more, got {n_frames} of {height}x{width}")
    chosen = _kinds(rng, n_lesions, kinds)
    chest = make_chest(rng, (n_frames, height, width), spacing_mm)
    nodules = place_nodules(rng, chest, chosen, exact=n_lesions is not None or kinds is not None)
    image = chest.image.copy()
    mask, instances = np.zeros(image.shape, np.uint8), np.zeros(image.shape, np.uint8)
    for number, nodule in enumerate(nodules, start=1):
        paint_nodule(rng, image, chest, nodule)
        instances[nodule.block][nodule.mask] = number
        mask[nodule.block][nodule.mask] = KINDS.index(nodule.kind) + 1
    lesions = tuple(replace(lesion, label=nodules[lesion.id - 1].kind) for lesion in measure(instances, spacing_mm))
    hu = acquire(rng, image, spacing_mm)
    return PhantomStack(hu, mask, instances, spacing_mm, lesions, labels=KINDS, modality="CT")


def _kinds(rng: np.random.Generator, n_lesions: int | None, kinds: tuple[str, ...] | None) -> list[str]:
    if kinds is not None:
        if unknown := sorted(set(kinds) - set(KINDS)):
            raise ValueError(f"nodules are {', '.join(KINDS)}; got {', '.join(unknown)}")
        return list(kinds)
    if n_lesions is not None and not 0 <= n_lesions <= 100:
        raise ValueError(f"n_lesions must be between 0 and 100, got {n_lesions}")
    count = int(rng.integers(1, MAX_RANDOM_NODULES + 1)) if n_lesions is None else n_lesions
    return [str(kind) for kind in rng.choice(KINDS, size=count, p=FREQUENCIES)]


def acquire(rng: np.random.Generator, image: Field, spacing_mm: tuple[float, float, float]) -> NDArray[np.int16]:
    """What a scanner makes of HU: a soft kernel blurs and its noise is coarse, a sharp one is noisy and fine-grained.

    Thin slices are noisier, since fewer photons make them.
    """
    sharp = rng.random()
    blur_px = (0.55 - 0.35 * sharp) / spacing_mm[0]
    thin = float(np.sqrt(2.5 / spacing_mm[2]))
    noise_hu = float(np.clip(rng.uniform(10, 22) * (1 + 1.2 * sharp) * thin, 6, 70))
    white = rng.standard_normal(image.shape, dtype=np.float32)
    coarse = ndimage.gaussian_filter(white, (0, 0.9, 0.9))
    grain = (1 - sharp) * coarse / coarse.std() + sharp * (white - 0.7 * coarse) / (white - 0.7 * coarse).std()
    seen = ndimage.gaussian_filter(image, (0, blur_px, blur_px)) + noise_hu * grain / grain.std()
    return np.asarray(np.clip(np.rint(seen), LOWEST_HU, HIGHEST_HU), np.int16)
