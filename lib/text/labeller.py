# SPDX-License-Identifier: Apache-2.0
"""Sentence -> facts, by rules: which finding, whether it is there, on which side, where, how large, how changed.

The words that name a finding come from a lexicon; what the words around it do to it from :mod:`lib.text.context`
(NegEx and ConText). A side, a place, a size or a change belongs to the finding that it stands right in front of, else
to the one before it in the same clause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from .attributes import Attribute, Kind, attributes_in, count_of
from .context import Cue, cues_of, triggers_in
from .facts import Certainty, Change, Fact, Side, joined
from .lexicon import Lexicon, Mention
from .sentences import split_sentences

_CLAUSE = re.compile(
    r";|\b(?:while|whereas|but|however|although)\b|,? and (?=there (?:is|are)\b)|, (?=with an?\b|no\b|without\b)"
)
_STOPS_ADJECTIVE = re.compile(
    r",|;|\b(?:in|of|at|with|and|or|within|on|to|is|are|has|have|was|were|measur\w+|shows?|lies|from|than|the|by|"
    r"for|without|no)\b"
)
_LISTED = re.compile(
    r"^[\s,]*(?:(?:and|or|with|associated|adjacent|and/or|/|a|an|the|small|mild|moderate|minimal|some)[\s,]*)*$"
)
_NOT = re.compile(r"\b(is|are|was|were|has|have|had|do|does|did|could)n['\u2019]t\b")
_ANOTHER = re.compile(r"(?:another|the (?:other|second|third|smaller|smallest|remaining|latter))\b")
UNSURE = frozenset({Cue.POSSIBLE, Cue.POSSIBLE_BEFORE})
DENIED = frozenset({Cue.ABSENT, Cue.ABSENT_BEFORE})


def label_text(text: str, lexicon: Lexicon) -> list[Fact]:
    """The facts of all sentences of a text in order."""
    return [fact for sentence in split_sentences(text) for fact in label_sentence(sentence, lexicon)]


def label_sentence(sentence: str, lexicon: Lexicon) -> tuple[Fact, ...]:
    """The facts of one sentence in the order in which they are said.

    A finding of the patient's history is no fact of this examination and is left out; so is a size or a volume of an
    earlier examination.

    Args:
        sentence: As written; case does not count.
        lexicon: The words of this kind of report.
    """
    lowered = readable(sentence)
    mentions = lexicon.mentions(lowered)
    if not mentions:
        return ()
    spans = [(one.start, one.end) for one in mentions]
    attributes = attributes_in(lowered, lexicon, spans)
    changes = [(one.start, one.end) for one in attributes if one.kind is Kind.CHANGE]
    triggers = triggers_in(lowered, spans + changes)
    owned = _owned(lowered, mentions, attributes)
    drafts = [
        _Draft(
            mention, cues_of(mention.start, mention.end, triggers), own, count_of(lowered, mention.start, mention.end)
        )
        for mention, own in zip(mentions, owned, strict=True)
    ]
    facts = [(draft.mention, draft.facts()) for draft in drafts if Cue.PAST not in draft.cues]
    return _merged(_shared_sides(lowered, facts), lowered)


def readable(sentence: str) -> str:
    """A sentence as the rules read it: in lower case, with single blanks, "hasn't" as "has not"."""
    return _NOT.sub(r"\1 not", re.sub(r"\s+", " ", sentence.lower()))


@dataclass(frozen=True)
class _Draft:
    """A mention with what belongs to it."""

    mention: Mention
    cues: set[Cue]
    attributes: list[Attribute]
    count: int | None

    def facts(self) -> list[Fact]:
        """One fact, and one of each further change; with several places one of each, and one of them together."""
        whole = self._whole()
        places = _places(self.attributes)
        if len(places) < 2:
            side, location = places[0] if places else (None, None)
            return [replace(one, side=side, location=location) for one in (whole, *self._further_changes())]
        plain = Fact(whole.finding, whole.present, certainty=whole.certainty)
        together = [] if whole == plain else [whole]
        return together + [replace(plain, side=side, location=location) for side, location in places]

    def _whole(self) -> Fact:
        change = self._one(Kind.CHANGE)
        percent, size = self._one(Kind.PERCENT), self._one(Kind.SIZE)
        volume, days = self._one(Kind.VOLUME), self._one(Kind.DAYS)
        return Fact(
            self.mention.finding,
            self._present(change),
            size_mm=None if size is None else tuple(sorted(size, reverse=True)),
            volume_ml=None if volume is None else volume[0],
            count=self.count,
            change=change,
            percent=None if percent is None else (-percent[0] if change is Change.SHRUNK else percent[0]),
            certainty=self._certainty(),
            days=None if days is None or change is None else days[0],
        )

    def _further_changes(self) -> list[Fact]:
        """What is said to have become of it besides the first change."""
        told = list(dict.fromkeys(one.value for one in self.attributes if one.kind is Kind.CHANGE))[1:]
        certainty = self._certainty()
        return [
            Fact(self.mention.finding, one is Change.STABLE or self._present(one), change=one, certainty=certainty)
            for one in told
        ]

    def _present(self, change: Change | None) -> bool | None:
        denied = bool(self.cues & DENIED)
        if denied or change is Change.GONE:
            return self.mention.absent and denied
        if self.mention.absent:
            return False
        return None if self.cues & UNSURE else True

    def _certainty(self) -> Certainty:
        if self.cues & DENIED:
            return Certainty.STATED
        if self.cues & UNSURE:
            return Certainty.POSSIBLE
        return Certainty.LIKELY if Cue.LIKELY in self.cues else Certainty.STATED

    def _one(self, kind: Kind) -> Any:
        return next((one.value for one in self.attributes if one.kind is kind), None)


def _places(attributes: list[Attribute]) -> list[tuple[Side | None, str | None]]:
    """Side and locations of each place, in order; a side that comes again starts a new place."""
    places: list[tuple[Side | None, set[str]]] = []
    for one in attributes:
        if one.kind is Kind.SIDE:
            if places and places[-1][0] is None:
                places[-1] = (one.value, places[-1][1])
            elif not places or places[-1][0] is not one.value:
                places.append((one.value, set()))
        elif one.kind is Kind.LOCATION:
            if not places:
                places.append((None, set()))
            places[-1][1].add(one.value)
    sides = {side for side, _ in places}
    if len(places) > 1 and not all(locations for _, locations in places):
        everything = set().union(*(locations for _, locations in places))
        side = Side.BILATERAL if {Side.LEFT, Side.RIGHT} <= sides or Side.BILATERAL in sides else places[0][0]
        places = [(side, everything)]
    return [(side, "+".join(sorted(locations)) or None) for side, locations in places]


def _owned(sentence: str, mentions: list[Mention], attributes: list[Attribute]) -> list[list[Attribute]]:
    """The attributes of each mention."""
    owned: list[list[Attribute]] = [[] for _ in mentions]
    clauses = [match.start() for match in _CLAUSE.finditer(sentence)]
    for one in attributes:
        owner = _owner(sentence, mentions, one, clauses)
        owned[owner].append(one)
    return owned


def _owner(sentence: str, mentions: list[Mention], one: Attribute, clauses: list[int]) -> int:
    """Index of the mention that an attribute belongs to."""
    for index, mention in enumerate(mentions):
        if mention.start < one.end and one.start < mention.end:
            return index
    before = [i for i, mention in enumerate(mentions) if mention.end <= one.start]
    after = [i for i, mention in enumerate(mentions) if mention.start >= one.end]
    if not before or not after:
        return (before or after[::-1])[-1]
    last, following = mentions[before[-1]], mentions[after[0]]
    new_clause = _apart(clauses, last.end, one.start) and not _apart(clauses, one.end, following.start)
    return after[0] if new_clause or _modifies(sentence, one, following) else before[-1]


def _modifies(sentence: str, attribute: Attribute, mention: Mention) -> bool:
    """Whether an attribute is an adjective of the mention behind it: "new left frontal lesion"."""
    between = sentence[attribute.end : mention.start]
    return len(between.split()) <= 5 and _STOPS_ADJECTIVE.search(between) is None


def _apart(clauses: list[int], start: int, end: int) -> bool:
    return any(start <= clause < end for clause in clauses)


def _shared_sides(sentence: str, facts: list[tuple[Mention, list[Fact]]]) -> list[tuple[Mention, list[Fact]]]:
    """Findings in a list ("left effusion and atelectasis") share side and location where only one has them."""
    for (first, ones), (second, others) in pairwise(facts):
        if len(ones) > 1 or len(others) > 1 or not _LISTED.match(sentence[first.end : second.start]):
            continue
        a, b = ones[0], others[0]
        if a.side is None and a.location is None:
            ones[0] = replace(a, side=b.side, location=b.location)
        elif b.side is None and b.location is None:
            others[0] = replace(b, side=a.side, location=a.location)
    return facts


def _merged(groups: Iterable[tuple[Mention, list[Fact]]], sentence: str) -> tuple[Fact, ...]:
    """Facts of several mentions that say no two different things about one finding become one."""
    kept: list[Fact] = []
    closed: set[int] = set()
    for mention, facts in groups:
        if len(facts) == 1 and not _ANOTHER.match(sentence, mention.start):
            if _joined_last(kept, closed, facts[0]):
                continue
        elif len(facts) > 1:
            closed |= set(range(len(kept), len(kept) + len(facts)))
        kept += facts
    return tuple(kept)


def _joined_last(kept: list[Fact], closed: set[int], fact: Fact) -> bool:
    """Join a fact to the last one that it fits; False where it fits none."""
    for index in reversed(range(len(kept))):
        if index not in closed and (both := joined(kept[index], fact)) is not None:
            kept[index] = both
            return True
    return False
