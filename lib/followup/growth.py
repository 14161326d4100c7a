# SPDX-License-Identifier: Apache-2.0
"""How a lesion has changed between two visits, and which change is more than the images can tell.

A mask knows the border of a lesion to half a voxel. On each of its six sides (left, right, front, back, top, bottom)
the true border lies anywhere within half a voxel of the drawn one: with ``S`` half a voxel's volume for every face that
is open to that side, a uniform distribution of half-width ``S``, whose standard uncertainty is ``S / sqrt(3)`` (JCGM
100:2008 4.3.7). The sides, and the two visits, add in quadrature (5.1.2); so do the two ends of a diameter, each known
to half a pixel. A change that is not larger than the standard uncertainty of the difference is called stable. Twice
that, 95% coverage, is 21% for a nodule of 10 mm on CT of 0.7 mm; nodule guidelines ask for 25% (Callister et al. Thorax
2015;70 Suppl 2). On few thick slices it is much more.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Finding, FloatArray, Sequence

BoolArray = npt.NDArray[np.bool_]
DIRECTIONS = (("left", "right"), ("posterior", "anterior"), ("superior", "inferior"))
"""Words for a growing and a falling coordinate, by LPS axis (PS3.3 C.7.6.2.1.1)."""
LEAST_NAMED_MM = 0.5
BASES = {"volume": ("volume", "ml"), "long_axis": ("diameter", "mm"), "box": ("diameter", "mm")}
"""What can be compared, the best first, with its name and unit."""


class Change(StrEnum):
    """What has become of a lesion."""

    GROWN = "grown"
    SHRUNK = "shrunk"
    STABLE = "stable"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True)
class Size:
    """A measure of a lesion at one visit.

    Attributes:
        value: ml or mm, as :data:`BASES` says.
        uncertainty: Its standard uncertainty.
    """

    value: float
    uncertainty: float


@dataclass(frozen=True)
class Growth:
    """How a lesion has changed.

    Attributes:
        change: In a word.
        basis: What was compared: ``volume`` or the longest ``diameter`` in the plane of the frames.
        unit: Of before, after, difference and tolerance: ml or mm.
        before: At the earlier visit; None for a new lesion.
        after: At the later visit; None for one that is gone.
        difference: After minus before.
        percent: The same in percent of before.
        tolerance: A difference up to this one is stable.
        days: Between the visits; None where a study does not say its date.
        doubling_time_days: In which the volume doubles, of a lesion that has grown.
    """

    change: Change
    basis: str
    unit: str
    before: float | None = None
    after: float | None = None
    difference: float | None = None
    percent: float | None = None
    tolerance: float | None = None
    days: float | None = None
    doubling_time_days: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, rounded to what can be told."""
        digits = {"percent": 1, "doubling_time_days": 1, "days": 2}
        values = {**asdict(self), "change": self.change.value}
        return {k: round(v, digits.get(k, 4)) if isinstance(v, float) else v for k, v in values.items()}


def sizes_of(finding: Finding, sequence: Sequence, mask: BoolArray | None, first_frame: int = 0) -> dict[str, Size]:
    """The measures of a lesion, by the keys of :data:`BASES`; ``box`` is always there.

    Args:
        finding: With its boxes (at least one) and, beside a mask, its measurements.
        sequence: The frames it is on.
        mask: Its voxels (t, h, w) in a part of the sequence, or None where only its boxes are known.
        first_frame: Frame of the sequence that ``mask`` starts at.
    """
    ends_mm = max(sequence.spacing_mm) / math.sqrt(6)
    x_mm, y_mm = sequence.spacing_mm
    longest_mm = max(max((x1 - x0) * x_mm, (y1 - y0) * y_mm) for x0, y0, x1, y1 in finding.boxes.values())
    found = {"box": Size(longest_mm, ends_mm)}
    volumes_ml = sequence.voxel_volumes_ml
    if mask is not None and volumes_ml is not None:
        found["volume"] = _volume(mask, volumes_ml[first_frame : first_frame + len(mask)])
    if mask is not None and "long_axis" in finding.measurements:  # a box that a person moved no longer has its own
        found["long_axis"] = Size(finding.measurements["long_axis"].value, ends_mm)
    return found


def growth_of(before: dict[str, Size] | None, after: dict[str, Size] | None, days: float | None) -> Growth:
    """Compare a lesion with itself: volumes where both visits have one, else the longest diameter in the plane.

    The doubling time is ``days * ln 2 / ln(V2 / V1)`` (Schwartz, Cancer 1961;14:1272-1294). Of diameters it takes the
    volume to go with their third power.

    Args:
        before: As :func:`sizes_of` gives them; None for a new lesion.
        after: The same; None for one that is gone.
        days: Between the visits.
    """
    key = next(k for k in BASES if all(sizes is None or k in sizes for sizes in (before, after)))
    basis, unit = BASES[key]
    first, second = (None if sizes is None else sizes[key] for sizes in (before, after))
    if first is None or second is None:
        change = Change.NEW if first is None else Change.GONE
        before_value, after_value = (None if size is None else size.value for size in (first, second))
        return Growth(change, basis, unit, before_value, after_value, days=days)
    difference = second.value - first.value
    tolerance = math.hypot(first.uncertainty, second.uncertainty)
    change = Change.GROWN if difference > 0 else Change.SHRUNK
    doubling = None
    if abs(difference) <= tolerance:
        change = Change.STABLE
    elif change is Change.GROWN and days is not None and days > 0:
        doubling = days * math.log(2) / ((1 if key == "volume" else 3) * math.log(second.value / first.value))
    percent = 100 * difference / first.value
    return Growth(change, basis, unit, first.value, second.value, difference, percent, tolerance, days, doubling)


def displacement_words(shift_mm: FloatArray, known_to_mm: float) -> str:
    """A shift in the patient in words, such as ``3.1 mm left, 1.0 mm superior``.

    Args:
        shift_mm: Along the LPS axes, (3,).
        known_to_mm: A shift that is not longer than this may come from the registration.
    """
    length = float(np.linalg.norm(shift_mm))
    if length <= known_to_mm:
        return f"{length:.1f} mm (within the error of registration)"
    named = [
        f"{abs(mm):.1f} mm {words[0] if mm > 0 else words[1]}"
        for mm, words in zip(shift_mm.tolist(), DIRECTIONS, strict=True)
        if abs(mm) >= LEAST_NAMED_MM
    ]
    return ", ".join(named) or f"{length:.1f} mm"


def _volume(mask: BoolArray, voxel_volumes_ml: FloatArray) -> Size:
    padded = np.pad(mask, 1)
    shells = []
    for axis in range(3):
        for step in (-1, 1):
            open_faces = mask & ~np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
            shells.append(float(open_faces.sum(axis=(1, 2)) @ voxel_volumes_ml) / 2)
    return Size(float(mask.sum(axis=(1, 2)) @ voxel_volumes_ml), math.hypot(*shells) / math.sqrt(3))
