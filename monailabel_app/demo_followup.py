# SPDX-License-Identifier: Apache-2.0
"""The demo's follow-up: what the server measures of a patient's lesions over the visits, beside what truly happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .client import follow
from .process import Server
from .roots import lib_module
from .truth import HIT_IOU, View, box_overlaps

FOLLOWER = "mr_lesion_segmentation"


@dataclass(frozen=True)
class TrueLesion:
    """A lesion that is truly there, and what was measured of it.

    Attributes:
        number: From 1.
        true_ml: Volume at each visit; None where it is not there.
        found_ml: Measured volume at each visit; None where it was not found.
        found_error_ml: Standard uncertainty of each.
        true_percent: Change from the first visit at which it is there to the last.
        found_percent: Measured change between the first and the last visit at which the server has followed it.
        found_percent_error: Its standard uncertainty.
        between: The two visits that ``found_percent`` is between.
        true_spread: Side that has truly moved outwards farthest.
        found_spread: The same as measured; None where no side moved by more than the tolerance.
        tracks: Of the server, that hold it.
    """

    number: int
    true_ml: tuple[float | None, ...]
    found_ml: tuple[float | None, ...]
    found_error_ml: tuple[float | None, ...]
    true_percent: float | None
    found_percent: float | None
    found_percent_error: float | None
    between: tuple[int, int] | None
    true_spread: str | None
    found_spread: str | None
    tracks: tuple[int, ...]


@dataclass(frozen=True)
class FollowUp:
    """A patient over the visits.

    Attributes:
        patient: Name.
        days: Of each visit from the first.
        lesions: Those that are truly there.
        false: Tracks of the server that are no true lesion at any visit.
        true_response: RECIST 1.1 response at each visit after the first, of the true masks.
        found_response: The same of what the server measured.
        warnings: The server's.
    """

    patient: str
    days: tuple[float, ...]
    lesions: tuple[TrueLesion, ...]
    false: tuple[int, ...]
    true_response: tuple[str, ...]
    found_response: tuple[str, ...]
    warnings: tuple[str, ...]


def patients_with_visits(views: Iterable[View]) -> dict[str, list[View]]:
    """By patient the views that have a truth, of patients with several; the demo's phantoms are named so."""
    found: dict[str, list[View]] = {}
    for view in views:
        name, visit, _ = view.patient.name.partition("__visit")
        if visit and view.truth is not None:
            found.setdefault(name, []).append(view)
    return {name: visits for name, visits in found.items() if len(visits) > 1}


def follow_up(server: Server, patient: str, views: list[View]) -> FollowUp:
    """Ask the server for the timeline of a patient, and set it against the truth.

    Args:
        server: A healthy server.
        patient: For the table.
        views: The visits, oldest first.

    Raises:
        InputError: If the server gives no timeline, or of other visits.
    """
    return set_against(patient, views, follow(server, FOLLOWER, views[-1].patient.image_id))


def set_against(patient: str, views: list[View], answer: dict[str, Any]) -> FollowUp:
    """A server's timeline beside the truth.

    Args:
        patient: For the table.
        views: The visits, oldest first.
        answer: Of ``POST /followup/{model}/timeline``.

    Raises:
        InputError: If it is of other visits.
    """
    if [visit["image"] for visit in answer["visits"]] != [view.patient.image_id for view in views]:
        raise lib_module("types").InputError(f"the server follows other visits of {patient} than the demo has made")
    days = tuple(float(visit["days"]) for visit in answer["visits"])
    truth = true_timeline(views, days)
    pairs = [_pairs(truth.findings_at(k), visit["findings"]) for k, visit in enumerate(answer["visits"])]
    lesions = tuple(_lesion(track, answer, pairs) for track in truth.tracks)
    hit = {number for lesion in lesions for number in lesion.tracks}
    course = lib_module("followup").recist_response(truth)
    return FollowUp(
        patient,
        days,
        lesions,
        tuple(track["id"] for track in answer["tracks"] if track["id"] not in hit),
        tuple(one.response.value for one in course.visits),
        tuple(visit["response"] for visit in answer["visits"][1:]),
        tuple(answer["warnings"]),
    )


