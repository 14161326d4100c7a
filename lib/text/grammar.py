# SPDX-License-Identifier: Apache-2.0
"""Reports of brain MR written from measured lesions, each sentence with the facts that it states.

They are what the report model is trained on where no written reports exist, so every fact of a sentence can be checked.
Nothing is said that was not measured: nothing of enhancement, of diagnosis, of what to do next.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from ..types.errors import InputError
from .facts import Change, Fact, Side
from .measures import NUMBER_WORDS
from .phrases import HAS_CHANGED, LOBES, NAMES, PHRASES, PLACES, Kind

LESION = "lesion"
FINDINGS, IMPRESSION = "findings", "impression"
CHANGE_KINDS = {
    Change.NEW: Kind.NEW,
    Change.GROWN: Kind.GROWN,
    Change.SHRUNK: Kind.SHRUNK,
    Change.STABLE: Kind.STABLE,
    Change.GONE: Kind.GONE,
}
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class MeasuredLesion:
    """A lesion as the images have it.

    Attributes:
        id: Of the finding.
        side: Side of the patient.
        region: A location of the brain lexicon, such as ``frontal``; several joined by ``+``.
        long_mm: Long axis in the plane; None for a lesion that is gone.
        short_mm: Across the long axis.
        volume_ml: Of the mask.
        change: Against the earlier examination; None where there is none.
        percent: Change of the volume; negative where it has shrunk.
        volume_before_ml: At the earlier examination.
    """

    id: int
    side: Side
    region: str
    long_mm: float | None = None
    short_mm: float | None = None
    volume_ml: float | None = None
    change: Change | None = None
    percent: float | None = None
    volume_before_ml: float | None = None


@dataclass(frozen=True)
class MeasuredStudy:
    """What a report can be written of.

    Attributes:
        lesions: In any order; those with ``change`` gone are no longer there.
        compared: Whether there is an earlier examination.
        days: Since then; None where it is not known.
    """

    lesions: tuple[MeasuredLesion, ...] = ()
    compared: bool = False
    days: int | None = None

    def __post_init__(self) -> None:
        """Check that only compared lesions have changes.

        Raises:
            InputError: If a lesion has a change without an earlier examination, or lacks its size.
        """
        for lesion in self.lesions:
            if lesion.change is not None and not self.compared:
                raise InputError(f"lesion {lesion.id} is {lesion.change.value}, but compared is False")
            if lesion.long_mm is None and lesion.change is not Change.GONE:
                raise InputError(f"lesion {lesion.id} has no long_mm; only a lesion that is gone has no size")


@dataclass(frozen=True)
class GrammarSentence:
    """A sentence and what it means.

    Attributes:
        section: ``findings`` or ``impression``.
        text: The sentence.
        facts: What it states, numbers as they are written.
        lesions: Ids of the lesions that it speaks of.
        kind: What it is about.
        phrase: Which phrasing of that kind.
    """

    section: str
    text: str
    facts: tuple[Fact, ...]
    lesions: tuple[int, ...]
    kind: Kind
    phrase: int


@dataclass
class _Words:
    """What the slots of a phrasing can be, and the facts that come with each.

    Attributes:
        text: Words by slot.
        said: Attributes of the fact that a slot states, by slot.
    """

    text: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, object]] = field(default_factory=dict)

    def add(self, slot: str, text: str, **said: object) -> None:
        self.text[slot] = text
        self.said[slot] = said


def write_report(study: MeasuredStudy, seed: int) -> list[GrammarSentence]:
    """Findings and impression of a study; another seed gives other phrasings of the same facts.

    Args:
        study: What was measured.
        seed: Decides every choice.
    """
    draw = random.Random(seed)
    there = sorted((one for one in study.lesions if one.change is not Change.GONE), key=_size, reverse=True)
    gone = [one for one in study.lesions if one.change is Change.GONE]
    sentences = [_about_none(Kind.NONE, FINDINGS, draw)] if not there else _described(there, draw)
    if study.compared:
        sentences += [_changed(one, study.days, draw) for one in [*there, *gone] if one.change is not None]
        if not any(one.change is Change.NEW for one in there):
            no_new = (Fact(LESION, False, change=Change.NEW),)
            sentences.append(_sentence(Kind.NO_NEW, FINDINGS, _Words(), draw, no_new, ()))
    return sentences + _impression(there, gone, draw)


def _described(lesions: Sequence[MeasuredLesion], draw: random.Random) -> list[GrammarSentence]:
    sentences = []
    if len(lesions) > 1:
        sentences.append(_counted(Kind.COUNT, FINDINGS, lesions, draw))
    for index, lesion in enumerate(lesions):
        name = "one" if len(lesions) == 1 else "largest" if index == 0 else "other"
        words = _words_of(lesion, name, draw)
        if draw.random() < 0.6:
            sentences.append(_of_lesion(Kind.MEASURED, FINDINGS, lesion, words, draw, fresh=len(lesions) == 1))
            continue
        sentences.append(_of_lesion(Kind.PRESENCE, FINDINGS, lesion, words, draw, fresh=len(lesions) == 1))
        again = _words_of(lesion, name if name == "largest" else "one", draw)
        sentences.append(_of_lesion(Kind.SIZE, FINDINGS, lesion, again, draw))
        if lesion.volume_ml is not None and draw.random() < 0.7:
            sentences.append(_of_lesion(Kind.VOLUME, FINDINGS, lesion, again, draw))
    return sentences


def _impression(
    there: Sequence[MeasuredLesion], gone: Sequence[MeasuredLesion], draw: random.Random
) -> list[GrammarSentence]:
    if not there:
        sentences = [_about_none(Kind.IMPRESSION_NONE, IMPRESSION, draw)]
    elif len(there) == 1:
        words = _words_of(there[0], "one", draw)
        fact = Fact(LESION, count=1)
        sentences = [_of_lesion(Kind.IMPRESSION_ONE, IMPRESSION, there[0], words, draw, fact)]
    else:
        sentences = [_counted(Kind.IMPRESSION_SEVERAL, IMPRESSION, there, draw)]
    for lesion in [*there, *gone]:
        if lesion.change is not None:
            words = _words_of(lesion, "one", draw)
            words.add("has_changed", draw.choice(HAS_CHANGED[lesion.change.value]))
            sentences.append(_of_lesion(Kind.IMPRESSION_CHANGE, IMPRESSION, lesion, words, draw, _changed_fact(lesion)))
    return sentences


def _about_none(kind: Kind, section: str, draw: random.Random) -> GrammarSentence:
    return _sentence(kind, section, _Words(), draw, (Fact(LESION, False),), ())


def _counted(kind: Kind, section: str, lesions: Sequence[MeasuredLesion], draw: random.Random) -> GrammarSentence:
    count = len(lesions)
    number = NUMBER_WORDS[count] if count in NUMBER_WORDS and draw.random() < 0.7 else str(count)
    words = _Words()
    words.add("count", number)
    words.add("lesions", f"{number} {draw.choice(('', 'separate ', 'focal ', 'hyperintense '))}lesions")
    return _sentence(kind, section, words, draw, (Fact(LESION, count=count),), tuple(one.id for one in lesions))


def _changed(lesion: MeasuredLesion, days: int | None, draw: random.Random) -> GrammarSentence:
    words = _words_of(lesion, "one", draw)
    if days is not None:
        words.add("days", f"{days} days" if days != 1 else "1 day", days=float(days))
    if lesion.percent is not None and round(abs(lesion.percent)) >= 1:
        percent = float(round(abs(lesion.percent)))
        sign = -1.0 if lesion.change is Change.SHRUNK else 1.0
        words.add("percent", f"{percent:.0f} %" if draw.random() < 0.3 else f"{percent:.0f}%", percent=sign * percent)
    if lesion.volume_ml is not None:
        words.add("now", _volume(lesion.volume_ml), volume_ml=_shown_volume(lesion.volume_ml))
    if lesion.volume_before_ml is not None:
        words.add("before", _volume(lesion.volume_before_ml))
    assert lesion.change is not None
    return _of_lesion(CHANGE_KINDS[lesion.change], FINDINGS, lesion, words, draw, _changed_fact(lesion))


def _changed_fact(lesion: MeasuredLesion) -> Fact:
    return Fact(LESION, lesion.change is not Change.GONE, change=lesion.change)


def _words_of(lesion: MeasuredLesion, name: str, draw: random.Random) -> _Words:
    words = _Words()
    words.add("The", draw.choice(NAMES[name]))
    words.add("the", draw.choice(NAMES[name][1:]))
    words.add("place", _place(lesion, draw), side=lesion.side, location=lesion.region)
    words.add("at", f"{lesion.side.value} {_regions(lesion)}", side=lesion.side, location=lesion.region)
    if lesion.long_mm is not None:
        words.add("size", _size_words(lesion, draw), size_mm=_shown_size(lesion))
    if lesion.volume_ml is not None:
        words.add("volume", _volume(lesion.volume_ml), volume_ml=_shown_volume(lesion.volume_ml))
    return words


def _place(lesion: MeasuredLesion, draw: random.Random) -> str:
    options = PLACES if lesion.region in LOBES else PLACES[:2]
    if lesion.side in (Side.BILATERAL, Side.MIDLINE):
        raise InputError(f"lesion {lesion.id}: a measured lesion is left or right of the midline, not {lesion.side}")
    return draw.choice(options).format(side=lesion.side.value, region=_regions(lesion))


def _regions(lesion: MeasuredLesion) -> str:
    return lesion.region.replace("+", " and ")


def _size(lesion: MeasuredLesion) -> float:
    return lesion.volume_ml if lesion.volume_ml is not None else lesion.long_mm or 0.0


def _shown_size(lesion: MeasuredLesion) -> tuple[float, ...]:
    axes = [axis for axis in (lesion.long_mm, lesion.short_mm) if axis is not None]
    return tuple(sorted((float(max(1, round(axis))) for axis in axes), reverse=True))


def _size_words(lesion: MeasuredLesion, draw: random.Random) -> str:
    shown = _shown_size(lesion)
    if draw.random() < 0.5:
        return " x ".join(f"{axis:.0f}" for axis in shown) + " mm"
    return " x ".join(f"{axis / 10:.1f}" for axis in shown) + " cm"


def _shown_volume(volume_ml: float) -> float:
    return max(0.1, round(volume_ml, 1))


def _volume(volume_ml: float) -> str:
    return f"{_shown_volume(volume_ml):.1f} ml"


def _of_lesion(
    kind: Kind,
    section: str,
    lesion: MeasuredLesion,
    words: _Words,
    draw: random.Random,
    fact: Fact | None = None,
    *,
    fresh: bool = False,
) -> GrammarSentence:
    """A sentence about one lesion; ``fresh`` when nothing before has named it, so that it cannot be "the lesion"."""
    fact = fact or Fact(LESION)
    return _sentence(kind, section, words, draw, (fact,), (lesion.id,), skip={"The", "the"} if fresh else set())


def _sentence(
    kind: Kind,
    section: str,
    words: _Words,
    draw: random.Random,
    facts: tuple[Fact, ...],
    lesions: tuple[int, ...],
    *,
    skip: Collection[str] = (),
) -> GrammarSentence:
    """One of the kind's phrasings whose slots are all known, and the facts with what its slots say."""
    slots = [set(_SLOT.findall(phrase)) for phrase in PHRASES[kind]]
    usable = [i for i, names in enumerate(slots) if names <= set(words.text) and not names & set(skip)]
    index = draw.choice(usable)
    text = PHRASES[kind][index].format(**words.text)
    said = {key: value for slot in sorted(slots[index]) for key, value in words.said[slot].items()}
    facts = tuple(replace(fact, **said) for fact in facts)  # type: ignore[arg-type]
    return GrammarSentence(section, text[0].upper() + text[1:], facts, lesions, kind, index)
