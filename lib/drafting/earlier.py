# SPDX-License-Identifier: Apache-2.0
"""What has become of a visit's lesions since the visit before, from a patient's timeline."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..followup.growth import growth_of
from ..followup.timeline import Beginning, LesionTrack, Observation, Timeline
from ..text.facts import Change
from ..types import FloatArray
from ..types.json_values import at, items_of, known_keys, number

Point = tuple[float, float, float]


@dataclass(frozen=True)
class History:
    """What has become of a lesion.

    Attributes:
        change: None where it is not known: the earlier images do not reach it, or it has split from another.
        percent: Of the volume, where both visits have one and it has grown or shrunk.
        volume_before_ml: At the earlier visit.
    """

    change: Change | None = None
    percent: float | None = None
    volume_before_ml: float | None = None


@dataclass(frozen=True)
class EarlierVisit:
    """The visit before, seen from a later one.

    Attributes:
        days: Between the two; None where a study does not say its date.
        lesions: By the id of the later visit's finding.
        gone: Where the lesions were that are no longer there: LPS mm of the later visit.
    """

    days: float | None = None
    lesions: dict[int, History] = field(default_factory=dict)
    gone: tuple[Point, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        lesions = {str(number): asdict(one) for number, one in self.lesions.items()}
        return {"days": self.days, "lesions": lesions, "gone": [list(point) for point in self.gone]}

    @classmethod
    def from_json(cls, data: Any) -> EarlierVisit:
        """Build it from :meth:`to_json`'s values.

        Raises:
            InputError: If a key is unknown, or a value is not what it should be; it says where.
        """
        with at("earlier"):
            known_keys(data, {"days", "lesions", "gone"})
            lesions = {int(n): _history_of(one) for n, one in known_keys(data.get("lesions", {})).items()}
            gone = tuple(_point(one) for one in items_of(data.get("gone", [])))
            return cls(_measured(data.get("days")), lesions, gone)


def earlier_visit(timeline: Timeline, visit: int, to_reference: Items[FloatArray]) -> EarlierVisit | None:
    """Compare a visit with the one right before it; None for the first.

    Args:
        timeline: Of the patient.
        visit: Counted from 0.
        to_reference: Per visit the map from its LPS mm to those of the visit that all are registered to, (4, 4).
    """
    if visit == 0:
        return None
    first, second = timeline.days[visit - 1], timeline.days[visit]
    days = None if first is None or second is None else second - first
    histories, gone = {}, []
    to_visit = np.linalg.inv(to_reference[visit]) @ to_reference[visit - 1]
    for track in timeline.tracks:
        before, now = track.at(visit - 1), track.at(visit)
        if now is not None:
            histories[now.finding.id] = _history(track, before, now, days)
        elif before is not None and _is_gone(track, visit):
            x, y, z = (to_visit @ [*before.finding.center_lps_mm, 1.0])[:3]
            gone.append((float(x), float(y), float(z)))
    return EarlierVisit(days, histories, tuple(gone))


def _history_of(data: Any) -> History:
    known_keys(data, {"change", "percent", "volume_before_ml"})
    change = data.get("change")
    values = _measured(data.get("percent")), _measured(data.get("volume_before_ml"))
    return History(None if change is None else Change(change), *values)


def _point(data: Any) -> Point:
    x, y, z = (number(value) for value in items_of(data))
    return x, y, z


def _measured(value: Any) -> float | None:
    return None if value is None else number(value)


def _is_gone(track: LesionTrack, visit: int) -> bool:
    """Whether a lesion of the visit before is missing here, and not because it merged or lies outside the images."""
    merged = track.merged_into is not None and track.observations[-1].visit == visit - 1
    return not merged and visit not in track.unseen


def _history(track: LesionTrack, before: Observation | None, now: Observation, days: float | None) -> History:
    if before is None:
        is_new = track.beginning is Beginning.NEW and track.observations[0].visit == now.visit
        return History(Change.NEW if is_new else None)
    growth = growth_of(before.sizes, now.sizes, days)
    change = Change(growth.change.value)
    if growth.basis != "volume":
        return History(change)
    moved = change in (Change.GROWN, Change.SHRUNK)
    return History(change, growth.percent if moved else None, growth.before)
