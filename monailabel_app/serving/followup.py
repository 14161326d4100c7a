# SPDX-License-Identifier: Apache-2.0
"""The follow-up routes: the visits of a patient, two of them compared, and all of them followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ..roots import lib_module
from .checks import bad_request, check_image, check_model
from .pool import InferencePool
from .registrations import registration_failed, registration_json, registration_of
from .stock import GuardedRoute, label_app, store
from .timeline import timeline_of
from .visit_findings import MODEL, Use, lesions_of, read_stack
from .visits import Side, check_followed, date_of, days_between, described, dicom_side, two_sides, visits_like

router = APIRouter(tags=["Follow-up"], route_class=GuardedRoute)


@router.get("/followup/{image}", summary="List the visits of an image's patient that show the same")
def visits(image: str) -> dict[str, Any]:
    """Return the visits, oldest first; only the image itself where there is no other."""
    sides = visits_like(check_image(image))
    return {"visits": [{**described(side, sides[0].facts), "current": side.image == image} for side in sides]}


@router.post("/followup/{model}", summary="Compare two visits of a patient")
async def compare(request: Request, model: str, baseline: str, image: str, use: Use = Use.stored) -> Response:
    """Find each lesion of the baseline at the follow-up and measure its growth; waits its turn in the queue."""
    check_model(model)
    sides = await run_in_threadpool(_checked, baseline, image)
    pool: InferencePool = request.app.state.pool
    return await pool.run(request, lambda: JSONResponse(_compared(model, sides, use)), lambda _: None)


@router.post("/followup/{model}/timeline", summary="Follow the lesions of a patient over all visits")
async def timeline(request: Request, model: str, image: str, use: Use = Use.stored) -> Response:
    """Find each lesion at every visit that shows the same as the image; waits its turn in the queue."""
    check_followed(model, str(label_app()._infers[check_model(model)].type))
    await run_in_threadpool(lambda: dicom_side(check_image(image)))
    pool: InferencePool = request.app.state.pool
    return await pool.run(request, lambda: JSONResponse(timeline_of(model, image, use).to_json()), lambda _: None)


def _checked(baseline: str, image: str) -> tuple[Side, Side]:
    if check_image(baseline) == check_image(image):
        raise bad_request("The baseline and the image are the same; name two visits of a patient.")
    return two_sides(baseline, image)


def _compared(model: str, sides: tuple[Side, Side], use: Use) -> dict[str, Any]:
    """The answer, in a worker thread."""
    folders = Path(store().get_image_uri(sides[0].image)), Path(store().get_image_uri(sides[1].image))
    stacks = read_stack(sides[0]), read_stack(sides[1])
    read = [lesions_of(model, side, stack, use) for side, stack in zip(sides, stacks, strict=True)]
    registration = registration_of(folders, stacks)
    days = days_between(sides[0].facts, sides[1].facts)
    result = lib_module("followup").compare_visits(read[0].found, read[1].found, registration.to_fixed, days)
    answers = [{**described(side, sides[0].facts), **one.to_json()} for side, one in zip(sides, read, strict=True)]
    said = [*_doubts(sides, days, registration), *_sources_differ(answers), *result.warnings]
    return {
        "baseline": answers[0],
        "followup": answers[1],
        "days": days,
        "registration": registration_json(registration),
        "pairs": [pair.to_json() for pair in result.pairs],
        "warnings": said,
    }


def _doubts(sides: tuple[Side, Side], days: float | None, registration: Any) -> list[str]:
    """What speaks against the comparison as a whole."""
    first, second = (side.facts for side in sides)
    doubts = []
    if days is None:
        doubts.append("A visit does not say its date: how fast lesions grow is not known.")
    elif days < 0:
        doubts.append(
            f"The baseline ({date_of(first)}) is later than the follow-up ({date_of(second)}): changes are told "
            "backwards."
        )
    if not lib_module("dicom.visits").comparable(first, second):
        shown = [facts.series_description or facts.modality for facts in (first, second)]
        doubts.append(f"The visits show different things ({shown[0]}; {shown[1]}): sizes may differ for that alone.")
    if registration_failed(registration):
        doubts.append(
            f"The visits could not be registered: places are as the scanners gave them ({registration.method})."
        )
    return doubts


def _sources_differ(answers: list[dict[str, Any]]) -> list[str]:
    one, other = (answer["source"] for answer in answers)
    if (MODEL in (one, other)) and one != other:
        said = [source if source != MODEL else "found by the model" for source in (one, other)]
        return [
            f"The lesions of the baseline are {said[0]}, those of the follow-up {said[1]}: a part of the change may be "
            "that."
        ]
    return []
