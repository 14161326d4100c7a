# SPDX-License-Identifier: Apache-2.0
"""How a lesion has grown over its visits: each interval, the whole, how often it grew, and in which time it doubles.

Growth is taken to be exponential (Schwartz, Cancer 1961;14:1272-1294): the logarithm of the volume lies on a straight
line, fitted with each visit weighted by its uncertainty. Its slope's standard uncertainty gives the range of the
doubling time with 95% coverage (JCGM 100:2008 6.2). With two visits this is the doubling time of Schwartz.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .growth import BASES, Change, Growth, Size, growth_of

COVERAGE_95 = 1.96


@dataclass(frozen=True)
class Trend:
    """How a lesion has changed over the visits at which it was found.

    Attributes:
        basis: What was compared: ``volume`` or ``diameter``.
        unit: Of ``sizes``: ml or mm.
        days: Of each visit at which it was found, from the first visit; None where a study does not say its date.
        sizes: At these visits, with their standard uncertainty.
        intervals: Between one of these visits and the next.
        overall: Between the first and the last.
        percent_uncertainty: Standard uncertainty of ``overall.percent``; None for a single visit.
        growth_frequency: Share of the intervals in which it has grown by more than the tolerance; None without any.
        doubling_time_days: In which its volume doubles, by the fit; negative for the time in which it halves. None
            where the slope is not known from 0.
        doubling_time_95: The shortest and the longest that fit the sizes; None as ``doubling_time_days``.
    """

    basis: str
    unit: str
    days: tuple[float | None, ...]
    sizes: tuple[Size, ...]
    intervals: tuple[Growth, ...]
    overall: Growth | None
    percent_uncertainty: float | None
    growth_frequency: float | None
    doubling_time_days: float | None
    doubling_time_95: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, rounded to what can be told."""
        return {
            "basis": self.basis,
            "unit": self.unit,
            "days": list(self.days),
            "values": [round(size.value, 4) for size in self.sizes],
            "uncertainties": [round(size.uncertainty, 4) for size in self.sizes],
            "intervals": [growth.to_json() for growth in self.intervals],
            "overall": None if self.overall is None else self.overall.to_json(),
            "percent_uncertainty": _rounded(self.percent_uncertainty),
            "growth_frequency": _rounded(self.growth_frequency, 3),
            "doubling_time_days": _rounded(self.doubling_time_days),
            "doubling_time_95": None if self.doubling_time_95 is None else [round(v, 1) for v in self.doubling_time_95],
        }


def trend_of(days: Sequence[float | None], sizes: Sequence[dict[str, Size]]) -> Trend:
    """The growth of one lesion.

    Args:
        days: Of the visits at which it was found, at least one, in order of time.
        sizes: At each, as :func:`lib.followup.growth.sizes_of` gives them. Compared is the best that all have.
    """
    key = next(key for key in BASES if all(key in found for found in sizes))
    basis, unit = BASES[key]
    chosen = [{key: found[key]} for found in sizes]
    steps = zip(pairwise(chosen), pairwise(days), strict=True)
    intervals = tuple(growth_of(a, b, _between(*when)) for (a, b), when in steps)
    overall = growth_of(chosen[0], chosen[-1], _between(days[0], days[-1])) if intervals else None
    values = tuple(found[key] for found in sizes)
    doubling = _doubling(days, values, 1 if key == "volume" else 3)
    return Trend(
        basis,
        unit,
        tuple(days),
        values,
        intervals,
        overall,
        percent_uncertainty(values[0], values[-1]) if intervals else None,
        sum(growth.change is Change.GROWN for growth in intervals) / len(intervals) if intervals else None,
        None if doubling is None else doubling[0],
        None if doubling is None else doubling[1:],
    )


def _between(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else second - first


def percent_uncertainty(first: Size, last: Size) -> float:
    """Of 100 (last / first - 1); relative uncertainties of a quotient add in quadrature (JCGM 100:2008 5.1.6)."""
    relative = math.hypot(first.uncertainty / first.value, last.uncertainty / last.value)
    return 100 * last.value / first.value * relative


def _doubling(days: Sequence[float | None], sizes: Sequence[Size], power: int) -> tuple[float, float, float] | None:
    """Doubling time of the volume with its shortest and longest; None where growth is not told from none.

    Args:
        days: Of the visits.
        sizes: Positive.
        power: Of the size that the volume goes with.
    """
    when = np.array([math.nan if day is None else day for day in days])
    if np.isnan(when).any() or np.ptp(when) <= 0:
        return None
    relative = np.array([max(size.uncertainty / size.value, 1e-6) for size in sizes])
    logs = power * np.log([size.value for size in sizes])
    weights = 1 / (power * relative) ** 2
    mean = np.average(when, weights=weights)
    spread = float(weights @ (when - mean) ** 2)
    slope = float(weights @ ((when - mean) * logs)) / spread
    off = COVERAGE_95 / math.sqrt(spread)
    if abs(slope) <= off:
        return None
    shortest, longest = sorted((math.log(2) / (slope - off), math.log(2) / (slope + off)), key=abs)
    return math.log(2) / slope, shortest, longest


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
