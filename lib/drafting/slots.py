# SPDX-License-Identifier: Apache-2.0
"""Numbers for the slots of a sentence, from the lesion that it speaks of.

The decoder writes slots and no numbers. Which lesion a sentence speaks of is read from what it says (side, place,
change, "the largest") and, where that leaves a choice, from the lesions that the decoder attended while it wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..text import Change, Fact, MeasuredLesion, Slot, SlotValue, detokenize, label_sentence
from ..text.measures import NUMBER_WORDS
from ..text.tokens import SLOTS
from .claims import LESION, SAME, Scene
from .wording import named

_SAYS_WHICH = 10.0
"""What a mismatch of side, place or change costs, against attention that is at most 1."""
_LAST_SPOKEN = 2.0
_AGAIN = re.compile(
    r"^(?:it|this (?:lesion|mass|one)|the (?:lesion|mass))\b|\b(?:of|by) (?:it|this lesion|the lesion)\b", re.I
)


@dataclass(frozen=True)
class Said:
    """A sentence as the decoder wrote it.

    Attributes:
        section: ``findings`` or ``impression``.
        tokens: Words, marks and slots.
        attended: How much each lesion was attended while it was written, by the lesion's id; they sum to 1 at most.
        confidence: In [0, 1].
        frames: How much each frame was attended.
        words: How much each word of the clinical text was attended, in its order.
    """

    section: str
    tokens: tuple[str, ...]
    attended: Mapping[int, float] = field(default_factory=dict)
    confidence: float = 1.0
    frames: Mapping[int, float] = field(default_factory=dict)
    words: tuple[float, ...] = ()


@dataclass(frozen=True)
class Filled:
    """A sentence with its numbers.

    Attributes:
        text: "" where a number is asked for that was not measured.
        lesion: Id of the lesion that it was filled from; None where it speaks of none.
        facts: As they were read before the numbers were there.
    """

    text: str
    lesion: int | None
    facts: tuple[Fact, ...]


def speaks_again(text: str) -> bool:
    """Whether a sentence means the lesion of the one before: "it", "this lesion", "the lesion" without a place."""
    return _AGAIN.search(text) is not None


def fill(said: Said, scene: Scene, forms: Mapping[str, str], last: int | None = None) -> Filled:
    """Choose the lesion and fill the slots.

    Args:
        said: The sentence.
        scene: What is known.
        forms: How words are written that are not in lower case.
        last: Id of the lesion that the sentence before spoke of.
    """
    plain = detokenize(said.tokens, [SlotValue(Slot(t), 7.0, text="7") for t in said.tokens if t in SLOTS], forms)
    facts = label_sentence(plain, scene.lexicon)
    lesion = _chosen(plain, facts, said, scene, last)
    values = list(_values(said.tokens, lesion, _count(facts, scene), scene))
    known = [value for value in values if value is not None]
    text = detokenize(said.tokens, known, forms) if len(known) == len(values) else ""
    return Filled(text, None if lesion is None else lesion.id, facts)


def _chosen(text: str, facts: Sequence[Fact], said: Said, scene: Scene, last: int | None) -> MeasuredLesion | None:
    of_lesions = [fact for fact in facts if SAME.get(fact.finding, fact.finding) == LESION]
    is_gone = any(fact.change is Change.GONE for fact in of_lesions)
    candidates = named(text, scene.gone if is_gone else scene.there)
    if not candidates or not of_lesions:
        return None
    placed = any(fact.side or fact.location for fact in of_lesions)

    def fits(lesion: MeasuredLesion) -> float:
        wrong = sum(_wrong(fact, lesion) for fact in of_lesions)
        again = _LAST_SPOKEN * (lesion.id == last and not placed and speaks_again(text))
        return said.attended.get(lesion.id, 0.0) + again - _SAYS_WHICH * wrong

    return max(candidates, key=fits)


def _wrong(fact: Fact, lesion: MeasuredLesion) -> int:
    place = fact.location is not None and not set(fact.location.split("+")) <= set(lesion.region.split("+"))
    side = fact.side is not None and fact.side is not lesion.side
    change = fact.change is not None and fact.change is not lesion.change
    return place + side + change


def _count(facts: Sequence[Fact], scene: Scene) -> int:
    """How many lesions the sentence counts: those in the place, and with the change, that it names."""
    counted = next((fact for fact in facts if fact.count is not None), None)
    if counted is None:
        return len(scene.there)
    return sum(_wrong(counted, one) == 0 for one in scene.there)


def _values(
    tokens: Sequence[str], lesion: MeasuredLesion | None, count: int, scene: Scene
) -> Iterator[SlotValue | None]:
    """A value for each slot, None where it was not measured."""
    axis = 0
    for index, token in enumerate(tokens):
        if token not in SLOTS:
            continue
        slot = Slot(token)
        chained = slot is Slot.LENGTH and index > 1 and tokens[index - 2 : index] == (token, "x")
        axis = axis + 1 if chained else 0
        if slot is Slot.COUNT:
            yield SlotValue(slot, float(count), text=NUMBER_WORDS.get(count, str(count))) if count else None
        elif slot is Slot.DAYS:
            yield None if scene.study.days is None else _days(scene.study.days)
        elif lesion is None:
            yield None
        else:
            earlier = slot is Slot.VOLUME and index > 0 and tokens[index - 1] == "from"
            yield _of_lesion(slot, lesion, axis, earlier)


def _days(days: int) -> SlotValue:
    return SlotValue(Slot.DAYS, float(days), unit="day" if days == 1 else "")


def _of_lesion(slot: Slot, lesion: MeasuredLesion, axis: int, earlier: bool) -> SlotValue | None:
    value: float | None = None
    if slot is Slot.LENGTH:
        axes = sorted((a for a in (lesion.long_mm, lesion.short_mm) if a is not None), reverse=True)
        value = max(1.0, axes[axis]) if axis < len(axes) else None
    elif slot is Slot.VOLUME:
        volume = lesion.volume_before_ml if earlier else lesion.volume_ml
        value = None if volume is None else max(0.1, volume)
    elif slot is Slot.PERCENT and lesion.percent is not None:
        value = abs(lesion.percent) if round(abs(lesion.percent)) >= 1 else None
    return None if value is None else SlotValue(slot, value)
