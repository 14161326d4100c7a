# SPDX-License-Identifier: Apache-2.0
"""Lesions of a patient over any number of visits: which were born, which are gone, which have merged or split.

Neighbouring visits are compared as :func:`lib.followup.compare.compare_visits` does. A lesion that is missing at a
visit is looked for at the later ones, from where it was seen last. A lesion that ends inside another one that goes on
has merged with it; one that begins inside another has split from it.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from ..types import FloatArray, InputError
from .compare import PART_SHARE, REGISTRATION_ERROR_MM, Comparison, compare_visits
from .lesions import Lesion, VisitFindings, Way, frame_step_mm, lesions_at, shares_of
from .spread import extent_of, spread_between
from .timeline import Beginning, Ending, LesionTrack, Observation, Timeline
from .trend import trend_of


@dataclass(eq=False)
class _Chain:
    """A track while it is put together: its findings' ids by visit, and where it came from and went to."""

    findings: dict[int, int]
    beginning: Beginning
    split_from: _Chain | None = None
    merged_into: _Chain | None = None
    unseen: list[int] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The last visit at which it was found."""
        return max(self.findings)


def follow_visits(
    visits: Items[VisitFindings],
    to_reference: Items[FloatArray],
    days: Items[float | None],
    *,
    registration_error_mm: float = REGISTRATION_ERROR_MM,
) -> Timeline:
    """Find each lesion at every visit, and measure what becomes of it.

    Args:
        visits: In order of time, at least one.
        to_reference: Per visit the map from its LPS mm to those of the visit that all are registered to, (4, 4).
        days: Of each visit from the first one; None where a study does not say its date.
        registration_error_mm: How far the maps may be off.

    Raises:
        InputError: If the parts are not of the same visits, or the visits not in order of time.
    """
    _check(visits, to_reference, days)
    series = _Series(visits, to_reference, days, registration_error_mm)
    for k in range(1, len(visits)):
        series.step(k)
    return series.timeline()


def _check(visits: Items[VisitFindings], to_reference: Items[FloatArray], days: Items[float | None]) -> None:
    if not visits or not len(visits) == len(to_reference) == len(days):
        raise InputError(
            f"a series needs at least one visit, and a map and a day for each; got {len(visits)} visits, "
            f"{len(to_reference)} maps and {len(days)} days"
        )
    if any(np.shape(affine) != (4, 4) or not np.isfinite(affine).all() for affine in to_reference):
        raise InputError("the map of a visit to the reference is a finite affine of shape (4, 4)")
    known = [day for day in days if day is not None]
    if not np.isfinite(known).all() or known != sorted(known):
        raise InputError(f"visits must be in order of time; got days {known}: sort them first")


class _Series:
    """The chains of a series, extended visit by visit."""

    def __init__(
        self,
        visits: Items[VisitFindings],
        to_reference: Items[FloatArray],
        days: Items[float | None],
        registration_error_mm: float,
    ) -> None:
        self.visits, self.to_reference, self.days = visits, to_reference, days
        self.error_mm = registration_error_mm
        self._found: dict[tuple[int, int], dict[int, Lesion]] = {}
        self.chains = [_Chain({0: number}, Beginning.FIRST_VISIT) for number in self._lesions(0, 0)]
        self.warnings: list[str] = []

    def step(self, k: int) -> None:
        """Bring in visit ``k``."""
        waiting = set(self._lesions(k, k))
        for v in range(k - 1, -1, -1):
            looked_for = {
                chain.findings[v]: chain for chain in self.chains if chain.last == v and chain.merged_into is None
            }
            result = self._compared(v, k, set(looked_for), waiting)
            for pair in result.pairs:
                if pair.baseline is not None and pair.followup is not None:
                    looked_for[pair.baseline].findings[k] = pair.followup
                    waiting.discard(pair.followup)
                elif pair.baseline is not None and pair.elsewhere_frame is None:
                    looked_for[pair.baseline].unseen.append(k)
            if v == k - 1:
                self.warnings += [f"Visits {v + 1} and {k + 1}: {warning}" for warning in result.warnings]
        self._born(k, waiting)
        self._absorbed(k)

    def _compared(self, v: int, k: int, before: set[int], after: set[int]) -> Comparison:
        """Some lesions of visit ``v`` and some of visit ``k``."""
        parts = [
            replace(self.visits[i], findings=tuple(f for f in self.visits[i].findings if f.id in chosen))
            for i, chosen in ((v, before), (k, after))
        ]
        first, second = self.days[v], self.days[k]
        apart = None if first is None or second is None else second - first
        to_earlier = np.linalg.inv(self.to_reference[v]) @ self.to_reference[k]
        return compare_visits(parts[0], parts[1], to_earlier, apart, registration_error_mm=self.error_mm)

    def _born(self, k: int, numbers: set[int]) -> None:
        """Start the chains of the lesions that no earlier visit has."""
        imaged = {
            pair.followup
            for v in range(k)
            for pair in (self._compared(v, k, set(), numbers).pairs if numbers else ())
            if pair.elsewhere_frame is not None
        }
        earlier = [chain for chain in self.chains if k in chain.findings]
        for number, lesion in self._lesions(k, k - 1).items():
            if number not in numbers:
                continue
            chain = _Chain({k: number}, Beginning.NEW if number in imaged else Beginning.OUTSIDE)
            chain.split_from = self._holding(lesion, k, k - 1, earlier)
            if chain.split_from is not None:
                chain.beginning = Beginning.SPLIT
            self.chains.append(chain)

    def _absorbed(self, k: int) -> None:
        """End the chains that are missing at visit ``k`` because another lesion has taken their place."""
        going_on = [chain for chain in self.chains if k - 1 in chain.findings]
        lesions = self._lesions(k - 1, k)
        for chain in self.chains:
            if chain.last == k - 1:
                chain.merged_into = self._holding(lesions[chain.findings[k - 1]], k - 1, k, going_on)

    def _holding(self, part: Lesion, at: int, visit: int, chains: Items[_Chain]) -> _Chain | None:
        """The chain whose lesion holds most of a lesion of another visit, and at least :data:`PART_SHARE` of it.

        Args:
            part: A lesion of visit ``at``.
            at: Visit.
            visit: At which it may lie in another.
            chains: To choose from.
        """
        wholes = self._lesions(visit, at)
        best, most = None, PART_SHARE
        for chain in chains:
            number = chain.findings.get(visit)
            share = 0.0 if number is None else shares_of(part, wholes[number])[0]
            if share >= most:
                best, most = chain, share
        return best

    def _lesions(self, k: int, other: int) -> dict[int, Lesion]:
        """The lesions of visit ``k`` by their finding's id, with where they are at another visit."""
        if (k, other) not in self._found:
            way = Way(self.to_reference[k], np.linalg.inv(self.to_reference[other]), self.visits[other].sequence)
            self._found[k, other] = {lesion.finding.id: lesion for lesion in lesions_at(self.visits[k], way)}
        return self._found[k, other]

    def timeline(self) -> Timeline:
        """What has been found, measured."""
        number = {chain: i for i, chain in enumerate(self.chains, start=1)}
        return Timeline(
            tuple(self.days),
            tuple(frame_step_mm(visit.sequence) for visit in self.visits),
            tuple(self._track(chain, number) for chain in self.chains),
            tuple(self.warnings),
        )

    def _track(self, chain: _Chain, number: dict[_Chain, int]) -> LesionTrack:
        seen = [self._observation(k, chain.findings[k]) for k in sorted(chain.findings)]
        spreads = [spread_between(a.extent, b.extent, self.error_mm) for a, b in pairwise(seen)]
        return LesionTrack(
            id=number[chain],
            observations=tuple(seen),
            beginning=chain.beginning,
            ending=self._ending(chain),
            split_from=None if chain.split_from is None else number[chain.split_from],
            merged_into=None if chain.merged_into is None else number[chain.merged_into],
            unseen=tuple(k for k in chain.unseen if k not in chain.findings),
            trend=trend_of([self.days[one.visit] for one in seen], [one.sizes for one in seen]),
            spreads=tuple(spreads),
            spread=spread_between(seen[0].extent, seen[-1].extent, self.error_mm) if spreads else None,
        )

    def _observation(self, k: int, number: int) -> Observation:
        lesion = self._lesions(k, k)[number]
        extent = extent_of(lesion, self.visits[k].sequence, self.to_reference[k])
        return Observation(k, lesion.finding, lesion.sizes, extent)

    def _ending(self, chain: _Chain) -> Ending:
        after = range(chain.last + 1, len(self.visits))
        if not after:
            return Ending.LAST_VISIT
        if chain.merged_into is not None:
            return Ending.MERGED
        return Ending.OUTSIDE if set(after) <= set(chain.unseen) else Ending.GONE
