# SPDX-License-Identifier: Apache-2.0
"""Chest radiograph reports of the Indiana collection with their ``Problems``, and how well the labeller reads them.

Demner-Fushman et al., JAMIA 2016;23:304-310. ``Problems`` was coded by people from findings and impression together; it
is the only judgement of the labeller that does not come from this project.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..types.errors import InputError
from .facts import Fact
from .labeller import label_text
from .lexicon_chest import CHEST

NORMAL = "normal"
FINDINGS_OF: dict[str, frozenset[str]] = {
    "Lung": frozenset({"hypoinflation", "hyperinflation", "hilar_enlargement", "azygos_lobe"}),
    "Opacity": frozenset({"opacity"}),
    "Cardiomegaly": frozenset({"cardiomegaly"}),
    "Calcinosis": frozenset({"calcification"}),
    "Pulmonary Atelectasis": frozenset({"atelectasis"}),
    "Calcified Granuloma": frozenset({"calcified_granuloma"}),
    "Thoracic Vertebrae": frozenset({"thoracic_degeneration"}),
    "Cicatrix": frozenset({"scar"}),
    "Spine": frozenset({"spine_degeneration"}),
    "Markings": frozenset({"markings"}),
    "Pleural Effusion": frozenset({"pleural_effusion"}),
    "Aorta": frozenset({"tortuous_aorta"}),
    "Diaphragm": frozenset({"elevated_diaphragm", "flattened_diaphragm"}),
    "Density": frozenset({"density"}),
}
"""The 14 most frequent problems and the findings of the lexicon that are each of them."""
PROBLEMS = (*FINDINGS_OF, NORMAL)
"""What a text is read for, in the order of the findings head."""
NOT_ABNORMAL = frozenset({"degeneration"})
"""Findings that the coders let pass as normal."""
EXPLANATIONS = frozenset({"scar", "atelectasis", "pleural_effusion"})
"""Findings that the coders left out where the report only offers them as the cause of another."""
PARTS = (("train", 70), ("val", 80), ("test", 100))


@dataclass(frozen=True)
class CodedReport:
    """A report with what people coded of it.

    Attributes:
        uid: Its number in the collection.
        text: Findings and impression.
        problems: Of the 14 most frequent, and ``normal``.
        part: ``train``, ``val`` or ``test``.
        indication: Why the examination was made.
    """

    uid: str
    text: str
    problems: frozenset[str]
    part: str
    indication: str = ""


@dataclass(frozen=True)
class Score:
    """How often a label was right, missed or made up."""

    true: int
    missed: int
    false: int

    @property
    def precision(self) -> float:
        """Share of those read that are right; 0 where none was read."""
        return self.true / max(1, self.true + self.false)

    @property
    def recall(self) -> float:
        """Share of those coded that were read."""
        return self.true / max(1, self.true + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.true / max(1, 2 * self.true + self.missed + self.false)


def read_reports(path: Path, seed: int = 0) -> list[CodedReport]:
    """The reports with a text, each text once, and without those that nobody coded ("No Indexing").

    The part is decided by a hash of the text's words: 70, 10 and 20 of 100.

    Args:
        path: ``indiana_reports.csv``.
        seed: Changes the split.

    Raises:
        InputError: If the file is not the collection's table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"uid", "Problems", "findings", "impression"} <= set(rows[0]):
        raise InputError(f"{path}: expected the columns uid, Problems, findings and impression of indiana_reports.csv")
    reports: dict[str, CodedReport] = {}
    for row in rows:
        text = f"{row['findings']}\n\n{row['impression']}".strip()
        key = " ".join(re.findall(r"\w+", text.lower()))
        problems = frozenset(problem.strip() for problem in row["Problems"].split(";"))
        if key and key not in reports and "No Indexing" not in problems:
            known = problems & (set(FINDINGS_OF) | {NORMAL})
            reports[key] = CodedReport(row["uid"], text, known, part_of(key, seed), row.get("indication", ""))
    return list(reports.values())


def part_of(key: str, seed: int = 0) -> str:
    """Part of the split that a text is in."""
    salted = f"{seed}:{key}" if seed else key
    place = int(hashlib.sha256(salted.encode()).hexdigest(), 16) % 100
    return next(name for name, end in PARTS if place < end)


def problems_of(facts: Iterable[Fact]) -> frozenset[str]:
    """The 14 most frequent problems among the facts, or ``normal`` where the facts name nothing abnormal.

    A possible finding counts as one, as it did for the coders, but for an explanation of an opacity.
    """
    told = [fact for fact in facts if fact.present is not False]
    found = {fact.finding for fact in told if fact.present or fact.finding not in EXPLANATIONS}
    problems = {problem for problem, findings in FINDINGS_OF.items() if findings & found}
    return frozenset(problems) if found - NOT_ABNORMAL else frozenset({NORMAL})


def score_reports(reports: Iterable[CodedReport]) -> dict[str, Score]:
    """Score of each problem and ``normal``, of the labeller against the coders."""
    names = (*FINDINGS_OF, NORMAL)
    counts = {name: [0, 0, 0] for name in names}
    for report in reports:
        read = problems_of(label_text(report.text, CHEST))
        for name in names:
            if name in read or name in report.problems:
                counts[name][
                    0 if name in read and name in report.problems else 1 if name in report.problems else 2
                ] += 1
    return {name: Score(*count) for name, count in counts.items()}


def macro_f1(scores: dict[str, Score]) -> float:
    """Mean of the F1 of each label."""
    return sum(score.f1 for score in scores.values()) / len(scores)


def micro_f1(scores: dict[str, Score]) -> float:
    """F1 of all labels together."""
    return Score(*(sum(getattr(s, key) for s in scores.values()) for key in ("true", "missed", "false"))).f1
