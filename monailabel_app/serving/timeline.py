# SPDX-License-Identifier: Apache-2.0
"""The lesions of a patient over all visits that show the same, for ``/infer/`` and ``/followup/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..roots import lib_module
from .registrations import files_state, registration_failed, registration_json, registration_of
from .remembered import Remembered
from .stock import label_app, store, without_folders
from .visit_findings import MODEL, Read, Use, lesions_of_answer, model_lesions, read_stack, stored_lesions
from .visits import Side, days_between, described, name_of, visits_like

_FOUND: Remembered[Read] = Remembered(64)
NO_OTHER = "No other visit of this patient shows the same: there is no growth to tell."


@dataclass(frozen=True)
class Visit:
    """A visit on the timeline.

    Attributes:
        side: Which.
        read: Its lesions.
        registration: How it comes to lie on the first visit (see ``lib.transforms.registration``); None for that one.
    """

    side: Side
    read: Read
    registration: Any


@dataclass(frozen=True)
class Followed:
    """A patient's lesions over the visits.

    Attributes:
        image: The visit that was asked for.
        visits: Oldest first.
        timeline: The lesions (``lib.followup.Timeline``).
        warnings: What it cannot say.
    """

    image: str
    visits: list[Visit]
    timeline: Any
    warnings: list[str]

    @property
    def current(self) -> int:
        """Place of the image among the visits."""
        return next(k for k, visit in enumerate(self.visits) if visit.side.image == self.image)

    def growth(self) -> dict[int, dict[str, Any]]:
        """By the id of each finding of the image, what docs/reference/server.md says of its growth."""
        follow = lib_module("followup")
        found = follow.growth_at(self.timeline, self.current, follow.REGISTRATION_ERROR_MM)
        return {number: one.to_json() for number, one in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        course = lib_module("followup").recist_response(self.timeline)
        classes = {one.visit: one.response for one in course.visits}
        known = self.timeline.to_json()
        return {
            "visits": [self._visit_json(k, classes.get(k)) for k in range(len(self.visits))],
            "tracks": known["tracks"],
            "response": course.to_json() if len(self.visits) > 1 else None,
            "warnings": [*self.warnings, *known["warnings"]],
        }

    def _visit_json(self, k: int, response: Any) -> dict[str, Any]:
        visit = self.visits[k]
        return {
            **described(visit.side, self.visits[0].side.facts),
            "current": visit.side.image == self.image,
            "response": None if response is None else response.value,
            "registration": None if visit.registration is None else registration_json(visit.registration),
            **visit.read.to_json(),
        }


def timeline_of(
    model: str,
    image: str,
    use: Use,
    *,
    answer: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Followed:
    """Follow the lesions of a patient over the visits that show the same; in a worker thread.

    Visits before and after the image's own count. One that cannot be read is left out, and a warning names it.

    Args:
        model: Finds lesions where nothing is stored.
        image: Of the store; one of the visits.
        use: Whose findings count.
        answer: What the model has said of the image, with ``frame_mask``; None to find that out.
        params: Of the inferences.

    Raises:
        InputError: If the image itself cannot be read or is no stack.
    """
    visits: list[Visit] = []
    warnings: list[str] = []
    reference: tuple[Path, Any] | None = None
    for side in visits_like(image):
        try:
            stack = read_stack(side)
            own = answer if side.image == image else None
            read = _read(model, side, stack, use, params) if own is None else _light(lesions_of_answer(own, stack))
            folder = Path(store().get_image_uri(side.image))
            found = None if reference is None else registration_of((reference[0], folder), (reference[1], stack))
        except Exception as error:
            if side.image == image or type(error).__name__ != "InputError":
                raise
            warnings.append(f"The {name_of(side)} is left out: {without_folders(str(error))}")
            continue
        reference = reference or (folder, stack)
        visits.append(Visit(side, read, found))
    return _followed(image, visits, warnings)


def _read(model: str, side: Side, stack: Any, use: Use, params: Mapping[str, Any] | None) -> Read:
    """The lesions of a visit; a model is run once for as long as it, the files and what is asked stay the same."""
    stored = stored_lesions(model, side.image, stack) if use is Use.stored else None
    if stored is not None:
        return _light(stored)
    weights = label_app()._infers[model].current()[1].weights_sha256
    asked = json.dumps(dict(params or {}), sort_keys=True, default=str)
    key = (model, weights, files_state(Path(store().get_image_uri(side.image))), asked)
    return _FOUND.of(key, lambda: _light(model_lesions(model, side, stack, params)))


def _light(read: Read) -> Read:
    return Read(lib_module("followup").without_pixels(read.found), read.source, read.warnings)


def _followed(image: str, visits: list[Visit], warnings: list[str]) -> Followed:
    maps = [np.eye(4) if visit.registration is None else visit.registration.to_fixed for visit in visits]
    timeline = lib_module("followup").follow_visits([visit.read.found for visit in visits], maps, _days(visits))
    return Followed(image, visits, timeline, [*warnings, *_doubts(visits)])


def _days(visits: list[Visit]) -> list[float | None]:
    """From the first visit; whole days where a study does not say its time, and never back in time."""
    days = [days_between(visits[0].side.facts, visit.side.facts) for visit in visits]
    if any(day is None for day in days):
        return [None] * len(days)
    risen: list[float | None] = np.maximum.accumulate(np.array(days, float)).tolist()
    return risen


def _doubts(visits: list[Visit]) -> list[str]:
    """What speaks against the timeline as a whole."""
    if len(visits) == 1:
        return [NO_OTHER]
    doubts = [
        f"The {name_of(visit.side)} could not be registered: places are as the scanners gave them "
        f"({visit.registration.method})."
        for visit in visits
        if visit.registration is not None and registration_failed(visit.registration)
    ]
    sources = {visit.read.source for visit in visits}
    if MODEL in sources and len(sources) > 1:
        stored = ", ".join(name_of(visit.side) for visit in visits if visit.read.source != MODEL)
        doubts.append(
            f"Lesions of the {stored} are those that someone has stored, the others were found by the model: a part of "
            "the change may be that."
        )
    return doubts
