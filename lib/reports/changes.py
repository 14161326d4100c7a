# SPDX-License-Identifier: Apache-2.0
"""What a person changed: the words of a draft beside those of a later version."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import groupby
from typing import Any

from ..types.report import Report, Texts
from .versions import texts_of, with_ids

_WORD = re.compile(r"\s*(?:\w+(?:[.,'\u2019/-]\w+)*|[^\w\s])")
"""A word, a number or a mark with the blanks before it."""


class Kept(StrEnum):
    """What has become of a stretch of words."""

    KEPT = "kept"
    REMOVED = "removed"
    ADDED = "added"


class Edit(StrEnum):
    """What has become of a sentence."""

    SAME = "same"
    EDITED = "edited"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True)
class Span:
    """A stretch of words; those that are kept or added, put together, are the later text."""

    kind: Kept
    text: str


@dataclass(frozen=True)
class Counts:
    """Words and marks by what has become of them."""

    kept: int = 0
    removed: int = 0
    added: int = 0

    @property
    def share(self) -> float:
        """Share of words that changed, in [0, 1]: those removed or added among those of both texts."""
        total = 2 * self.kept + self.removed + self.added
        return (self.removed + self.added) / total if total else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.kept + other.kept, self.removed + other.removed, self.added + other.added)


@dataclass(frozen=True)
class SentenceChange:
    """What has become of a sentence.

    Attributes:
        id: Of the sentence.
        section: Where it stands, or stood.
        kind: What was done to it.
        before: Its earlier text; "" where it was added.
        after: Its later text; "" where it was removed or struck.
        spans: Both, word by word.
        counts: Its words.
    """

    id: str
    section: str
    kind: Edit
    before: str
    after: str
    spans: tuple[Span, ...]
    counts: Counts


@dataclass(frozen=True)
class ReportChange:
    """What has become of a report, in the order of its sentences."""

    sentences: tuple[SentenceChange, ...]

    @property
    def counts(self) -> Counts:
        """Words of all sentences."""
        return sum((sentence.counts for sentence in self.sentences), Counts())

    @property
    def share(self) -> float:
        """Share of words that changed, in [0, 1]."""
        return self.counts.share

    def to_json(self) -> dict[str, Any]:
        """Return the change as plain JSON values."""
        sentences = [
            {**asdict(sentence), "spans": [asdict(span) for span in sentence.spans], "share": sentence.counts.share}
            for sentence in self.sentences
        ]
        return {"share": self.share, "counts": asdict(self.counts), "sentences": sentences}


def word_spans(before: str, after: str) -> tuple[tuple[Span, ...], Counts]:
    """Which words were kept, removed and added, by the longest matching stretches (difflib, Ratcliff/Obershelp)."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if before == after:
        return (Span(Kept.KEPT, after),) if after else (), Counts(len(old))
    matcher = SequenceMatcher(None, [w.strip() for w in old], [w.strip() for w in new], autojunk=False)
    spans: list[Span] = []
    kept = 0
    for operation, i0, i1, j0, j1 in matcher.get_opcodes():
        if operation == "equal":
            kept += i1 - i0
            spans.append(Span(Kept.KEPT, "".join(new[j0:j1])))
            continue
        spans += [Span(Kept.REMOVED, "".join(old[i0:i1]))] if i1 > i0 else []
        spans += [Span(Kept.ADDED, "".join(new[j0:j1]))] if j1 > j0 else []
    if tail := after[sum(map(len, new)) :]:
        spans.append(Span(Kept.KEPT, tail))
    return _merged(spans), Counts(kept, len(old) - kept, len(new) - kept)


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    return tuple(Span(kind, "".join(s.text for s in run)) for kind, run in groupby(spans, key=lambda span: span.kind))


def compare_texts(before: Texts, after: Texts) -> ReportChange:
    """Compare two versions sentence by sentence; the same id is the same sentence, wherever it stands."""
    old, new = _flat(before), _flat(after)
    changes = []
    for one in _in_order(list(old), list(new)):
        section = new[one][0] if one in new else old[one][0]
        texts = old.get(one, ("", ""))[1], new.get(one, ("", ""))[1]
        kind = Edit.ADDED if one not in old else Edit.REMOVED if one not in new else _kind(*texts)
        spans, counts = word_spans(*texts)
        changes.append(SentenceChange(one, section, kind, *texts, spans, counts))
    return ReportChange(tuple(changes))


def _kind(before: str, after: str) -> Edit:
    return Edit.SAME if before == after else Edit.EDITED


def _flat(texts: Texts) -> dict[str, tuple[str, str]]:
    return {one: (section, words) for section, part in texts.items() for one, words in part.items()}


def _in_order(old: list[str], new: list[str]) -> list[str]:
    """The new order; what is gone stands behind what it once followed."""
    order = list(new)
    for place, one in enumerate(old):
        if one not in new:
            order.insert(order.index(old[place - 1]) + 1 if place else 0, one)
    return order


def change_from_draft(report: Report) -> ReportChange:
    """What became of the draft that a report came from; everything counts as added where there was none."""
    return compare_texts(report.draft, texts_of(with_ids(report, report.draft)))
