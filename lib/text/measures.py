# SPDX-License-Identifier: Apache-2.0
"""Numbers with units in a sentence: sizes, volumes, percents and times, and counts in words.

A value that belongs to an earlier examination ("previously 12 mm", "from 3.1 ml to ...") is read as such and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

NUMBER = r"\d+(?:[.,]\d+)?"
MM_OF = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "centimeter": 10.0, "centimetre": 10.0}
ML_OF = {"ml": 1.0, "cc": 1.0, "cm3": 1.0, "cm³": 1.0, "milliliter": 1.0, "millilitre": 1.0, "mm3": 1e-3, "mm³": 1e-3}
DAYS_OF = {"day": 1.0, "week": 7.0}
COUNT_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
NUMBER_WORDS = {value: word for word, value in COUNT_WORDS.items()}


class Quantity(StrEnum):
    """What a number measures."""

    LENGTH = "length_mm"
    VOLUME = "volume_ml"
    PERCENT = "percent"
    DAYS = "days"


UNITS: dict[Quantity, dict[str, float]] = {
    Quantity.LENGTH: MM_OF,
    Quantity.VOLUME: ML_OF,
    Quantity.PERCENT: {"%": 1.0, "percent": 1.0, "per cent": 1.0},
    Quantity.DAYS: DAYS_OF,
}
"""Factor from each unit to that of the quantity."""


@dataclass(frozen=True)
class Measure:
    """A measure in a sentence.

    Attributes:
        quantity: What is measured.
        values: In the quantity's unit; several for a size in several directions.
        start: First character.
        end: One past the last character.
        earlier: Whether it belongs to an earlier examination.
    """

    quantity: Quantity
    values: tuple[float, ...]
    start: int
    end: int
    earlier: bool


def unit_pattern(quantity: Quantity) -> str:
    """Regular expression of a quantity's units, the longest first."""
    names = "|".join(re.escape(name) for name in sorted(UNITS[quantity], key=len, reverse=True))
    plural = "s?" if quantity in (Quantity.LENGTH, Quantity.VOLUME, Quantity.DAYS) else ""
    return rf"(?:{names}){plural}(?![\w³])"


def factor_of(quantity: Quantity, unit: str) -> float:
    """Factor from a unit as written to the quantity's own."""
    known = UNITS[quantity]
    unit = unit.lower()
    return known[unit] if unit in known else known[unit.rstrip("s")]


_LENGTH_UNIT = unit_pattern(Quantity.LENGTH)
_PATTERNS = {
    Quantity.VOLUME: rf"(?P<a>{NUMBER})\s*-?(?P<unit>{unit_pattern(Quantity.VOLUME)})",
    Quantity.LENGTH: rf"(?P<a>{NUMBER})(?:\s*(?:{_LENGTH_UNIT})?\s*(?:x|\u00d7|by)\s*(?P<b>{NUMBER}))?"
    rf"(?:\s*(?:{_LENGTH_UNIT})?\s*(?:x|\u00d7|by)\s*(?P<c>{NUMBER}))?\s*-?(?P<unit>{_LENGTH_UNIT})",
    Quantity.PERCENT: rf"(?P<a>{NUMBER})\s*(?P<unit>{unit_pattern(Quantity.PERCENT)})",
    Quantity.DAYS: rf"(?P<a>{NUMBER})[\s-]*(?P<unit>{unit_pattern(Quantity.DAYS)})",
}
_EARLIER_AFTER = re.compile(r"\)? (?:before|previously|earlier|(?:on|at|in) the (?:prior|previous|earlier|last)\b)")
_COMPILED = {quantity: re.compile(rf"(?<![\w.]){pattern}") for quantity, pattern in _PATTERNS.items()}
_EARLIER = re.compile(
    r"(?:\bprevious(?:ly)?|\bformerly|\bprior(?: size| volume)?|\bearlier|\bcompared (?:with|to)|\bfrom|\bwas|"
    r"\bversus|\bvs\.?)"
    r"(?: (?:of|at|about|measured|measuring|was|a|an|the))*\s*\(?$"
)


def measures_in(sentence: str) -> Iterator[Measure]:
    """The measures of a sentence in lower case, by quantity and then in order."""
    for quantity, pattern in _COMPILED.items():
        for match in pattern.finditer(sentence):
            factor = factor_of(quantity, match["unit"])
            written = [value for key, value in match.groupdict().items() if key in "abc" and value is not None]
            values = tuple(round(float(value.replace(",", ".")) * factor, 4) for value in written)
            before = _EARLIER.search(sentence[: match.start()])
            earlier = before is not None or _EARLIER_AFTER.match(sentence, match.end()) is not None
            yield Measure(quantity, values, match.start(), match.end(), earlier and quantity is not Quantity.DAYS)
