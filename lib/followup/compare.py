# SPDX-License-Identifier: Apache-2.0
"""Two visits of a patient compared: which lesion is which, what is new, what is gone, what has grown.

A lesion of the later visit is brought to the earlier one through the transform that registration found. Pairs are the
assignment with the greatest total of overlap (1 + Dice) or, without overlap, nearness (0 to 1; Kuhn, Naval Research
Logistics 1955;2:83-97, by scipy). Of the parts of a lesion that has split, the largest is the lesion.

Two lesions can be one if they overlap, or if their centres are no further apart than the larger one reaches from its
centre and the places are uncertain: nested spheres, the one grown from the other, never have their centres further
apart. Uncertain are registration and the place along the frames, which is known to half a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..types import FloatArray
from .growth import Growth, displacement_words, growth_of
from .lesions import Lesion, VisitFindings, Way, frame_step_mm, lesions_at, shares_of

REGISTRATION_ERROR_MM = 2.0
"""Three times what :mod:`lib.transforms.registration` was off by on real heads (0.65 mm), for other scanners."""
MIN_SHARE = 0.1
"""Part of the smaller lesion that lies in the other from which on the two overlap; less is a border that touches."""
PART_SHARE = 0.3
"""Part of a lesion that lies in another from which on it can have been a part of that one."""
BASELINE, FOLLOWUP = "baseline", "follow-up"


@dataclass(frozen=True)
class Pair:
    """A lesion at both visits, or at one.

    Attributes:
        baseline: Id of the finding at the earlier visit; None for a new lesion.
        followup: Id of the finding at the later visit; None for one that is gone.
        growth: What has changed.
        displacement_mm: How its centre of mass has moved in the patient, LPS mm, after registration.
        displacement: The same in words.
        elsewhere_frame: Of a lesion of one visit only: the frame of the other visit where it would be, or was; None
            where that is outside the images.
    """

    baseline: int | None
    followup: int | None
    growth: Growth
    displacement_mm: tuple[float, float, float] | None = None
    displacement: str | None = None
    elsewhere_frame: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "baseline": self.baseline,
            "followup": self.followup,
            "change": self.growth.to_json(),
            "displacement_mm": None if self.displacement_mm is None else [round(v, 2) for v in self.displacement_mm],
            "displacement": self.displacement,
            "elsewhere_frame": self.elsewhere_frame,
        }


@dataclass(frozen=True)
class Comparison:
    """What two visits have to do with each other.

    Attributes:
        pairs: Lesions of both visits in the order of the later one's findings, then those that are gone.
        warnings: What the pairs cannot say, a sentence each.
    """

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def compare_visits(
    baseline: VisitFindings,
    followup: VisitFindings,
    to_baseline: FloatArray,
    days: float | None,
    *,
    registration_error_mm: float = REGISTRATION_ERROR_MM,
) -> Comparison:
    """Find each lesion of one visit at the other, and measure what has become of it.

    Sizes are taken at each visit in its own voxels; only places go through the transform.

    Args:
        baseline: The earlier visit.
        followup: The later visit.
        to_baseline: Maps LPS mm of the later visit to LPS mm of the earlier one, (4, 4).
        days: Between the two; None where a study does not say its date.
        registration_error_mm: How far ``to_baseline`` may be off.
    """
    step_mm = max(frame_step_mm(visit.sequence) for visit in (baseline, followup))
    known_to_mm = math.hypot(registration_error_mm, step_mm / 2)
    before = lesions_at(baseline, Way(np.eye(4), np.linalg.inv(to_baseline), followup.sequence))
    after = lesions_at(followup, Way(to_baseline, np.eye(4), baseline.sequence))
    shares = np.array([[shares_of(b, a) for a in after] for b in before]).reshape(len(before), len(after), 2)
    matched = _matched(before, after, shares, known_to_mm)
    pairs = [_pair(before[matched[j]] if j in matched else None, a, days, known_to_mm) for j, a in enumerate(after)]
    gone = [b for i, b in enumerate(before) if i not in matched.values()]
    pairs += [Pair(b.finding.id, None, growth_of(b.sizes, None, days), elsewhere_frame=b.elsewhere_frame) for b in gone]
    new = [a for j, a in enumerate(after) if j not in matched]
    warnings = [
        *_parts(before, after, shares[..., 1], "it may have split", (BASELINE, FOLLOWUP)),
        *_parts(after, before, shares[..., 0].T, "they may have merged", (FOLLOWUP, BASELINE)),
        *_unseen(new, "new", BASELINE),
        *_unseen(gone, "gone", FOLLOWUP),
        *_relabelled([(before[i], after[j]) for j, i in matched.items()]),
    ]
    return Comparison(tuple(pairs), tuple(warnings))


def _matched(before: list[Lesion], after: list[Lesion], shares: FloatArray, known_to_mm: float) -> dict[int, int]:
    """Index in ``after`` -> index in ``before`` of the lesions that are one."""
    gain = np.zeros((len(before), len(after)))
    for i, b in enumerate(before):
        for j, a in enumerate(after):
            common = (shares[i, j, 0] * b.volume + shares[i, j, 1] * a.volume) / 2
            if common >= MIN_SHARE * min(b.volume, a.volume):
                gain[i, j] = 1 + 2 * common / (b.volume + a.volume)
            else:
                apart_mm = float(np.linalg.norm(b.center - a.center))
                gain[i, j] = max(0.0, 1 - apart_mm / (max(b.reach_mm, a.reach_mm) + known_to_mm))
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return {int(j): int(i) for i, j in zip(rows, columns, strict=True) if gain[i, j] > 0}


def _pair(before: Lesion | None, after: Lesion, days: float | None, known_to_mm: float) -> Pair:
    if before is None:
        growth = growth_of(None, after.sizes, days)
        return Pair(None, after.finding.id, growth, elsewhere_frame=after.elsewhere_frame)
    shift = after.center - before.center
    return Pair(
        before.finding.id,
        after.finding.id,
        growth_of(before.sizes, after.sizes, days),
        (float(shift[0]), float(shift[1]), float(shift[2])),
        displacement_words(shift, known_to_mm),
    )


def _parts(
    wholes: list[Lesion], parts: list[Lesion], inside: FloatArray, guess: str, visits: tuple[str, str]
) -> list[str]:
    """Lesions of one visit that lie where one of the other is.

    Args:
        wholes: Of one visit.
        parts: Of the other.
        inside: Part of each of ``parts`` that lies in each of ``wholes``, (wholes, parts).
        guess: What may have happened.
        visits: Names of the two visits, the wholes' first.
    """
    said = []
    for whole, shares in zip(wholes, inside, strict=True):
        pieces = [part for part, share in zip(parts, shares, strict=True) if share >= PART_SHARE]
        if len(pieces) < 2:
            continue
        ids = _listed([piece.finding.id for piece in pieces])
        total = ""
        if all("volume" in lesion.sizes for lesion in (whole, *pieces)):
            together = sum(piece.sizes["volume"].value for piece in pieces)
            total = f" Together these have {together:.2f} ml, it has {whole.sizes['volume'].value:.2f} ml."
        said.append(
            f"Lesion {whole.finding.id} of the {visits[0]} lies where lesions {ids} of the {visits[1]} are: "
            f"{guess}.{total}"
        )
    return said


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:-1])) + f" and {ids[-1]}"


def _unseen(lesions: list[Lesion], what: str, visit: str) -> list[str]:
    return [
        f"Lesion {lesion.finding.id} lies outside the images of the {visit}: whether it is {what} is not known."
        for lesion in lesions
        if lesion.elsewhere_frame is None
    ]


def _relabelled(pairs: list[tuple[Lesion, Lesion]]) -> list[str]:
    return [
        f"Lesion {b.finding.id} of the {BASELINE} is called {b.finding.label!r}, the same one of the {FOLLOWUP} "
        f"(lesion {a.finding.id}) {a.finding.label!r}."
        for b, a in pairs
        if b.finding.label != a.finding.label
    ]
