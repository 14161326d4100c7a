# SPDX-License-Identifier: Apache-2.0
"""What a sentence claims, against what was measured: supported, contradicted, unsupported or not assessed.

Of lesions everything is measured, so a side, a place, a number or a change is either the measured one or wrong. Of
other findings only the findings head has an opinion, and of those it does not know nobody has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..text import BRAIN_MR, Change, Fact, Lexicon, MeasuredLesion, MeasuredStudy, Side, label_sentence, tokenize
from ..text.changes import changes_in
from ..types.report import Support
from .measured import by_size
from .misread import misread, odd_amount
from .numbers import ROUNDED_ML, ROUNDED_MM, ROUNDED_PERCENT, agrees, all_same, listed, shown_mm, stray_number
from .opinions import Opinion
from .wording import ALL_THESE, EVERY, NONE_OF, SEVERAL, SINGLE, amount_in_words, named, unread_words

LESION = "lesion"
SAME = {"hyperintensity": LESION}
"""Findings that are what the lesion model measures, by another name."""
WORST = (Support.CONTRADICTED, Support.UNSUPPORTED, Support.NOT_ASSESSED, Support.SUPPORTED)


@dataclass(frozen=True)
class Scene:
    """What is known of a study.

    Attributes:
        study: Its lesions.
        opinions: What the findings head is sure of, by finding; findings that are missing it does not know.
        lexicon: Words of the reports.
        is_measured: Whether lesions were looked for; where not, only the findings head has opinions.
    """

    study: MeasuredStudy
    opinions: dict[str, Opinion] = field(default_factory=dict)
    lexicon: Lexicon = BRAIN_MR
    is_measured: bool = True

    @cached_property
    def there(self) -> tuple[MeasuredLesion, ...]:
        """The lesions that are there, the largest first."""
        return by_size(self.study)[0]

    @cached_property
    def gone(self) -> tuple[MeasuredLesion, ...]:
        """The lesions that are gone."""
        return by_size(self.study)[1]


@dataclass(frozen=True)
class Verdict:
    """What the measurements say of a claim.

    Attributes:
        support: In a word.
        lesions: Ids of the lesions it speaks of.
        reason: Why not supported; "" where it is.
    """

    support: Support
    lesions: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Checked:
    """A sentence that was read and checked.

    Attributes:
        facts: What it says.
        verdicts: Of each fact.
        support: Of the sentence: the worst of its facts.
        reason: Why not supported.
    """

    facts: tuple[Fact, ...]
    verdicts: tuple[Verdict, ...]
    support: Support
    reason: str

    @property
    def lesions(self) -> tuple[int, ...]:
        """Ids of all lesions that it speaks of, each once."""
        return tuple(dict.fromkeys(number for verdict in self.verdicts for number in verdict.lesions))


def check_sentence(text: str, scene: Scene, lesion: int | None = None) -> Checked:
    """Read a sentence and check each of its facts and each of its numbers.

    Args:
        text: One sentence.
        scene: What is known.
        lesion: The lesion that it was written of; other lesions count only where this one does not fit.
    """
    facts = label_sentence(text, scene.lexicon)
    lowered = text.lower()
    verdicts = tuple(_verdict(fact, lowered, scene, lesion) for fact in facts)
    if not facts:
        says_number = any(value.value is not None for value in tokenize(text).values)
        support = Support.CONTRADICTED if says_number else Support.UNSUPPORTED
        reason = "a number of nothing that was measured" if says_number else "nothing that can be checked"
        if wrong := _change_of_nothing(lowered, scene):
            support, reason = Support.CONTRADICTED, wrong
        return Checked((), (), support, reason)
    spoken = [one for one in scene.study.lesions if any(one.id in verdict.lesions for verdict in verdicts)]
    worst = min(verdicts, key=lambda verdict: WORST.index(verdict.support))
    stray = stray_number(text, facts, spoken, scene.study.days)
    stray = stray or (amount_in_words(lowered) or odd_amount(lowered) if scene.is_measured else "")
    if stray and worst.support is not Support.CONTRADICTED:
        return Checked(facts, verdicts, Support.CONTRADICTED, stray)
    if worst.support in (Support.SUPPORTED, Support.NOT_ASSESSED) and (why := misread(text, facts, scene.lexicon)):
        return Checked(facts, verdicts, Support.UNSUPPORTED, why)
    if worst.support is Support.SUPPORTED and scene.is_measured and (unread := unread_words(text, scene.lexicon)):
        return Checked(facts, verdicts, Support.UNSUPPORTED, f"says more than was measured: {', '.join(unread)}")
    return Checked(facts, verdicts, worst.support, worst.reason)


def _verdict(fact: Fact, text: str, scene: Scene, lesion: int | None) -> Verdict:
    if not scene.is_measured or SAME.get(fact.finding, fact.finding) != LESION:
        return _of_opinion(fact, scene)
    if fact.change is not None and not scene.study.compared:
        return Verdict(Support.CONTRADICTED, reason="there is no earlier examination to compare with")
    if fact.change is Change.GONE:
        return _gone(fact, text, scene, lesion)
    if fact.present is False:
        return _absent(fact, scene)
    if fact.present is None:
        return replace(_present(fact, text, scene, lesion), support=Support.UNSUPPORTED, reason="left open")
    return _present(fact, text, scene, lesion)


def _change_of_nothing(text: str, scene: Scene) -> str:
    """Why a change of nothing in particular ("no progression") is wrong; "" where it may be so."""
    if not scene.is_measured:
        return ""
    known = {one.change for one in scene.study.lesions}
    for change, _, _ in changes_in(text, []):
        if not scene.study.compared:
            return "there is no earlier examination to compare with"
        if change in (Change.GROWN, Change.SHRUNK) and change not in known:
            return f"{change.value}, measured of no lesion"
        if change is Change.STABLE and known - {Change.STABLE, None}:
            return "stable, which not every lesion is"
    return ""


def _gone(fact: Fact, text: str, scene: Scene, lesion: int | None) -> Verdict:
    """Of lesions that are no longer there."""
    fitting = tuple(one.id for one in scene.gone if not _place_mismatch(fact, one, scene))
    if NONE_OF.match(text):
        return Verdict(Support.CONTRADICTED, fitting, "a lesion is gone") if fitting else Verdict(Support.SUPPORTED)
    if EVERY.search(text) and scene.there:
        return Verdict(Support.CONTRADICTED, reason=f"{len(scene.there)} lesions are still there")
    if fact.count is not None and fact.count != len(fitting):
        return Verdict(Support.CONTRADICTED, fitting, f"{len(fitting)} lesions are gone, not {fact.count}")
    return _one_of(fact, text, scene.gone, scene, lesion)


def _of_opinion(fact: Fact, scene: Scene) -> Verdict:
    """Of a finding that is not measured."""
    numbers = (fact.size_mm, fact.volume_ml, fact.count, fact.percent)
    if any(number is not None for number in numbers) or fact.change is not None:
        return Verdict(Support.CONTRADICTED, reason=f"{fact.finding}: its size, number and change are not measured")
    opinion = scene.opinions.get(fact.finding)
    if opinion is None:
        return Verdict(Support.UNSUPPORTED, reason=f"{fact.finding} is nothing that this model looks for")
    if opinion is Opinion.NOT_ASSESSED or fact.present is None:
        return Verdict(Support.NOT_ASSESSED, reason=f"{fact.finding}: the model is not sure")
    if (opinion is Opinion.THERE) is not fact.present:
        return Verdict(Support.CONTRADICTED, reason=f"{fact.finding} is {opinion.value}")
    if fact.side is not None or fact.location is not None:
        return Verdict(Support.UNSUPPORTED, reason=f"{fact.finding}: its place is not measured")
    return Verdict(Support.SUPPORTED)


def _absent(fact: Fact, scene: Scene) -> Verdict:
    """No lesion, no lesion in a place, no new lesion."""
    numbers = (fact.size_mm, fact.volume_ml, fact.count, fact.percent)
    if any(number is not None for number in numbers):
        return Verdict(Support.CONTRADICTED, reason="a number of what is not there")
    against = [one for one in scene.there if not _place_mismatch(fact, one, scene)]
    if fact.change is not None:
        unknown = [one for one in against if one.change is None]
        against = [one for one in against if one.change is fact.change]
        if unknown and not against:
            known_by = tuple(one.id for one in unknown)
            return Verdict(Support.NOT_ASSESSED, known_by, "what has become of a lesion is not known")
    if against:
        reason = f"{len(against)} measured: {', '.join(_told(one) for one in against[:3])}"
        return Verdict(Support.CONTRADICTED, tuple(one.id for one in against), reason)
    if fact.change is None and not scene.there and scene.opinions.get(LESION) is not Opinion.NOT_THERE:
        return Verdict(Support.NOT_ASSESSED, reason="no lesion was measured, and the findings head is not sure of it")
    return Verdict(Support.SUPPORTED)


def _present(fact: Fact, text: str, scene: Scene, lesion: int | None) -> Verdict:
    if not scene.there:
        return Verdict(Support.CONTRADICTED, reason="no lesion was measured")
    if fact.side is Side.BILATERAL:
        return _on_both_sides(fact, scene)
    every = EVERY.search(text) or (fact.change is not None and fact.count is None and ALL_THESE.search(text))
    if every and (wrong := [why for one in scene.there for why in _mismatches(fact, one, scene)]):
        return Verdict(Support.CONTRADICTED, tuple(one.id for one in scene.there), f"not of every lesion: {wrong[0]}")
    if fact.count is not None and fact.count != 1:
        return _counted(fact, scene)
    if SEVERAL.search(text) and len(scene.there) < 2 and fact.count is None:
        return Verdict(Support.CONTRADICTED, reason="one lesion was measured, not several")
    if (SINGLE.search(text) or fact.count == 1) and not _only_one(fact, text, scene):
        return Verdict(Support.CONTRADICTED, reason=f"{len(scene.there)} lesions were measured, not one")
    return _one_of(fact, text, scene.there, scene, lesion)


def _only_one(fact: Fact, text: str, scene: Scene) -> bool:
    if SINGLE.search(text) and fact.change is None:
        return len(scene.there) == 1
    fitting = [one for one in scene.there if not _place_mismatch(fact, one, scene) and _change_fits(fact, one)]
    return len(fitting) == 1


def _counted(fact: Fact, scene: Scene) -> Verdict:
    fitting = [one for one in scene.there if not _place_mismatch(fact, one, scene) and _change_fits(fact, one)]
    numbers = tuple(one.id for one in fitting)
    if len(fitting) != fact.count:
        return Verdict(Support.CONTRADICTED, numbers, f"{len(fitting)} lesions were measured, not {fact.count}")
    of_one = (fact.size_mm, fact.volume_ml, fact.percent)
    if any(value is not None for value in of_one):
        return Verdict(Support.CONTRADICTED, numbers, "a size of several lesions was not measured")
    return Verdict(Support.SUPPORTED, numbers)


def _on_both_sides(fact: Fact, scene: Scene) -> Verdict:
    sides = {one.side for one in scene.there}
    numbers = tuple(one.id for one in scene.there)
    counts = fact.count in (None, len(scene.there))
    of_one = (fact.size_mm, fact.volume_ml, fact.percent, fact.location, fact.change)
    if {Side.LEFT, Side.RIGHT} <= sides and counts and all(value is None for value in of_one):
        return Verdict(Support.SUPPORTED, numbers)
    return Verdict(Support.CONTRADICTED, numbers, "not measured so on both sides")


def _one_of(fact: Fact, text: str, lesions: tuple[MeasuredLesion, ...], scene: Scene, lesion: int | None) -> Verdict:
    """Whether one of the lesions is as the fact says; the one that it was written of comes first."""
    candidates = sorted(named(text, lesions), key=lambda one: one.id != lesion)
    if not candidates:
        return Verdict(Support.CONTRADICTED, reason="no such lesion was measured")
    told = [(list(_mismatches(fact, one, scene)), one) for one in candidates]
    wrong, best = min(told, key=lambda pair: len(pair[0]))
    if wrong:
        return Verdict(Support.CONTRADICTED, (best.id,), "; ".join(wrong))
    return Verdict(Support.SUPPORTED, (best.id,))


def _mismatches(fact: Fact, lesion: MeasuredLesion, scene: Scene) -> Iterator[str]:
    """What a fact says that is not so of a lesion."""
    if wrong := _place_mismatch(fact, lesion, scene):
        yield wrong
    sizes = shown_mm(lesion)
    if fact.size_mm is not None and not all_same(fact.size_mm, sizes[: len(fact.size_mm)], ROUNDED_MM):
        yield f"size {listed(fact.size_mm)} mm, measured {listed(tuple(round(size, 1) for size in sizes))} mm"
    if fact.volume_ml is not None and not agrees(fact.volume_ml, lesion.volume_ml, ROUNDED_ML, 0.1):
        yield f"volume {fact.volume_ml:g} ml, measured {_known(lesion.volume_ml, 'ml')}"
    if not _change_fits(fact, lesion):
        yield f"{fact.change}, measured {lesion.change or 'nothing of that kind'}"
    if fact.percent is not None and not agrees(fact.percent, lesion.percent, ROUNDED_PERCENT):
        yield f"{fact.percent:g} %, measured {_known(lesion.percent, '%')}"
    if fact.days is not None and not agrees(fact.days, scene.study.days, 0.5):
        yield f"{fact.days:g} days, known are {scene.study.days}"


def _known(value: float | None, unit: str) -> str:
    return "nothing" if value is None else f"{value:.1f} {unit}"


def _place_mismatch(fact: Fact, lesion: MeasuredLesion, scene: Scene) -> str:
    if fact.side is not None and fact.side is not Side.BILATERAL and fact.side is not lesion.side:
        return f"side {fact.side.value}, measured {lesion.side.value}"
    if fact.location is not None and not set(fact.location.split("+")) <= set(lesion.region.split("+")):
        return f"region {fact.location}, measured {lesion.region}"
    return ""


def _change_fits(fact: Fact, lesion: MeasuredLesion) -> bool:
    return fact.change is None or fact.change is lesion.change


def _told(lesion: MeasuredLesion) -> str:
    return f"{lesion.side.value} {lesion.region}"
