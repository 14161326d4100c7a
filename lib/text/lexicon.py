# SPDX-License-Identifier: Apache-2.0
"""Which words name a finding, and where it can be; the tables are in ``lexicon_brain`` and ``lexicon_chest``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

Patterns = tuple[str, ...]
"""Regular expressions of lower-case text; whole words, single blanks."""


@dataclass(frozen=True)
class Mention:
    """Words that name a finding: ``sentence[start:end]``.

    Attributes:
        finding: Name of the finding.
        start: First character.
        end: One past the last character.
        absent: Whether the words by themselves say that it is not there ("heart size is normal").
    """

    finding: str
    start: int
    end: int
    absent: bool = False


@dataclass(frozen=True)
class Lexicon:
    """Words of one kind of report.

    Attributes:
        name: What the reports are of.
        findings: Patterns by the name of the finding that they say is there.
        absent: Patterns by the name of the finding that they say is not there.
        locations: Patterns by the name of the place.
        sides: Side by a location that is on one side only, such as the lingula.
    """

    name: str
    findings: dict[str, Patterns]
    absent: dict[str, Patterns] = field(default_factory=dict)
    locations: dict[str, Patterns] = field(default_factory=dict)
    sides: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every finding, in the order of the table."""
        return tuple(dict.fromkeys((*self.findings, *self.absent)))

    def mentions(self, sentence: str) -> list[Mention]:
        """What a sentence in lower case names, in order; of words that overlap, the longer ones count."""
        found = [
            Mention(finding, *match.span(), absent)
            for finding, absent, pattern in self._terms
            for match in pattern.finditer(sentence)
        ]
        return longest(found)

    @cached_property
    def _terms(self) -> list[tuple[str, bool, re.Pattern[str]]]:
        tables = ((self.findings, False), (self.absent, True))
        return [
            (finding, absent, compiled(patterns)) for table, absent in tables for finding, patterns in table.items()
        ]

    @cached_property
    def place_patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        """The compiled patterns of the locations."""
        return [(name, compiled(patterns)) for name, patterns in self.locations.items()]


def compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for several, each of whole words or starting at a punctuation mark."""
    return re.compile(rf"(?:\b|(?=[;,:]))(?:{'|'.join(patterns)})(?!\w)")


def longest(mentions: list[Mention]) -> list[Mention]:
    """Without those that overlap a longer one, in order."""
    kept: list[Mention] = []
    for one in sorted(mentions, key=lambda m: (m.start - m.end, m.start)):
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda m: m.start)


def covered(start: int, end: int, spans: Iterable[tuple[int, int]]) -> bool:
    """Whether a piece of text overlaps one of the spans."""
    return any(start < last and first < end for first, last in spans)


def gaps(length: int, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The pieces of a text of ``length`` characters that no span covers."""
    start = 0
    for first, last in sorted(spans):
        if first > start:
            yield start, first
        start = max(start, last)
    if start < length:
        yield start, length