def true_timeline(views: list[View], days: Iterable[float]) -> Any:
    """The true lesions over the visits; the phantoms' heads lie alike at all of them."""
    follow_module, source = lib_module("followup"), lib_module("types").Source(author="truth")
    found = []
    for view in views:
        assert view.truth is not None  # `patients_with_visits` has looked
        found.append(follow_module.findings_of_labels([("lesion", view.truth > 0)], sequence_of(view), source))
    return follow_module.follow_visits(found, [np.eye(4)] * len(found), list(days), registration_error_mm=0.0)


def sequence_of(view: View) -> Any:
    """A stack as the models see it."""
    types, geometry = lib_module("types"), view.geometry
    return types.Sequence(
        frames=view.frames[:, None],
        kind=types.SequenceKind.STACK,
        positions=geometry.positions_mm(len(view.frames)),
        spacing_mm=geometry.spacing_mm[:2],
        affine_lps=geometry.affine_lps,
    )


def _pairs(true: Iterable[Any], found: list[dict[str, Any]]) -> dict[int, int]:
    """Id of a true lesion's track -> id of the finding that overlaps it most, at one visit."""
    there = list(true)
    overlaps = box_overlaps([tuple(f["box_lps_mm"]) for f in found], [lesion.box_lps_mm for lesion in there])
    return {
        lesion.track_id: found[int(overlaps[:, j].argmax())]["id"]
        for j, lesion in enumerate(there)
        if len(found) and overlaps[:, j].max() >= HIT_IOU
    }


def _lesion(track: Any, answer: dict[str, Any], pairs: list[dict[int, int]]) -> TrueLesion:
    visits = range(len(pairs))
    true_ml = tuple(None if (seen := track.at(k)) is None else seen.sizes["volume"].value for k in visits)
    wanted = {(k, pairs[k][track.id]) for k in visits if track.id in pairs[k]}
    held = [one for one in answer["tracks"] if wanted & {(int(k), number) for k, number in one["findings"].items()}]
    sizes = {k: size for one in held for k, size in _sizes(one, wanted).items()}
    best = max(held, key=lambda one: len(_sizes(one, wanted)), default=None)
    trend, seen = (best or {}).get("trend", {}), sorted(map(int, (best or {}).get("findings", ())))
    told = len(seen) > 1
    return TrueLesion(
        track.id,
        true_ml,
        tuple(sizes.get(k, (None, None))[0] for k in visits),
        tuple(sizes.get(k, (None, None))[1] for k in visits),
        None if track.trend.overall is None else track.trend.overall.percent,
        trend["overall"]["percent"] if told else None,
        trend["percent_uncertainty"] if told else None,
        (seen[0], seen[-1]) if told else None,
        None if track.spread is None else track.spread.main,
        best["spread"]["main"] if best and best["spread"] else None,
        tuple(one["id"] for one in held),
    )


def _sizes(track: dict[str, Any], wanted: set[tuple[int, int]]) -> dict[int, tuple[float, float]]:
    """By visit the measured size of a server's track and its uncertainty, where the track is the lesion."""
    trend = track["trend"]
    visits = zip(track["findings"].items(), trend["values"], trend["uncertainties"], strict=True)
    return {int(k): (value, off) for (k, number), value, off in visits if (int(k), number) in wanted}


def in_words(found: FollowUp) -> list[str]:
    """What a table cannot say: lesions that were missed, torn apart or invented, a sentence each."""
    said = []
    for lesion in found.lesions:
        name = f"Lesion {lesion.number}"
        there = [k for k, ml in enumerate(lesion.true_ml) if ml is not None]
        missed = [k + 1 for k in there if lesion.found_ml[k] is None]
        if len(missed) == len(there):
            said.append(f"{name}: the model missed it at every visit.")
        elif missed:
            said.append(f"{name}: the model missed it at visit {', '.join(map(str, missed))}.")
        if len(lesion.tracks) > 1:
            said.append(f"{name}: the server did not see that it is one lesion; it has {len(lesion.tracks)} lines.")
        if lesion.between and (lesion.between[0], lesion.between[1]) != (there[0], there[-1]):
            first, last = (k + 1 for k in lesion.between)
            said.append(f"{name}: the measured change is from visit {first} to {last}, the true one over all visits.")
    if found.false:
        count = len(found.false)
        said.append(f"{count} of the lesions that the model reports {'is' if count == 1 else 'are'} not there.")
    return said
