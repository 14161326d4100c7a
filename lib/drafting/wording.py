# SPDX-License-Identifier: Apache-2.0
"""What the rules cannot read in a sentence, so that it is never taken for something that was measured."""

from __future__ import annotations

import re
from functools import cache

from ..text import Lexicon, MeasuredLesion
from ..text.attributes import Kind, attributes_in
from ..text.context import triggers_in
from ..text.labeller import readable
from ..text.lexicon import covered
from ..text.measures import COUNT_WORDS
from ..text.phrases import HAS_CHANGED, NAMES, PHRASES, PLACES

LARGEST = re.compile(r"\b(?:largest|biggest|dominant)\b|\b(?:larger|bigger)\b(?= (?:one|lesion|mass|focus))")
SMALLEST = re.compile(r"\bsmallest\b|\bsmaller\b(?= (?:one|lesion|mass|focus))")
OTHERS = re.compile(
    r"\b(?:another|further|other|second|third|remaining|latter|additional)\b(?= (?:one|lesion|mass|focus))"
)
SEVERAL = re.compile(
    r"\b(?:several|dozens?|multiple|numerous|many|few|lesions|masses|foci|tumou?rs|nodules|they|these)\b"
)
SINGLE = re.compile(r"\b(?:single|solitary|only|sole|lone|isolated)\b")
EVERY = re.compile(
    r"(?<!in )\b(?:all|both|each|every)(?: of)?(?: the| these| those)?(?: \w+){0,2}? "
    r"(?:lesions?|mass(?:es)?|foci|tumou?rs?|nodules|them|are|have|lie|measure|show)\b"
)
ALL_THESE = re.compile(
    r"(?:^|\b(?<!of )(?:the|these|those) )(?:lesions|masses|foci|tumou?rs|nodules) (?:have|are|were|show)\b"
    r"|\b(?:they|these) (?:have|are|were|show)\b"
)
NONE_OF = re.compile(r"\W*(?:no(?! longer| more)|none of)\b")
"""Which lesions a text in lower case speaks of, and of how many."""
_NUMBERS = (
    r"(?:thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|"
    r"ninety|hundred)"
)
_AMOUNT = re.compile(
    rf"\b{_NUMBERS}(?:-\w+)?\b|\b(?:doubl|tripl|quadrupl|halv)(?:e|es|ed|ing)\b|\b\w+-?fold\b|\btwice\b"
    r"|\bby (?:\w+ ){0,3}(?:half|thirds?|quarters?|fifths?|tenths?)\b"
    r"|\b(?:an?|several|few|half|many) (?:mm|cm|ml|millimet\w+|centimet\w+|millilit\w+|days?|weeks?|months?|years?|"
    r"per ?cent)\b"
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_PLAIN = frozenset(
    re.findall(
        r"\S+",
        "a about again all also altogether an and approximately are area areas around as at axes axial axis be been "
        "being both brain but by cc cerebral cm compared comparison coronal day days demonstrate demonstrated "
        "demonstrates detected diameter diameters dimension dimensions each earlier evident examination examinations "
        "extending extends extent findings first flair for found from had has have hemisphere hemispheres here "
        "hyperintense hyperintensity identified image images imaging impression in interval into involves involving is "
        "it its largest length lie lies lobe lobes located long maximal maximum measure measured measures measuring "
        "millilitre millilitres millimetre millimetres ml mm mr mri namely noted now observed occupies occupying of on "
        "one ones only or other overall parenchyma part parts percent plane present previous previously prior region "
        "regions remaining respectively sagittal scan scans second seen separate sequence sequences series short show "
        "shown shows side sides signal since situated size sizes slice slices still study than that the their "
        "there these they third this those to total transverse up visible visualised visualized volume volumes was "
        "week weeks were where whereas which while whose width with within without",
    )
)
"""Words that claim nothing by themselves."""


def named(text: str, lesions: tuple[MeasuredLesion, ...]) -> tuple[MeasuredLesion, ...]:
    """Those lesions, of the largest first, that "the largest", "the smaller" or "another" can mean."""
    text = text.lower()
    if OTHERS.search(text) and len(lesions) < 2:
        return ()
    if LARGEST.search(text):
        return lesions[:1]
    return lesions[-1:] if SMALLEST.search(text) else lesions


def amount_in_words(text: str) -> str:
    """Why a text in lower case says a number that was not measured, without digits: "doubled", "a week"; else ""."""
    match = _AMOUNT.search(text)
    return f"{match.group()!r}, which was not measured" if match else ""


def unread_words(sentence: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Words that name no finding, place, change or doubt, and that the grammar does not use either.

    Nobody has checked what they say: "malignant", "resected", "well-defined".

    Args:
        sentence: As written.
        lexicon: The words of this kind of report.
    """
    lowered = readable(sentence)
    mentions = [(one.start, one.end) for one in lexicon.mentions(lowered)]
    attributes = attributes_in(lowered, lexicon, mentions)
    changes = [(one.start, one.end) for one in attributes if one.kind is Kind.CHANGE]
    triggers = triggers_in(lowered, mentions + changes)
    read = [*mentions, *((one.start, one.end) for one in attributes), *((one.start, one.end) for one in triggers)]
    known = _PLAIN | _grammar_words() | COUNT_WORDS.keys()
    unread = (m.group() for m in _WORD.finditer(lowered) if not covered(*m.span(), read) and m.group() not in known)
    return tuple(dict.fromkeys(unread))


@cache
def _grammar_words() -> frozenset[str]:
    tables = (*PHRASES.values(), *NAMES.values(), *HAS_CHANGED.values(), PLACES)
    words = (word for table in tables for phrase in table for word in _WORD.findall(phrase.lower()))
    return frozenset(words)
