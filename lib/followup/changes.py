# SPDX-License-Identifier: Apache-2.0
"""What a timeline says of one lesion at one visit: how it has changed since the first visit and since the one before.

Only that visit and the earlier ones count: what is said of a visit does not change when a later one comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .growth import Growth, Size, growth_of
from .spread import Spread, spread_between
from .timeline import LesionTrack, Observation, Timeline
from .trend import Trend, percent_uncertainty, trend_of

DIAMETERS = ("long_axis", "box")
"""What a diameter is, the best first: of the outline, of the box."""


@dataclass(frozen=True)
class Measured:
    """A change of one measure.

    Attributes:
        growth: The change.
        percent_uncertainty: Standard uncertainty of its percent.
    """

    growth: Growth
    percent_uncertainty: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``tolerance`` is the standard uncertainty of ``difference``."""
        return {**self.growth.to_json(), "percent_uncertainty": round(self.percent_uncertainty, 1)}


@dataclass(frozen=True)
class LesionChange:
    """A lesion at a visit against the same lesion at an earlier one.

    Attributes:
        visit: The earlier one.
        volume: Change of the volume; None where one of the two has no mask.
        diameter: Change of the longest diameter in the plane.
        spread: Which way it has spread.
    """

    visit: int
    volume: Measured | None
    diameter: Measured
    spread: Spread

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "visit": self.visit,
            "volume": None if self.volume is None else self.volume.to_json(),
            "diameter": self.diameter.to_json(),
            "spread": self.spread.to_json(),
        }


@dataclass(frozen=True)
class FindingGrowth:
    """How a finding of a visit has grown.

    Attributes:
        track: The lesion's track over the visits.
        beginning: How it has come into the series.
        since_first: Against the first visit at which it was found; None at that one.
        since_previous: Against the last visit before this one at which it was found; None where there is none.
        trend: Over the visits up to this one.
    """

    track: int
    beginning: str
    since_first: LesionChange | None
    since_previous: LesionChange | None
    trend: Trend

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        trend = self.trend.to_json()
        kept = ("growth_frequency", "doubling_time_days", "doubling_time_95")
        return {
            "track": self.track,
            "beginning": self.beginning,
            "since_first": None if self.since_first is None else self.since_first.to_json(),
            "since_previous": None if self.since_previous is None else self.since_previous.to_json(),
            **{key: trend[key] for key in kept},
        }


def growth_at(timeline: Timeline, visit: int, registration_error_mm: float) -> dict[int, FindingGrowth]:
    """The growth of each finding of a visit, by the finding's id.

    Args:
        timeline: Of the patient.
        visit: Counted from 0.
        registration_error_mm: How far the maps between the visits may be off.
    """
    found = {}
    for track in timeline.tracks:
        seen = track.at(visit)
        if seen is not None:
            found[seen.finding.id] = _growth(timeline, track, seen, registration_error_mm)
    return found


def _growth(timeline: Timeline, track: LesionTrack, seen: Observation, error_mm: float) -> FindingGrowth:
    until = [one for one in track.observations if one.visit <= seen.visit]

    def since(one: Observation) -> LesionChange:
        first, last = timeline.days[one.visit], timeline.days[seen.visit]
        days = None if first is None or last is None else last - first
        diameter = next(key for key in DIAMETERS if key in one.sizes and key in seen.sizes)
        volumes = "volume" in one.sizes and "volume" in seen.sizes
        return LesionChange(
            one.visit,
            _measured(one.sizes, seen.sizes, "volume", days) if volumes else None,
            _measured(one.sizes, seen.sizes, diameter, days),
            spread_between(one.extent, seen.extent, error_mm),
        )

    return FindingGrowth(
        track.id,
        track.beginning.value,
        since(until[0]) if len(until) > 1 else None,
        since(until[-2]) if len(until) > 1 else None,
        trend_of([timeline.days[one.visit] for one in until], [one.sizes for one in until]),
    )


def _measured(before: dict[str, Size], after: dict[str, Size], key: str, days: float | None) -> Measured:
    growth = growth_of({key: before[key]}, {key: after[key]}, days)
    return Measured(growth, percent_uncertainty(before[key], after[key]))
