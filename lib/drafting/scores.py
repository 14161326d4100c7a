# SPDX-License-Identifier: Apache-2.0
"""How true and how complete a report is: its facts against those of the true masks.

A fact is split into what it says of which lesion: that it is there, its side, region, long axis, volume, change, and
how many there are. A statement about a lesion that is not there is wrong in every part. What a report should say is:
of each true lesion that it is there, its side, region and long axis, with an earlier visit its change; how many there
are where it is not one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..metrics import bootstrap_ci
from ..text import Change, Fact, MeasuredLesion, MeasuredStudy
from ..types.report import Report, Sentence
from .claims import LESION, SAME
from .measured import by_size

SIZE_SHARE, SIZE_MM, VOLUME_SHARE = 0.25, 3.0, 0.35
"""A long axis is right within a quarter or 3 mm, a volume within 35 %: what two readers differ by."""
Part = tuple[int, str]
"""A true lesion (0 for the study) and an attribute."""
Statement = tuple[Fact, int | None]
"""A fact and the id of the finding that it speaks of; None for no single one."""


@dataclass
class FactScores:
    """Counts over reports.

    Attributes:
        stated: Parts that were stated.
        right: Of these, true ones.
        wanted: Parts that should be stated.
        told: Of these, stated and true.
        sides: Sides stated of lesions that are there.
        wrong_sides: Of these, wrong ones.
        size_errors_mm: Of stated long axes.
        each: Of every report: stated, right, wanted, told.
    """

    stated: int = 0
    right: int = 0
    wanted: int = 0
    told: int = 0
    sides: int = 0
    wrong_sides: int = 0
    size_errors_mm: list[float] = field(default_factory=list)
    each: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Share of what is stated that is true."""
        return self.right / max(1, self.stated)

    @property
    def recall(self) -> float:
        """Share of what should be stated that is, truly."""
        return self.told / max(1, self.wanted)

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def f1_interval(self, resamples: int = 2000) -> tuple[float, float] | None:
        """95 % interval of F1 over the reports; None of a single one."""
        counts = np.array(self.each)

        def f1(drawn: npt.NDArray[np.intp]) -> float:
            stated, right, wanted, told = counts[drawn].sum(0)
            return FactScores(int(stated), int(right), int(wanted), int(told)).f1

        return bootstrap_ci(len(counts), f1, resamples)

    @property
    def side_errors(self) -> float:
        """Share of the sides that are wrong."""
        return self.wrong_sides / max(1, self.sides)

    def to_json(self) -> dict[str, float | int | list[float] | None]:
        """Plain JSON values."""
        interval = self.f1_interval()
        return {
            "reports": len(self.each),
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "f1": round(self.f1, 4),
            "f1_interval": interval and [round(value, 4) for value in interval],
            "side_errors": round(self.side_errors, 4),
            "sides": self.sides,
            "size_error_mm": round(float(np.median(self.size_errors_mm)), 2) if self.size_errors_mm else None,
        }

    def add(self, statements: Iterable[Statement], truth: MeasuredStudy, lesion_of: Mapping[int, int | None]) -> None:
        """Count a report.

        Args:
            statements: What it says.
            truth: What is true.
            lesion_of: The true lesion that each finding is; None, or missing, for a finding that is none.
        """
        said = judged(statements, truth, lesion_of)
        true = {one.id: one for one in truth.lesions}
        for (number, attribute, value), right in said.items():
            self._count_lesion(attribute, value, true.get(lesion_of.get(number) or 0), right)
        wanted = set(wanted_parts(truth))
        counts = len(said), sum(said.values()), len(wanted), len(wanted & _told(said, lesion_of))
        self.each.append(counts)
        self.stated, self.right, self.wanted, self.told = (
            total + count
            for total, count in zip((self.stated, self.right, self.wanted, self.told), counts, strict=True)
        )

    def _count_lesion(self, attribute: str, value: object, lesion: MeasuredLesion | None, right: bool) -> None:
        if lesion is None:
            return
        if attribute == "side":
            self.sides += 1
            self.wrong_sides += not right
        if attribute == "size_mm" and lesion.long_mm is not None:
            self.size_errors_mm.append(abs(float(str(value)) - lesion.long_mm))


