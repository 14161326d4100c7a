# SPDX-License-Identifier: Apache-2.0
"""What the rules would read otherwise than it is meant: negations of negations, changes of a count, odd amounts.

NegEx and ConText (:mod:`lib.text.context`) let every negation deny each finding in its scope by itself. Here each
needs a finding, or a change, of its own; a sentence where one has none is never counted as supported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..text import Change, Fact, Lexicon
from ..text.attributes import Kind, attributes_in
from ..text.changes import STILL_THERE, changes_in
from ..text.context import Cue, Trigger, triggers_in
from ..text.labeller import readable
from ..text.lexicon import Mention, covered
from ..text.measures import COUNT_WORDS, NUMBER

Spans = list[tuple[int, int]]
_DENIAL = re.compile(
    r"\b(?:no|not|never|none|neither|nor|without|absent|absence|lack(?:s|ing)?|fail(?:s|ed|ing)?|negative for|nothing|"
    r"excludes|denies|rule[sd]? out|unlikely|(?:free|clear) (?:of|from))\b"
)
_JOINT = re.compile(r"[,;:]|\b(?:and|or|but|while|whereas|although|though)\b")
_UNDECIDED = (Cue.POSSIBLE, Cue.POSSIBLE_BEFORE, Cue.NOTHING)
_COUNT = rf"(?:\d{{1,2}}|{'|'.join(COUNT_WORDS)})"
_IN_NUMBER = re.compile(rf"\b(?!{_COUNT}\b)\w+,? in (?:(?:the|their|total) )?(?:number|count)s?\b")
_NUMBER_OF = re.compile(r"\b(?:numbers?|counts?|numerous)\b")
_SIGN = r"(?:[-\u2010-\u2015\u2212]|\bminus\b|\bnegative\b)"
_BELOW_ZERO = re.compile(rf"(?:^|(?<=[\s(])){_SIGN}\d|\b(?:minus|negative) \d|\b(?:by|of|to|about) {_SIGN} ?\d")
_ABOVE_ZERO = re.compile(r"(?:^|(?<=[\s(]))(?:\+ ?|plus )\d")
_PERCENT = r"(?:%|per ?cent\b)"
_ZERO = re.compile(rf"(?<![\w.,])0+(?:[.,]0+)? ?(?:{_PERCENT}|mm\b|cm\b|ml\b|cc\b)")
_TO_A_SHARE = re.compile(rf"\bto (?:\w+ )?{NUMBER} ?{_PERCENT}")


def misread(sentence: str, facts: Iterable[Fact], lexicon: Lexicon) -> str:
    """Why a sentence may mean something else than the rules read; "" where it does not.

    Args:
        sentence: As written.
        facts: What the rules read.
        lexicon: The words of this kind of report.
    """
    text = readable(sentence)
    none_is_stable = any(fact.present is False and fact.change is Change.STABLE for fact in facts)
    if none_is_stable or _denies_oddly(text, lexicon):
        return "a negation that the rules cannot follow"
    if _IN_NUMBER.search(text) or (_NUMBER_OF.search(text) and changes_in(text, [])):
        return "a change of how many there are, which was not measured"
    if _TO_A_SHARE.search(text):
        return "a share of what was there before, which was not measured"
    return "an amount below zero" if _BELOW_ZERO.search(text) else ""


def odd_amount(text: str) -> str:
    """Why the amount of growth or shrinkage in a text in lower case cannot be; "" where it can."""
    changes = {change for change, _, _ in changes_in(text, [])} & {Change.GROWN, Change.SHRUNK}
    if not changes:
        return ""
    if _BELOW_ZERO.search(text) or (Change.SHRUNK in changes and _ABOVE_ZERO.search(text)):
        return "an amount whose sign goes against the change"
    return "a change by nothing" if _ZERO.search(text) else ""


def _denies_oddly(text: str, lexicon: Lexicon) -> bool:
    """Whether a word denies a denial, or something that is no finding."""
    mentions = lexicon.mentions(text)
    named = [(one.start, one.end) for one in mentions]
    changes = [(one.start, one.end) for one in attributes_in(text, lexicon, named) if one.kind is Kind.CHANGE]
    triggers = triggers_in(text, named + changes)
    whole = [*named, *changes, *(match.span() for match in STILL_THERE.finditer(text))]
    denials = _denials(text, whole, triggers)
    free, ended = mentions, 0
    for index, (start, end) in enumerate(denials):
        if ended and not _JOINT.search(text, ended, start) and not text.startswith("nor", start):
            return True
        if not covered(start, end, whole):
            until = denials[index + 1][0] if index + 1 < len(denials) else len(text)
            target = _denied(start, end, (ended, until), free, triggers)
            if target is None or target.absent:
                return True
            free = [one for one in free if one != target]
        ended = end
    return False


def _denials(text: str, whole: Spans, triggers: list[Trigger]) -> Spans:
    """The words that deny something, in order; those within the words of one change or finding are one."""
    undecided = [(one.start, one.end) for one in triggers if one.cue in _UNDECIDED]
    found: Spans = []
    for match in _DENIAL.finditer(text):
        start, end = next((span for span in whole if covered(*match.span(), [span])), match.span())
        if (start, end) not in found and not covered(start, end, undecided):
            found.append((start, end))
    return found


def _denied(
    start: int, end: int, within: tuple[int, int], free: list[Mention], triggers: list[Trigger]
) -> Mention | None:
    """The finding that ``text[start:end]`` denies, which no other word does; None where there is none."""
    if any(one.cue is Cue.ABSENT_BEFORE and covered(start, end, [(one.start, one.end)]) for one in triggers):
        before = [one for one in free if within[0] <= one.start and one.end <= start]
        return before[-1] if before else None
    stop = min((one.start for one in triggers if one.cue is Cue.END and one.start >= end), default=within[1])
    return next((one for one in free if end <= one.start and one.start < min(stop, within[1])), None)
