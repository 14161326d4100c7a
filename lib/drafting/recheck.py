# SPDX-License-Identifier: Apache-2.0
"""Words of a person against what was measured: a hint beside the sentence, never a decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..text import Lexicon, split_sentences
from ..text.changes import changes_in
from ..types import Box3d, Finding, InputError
from ..types.json_values import at, items_of, known_keys, text, whole
from ..types.report import Support
from .claims import WORST, Checked, Scene, check_sentence
from .earlier import EarlierVisit
from .measured import measured_study
from .opinions import Opinion
from .slots import speaks_again

MOST_WORDS, LONGEST_WORDS, MOST_FINDINGS = 100, 2000, 1000
"""Sentences of a request, characters of each, and findings that they are compared with."""


@dataclass(frozen=True)
class Written:
    """A sentence that a person has written.

    Attributes:
        text: One sentence, or a few.
        finding_ids: The lesions that it stood for before it was edited; empty where nobody knows.
    """

    text: str
    finding_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What a draft was written of.

    Attributes:
        findings: The lesions; None for a model that measures none.
        opinions: Of the findings head.
        earlier: What has become of the lesions; None where no earlier visit was compared.
    """

    findings: tuple[Finding, ...] | None
    opinions: dict[str, Opinion]
    earlier: EarlierVisit | None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Evidence:
        """Read ``findings``, ``opinions`` and ``earlier``, as a draft's answer has them.

        Raises:
            InputError: If a value is not what it should be, or a lesion has no measured size.
        """
        findings = data.get("findings")
        with at("findings"):
            found = None if findings is None else tuple(map(Finding.from_json, _few(findings, MOST_FINDINGS)))
            if unmeasured := [one.id for one in found or () if not _is_measured(one)]:
                raise InputError(f"finding {unmeasured[0]} has neither long_axis nor width and height: measure it")
        with at("opinions"):
            opinions = {str(name): Opinion(one) for name, one in known_keys(data.get("opinions") or {}).items()}
        earlier = data.get("earlier")
        return cls(found, opinions, None if earlier is None else EarlierVisit.from_json(earlier))

    def scene(self, lexicon: Lexicon, brain_lps_mm: Box3d | None) -> Scene:
        """What sentences are compared with.

        Args:
            lexicon: Words of the reports.
            brain_lps_mm: As :func:`lib.drafting.measured.brain_box` gives it; None where nothing is measured.
        """
        if self.findings is None or brain_lps_mm is None:
            return Scene(measured_study((), (0.0,) * 6), self.opinions, lexicon, is_measured=False)
        return Scene(measured_study(self.findings, brain_lps_mm, self.earlier), self.opinions, lexicon)


def written_of(data: Any) -> list[Written]:
    """Read the sentences of a request.

    Raises:
        InputError: If a key is unknown or missing, there are too many, or one is too long.
    """
    with at("sentences"):
        return [_written(one) for one in _few(data, MOST_WORDS)]


def _written(data: Any) -> Written:
    known_keys(data, {"text", "finding_ids"})
    words = text(data.get("text"))
    if len(words) > LONGEST_WORDS:
        raise InputError(f"a sentence has {len(words)} characters; at most {LONGEST_WORDS} are compared")
    return Written(words, tuple(whole(one) for one in items_of(data.get("finding_ids", []))))


def _few(data: Any, most: int) -> Sequence[Any]:
    items = list(items_of(data))
    if len(items) > most:
        raise InputError(f"{len(items)} are too many; at most {most} are taken")
    return items


def _is_measured(finding: Finding) -> bool:
    return "long_axis" in finding.measurements or {"width", "height"} <= set(finding.measurements)


def compared(written: Iterable[Written], scene: Scene) -> list[dict[str, Any]]:
    """What the measurements say of each sentence, as plain JSON values: that of the worst sentence in it."""
    return [_compared(one, scene) for one in written]


def _compared(written: Written, scene: Scene) -> dict[str, Any]:
    parts = [_checked(one, scene, written.finding_ids) for one in split_sentences(written.text)]
    worst = min(parts, key=lambda one: WORST.index(one.support), default=_unread("nothing is written"))
    return {
        "text": written.text,
        "support": worst.support.value,
        "reason": worst.reason,
        "finding_ids": list(dict.fromkeys(n for one in parts for n in one.lesions if n > 0)),
        "facts": [fact.to_json() for one in parts for fact in one.facts],
    }


def _checked(sentence: str, scene: Scene, known: tuple[int, ...]) -> Checked:
    lesion = known[0] if len(known) == 1 else None
    checked = check_sentence(sentence, scene, lesion)
    tells_change = any(fact.change is not None for fact in checked.facts) or changes_in(sentence.lower(), [])
    if tells_change and scene.is_measured and not scene.study.compared:
        return _unread("no earlier examination was compared")
    placed = any(fact.side is not None or fact.location is not None for fact in checked.facts)
    clear = placed or len(scene.there) < 2 or checked.lesions == (lesion,)
    if checked.support is Support.SUPPORTED and speaks_again(sentence) and not clear:
        return _unread("which lesion it means is not clear")
    return checked


def _unread(reason: str) -> Checked:
    return Checked((), (), Support.NOT_ASSESSED, reason)
