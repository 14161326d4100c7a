# SPDX-License-Identifier: Apache-2.0
"""A report as the one row of tokens that a decoder writes: the findings, ``impression :``, the impression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..text import tokenize
from ..text.grammar import FINDINGS, IMPRESSION

TURN = ("impression", ":")
"""What stands between findings and impression."""
_ENDS = frozenset({".", "!", "?"})


@dataclass(frozen=True)
class Stretch:
    """A sentence in the row of tokens: ``tokens[start:end]``."""

    section: str
    start: int
    end: int


def report_tokens(sentences: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Tokens of a report.

    Args:
        sentences: Section and text of each; other sections than findings and impression are left out.
    """
    parts: dict[str, list[str]] = {FINDINGS: [], IMPRESSION: []}
    for section, text in sentences:
        if section in parts:
            parts[section] += tokenize(text).tokens
    turn = TURN if parts[IMPRESSION] else ()
    return (*parts[FINDINGS], *turn, *parts[IMPRESSION])


def sentences_in(tokens: Sequence[str]) -> list[Stretch]:
    """The sentences of a row of tokens; what stands behind the last full stop is one too."""
    found, section, start = [], FINDINGS, 0
    for place in range(len(tokens)):
        if section == FINDINGS and tuple(tokens[place : place + 2]) == TURN:
            found += [Stretch(section, start, place)] if place > start else []
            section, start = IMPRESSION, place + 2
        elif tokens[place] in _ENDS and place >= start:
            found.append(Stretch(section, start, place + 1))
            start = place + 1
    if start < len(tokens):
        found.append(Stretch(section, start, len(tokens)))
    return found
