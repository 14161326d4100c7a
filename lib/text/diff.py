# SPDX-License-Identifier: Apache-2.0
"""What a correction has changed: the words of a draft against those of the text that was signed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

_WORD = re.compile(r"\w+(?:[.,'/-]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    """Words that are in both texts, or were put in place of others.

    Attributes:
        kind: ``equal``, ``delete``, ``insert`` or ``replace``.
        before: Words of the draft.
        after: Words of the signed text.
    """

    kind: str
    before: str
    after: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return asdict(self)


def word_diff(draft: str, signed: str) -> list[Piece]:
    """The pieces that make the signed text of the draft, in order; case counts, white space does not."""
    before, after = _spans(draft), _spans(signed)
    matcher = difflib.SequenceMatcher(None, _words(draft, before), _words(signed, after), autojunk=False)
    return [
        Piece(kind, _text(draft, before[a:b]), _text(signed, after[c:d])) for kind, a, b, c, d in matcher.get_opcodes()
    ]


def changed_share(draft: str, signed: str) -> float:
    """Share of the words, of the longer text, that the two do not have in common; 0 for equal texts, at most 1."""
    before, after = _words(draft, _spans(draft)), _words(signed, _spans(signed))
    longest = max(len(before), len(after))
    if not longest:
        return 0.0
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return 1 - sum(block.size for block in blocks) / longest


def _spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WORD.finditer(text)]


def _words(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    return [text[start:end] for start, end in spans]


def _text(text: str, spans: Sequence[tuple[int, int]]) -> str:
    return text[spans[0][0] : spans[-1][1]] if spans else ""
