# SPDX-License-Identifier: Apache-2.0
"""The guard: what leaves a report model is true to what was measured.

Each sentence gets its numbers from the lesion that it speaks of, is read back as anybody would read it, and is checked
fact by fact. What is contradicted is replaced by a sentence that says the measured fact, or dropped; what nothing
supports stays and is marked; what was measured and not told is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ..text import Change, Fact, GrammarSentence
from ..text.grammar import FINDINGS, IMPRESSION
from ..types.report import Support
from .claims import Checked, Scene, check_sentence
from .measured import described
from .restate import change_sentence, count_sentence, lesion_sentence, overall_sentence, restated
from .slots import Filled, Said, fill, speaks_again

Atom = tuple[int, str, object]
"""A lesion (0 for none in particular), an attribute, and what is said of it."""


class Action(StrEnum):
    """What the guard made of a sentence."""

    KEPT = "kept"
    REPLACED = "replaced"
    DROPPED = "dropped"
    REPEATED = "dropped, said before"
    ADDED = "added"


@dataclass(frozen=True)
class Guarded:
    """A sentence of the draft.

    Attributes:
        section: Where it stands.
        text: The sentence.
        checked: Its facts, and what the measurements say of them.
        said: As the decoder wrote it; None where the guard wrote it.
        replaces: What the decoder had said in its place, for what the guard wrote.
    """

    section: str
    text: str
    checked: Checked
    said: Said | None = None
    replaces: Said | None = None


@dataclass(frozen=True)
class Intervention:
    """Something that the guard did not let through, or added.

    Attributes:
        action: What was done.
        section: Where.
        said: The decoder's words, their slots unfilled.
        reason: Why.
    """

    action: Action
    section: str
    said: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return {"action": self.action.value, "section": self.section, "said": self.said, "reason": self.reason}


@dataclass
class Guard:
    """Checks the sentences of one report in their order.

    Attributes:
        scene: What is known of the study.
        forms: How words are written that are not in lower case.
        seed: Chooses among the phrasings of what is replaced or added.
        kept: The sentences so far.
        log: What was not let through, or was added.
    """

    scene: Scene
    forms: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    kept: list[Guarded] = field(default_factory=list)
    log: list[Intervention] = field(default_factory=list)
    _last: int | None = None

    def take(self, said: Said) -> None:
        """Check a sentence and keep it, or what is said in its place."""
        if self.kept and self.kept[-1].section != said.section:
            self._last = None
        filled = fill(said, self.scene, self.forms, self._last)
        if not filled.text:
            self._replace(said, filled, "it asks for a number that was not measured")
            return
        checked = check_sentence(filled.text, self.scene, filled.lesion)
        if checked.support is Support.CONTRADICTED:
            self._replace(said, filled, checked.reason)
        elif speaks_again(filled.text) and not self._is_clear(filled):
            self._replace(said, filled, "which lesion it means is not clear")
        elif self._is_said(said.section, checked):
            self._note(Action.REPEATED, said, "everything in it has been said")
        else:
            self._keep(Guarded(said.section, filled.text, checked, said))

    def complete(self) -> None:
        """Add what was measured and has not been told."""
        told = [pair for one in self.kept for pair in _told(one)]
        if len(self.scene.there) != 1 and not self._counted(FINDINGS):
            self._add(count_sentence(self.scene, self.seed), "how many lesions there are")
        for lesion in described(self.scene.study):
            here = {attribute for section, number, attribute in told if section == FINDINGS and number == lesion.id}
            if lesion.change is not Change.GONE and not here & {"size_mm", "volume_ml"}:
                self._add(lesion_sentence(lesion, self.seed + lesion.id), "a lesion that was measured")
            if lesion.change is not None and "change" not in here:
                sentence = change_sentence(FINDINGS, lesion, self.scene, self.seed + abs(lesion.id))
                self._add(sentence, "what has become of a lesion")
        if not any(one.section == IMPRESSION and one.checked.facts for one in self.kept):
            self._add(overall_sentence(self.scene, self.seed), "the impression")

    def _counted(self, section: str) -> bool:
        """Whether the sentences of a section say how many lesions there are, or that there is none."""
        facts = [fact for one in self.kept if one.section == section for fact in one.checked.facts]
        if self.scene.there:
            return any(fact.count is not None for fact in facts)
        return any(fact.finding == "lesion" and fact.present is False and fact.change is None for fact in facts)

    def _add(self, sentence: GrammarSentence | None, what: str) -> None:
        if sentence is not None:
            self._keep(_written(sentence, self.scene))
            self.log.append(Intervention(Action.ADDED, sentence.section, "", f"{what} was not told"))

    def _replace(self, said: Said, filled: Filled, reason: str) -> None:
        number = None if filled.lesion is None else self.seed + abs(filled.lesion)
        facts = filled.facts if self.scene.is_measured else ()
        sentence = restated(said.section, facts, filled.lesion, self.scene, number or self.seed)
        instead = None if sentence is None else _written(sentence, self.scene, said)
        if instead is None or self._is_said(said.section, instead.checked):
            self._note(Action.DROPPED, said, reason)
            return
        self._note(Action.REPLACED, said, reason)
        self._keep(instead)

    def _keep(self, one: Guarded) -> None:
        self.kept.append(one)
        spoken = one.checked.lesions
        self._last = spoken[0] if len(spoken) == 1 else None

    def _note(self, action: Action, said: Said, reason: str) -> None:
        self.log.append(Intervention(action, said.section, " ".join(said.tokens), reason))

    def _is_clear(self, filled: Filled) -> bool:
        """Whether "it" can only be the lesion that the sentence is of."""
        placed = any(fact.side is not None or fact.location is not None for fact in filled.facts)
        return placed or filled.lesion is None or filled.lesion == self._last or len(self.scene.there) == 1

    def _is_said(self, section: str, checked: Checked) -> bool:
        """Whether the section has said all of it before; not so of what cannot be read."""
        atoms = set(_atoms(checked))
        before = {atom for one in self.kept if one.section == section for atom in _atoms(one.checked)}
        return bool(atoms) and atoms <= before


def guard(said: Iterable[Said], scene: Scene, forms: Mapping[str, str] | None = None, seed: int = 0) -> Guard:
    """Check the sentences of a report and complete it.

    Args:
        said: In the order in which they were written.
        scene: What is known of the study.
        forms: How words are written that are not in lower case.
        seed: Chooses among the phrasings of what is replaced or added.
    """
    checking = Guard(scene, forms or {}, seed)
    for sentence in said:
        checking.take(sentence)
    if scene.is_measured:
        checking.complete()
    return checking


def _written(sentence: GrammarSentence, scene: Scene, replaces: Said | None = None) -> Guarded:
    lesion = sentence.lesions[0] if len(sentence.lesions) == 1 else None
    checked = check_sentence(sentence.text, scene, lesion)
    return Guarded(sentence.section, sentence.text, checked, replaces=replaces)


def _told(one: Guarded) -> Sequence[tuple[str, int, str]]:
    """Section, lesion and attribute of everything that a sentence says of lesions."""
    return [(one.section, number, attribute) for number, attribute, _ in _atoms(one.checked)]


def _atoms(checked: Checked) -> Iterable[Atom]:
    for fact, verdict in zip(checked.facts, checked.verdicts, strict=True):
        for number in verdict.lesions if len(verdict.lesions) == 1 else (0,):
            yield from _atoms_of(fact, number)


def _atoms_of(fact: Fact, number: int) -> Iterable[Atom]:
    yield number, fact.finding, (fact.present, fact.certainty)
    for attribute in ("side", "location", "size_mm", "volume_ml", "count", "change", "percent"):
        if (value := getattr(fact, attribute)) is not None:
            yield number, attribute, value
