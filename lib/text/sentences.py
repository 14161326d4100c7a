# SPDX-License-Identifier: Apache-2.0
"""Sentences of a report, by rules.

pysbd, the usual library, has had no release since 2021 and no maintainer (its issue 135), and knows neither numbered
impressions nor de-identification placeholders; medspaCy and PyRuSH bring spaCy along. What reports need is little:
abbreviations, decimals, numbered lists, and ``XXXX.`` at the end of a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

TITLES = frozenset({"dr", "drs", "mr", "mrs", "ms", "st"})
"""Abbreviations that a name follows."""
_OTHERS = "al approx ca cf cm dept e.g etc fig figs i.e inc incl jr max min mm no nos pt resp sr viz vol vs"
ABBREVIATIONS = TITLES | frozenset(re.findall(r"\S+", _OTHERS))
"""Words whose full stop ends no sentence unless a capital follows."""

_END = re.compile(
    r"(?P<stop>[.!?]+[\"')\]]*)(?P<space>\s*)(?=(?P<next>\S|$))"
    r"|(?P<break>\n\s*\n|\n(?=\s*(?:\d{1,2}[.)]|[-*•])\s))"
)
_LIST_NUMBER = re.compile(r"(?:^|(?<=[.!?:;\n]))\s*\(?\d{1,2}[.)]\s*(?=[A-Z_<\[])")
_LAST_WORD = re.compile(r"[\w.]*\w$")


@dataclass(frozen=True)
class Span:
    """A sentence and where it stands in the text: ``text[start:end]``.

    Attributes:
        text: The sentence without the white space around it and without its number in a list.
        start: First character.
        end: One past the last character.
    """

    text: str
    start: int
    end: int


def split_sentences(text: str) -> list[str]:
    """Sentences of a text in order, without the numbers of a list."""
    return [span.text for span in sentence_spans(text)]


def sentence_spans(text: str) -> list[Span]:
    """Sentences of a text with their places in it; numbers of a list belong to no sentence."""
    numbers = [match.span() for match in _LIST_NUMBER.finditer(text)]
    cuts = {0, len(text)} | {edge for number in numbers for edge in number}
    for match in _END.finditer(text):
        if not any(start <= match.start() < end for start, end in numbers) and _ends_sentence(text, match):
            cuts.add(match.end())
    edges = sorted(cuts)
    pieces = [
        (start, end)
        for start, end in pairwise(edges)
        if not any(first <= start and end <= last for first, last in numbers)
    ]
    spans = [_stripped(text, start, end) for start, end in pieces]
    return [span for span in spans if re.search(r"\w", span.text)]


def _stripped(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return Span(piece.strip(), start, start + len(piece.strip()))


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    """Whether a full stop, or a line break, ends a sentence."""
    if match["break"] is not None:
        return True
    following = match["next"]
    if following == "" or match["stop"][0] in "!?":
        return True
    if following in ",;:)" or (not match["space"] and not following.isupper()):
        return False  # "3.2", "e.g.,"
    last = _LAST_WORD.search(text, 0, match.start())
    word = last.group().lower() if last else ""
    if len(word) == 1 and not match["space"]:
        return False  # "p.m", "U.S"
    if word in TITLES or (word in ABBREVIATIONS and not following.isupper()):
        return False
    return not following.islower() or word not in {"p.m", "a.m", "e.g", "i.e"}
