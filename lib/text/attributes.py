# SPDX-License-Identifier: Apache-2.0
"""What a sentence says besides naming a finding: sides, places, sizes, volumes, counts and changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .changes import changes_in
from .facts import Side
from .lexicon import Lexicon, covered
from .measures import COUNT_WORDS, Quantity, measures_in


class Kind(StrEnum):
    """What an attribute says."""

    SIDE = "side"
    LOCATION = "location"
    SIZE = "size"
    VOLUME = "volume"
    PERCENT = "percent"
    DAYS = "days"
    CHANGE = "change"


_OF_QUANTITY = {
    Quantity.LENGTH: Kind.SIZE,
    Quantity.VOLUME: Kind.VOLUME,
    Quantity.PERCENT: Kind.PERCENT,
    Quantity.DAYS: Kind.DAYS,
}


@dataclass(frozen=True)
class Attribute:
    """A side, a place, a measure or a change: ``sentence[start:end]``.

    Attributes:
        kind: What it says.
        value: A Side, the name of a location, a tuple of numbers, or a Change.
        start: First character.
        end: One past the last character.
    """

    kind: Kind
    value: Any
    start: int
    end: int


_LEFT_RIGHT = r"(?:left|right)"
_SEVERAL_OF = r"(?:lesions|masses|foci|tumou?rs|nodules)"
_AFTER_LETTER = r"(?= (?:sided|fronto?|pariet|tempor|occipit|insul|cerebell|hemispher|basal|lung|upper|middle|lower))"
"""What follows where "L" or "R" is a side."""
_SIDES = (
    (
        Side.BILATERAL,
        re.compile(
            rf"\bbilateral(?:ly)?\b"
            rf"|\bboth\b(?! (?:of|are|have|(?:\w+ ){{0,2}}{_SEVERAL_OF})\b)"
            rf"|\bbi-?(?=basilar|basal|apical)|\b{_LEFT_RIGHT} (?:and|or|"
            rf"as well as) {_LEFT_RIGHT}\b"
            rf"(?! (?:\w+ ){{0,2}}(?:lobe|region)s?\b)|\b{_LEFT_RIGHT} (?:is )?(?:greater|more|"
            rf"larger) than (?:the )?{_LEFT_RIGHT}\b"
        ),
    ),
    (Side.LEFT, re.compile(rf"\bleft(?:-sided)?\b|\bleftwards?\b|(?<!\d )\blt?\b\.?{_AFTER_LETTER}")),
    (Side.RIGHT, re.compile(rf"\bright(?:-sided)?\b|\brightwards?\b|\brt?\b\.?{_AFTER_LETTER}")),
    (Side.MIDLINE, re.compile(r"\b(?:in|of|at|on|near|crossing|across) the midline\b|\bmidline\b(?= (?:lesion|mass))")),
)
_COUNT = re.compile(
    rf"(?:^|[\s(])(?P<count>\d{{1,2}}|{'|'.join(COUNT_WORDS)}|single|solitary)(?P<between>(?:,? [a-z][\w/-]*){{0,4}}) $"
)
_SET_OF = {"pair of": 2, "couple of": 2, "dozen": 12}
_SET = re.compile(rf"\b(?P<count>{'|'.join(_SET_OF)})(?: [a-z][\w/-]*){{0,3}} $")
_NO_ADJECTIVE = re.compile(
    r"\b(?:of|in|at|to|mm|cm|ml|days?|weeks?|months?|years?|the|is|are|with|by|on|or|times|views?|than)\b"
)
_COUNT_AFTER = re.compile(
    rf"^(?: (?:is|are|was|were))? (?P<count>\d{{1,2}}|{'|'.join(COUNT_WORDS)}) in (?:number|total|all)\b"
    r"|^ (?:is|are|was|were) (?P<alone>single|solitary)\b"
)
_NUMBER_OF = re.compile(r"\bnumber of (?:\w+ ){0,2}$")
_NUMBER_IS = re.compile(rf"^(?: \w+){{0,2}}? (?:is|was|:) ?(?P<count>\d{{1,2}}|{'|'.join(COUNT_WORDS)})\b")


def attributes_in(sentence: str, lexicon: Lexicon, taken: list[tuple[int, int]]) -> list[Attribute]:
    """The attributes of a sentence in lower case in order; those of an earlier examination are left out.

    Args:
        sentence: In lower case, with single blanks.
        lexicon: Its locations are looked for.
        taken: The words that name findings; only sides and locations may stand in them.
    """
    found = [
        Attribute(_OF_QUANTITY[one.quantity], one.values, one.start, one.end)
        for one in measures_in(sentence)
        if not one.earlier and not covered(one.start, one.end, taken)
    ]
    found += [Attribute(Kind.CHANGE, change, start, end) for change, start, end in changes_in(sentence, taken)]
    return sorted(found + _places_in(sentence, lexicon), key=lambda one: (one.start, one.end))


def _places_in(sentence: str, lexicon: Lexicon) -> list[Attribute]:
    found: list[Attribute] = []
    for side, pattern in _SIDES:
        for match in pattern.finditer(sentence):
            spans = [(one.start, one.end) for one in found]
            if not covered(*match.span(), spans):
                found.append(Attribute(Kind.SIDE, side, *match.span()))
    for name, pattern in lexicon.place_patterns:
        for match in pattern.finditer(sentence):
            found.append(Attribute(Kind.LOCATION, name, *match.span()))
            if name in lexicon.sides:
                found.append(Attribute(Kind.SIDE, Side(lexicon.sides[name]), *match.span()))
    return found


def count_of(sentence: str, start: int, end: int) -> int | None:
    """How many there are of the finding named by ``sentence[start:end]``; None where no number is said."""
    before, after = sentence[:start], sentence[end:]
    if (match := _COUNT.search(before)) and not _NO_ADJECTIVE.search(match["between"]):
        return _number(match["count"])
    if match := _SET.search(before):
        return _SET_OF[match["count"]]
    if match := _COUNT_AFTER.search(after):
        return _number(match["count"] or match["alone"])
    if _NUMBER_OF.search(before) and (match := _NUMBER_IS.search(after)):
        return _number(match["count"])
    return None


def _number(word: str) -> int:
    return 1 if word in ("single", "solitary") else COUNT_WORDS.get(word) or int(word)
