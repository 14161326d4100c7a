# SPDX-License-Identifier: Apache-2.0
"""RECIST 1.1 on a timeline: target lesions, their sum of diameters, and the response at each visit.

Eisenhauer et al. Eur J Cancer 2009;45:228-247. Targets are at most 5 in all and 2 per organ, the largest first, at
least 10 mm long, or twice the slice thickness where that is over 5 mm; of lymph nodes the short axis counts, from 15 mm
on (section 3 and 4.2). Parts of a target that has split add up; of targets that have merged the whole is measured once
(appendix II). What only a reader can decide is in :data:`UNDECIDED`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..types import InputError
from .timeline import Beginning, Ending, LesionTrack, Observation, Timeline

MAX_TARGETS, MAX_PER_ORGAN = 5, 2
MEASURABLE_MM, NODE_MEASURABLE_MM, NODE_NORMAL_MM = 10.0, 15.0, 10.0
THICK_SLICE_MM = 5.0
PARTIAL_PERCENT, PROGRESSION_PERCENT, PROGRESSION_MM = -30.0, 20.0, 5.0
UNDECIDED = (
    "Whether what was found is tumour, and which lesions can be measured reproducibly: a reader chooses the targets.",
    "Whether a lesion is a lymph node, in bone, cystic or in an irradiated field, unless its label says so.",
    "In which organ a lesion is, unless its label says so: lesions of one label count as of one organ.",
    "Whether lesions that are not targets have unequivocally progressed; here they only tell complete from partial.",
    "Whether a new lesion is unequivocal and not another technique or another thing: here each one is progression.",
    "Pleural effusion, ascites, tumour markers, clinical progression, and confirmation at a later visit.",
)
"""What of RECIST 1.1 the images and the tracks cannot decide."""


class Response(StrEnum):
    """The response at a visit."""

    COMPLETE = "CR"
    PARTIAL = "PR"
    STABLE = "SD"
    PROGRESSION = "PD"
    NOT_COMPLETE = "non-CR/non-PD"
    NOT_EVALUABLE = "NE"


@dataclass(frozen=True)
class VisitResponse:
    """Response at a visit.

    Attributes:
        visit: Index of the visit.
        sum_mm: Sum of the targets' diameters; None without targets.
        uncertainty_mm: Its standard uncertainty.
        nadir_mm: Smallest sum at an earlier visit.
        percent_from_baseline: Change of the sum since the first visit.
        percent_from_nadir: Change of the sum since the nadir; None where the nadir is 0.
        response: The class.
        within_error: Classes that the sum, taken one standard uncertainty smaller or larger, would have.
        new: Tracks that are new since the first visit.
        unmeasured: Targets that the images of this visit do not reach.
    """

    visit: int
    sum_mm: float | None
    uncertainty_mm: float | None
    nadir_mm: float | None
    percent_from_baseline: float | None
    percent_from_nadir: float | None
    response: Response
    within_error: tuple[Response, ...]
    new: tuple[int, ...]
    unmeasured: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        data = {key: round(v, 2) if isinstance(v, float) else v for key, v in vars(self).items()}
        return {
            **data,
            "response": self.response.value,
            "within_error": [one.value for one in self.within_error],
            "new": list(self.new),
            "unmeasured": list(self.unmeasured),
        }


@dataclass(frozen=True)
class ResponseCourse:
    """Response over the visits.

    Attributes:
        targets: Tracks whose diameters are added.
        others: The tracks of the first visit that are not targets.
        visits: Of each visit after the first one.
        undecided: What a reader has to decide, a sentence each.
    """

    targets: tuple[int, ...]
    others: tuple[int, ...]
    visits: tuple[VisitResponse, ...]
    undecided: tuple[str, ...] = UNDECIDED

    @property
    def progression(self) -> int | None:
        """The first visit with progression."""
        return next((one.visit for one in self.visits if one.response is Response.PROGRESSION), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "targets": list(self.targets),
            "others": list(self.others),
            "visits": [one.to_json() for one in self.visits],
            "progression": self.progression,
            "undecided": list(self.undecided),
        }


def recist_response(
    timeline: Timeline,
    *,
    organs: Mapping[str, str] | None = None,
    nodes: Collection[str] = (),
    targets: Collection[int] | None = None,
) -> ResponseCourse:
    """Class each visit after the first one.

    Args:
        timeline: From the first visit of the treatment on.
        organs: Label -> organ; a label that is not named is an organ of its own.
        nodes: Labels of lymph nodes.
        targets: Tracks that a reader has chosen; None for the largest that can be measured.

    Raises:
        InputError: If a target is not a track of the first visit.
    """
    course = _Course(timeline, nodes)
    first = {track.id: track for track in timeline.tracks if track.beginning is Beginning.FIRST_VISIT}
    if targets is None:
        chosen = course.chosen(list(first.values()), organs or {})
    elif unknown := sorted(set(targets) - set(first)):
        raise InputError(f"tracks {unknown} are not lesions of the first visit: targets are chosen there")
    else:
        chosen = sorted(set(targets))
    others = [number for number in first if number not in chosen]
    responses = course.responses([first[i] for i in chosen], [first[i] for i in others])
    return ResponseCourse(tuple(chosen), tuple(others), responses)


class _Course:
    """The diameters of a timeline's tracks, and what they make of a visit."""

    def __init__(self, timeline: Timeline, nodes: Collection[str]) -> None:
        self.timeline, self.nodes = timeline, nodes
        self.parts: dict[int, list[LesionTrack]] = {}
        for track in timeline.tracks:
            if track.split_from is not None:
                self.parts.setdefault(track.split_from, []).append(track)

    def chosen(self, tracks: list[LesionTrack], organs: Mapping[str, str]) -> list[int]:
        """The largest measurable tracks, not too many per organ."""
        step_mm = self.timeline.steps_mm[0]
        least_mm = max(MEASURABLE_MM, 2 * step_mm if step_mm > THICK_SLICE_MM else 0.0)
        taken: dict[str, int] = {}
        chosen = []
        for track in sorted(tracks, key=lambda one: -self._diameter(one.observations[0])[0]):
            seen = track.observations[0]
            organ = organs.get(seen.finding.label, seen.finding.label)
            enough = NODE_MEASURABLE_MM if self._is_node(track) else least_mm
            if self._diameter(seen)[0] < enough or taken.get(organ, 0) == MAX_PER_ORGAN:
                continue
            taken[organ] = taken.get(organ, 0) + 1
            chosen.append(track.id)
        return sorted(chosen[:MAX_TARGETS])

    def responses(self, targets: list[LesionTrack], others: list[LesionTrack]) -> tuple[VisitResponse, ...]:
        """Of each visit after the first."""
        baseline, _ = self._sum(targets, 0)
        nadir, found = baseline, []
        for visit in range(1, len(self.timeline.days)):
            found.append(self._response(visit, targets, others, baseline, nadir))
            if found[-1].sum_mm is not None and not found[-1].unmeasured:
                nadir = min(nadir, found[-1].sum_mm)
        return tuple(found)

    def _response(
        self, visit: int, targets: list[LesionTrack], others: list[LesionTrack], baseline: float, nadir: float
    ) -> VisitResponse:
        new = tuple(
            one.id
            for one in self.timeline.tracks
            if one.beginning is Beginning.NEW and one.observations[0].visit <= visit
        )
        unmeasured = tuple(one.id for one in targets if visit in one.unseen)
        total, uncertainty = self._sum(targets, visit)
        cleared = all(self._is_cleared(one, visit) for one in (*targets, *others))
        hidden = any(visit in one.unseen for one in others)

        def judged(sum_mm: float) -> Response:
            if new:
                return Response.PROGRESSION
            if not targets:
                return _without_targets(bool(others), cleared, hidden)
            left = any(not self._is_cleared(one, visit) for one in targets)
            return _of_sum(sum_mm, baseline, nadir, cleared and not hidden, left, bool(unmeasured))

        around = {judged(max(total + sign * uncertainty, 0.0)) for sign in (-1, 0, 1)}
        return VisitResponse(
            visit,
            total if targets else None,
            uncertainty if targets else None,
            nadir if targets else None,
            100 * (total / baseline - 1) if targets else None,
            100 * (total / nadir - 1) if targets and nadir > 0 else None,
            judged(total),
            tuple(sorted(around)),
            new,
            unmeasured,
        )

    def _sum(self, targets: list[LesionTrack], visit: int) -> tuple[float, float]:
        """Of the targets' diameters at a visit, and its standard uncertainty; a merged lesion counts once."""
        seen: dict[int, tuple[float, float]] = {}
        for target in targets:
            for part in self._present(target, visit):
                observation = part.at(visit)
                if observation is not None:
                    seen[part.id] = self._diameter(observation)
        return sum(mm for mm, _ in seen.values()), math.hypot(*(u for _, u in seen.values()))

    def _present(self, track: LesionTrack, visit: int) -> list[LesionTrack]:
        """What a track is at a visit: itself or what it has merged with, and the parts that have split from it."""
        own = track
        while own.ending is Ending.MERGED and own.merged_into is not None and own.observations[-1].visit < visit:
            own = self.timeline.tracks[own.merged_into - 1]
        parts = [part for child in self.parts.get(track.id, []) for part in self._present(child, visit)]
        return [own, *parts]

    def _is_cleared(self, track: LesionTrack, visit: int) -> bool:
        """Whether a lesion is gone at a visit; a lymph node, whether it is of normal size."""
        seen = [one for part in self._present(track, visit) if (one := part.at(visit)) is not None]
        if self._is_node(track):
            return all(self._diameter(one)[0] < NODE_NORMAL_MM for one in seen) and visit not in track.unseen
        return not seen and visit not in track.unseen

    def _is_node(self, track: LesionTrack) -> bool:
        return track.observations[0].finding.label in self.nodes

    def _diameter(self, seen: Observation) -> tuple[float, float]:
        """Long axis, or short axis of a lymph node, in mm with its standard uncertainty; of its box without a mask."""
        box = seen.sizes.get("long_axis", seen.sizes["box"])
        name = "short_axis" if seen.finding.label in self.nodes else "long_axis"
        measured = seen.finding.measurements.get(name)
        return (box.value if measured is None else measured.value), box.uncertainty


def _of_sum(sum_mm: float, baseline: float, nadir: float, cleared: bool, left: bool, partly: bool) -> Response:
    """The response of targets without new lesions.

    Args:
        sum_mm: Of their diameters.
        baseline: The sum at the first visit.
        nadir: The smallest sum before.
        cleared: All lesions are gone.
        left: A target is there.
        partly: A target was not in the images: only progression can still be told.
    """
    grown_mm = sum_mm - nadir
    if left and (nadir == 0 or (100 * grown_mm >= PROGRESSION_PERCENT * nadir and grown_mm >= PROGRESSION_MM)):
        return Response.PROGRESSION
    if partly:
        return Response.NOT_EVALUABLE
    if cleared:
        return Response.COMPLETE
    partial = 100 * (sum_mm - baseline) <= PARTIAL_PERCENT * baseline
    return Response.PARTIAL if partial or not left else Response.STABLE


def _without_targets(others: bool, cleared: bool, hidden: bool) -> Response:
    """The response where no lesion could be a target and none is new."""
    if not others or hidden:
        return Response.NOT_EVALUABLE
    return Response.COMPLETE if cleared else Response.NOT_COMPLETE
