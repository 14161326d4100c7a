# SPDX-License-Identifier: Apache-2.0
"""A ladder of detectors that differ in their memory only: built at equal size, judged on the same sequences.

References:
    Efron, Tibshirani. An introduction to the bootstrap. 1993 (chapter 8: resampling what is nested).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..metrics import BOOTSTRAP_SEED, PERCENTILES, Interval, Matches, PairedDifference, average_precision
from ..types import InputError
from .scoring import SequenceScores, joined_matches


def small_lesion_ap(sequences: Sequence[SequenceScores]) -> float | None:
    """As :func:`box_ap`, of the third of the frames with a lesion on which it is smallest."""
    areas = np.concatenate([sequence.area_px for sequence in sequences])
    if not areas.any():
        return None
    limit = np.quantile(areas[areas > 0], 1 / 3)
    small = [
        frame
        for sequence in sequences
        for frame, area in zip(sequence.frames, sequence.area_px, strict=True)
        if 0 < area <= limit
    ]
    return average_precision([joined_matches(small)], 0)


def best_threshold(sequences: Sequence[SequenceScores]) -> float:
    """The box score from which reporting a box gives the best F1 on these sequences; 1 without any box."""
    parts = [part for sequence in sequences for part in sequence.matches.values()]
    scores = np.concatenate([part["dtScores"] for part in parts]) if parts else np.zeros(0)
    if len(scores) == 0:
        return 1.0
    order = np.argsort(-scores)
    hits = np.cumsum(np.concatenate([part["dtMatches"][0] for part in parts]).astype(bool)[order])
    n_true = sum(len(part["gtIgnore"]) for part in parts)
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + n_true)
    return float(scores[order][np.argmax(f1)])


def wrong_frames(sequence: SequenceScores, threshold: float) -> npt.NDArray[np.bool_]:
    """Frames on which a lesion is missed or something false is reported, at a box score; (T,)."""
    return np.array([_is_wrong(frame, threshold) for frame in sequence.frames], dtype=bool)


def _is_wrong(frame: Matches, threshold: float) -> bool:
    for part in frame.values():
        hit = part["dtMatches"][0].astype(bool)
        reported = part["dtScores"] >= threshold
        if (reported & ~hit).any() or int((reported & hit).sum()) < len(part["gtIgnore"]):
            return True
    return False


T = TypeVar("T")
Statistic = Callable[[Sequence[T]], float | None]
"""A number of some sequences or patients; None where it is undefined."""


@dataclass(frozen=True)
class ArmRuns(Generic[T]):
    """What an arm left on the same items (sequences or patients), a run per seed.

    Attributes:
        name: Of the arm.
        runs: (seeds, items).
    """

    name: str
    runs: tuple[tuple[T, ...], ...]

    def values(self, statistic: Statistic[T]) -> list[float]:
        """The number of each run; NaN where it is undefined."""
        return [_number(statistic(run)) for run in self.runs]


class LadderBootstrap(Generic[T]):
    """A statistic of all arms under the same resamples of items and of seeds.

    Every resample draws items and seeds with replacement, the same ones for every arm, so that differences are paired.

    Args:
        arms: With as many items and seeds each.
        statistic: Of the items of one run; of several seeds the mean counts.
        resamples: How many.

    Raises:
        InputError: If the arms differ in items or seeds, or there is nothing to resample.
    """

    def __init__(self, arms: Sequence[ArmRuns[T]], statistic: Statistic[T], resamples: int) -> None:
        shapes = {(len(arm.runs), *{len(run) for run in arm.runs}) for arm in arms}
        if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or 0 in shape:
            raise InputError("a comparison needs arms with as many runs each, on the same sequences")
        n_seeds, n_items = shape
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        self.means = {arm.name: float(np.mean(arm.values(statistic))) for arm in arms}
        self._drawn: dict[str, list[float]] = {arm.name: [] for arm in arms}
        for _ in range(resamples):
            items, seeds = rng.integers(0, n_items, n_items), rng.integers(0, n_seeds, n_seeds)
            for arm in arms:
                self._drawn[arm.name].append(_resampled(arm, statistic, items, seeds))

    def interval(self, name: str) -> Interval | None:
        """95 % interval of an arm's mean over its runs; None when it is never defined."""
        return _percentiles(np.array(self._drawn[name]))

    def difference(self, name: str, reference: str) -> PairedDifference:
        """An arm less another one."""
        drawn = np.array(self._drawn[name]) - np.array(self._drawn[reference])
        return PairedDifference(self.means[name] - self.means[reference], _percentiles(drawn))


def _resampled(
    arm: ArmRuns[T], statistic: Statistic[T], items: npt.NDArray[np.intp], seeds: npt.NDArray[np.intp]
) -> float:
    distinct, counts = np.unique(seeds, return_counts=True)
    values = [_number(statistic([arm.runs[seed][i] for i in items])) for seed in distinct]
    return float(np.average(values, weights=counts))


def _percentiles(drawn: npt.NDArray[Any]) -> Interval | None:
    known = drawn[np.isfinite(drawn)]
    if len(known) == 0:
        return None
    low, high = np.percentile(known, PERCENTILES)
    return float(low), float(high)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