def judged(
    statements: Iterable[Statement], truth: MeasuredStudy, lesion_of: Mapping[int, int | None]
) -> dict[tuple[int, str, object], bool]:
    """Whether each thing said of lesions is true, by finding (0 for no single one), attribute and value.

    Args:
        statements: Those of other findings, and those that leave it open, are left out.
        truth: What is true.
        lesion_of: The true lesion that each finding is; None, or missing, for a finding that is none.
    """
    true = {one.id: one for one in truth.lesions}
    said: dict[tuple[int, str, object], bool] = {}
    for fact, finding in statements:
        if SAME.get(fact.finding, fact.finding) != LESION or fact.present is None:
            continue
        lesion = None if finding is None else true.get(lesion_of.get(finding) or 0)
        for attribute, value in parts_of(fact):
            said[finding or 0, attribute, value] = _is_right(attribute, value, finding or 0, lesion, truth)
    return said


def untold_parts(
    statements: Iterable[Statement], truth: MeasuredStudy, lesion_of: Mapping[int, int | None]
) -> list[Part]:
    """What a report should say and does not say, or says wrongly; arguments as for :func:`judged`."""
    told = _told(judged(statements, truth, lesion_of), lesion_of)
    return [part for part in wanted_parts(truth) if part not in told]


def _told(said: Mapping[tuple[int, str, object], bool], lesion_of: Mapping[int, int | None]) -> set[Part]:
    return {(lesion_of.get(n) or 0 if n else 0, attribute) for (n, attribute, _), right in said.items() if right}


def _is_right(attribute: str, value: object, number: int, lesion: MeasuredLesion | None, truth: MeasuredStudy) -> bool:
    if attribute in _OF_STUDY:
        return _study_is(attribute, value, truth)
    if number == 0:  # of no lesion in particular: one that is so will do
        return any(_is(attribute, value, one) for one in truth.lesions)
    return lesion is not None and _is(attribute, value, lesion)


_OF_STUDY = frozenset({"count", "none", "no change"})


def parts_of(fact: Fact) -> Iterable[tuple[str, object]]:
    """What a fact says, attribute by attribute."""
    if not fact.present and fact.change is not Change.GONE:
        yield ("none", None) if fact.change is None else ("no change", fact.change)
        return
    if fact.count is not None and fact.count != 1:
        yield "count", fact.count
        return
    yield "there", fact.present
    for attribute in ("side", "location", "volume_ml", "change"):
        if (value := getattr(fact, attribute)) is not None:
            yield attribute, value
    if fact.size_mm:
        yield "size_mm", fact.size_mm[0]


def wanted_parts(truth: MeasuredStudy) -> Iterable[Part]:
    """What a report should say."""
    there, gone = by_size(truth)
    if not there:
        yield 0, "none"
    if len(there) > 1:
        yield 0, "count"
    for lesion in there:
        yield from ((lesion.id, attribute) for attribute in ("there", "side", "location", "size_mm"))
        if lesion.change is not None:
            yield lesion.id, "change"
    if gone:
        yield 0, "change"


def _study_is(attribute: str, value: object, truth: MeasuredStudy) -> bool:
    there, _ = by_size(truth)
    if attribute == "count":
        return value == len(there)
    if attribute == "none":
        return not there
    return truth.compared and not any(one.change is value for one in there)


def _is(attribute: str, value: object, lesion: MeasuredLesion) -> bool:
    if attribute == "there":
        return value is not (lesion.change is Change.GONE)
    if attribute == "location":
        return set(str(value).split("+")) <= set(lesion.region.split("+"))
    if attribute == "size_mm":
        measured = lesion.long_mm
        return measured is not None and abs(float(str(value)) - measured) <= max(SIZE_MM, SIZE_SHARE * measured)
    if attribute == "volume_ml":
        volume = lesion.volume_ml
        return volume is not None and abs(float(str(value)) - volume) <= max(0.1, VOLUME_SHARE * volume)
    return bool(getattr(lesion, attribute) == value)


def statements_of(report: Report) -> list[Statement]:
    """The facts of findings and impression, with the findings that they speak of."""
    sections = ("findings", "impression")
    return [one for name in sections for said in report.standing.get(name, ()) for one in statements_in(said)]


def statements_in(sentence: Sentence) -> list[Statement]:
    """The facts of a sentence, with the findings that they speak of."""
    found: list[Statement] = []
    for fact in sentence.facts:
        plain = {key: value for key, value in fact.items() if key in Fact.__dataclass_fields__}
        found.append((Fact.from_json(plain), fact.get("lesion")))
    return found
