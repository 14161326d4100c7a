# SPDX-License-Identifier: Apache-2.0
"""Numbers of a sentence against those that were measured."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..text import Fact, MeasuredLesion, Slot, tokenize
from ..text.measures import Quantity, measures_in
from ..text.tokens import SlotValue

ROUNDED_MM, ROUNDED_ML, ROUNDED_PERCENT = 0.6, 0.06, 0.6
"""How far a number as it is written may be from the measured one."""
_BY = re.compile(r"\bby (?:about |approximately |around |some )?$")


def stray_number(text: str, facts: Iterable[Fact], spoken: list[MeasuredLesion], days: int | None) -> str:
    """A number of the sentence that belongs to no lesion that it speaks of; "" where each does."""
    if earlier := _earlier_number(text.lower(), spoken):
        return earlier
    counts = {float(fact.count) for fact in facts if fact.count is not None}
    for value in tokenize(text).values:
        if value.value is not None and not _has_owner(value, value.value, counts, spoken, days):
            return f"the number {value.number} of nothing that was measured"
    return ""


def _earlier_number(text: str, spoken: list[MeasuredLesion]) -> str:
    """A size of an earlier examination, or a difference of sizes, that was not measured: of those only volumes are."""
    for one in measures_in(text):
        is_volume = one.quantity is Quantity.VOLUME
        if one.quantity not in (Quantity.LENGTH, Quantity.VOLUME):
            continue
        if _BY.search(text[: one.start]):
            return f"a difference of {text[one.start : one.end]}, of which only the percentage is measured"
        if one.earlier and not (is_volume and _was(one.values[0], spoken)):
            return f"{text[one.start : one.end]} at an earlier examination, which was not measured"
    return ""


def _was(volume_ml: float, spoken: list[MeasuredLesion]) -> bool:
    return any(agrees(volume_ml, one.volume_before_ml, ROUNDED_ML, 0.1) for one in spoken)


def _has_owner(
    value: SlotValue, number: float, counts: set[float], spoken: list[MeasuredLesion], days: int | None
) -> bool:
    if value.slot in (Slot.COUNT, Slot.NUMBER):
        return number in counts
    if value.slot is Slot.DAYS:
        return agrees(number, days, 0.5)
    if value.slot is Slot.LENGTH:
        return any(agrees(number, shown, ROUNDED_MM) for one in spoken for shown in shown_mm(one))
    if value.slot is Slot.VOLUME:
        volumes = [volume for one in spoken for volume in (one.volume_ml, one.volume_before_ml)]
        return any(agrees(number, volume, ROUNDED_ML, 0.1) for volume in volumes)
    return any(agrees(number, abs(one.percent), ROUNDED_PERCENT) for one in spoken if one.percent is not None)


def shown_mm(lesion: MeasuredLesion) -> tuple[float, ...]:
    """Axes as a report shows them, the longest first; none is shorter than 1 mm."""
    axes = (axis for axis in (lesion.long_mm, lesion.short_mm) if axis is not None)
    return tuple(sorted((max(1.0, axis) for axis in axes), reverse=True))


def all_same(said: tuple[float, ...], measured: tuple[float, ...], tolerance: float) -> bool:
    """Whether as many numbers were said as measured, and each agrees."""
    return len(said) == len(measured) and all(agrees(a, b, tolerance) for a, b in zip(said, measured, strict=True))


def agrees(said: float, measured: float | None, tolerance: float, least: float = 0.0) -> bool:
    """Whether a number is the measured one; what is smaller than ``least`` is shown as that."""
    return measured is not None and abs(said - (max(measured, least) if least else measured)) <= tolerance


def listed(values: tuple[float, ...]) -> str:
    """Sizes as text."""
    return " x ".join(f"{value:g}" for value in values)
