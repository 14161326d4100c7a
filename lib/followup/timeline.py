# SPDX-License-Identifier: Apache-2.0
"""What is known of a patient's lesions over the visits; :mod:`lib.followup.series` finds it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ..types import Finding
from .growth import Size
from .spread import Extent, Spread
from .trend import Trend


class Beginning(StrEnum):
    """How a lesion comes into the series."""

    FIRST_VISIT = "there at the first visit"
    NEW = "new"
    SPLIT = "split from another"
    OUTSIDE = "outside the images before"


class Ending(StrEnum):
    """How a lesion leaves the series."""

    LAST_VISIT = "there at the last visit"
    GONE = "gone"
    MERGED = "merged with another"
    OUTSIDE = "outside the images since"


@dataclass(frozen=True)
class Observation:
    """A lesion at a visit: where it was found, its sizes, and its place in the LPS mm of the reference visit."""

    visit: int
    finding: Finding
    sizes: dict[str, Size]
    extent: Extent


@dataclass(frozen=True)
class LesionTrack:
    """A lesion over the visits.

    Attributes:
        id: From 1, in the order of the visits at which the lesions begin.
        observations: At least one, in order of time.
        beginning: How it came.
        ending: How it went.
        split_from: Track that it was part of before.
        merged_into: Track that it has become part of.
        unseen: Visits at which it was not found and whose images do not reach the place.
        trend: How its size has changed.
        spreads: Which way it has spread, from each observation to the next.
        spread: The same from the first to the last; None for a single one.
    """

    id: int
    observations: tuple[Observation, ...]
    beginning: Beginning
    ending: Ending
    split_from: int | None
    merged_into: int | None
    unseen: tuple[int, ...]
    trend: Trend
    spreads: tuple[Spread, ...]
    spread: Spread | None

    def at(self, visit: int) -> Observation | None:
        """The lesion at a visit, or None where it was not found."""
        return next((seen for seen in self.observations if seen.visit == visit), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "id": self.id,
            "findings": {str(seen.visit): seen.finding.id for seen in self.observations},
            "beginning": self.beginning.value,
            "ending": self.ending.value,
            "split_from": self.split_from,
            "merged_into": self.merged_into,
            "unseen": list(self.unseen),
            "trend": self.trend.to_json(),
            "spreads": [spread.to_json() for spread in self.spreads],
            "spread": None if self.spread is None else self.spread.to_json(),
        }


@dataclass(frozen=True)
class Timeline:
    """The lesions of a patient over the visits.

    Attributes:
        days: Of each visit, from the first; None where a study does not say its date.
        steps_mm: Distance between the frames of each visit.
        tracks: In the order of their ids.
        warnings: What the links cannot say, a sentence each.
    """

    days: tuple[float | None, ...]
    steps_mm: tuple[float, ...]
    tracks: tuple[LesionTrack, ...]
    warnings: tuple[str, ...]

    def findings_at(self, visit: int) -> tuple[Finding, ...]:
        """The findings of a visit with their track ids, in the order of these."""
        seen = [(track.id, track.at(visit)) for track in self.tracks]
        return tuple(replace(one.finding, track_id=number) for number, one in seen if one is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "days": list(self.days),
            "tracks": [track.to_json() for track in self.tracks],
            "warnings": list(self.warnings),
        }
