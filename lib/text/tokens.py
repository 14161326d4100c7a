# SPDX-License-Identifier: Apache-2.0
"""Text <-> tokens: words in lower case, punctuation, and slots for everything that is a number or a placeholder.

A number never becomes a word. It becomes a slot such as ``<length_mm>`` whose value is kept beside the tokens, so a
model that writes tokens cannot invent one: the values of what it writes come from measurements. A de-identification
placeholder (``XXXX``, ``[DATE]``, ``___``) is the slot ``<deid>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..types.errors import InputError
from .measures import COUNT_WORDS, NUMBER, Quantity, factor_of, measures_in, unit_pattern

DISEASE = "<disease>"
"""Stands where the name of a disease was masked."""
GLUED = {"@-@": "-", "@/@": "/"}
"""Tokens of a hyphen and a slash without blanks around them."""


class Slot(StrEnum):
    """Token of a value."""

    LENGTH = "<length_mm>"
    VOLUME = "<volume_ml>"
    PERCENT = "<percent>"
    COUNT = "<count>"
    DAYS = "<days>"
    NUMBER = "<number>"
    DEID = "<deid>"


_OF_QUANTITY = {
    Quantity.LENGTH: Slot.LENGTH,
    Quantity.VOLUME: Slot.VOLUME,
    Quantity.PERCENT: Slot.PERCENT,
    Quantity.DAYS: Slot.DAYS,
}
SLOTS: Mapping[str, Slot] = {slot.value: slot for slot in Slot}
_DEFAULT_UNIT = {Slot.LENGTH: "mm", Slot.VOLUME: "ml", Slot.PERCENT: "%", Slot.DAYS: "days"}
_DECIMALS = {"cm": 1, "ml": 1, "cc": 1}


@dataclass(frozen=True)
class SlotValue:
    """What stands in a slot.

    Attributes:
        slot: Which kind.
        value: In the slot's unit (mm, ml, percent, days); None of a placeholder.
        unit: As it is shown; empty for the slot's own, or where there is none.
        text: The number as it was written, without its unit; empty to have it written from ``value``.
    """

    slot: Slot
    value: float | None = None
    unit: str = ""
    text: str = ""

    @property
    def number(self) -> str:
        """The number as it is shown, without its unit."""
        if self.text or self.value is None:
            return self.text or "___"
        quantity = next((q for q, slot in _OF_QUANTITY.items() if slot is self.slot), None)
        factor = factor_of(quantity, self.unit) if quantity and self.unit else 1.0
        decimals = _DECIMALS.get(self.unit or _DEFAULT_UNIT.get(self.slot, ""), 0)
        return f"{self.value / factor:.{decimals}f}"

    @property
    def shown_unit(self) -> str:
        """The unit as it is shown, with the blank before it."""
        unit = self.unit or _DEFAULT_UNIT.get(self.slot, "")
        return unit if unit in ("", "%") else f" {unit}"


@dataclass(frozen=True)
class Tokenized:
    """A text as tokens.

    Attributes:
        tokens: In order.
        values: One for each token that is a slot, in order.
        spans: Where each token stands in the text; the tokens of "3 x 2 cm" share the whole.
        ids: Of the tokens in a vocabulary, where one was given.
    """

    tokens: tuple[str, ...]
    values: tuple[SlotValue, ...]
    spans: tuple[tuple[int, int], ...]
    ids: tuple[int, ...] = ()


_COUNTED = (
    r"(?:lesion|focus|foci|mass(?:es)?|nodule|tumou?r|area|metastas[ei]s|opacit(?:y|ies)|granuloma|effusion|fracture|"
    r"finding|node|focal|region|lead|wire|clip)s?"
)
_COUNT_WORD = "|".join(COUNT_WORDS)
_SURE_NUMBER = "|".join(word for word in COUNT_WORDS if word != "one")
_AFTER_NUMBER_OF = "|".join(rf"(?<=lesions[ ]is[ ]{'.' * length})" for length in range(1, 7))
"""What stands before a count of one to six letters, since a look-behind must know its length."""
_TOKEN = re.compile(
    rf"""
    (?P<disease>{DISEASE})
    | (?P<deid> X{{3,}} | _{{2,}} | \[[A-Z*][^\]\n]{{0,40}}\] )
    | (?P<count>(?<![\w.])(?:\d{{1,2}}|(?i:{_COUNT_WORD}))\b
        (?: (?=(?:\s[A-Za-z-]+){{0,3}}\s(?i:{_COUNTED})\b) | {_AFTER_NUMBER_OF} ))
    | (?P<number>{NUMBER}(?:st|nd|rd|th)?(?![^\W\d_]) | \d+ | (?<!\w)(?i:{_SURE_NUMBER})\b)
    | (?P<glued>(?<=[\w\]])[-/](?=[\w\[]))
    | (?P<word>[^\W\d_]\w*?(?=X{{3}}|\b)(?:['\u2019-](?!X{{3}})[^\W_]+)*)
    | (?P<mark>\.\.\.|\S)
    """,
    re.VERBOSE,
)


def tokenize(text: str) -> Tokenized:
    """Split a text into tokens.

    Args:
        text: Any; white space counts for nothing.
    """
    tokens: list[str] = []
    values: list[SlotValue] = []
    spans: list[tuple[int, int]] = []
    for token, value, span in _pieces(text):
        tokens.append(token)
        spans.append(span)
        if value is not None:
            values.append(value)
    return Tokenized(tuple(tokens), tuple(values), tuple(spans))


def _pieces(text: str) -> Iterator[tuple[str, SlotValue | None, tuple[int, int]]]:
    lowered = text.lower()
    measures = {one.start: one for one in measures_in(lowered)} if len(lowered) == len(text) else {}
    place = 0
    while place < len(text):
        if (measure := measures.get(place)) is not None:
            yield from _measured(text, measure.quantity, measure.start, measure.end)
            place = measure.end
            continue
        if (match := _TOKEN.match(text, place)) is None:
            place += 1
            continue
        yield _piece(match)
        place = match.end()


def _piece(match: re.Match[str]) -> tuple[str, SlotValue | None, tuple[int, int]]:
    written = match.group()
    kind = match.lastgroup
    if kind == "deid":
        return Slot.DEID.value, SlotValue(Slot.DEID, text=written), match.span()
    if kind in ("count", "number"):
        slot = Slot.COUNT if kind == "count" else Slot.NUMBER
        digits = re.match(r"\d+(?:[.,]\d+)?", written)
        value = float(digits.group().replace(",", ".")) if digits else float(COUNT_WORDS[written.lower()])
        return slot.value, SlotValue(slot, value, text=written.lower()), match.span()
    if kind == "glued":
        return f"@{written}@", None, match.span()
    return written.lower(), None, match.span()


def _measured(
    text: str, quantity: Quantity, start: int, end: int
) -> Iterator[tuple[str, SlotValue | None, tuple[int, int]]]:
    """A slot for each number of a measure, with ``x`` between them."""
    written = text[start:end]
    unit = re.search(rf"{unit_pattern(quantity)}$", written, re.IGNORECASE)
    assert unit is not None
    slot = _OF_QUANTITY[quantity]
    for index, number in enumerate(re.findall(rf"(?<![\w.]){NUMBER}", written[: unit.start()])):
        if index:
            yield "x", None, (start, end)
        value = round(float(number.replace(",", ".")) * factor_of(quantity, unit.group()), 4)
        yield slot.value, SlotValue(slot, value, unit.group(), number), (start, end)


_NO_BLANK_BEFORE = frozenset(".,;:!?)]%'") | frozenset({"..."})
_NO_BLANK_AFTER = frozenset("([")
_ENDS = frozenset({".", "!", "?"})


def detokenize(tokens: Sequence[str], values: Iterable[SlotValue] = (), forms: Mapping[str, str] | None = None) -> str:
    """Tokens and the values of their slots as text.

    Args:
        tokens: Words, marks and slots.
        values: One for each slot, in order.
        forms: How words are written that are not in lower case, such as ``{"flair": "FLAIR"}``.

    Raises:
        InputError: If there are more or fewer values than slots, or one is of another kind than its slot.
    """
    words = _written(tokens, values, forms or {})
    text, fresh = "", True
    for token, word in zip(tokens, words, strict=True):
        glued = token in GLUED or (bool(text) and text[-1] in "-/" and text[-2:] not in (" -", " /"))
        blank = text and not glued and word[0] not in _NO_BLANK_BEFORE and text[-1] not in _NO_BLANK_AFTER
        text += (" " if blank else "") + (word[0].upper() + word[1:] if fresh else word)
        fresh = token in _ENDS or (fresh and not word[-1].isalpha())
    return text


def _written(tokens: Sequence[str], values: Iterable[SlotValue], forms: Mapping[str, str]) -> list[str]:
    """Each token as it is written; of "3 x 2 cm" only the last number has its unit."""
    remaining = iter(values)
    words: list[str] = []
    for index, token in enumerate(tokens):
        if token not in SLOTS:
            words.append(GLUED.get(token) or forms.get(token, token))
            continue
        value = next(remaining, None)
        if value is None or value.slot != token:
            raise InputError(f"slot {token}: expected a value of it, got {'none' if value is None else value.slot}")
        chained = tuple(tokens[index + 1 : index + 3]) == ("x", token)
        words.append(value.number if chained else value.number + value.shown_unit)
    if next(remaining, None) is not None:
        raise InputError(f"more values than the {sum(token in SLOTS for token in tokens)} slots")
    return words
