# SPDX-License-Identifier: Apache-2.0
"""How well one report says what another says: facts against facts, not words against words.

References:
    Irvin et al. CheXpert. AAAI 2019 (a rule labeller as the judge of a report).
    Miura et al. Improving factual completeness of report generation. NAACL 2021 (F1 of findings in place of BLEU).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from .facts import Fact
from .labeller import label_text
from .lexicon import Lexicon


@dataclass(frozen=True)
class FactScore:
    """Counts of one report or, added up, of many.

    Facts of the same finding are paired, those that agree most first. A pair is right if both say that the finding is
    there, or both that it is not, or both leave it open, and nothing that both say (side, change) differs.

    Attributes:
        written: Facts of the generated text.
        wanted: Facts of the reference.
        right: Pairs that are right.
        pairs: Pairs.
        denials: Pairs of which one says that the finding is there and the other that it is not.
        sided: Pairs of which both say that it is there, and on which side.
        wrong_side: Those on another side.
        sized: Pairs of which both say that it is there, and how large.
        size_error_mm: Sum over those of how far the longest extents lie apart.
    """

    written: int = 0
    wanted: int = 0
    right: int = 0
    pairs: int = 0
    denials: int = 0
    sided: int = 0
    wrong_side: int = 0
    sized: int = 0
    size_error_mm: float = 0.0

    def __add__(self, other: FactScore) -> FactScore:
        """Both together."""
        return FactScore(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def precision(self) -> float:
        """Share of what is written that is right; 0 where nothing is written."""
        return self.right / max(1, self.written)

    @property
    def recall(self) -> float:
        """Share of what is wanted that is written and right."""
        return self.right / max(1, self.wanted)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 1 where nothing is wanted and nothing written."""
        total = self.written + self.wanted
        return 2 * self.right / total if total else 1.0

    @property
    def denial_rate(self) -> float | None:
        """Negation errors: share of the pairs that contradict each other in whether the finding is there."""
        return self.denials / self.pairs if self.pairs else None

    @property
    def wrong_side_rate(self) -> float | None:
        """Side errors: share of the pairs with two sides whose sides differ."""
        return self.wrong_side / self.sided if self.sided else None

    @property
    def mean_size_error_mm(self) -> float | None:
        """Mean difference of the longest extents, in mm."""
        return self.size_error_mm / self.sized if self.sized else None


def score_facts(written: Iterable[Fact], wanted: Iterable[Fact]) -> FactScore:
    """Compare the facts of a generated text with those of its reference."""
    written, wanted = list(written), list(wanted)
    total = FactScore(written=len(written), wanted=len(wanted))
    for one, other in _pairs(written, wanted):
        total += _score_pair(one, other)
    return total


def score_text(written: str, wanted: str, lexicon: Lexicon) -> FactScore:
    """Compare a generated text with its reference."""
    return score_facts(label_text(written, lexicon), label_text(wanted, lexicon))


def total_score(scores: Iterable[FactScore]) -> FactScore:
    """Scores of many reports, added up."""
    return sum(scores, FactScore())


def _pairs(written: Sequence[Fact], wanted: Sequence[Fact]) -> list[tuple[Fact, Fact]]:
    """One to one within a finding, the pairs that agree most first, ties in the order of the texts."""
    ranked = sorted(
        (-_agreement(one, other), i, j)
        for i, one in enumerate(written)
        for j, other in enumerate(wanted)
        if one.finding == other.finding
    )
    used: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for _, i, j in ranked:
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            pairs.append((written[i], wanted[j]))
    return pairs


def _agreement(one: Fact, other: Fact) -> float:
    """How much two facts of one finding have in common."""
    said = ("side", "location", "change", "count", "size_mm")
    same = [name for name in said if getattr(one, name) is not None and getattr(one, name) == getattr(other, name)]
    size = 0.0
    if one.size_mm and other.size_mm:
        size = min(one.size_mm[0], other.size_mm[0]) / max(one.size_mm[0], other.size_mm[0], 1e-6)
    return 2.0 * len(said) * (one.present == other.present) + len(same) + size


def _score_pair(one: Fact, other: Fact) -> FactScore:
    denied = {one.present, other.present} == {True, False}
    there = one.present is True and other.present is True
    sided = there and one.side is not None and other.side is not None
    wrong_side = sided and one.side != other.side
    other_change = one.change is not None and other.change is not None and one.change != other.change
    sizes = (one.size_mm, other.size_mm) if there else (None, None)
    error = abs(sizes[0][0] - sizes[1][0]) if sizes[0] and sizes[1] else None
    return FactScore(
        right=int(one.present == other.present and not wrong_side and not other_change),
        pairs=1,
        denials=int(denied),
        sided=int(sided),
        wrong_side=int(wrong_side),
        sized=int(error is not None),
        size_error_mm=error or 0.0,
    )
