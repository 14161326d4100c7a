# SPDX-License-Identifier: Apache-2.0
"""Head stacks and visits: anatomy, lesions, then what the scanner adds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .fields import Field
from .head import Head, make_head
from .lesions import Seed, paint, place_lesions
from .types import PhantomStack, measure

MAX_RANDOM_LESIONS = 4


def head_stack(
    seed: int,
    *,
    n_frames: int = 24,
    size: int | tuple[int, int] = 256,
    spacing_mm: tuple[float, float, float] = (0.94, 0.94, 5.0),
    n_lesions: int | None = None,
) -> PhantomStack:
    """A FLAIR-like axial head stack with bright lesions and their exact truth.

    The head is shrunk to fit (its lesions too) when the field of view is smaller than a head.

    Args:
        seed: the same seed and arguments give the same bytes.
        n_frames: at least 1.
        size: pixels, one number or (H, W), at least 32.
        spacing_mm: (x, y, z) between voxel centres.
        n_lesions: None for 1 to 4 at random (fewer where a small stack has no room for them), 0 for a
            healthy head.

    Raises:
        ValueError: for an impossible size or count, or when ``n_lesions`` lesions find no room.
    """
    visits = _visits(seed, (0,), (1.0,), n_frames, size, spacing_mm, n_lesions, new_lesion=False)
    return visits[0]


def head_visits(
    seed: int,
    days: Sequence[int] = (0, 90, 180),
    growth: Sequence[float] = (1.0, 1.5, 2.2),
    *,
    n_frames: int = 24,
    size: int | tuple[int, int] = 256,
    spacing_mm: tuple[float, float, float] = (0.94, 0.94, 5.0),
    n_lesions: int | None = None,
    new_lesion: bool | None = None,
) -> list[PhantomStack]:
    """The same head at several visits, in register, with new noise each time and lesions that grow.

    Every lesion's volume follows ``growth`` relative to the first visit (within 3%, by whole voxels) and
    keeps its id. A new lesion may appear at a later visit: it has the highest id, is missing before, and
    from then on grows as the others do.

    Args:
        seed: the same seed and arguments give the same bytes.
        days: of each visit.
        growth: volume at each visit; only the ratio to the first counts.
        n_frames: as in ``head_stack``.
        size: as in ``head_stack``.
        spacing_mm: as in ``head_stack``.
        n_lesions: lesions at the first visit, as in ``head_stack``.
        new_lesion: True or False decide; None leaves it to the seed (one in two). A healthy head
            (``n_lesions=0``) gets one only with True.

    Raises:
        ValueError: as ``head_stack``, or if days and growth do not match or growth is not positive.
    """
    if len(days) != len(growth) or not days:
        raise ValueError(f"days and growth need one entry per visit, got {len(days)} and {len(growth)}")
    if min(growth) <= 0:
        raise ValueError(f"growth must be positive, got {tuple(growth)}")
    return _visits(seed, tuple(days), tuple(growth), n_frames, size, spacing_mm, n_lesions, new_lesion)


def _visits(
    seed: int,
    days: tuple[int, ...],
    growth: tuple[float, ...],
    n_frames: int,
    size: int | tuple[int, int],
    spacing_mm: tuple[float, float, float],
    n_lesions: int | None,
    new_lesion: bool | None,
) -> list[PhantomStack]:
    shape = _checked_shape(n_frames, size, spacing_mm, n_lesions)
    rng = np.random.default_rng(seed)
    head = make_head(rng, shape, spacing_mm)
    count = int(rng.integers(1, MAX_RANDOM_LESIONS + 1)) if n_lesions is None else n_lesions
    factors = _factors(rng, growth, count, new_lesion)
    seeds = _placed(rng, head, spacing_mm, factors, exact=n_lesions is not None)
    scanner = _Scanner(rng)
    stacks = []
    for visit, day in enumerate(days):
        image = scanner.acquire(rng, _lesioned(head, seeds, visit), head.bias)
        instances = _instances(shape, seeds, visit)
        mask = (instances > 0).astype(np.uint8)
        stacks.append(PhantomStack(image, mask, instances, spacing_mm, measure(instances, spacing_mm), int(day)))
    return stacks


def _checked_shape(
    n_frames: int, size: int | tuple[int, int], spacing_mm: tuple[float, float, float], n_lesions: int | None
) -> tuple[int, int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if n_frames < 1 or min(height, width) < 32:
        raise ValueError(f"a stack needs at least 1 frame of 32x32 pixels, got {n_frames} of {height}x{width}")
    if min(spacing_mm) <= 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}")
    if n_lesions is not None and not 0 <= n_lesions <= 254:
        raise ValueError(f"n_lesions must be between 0 and 254, got {n_lesions}")
    return n_frames, height, width


def _factors(
    rng: np.random.Generator, growth: tuple[float, ...], count: int, new_lesion: bool | None
) -> list[tuple[float, ...]]:
    """Per lesion its volume at each visit relative to the first at which it is there, 0 before."""
    factors = [tuple(g / growth[0] for g in growth)] * count
    appears = rng.random() < 0.5 and count > 0 if new_lesion is None else new_lesion
    if appears and len(growth) > 1:
        start = int(rng.integers(1, len(growth)))
        factors.append(tuple(g / growth[start] if k >= start else 0.0 for k, g in enumerate(growth)))
    return factors


def _placed(
    rng: np.random.Generator,
    head: Head,
    spacing_mm: tuple[float, float, float],
    factors: list[tuple[float, ...]],
    exact: bool,
) -> list[Seed]:
    """All lesions, or as many as find room where the number was left open: at least one, the new one goes last."""
    while True:
        try:
            return place_lesions(rng, head, spacing_mm, factors)
        except ValueError:
            if exact or len(factors) == 1:
                raise
            factors = factors[1:] if all(factors[1]) else factors[:-1]


def _lesioned(head: Head, seeds: list[Seed], visit: int) -> Field:
    image = head.image.copy()
    for seed in seeds:
        paint(image, head, seed, visit)
    return image


def _instances(shape: tuple[int, int, int], seeds: list[Seed], visit: int) -> NDArray[np.uint8]:
    instances = np.zeros(shape, np.uint8)
    for number, seed in enumerate(seeds, start=1):
        mask = seed.masks[visit]
        if mask is not None:
            instances[seed.block][mask] = number
    return instances


class _Scanner:
    """One patient's scanner: brightness range, contrast, sharpness, noise."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.top = float(rng.uniform(150, 255) if rng.random() < 0.5 else rng.uniform(500, 1500))
        self.limit = 255.0 if self.top <= 255 else 1.7 * self.top
        self.gamma = float(rng.uniform(0.85, 1.2))
        self.blur = float(rng.uniform(0.0, 0.22))
        self.noise = float(np.exp(rng.uniform(np.log(0.008), np.log(0.05))))

    def acquire(self, rng: np.random.Generator, bright: Field, bias: Field) -> NDArray[np.uint16]:
        """Coil, point spread, Rician noise (Gudbjartsson & Patz 1995) and quantisation of ``(T, H, W)``."""
        signal = bright**self.gamma * bias
        for axis in (1, 2):
            _smooth(signal, self.blur, axis)
        real = rng.standard_normal(signal.shape, dtype=np.float32)
        signal += self.noise * real
        rng.standard_normal(signal.shape, dtype=np.float32, out=real)
        signal = np.sqrt(signal**2 + (self.noise * real) ** 2)
        scale = self.top / max(float(np.percentile(signal[:, ::3, ::3], 99.7)), 1e-6)
        return np.asarray(np.clip(np.rint(signal * scale), 0, self.limit), np.uint16)


def _smooth(signal: Field, side: float, axis: int) -> None:
    """Three-tap blur in place: ``side``, ``1 - 2 side``, ``side``."""
    moved = np.moveaxis(signal, axis, 0)
    inner = (1 - 2 * side) * moved[1:-1] + side * (moved[:-2] + moved[2:])
    moved[1:-1] = inner
