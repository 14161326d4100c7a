# SPDX-License-Identifier: Apache-2.0
"""The follow-up routes: the visits of a patient, and two of them compared."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ..roots import lib_module
from .checks import bad_request, check_image, check_model
from .pool import InferencePool
from .stock import GuardedRoute, label_app, settled, store

router = APIRouter(tags=["Follow-up"], route_class=GuardedRoute)

FACTS = {
    "patient_id": "PatientID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_description": "SeriesDescription",
}
STORED_TAGS = {"segmentation": ("final",), "detection": ("boxes", "final")}
"""Where clinicians' corrections of a type of model are, those that are preferred first."""
REMEMBERED = 32


class Use(StrEnum):
    """Whose findings are compared: those that someone stored, where there are any, or always the model's."""

    stored = "stored"
    model = "model"


@dataclass(frozen=True)
class Side:
    """One of the two visits.

    Attributes:
        image: Id in the store.
        facts: Who, when and what (``lib.dicom.types.SeriesFacts``).
    """

    image: str
    facts: Any


class Transforms:
    """The last registrations; one of two heads takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def of(self, folders: tuple[Path, Path], stacks: tuple[Any, Any]) -> Any:
        """How the second stack comes to lie on the first.

        Args:
            folders: With the files of the two; what is known of others is not used.
            stacks: As ``lib.followup.shown_stack`` gives them.
        """
        state_of = lib_module("datastore.dicom_grid").state_of
        key = tuple(state_of(sorted(folder.iterdir())) for folder in folders)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = lib_module("registration").register(*stacks)
        with self._lock:
            self._known[key] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found


TRANSFORMS = Transforms()


@router.get("/followup/{image}", summary="List the visits of an image's patient that show the same")
def visits(image: str) -> dict[str, Any]:
    """Return the visits, oldest first; only the image itself where there is no other."""
    check_image(image)
    own = _facts(store().get_image_info(image))
    of_patient = {}
    for image_id, entry in settled(store().json)["objects"].items():
        facts = _facts(entry["image"]["info"])
        if facts.series_instance_uid and facts.patient_id and facts.patient_id == own.patient_id:
            of_patient[facts.series_instance_uid] = (image_id, facts)
    chains = lib_module("dicom.visits").visit_chains(facts for _, facts in of_patient.values())
    own_uid = own.series_instance_uid
    chain = next((found for found in chains if own_uid in {facts.series_instance_uid for facts in found}), [own])
    sides = [Side(of_patient.get(facts.series_instance_uid, (image, facts))[0], facts) for facts in chain]
    return {"visits": [{**_described(side, chain[0]), "current": side.image == image} for side in sides]}


@router.post("/followup/{model}", summary="Compare two visits of a patient")
async def compare(request: Request, model: str, baseline: str, image: str, use: Use = Use.stored) -> Response:
    """Find each lesion of the baseline at the follow-up and measure its growth; waits its turn in the queue."""
    check_model(model)
    sides = await run_in_threadpool(_checked, baseline, image)
    pool: InferencePool = request.app.state.pool
    return await pool.run(request, lambda: JSONResponse(_compared(model, sides, use)), lambda _: None)


def _facts(info: dict[str, Any]) -> Any:
    """What the store says of an image, as ``lib.dicom.types.SeriesFacts``."""
    values = {name: str(info.get(keyword) or "") for name, keyword in FACTS.items()}
    return lib_module("dicom.types").SeriesFacts(**values)


def _date(facts: Any) -> str:
    """YYYY-MM-DD; "" where the study does not say."""
    dicom_visits = lib_module("dicom.visits")
    try:
        return str(dicom_visits.study_date(facts))
    except dicom_visits.InputError:
        return ""


def _days(first: Any, second: Any) -> float | None:
    if not _date(first) or not _date(second):
        return None
    return round(float(lib_module("dicom.visits").days_between(first, second)), 2)


def _described(side: Side, first: Any) -> dict[str, Any]:
    return {
        "image": side.image,
        "study_instance_uid": side.facts.study_instance_uid,
        "date": _date(side.facts),
        "days": _days(first, side.facts),
        "description": side.facts.series_description,
    }


def _checked(baseline: str, image: str) -> tuple[Side, Side]:
    """The two visits, of one patient.

    Raises:
        HTTPException: 400 or 404 naming what does not fit.
    """
    if check_image(baseline) == check_image(image):
        raise bad_request("The baseline and the image are the same; name two visits of a patient.")
    first, second = (Side(each, _facts(store().get_image_info(each))) for each in (baseline, image))
    for side in (first, second):
        if not side.facts.series_instance_uid:
            raise bad_request(
                f"Image '{side.image}' is not DICOM: its file does not say whose it is or when it was taken. Visits "
                "can be compared where both are DICOM series."
            )
        if not side.facts.patient_id:
            raise bad_request(f"Image '{side.image}' has no patient id, so it is not known whose visit it is.")
    if first.facts.patient_id != second.facts.patient_id:
        raise bad_request(
            f"Image '{baseline}' is of patient '{first.facts.patient_id}', image '{image}' of patient "
            f"'{second.facts.patient_id}'; compare two visits of one patient."
        )
    return first, second


def _compared(model: str, sides: tuple[Side, Side], use: Use) -> dict[str, Any]:
    """The answer, in a worker thread."""
    folders = Path(store().get_image_uri(sides[0].image)), Path(store().get_image_uri(sides[1].image))
    follow = lib_module("followup")
    read = [lib_module("transforms.load").read_dicom(folder) for folder in folders]
    stacks = tuple(follow.shown_stack(one.image, side.image) for one, side in zip(read, sides, strict=True))
    found = [_found(model, side, stack, use) for side, stack in zip(sides, stacks, strict=True)]
    registration = TRANSFORMS.of(folders, (stacks[0], stacks[1]))
    days = _days(sides[0].facts, sides[1].facts)
    result = follow.compare_visits(found[0][0], found[1][0], registration.to_fixed, days)
    answers = [{**_described(side, sides[0].facts), **one[1]} for side, one in zip(sides, found, strict=True)]
    said = [*_doubts(sides, days, registration.method), *_sources_differ(answers), *result.warnings]
    return {
        "baseline": answers[0],
        "followup": answers[1],
        "days": days,
        "registration": {
            "method": registration.method,
            "metric_before": round(registration.metric_before, 4),
            "metric_after": round(registration.metric_after, 4),
            "seconds": round(registration.seconds, 2),
            "to_baseline": [[round(float(v), 6) for v in row] for row in registration.to_fixed],
        },
        "pairs": [pair.to_json() for pair in result.pairs],
        "warnings": said,
    }


def _found(model: str, side: Side, stack: Any, use: Use) -> tuple[Any, dict[str, Any]]:
    """The lesions of a visit (``lib.followup.VisitFindings``), and what the answer says of them."""
    stored = _stored(model, side.image, stack) if use is Use.stored else None
    if stored is not None:
        found, source, warnings = *stored, []
    else:
        path = store().get_image_uri(side.image)
        asked = {"model": model, "image": path, "frame_mask": True, "result_write_to_file": False}
        answer = label_app().infer(asked)
        if answer is None:
            raise HTTPException(500, f"The model '{model}' gave no result.")
        params = answer["params"]
        found = lib_module("followup").findings_of_answer(params["findings"], params.get("mask"), stack)
        source, warnings = "model", params["warnings"]
    return found, {
        "source": source,
        "findings": [finding.to_json() for finding in found.findings],
        "sop_instance_uids": list(stack.sop_instance_uids),
        "frame_numbers": list(stack.frame_numbers),
        "n_frames": len(stack.positions),
        "warnings": warnings,
    }


def _stored(model: str, image: str, stack: Any) -> tuple[Any, str] | None:
    """What someone has stored for an image, and who; None where there is nothing."""
    follow, frames = lib_module("followup"), lib_module("datastore.frames")
    for tag in STORED_TAGS.get(str(label_app()._infers[model].type), ("final",)):
        label = store().get_label_uri(image, tag)
        if not label:
            continue
        info = store().get_label_info(image, tag)
        who = str(info.get("user") or info.get("author") or "")
        folder = Path(store().get_image_uri(image))
        if tag == "boxes":
            document = frames.boxes_by_frames(folder, Path(label), info)
            found = follow.findings_of_answer(document["findings"], None, stack)
        else:
            source = lib_module("datastore.dicom_labels").source_of(info)
            found = follow.findings_of_mask(frames.mask_by_frames(folder, Path(label), info), stack, source)
        return found, f"stored by {who}" if who else "stored"
    return None


def _doubts(sides: tuple[Side, Side], days: float | None, method: str) -> list[str]:
    """What speaks against the comparison as a whole."""
    first, second = (side.facts for side in sides)
    doubts = []
    if days is None:
        doubts.append("A visit does not say its date: how fast lesions grow is not known.")
    elif days < 0:
        doubts.append(
            f"The baseline ({_date(first)}) is later than the follow-up ({_date(second)}): changes are told backwards."
        )
    if not lib_module("dicom.visits").comparable(first, second):
        shown = [facts.series_description or facts.modality for facts in (first, second)]
        doubts.append(f"The visits show different things ({shown[0]}; {shown[1]}): sizes may differ for that alone.")
    if method.startswith("identity") and "no better" not in method:
        doubts.append(f"The visits could not be registered: places are as the scanners gave them ({method}).")
    return doubts


def _sources_differ(answers: list[dict[str, Any]]) -> list[str]:
    one, other = (answer["source"] for answer in answers)
    if ("model" in (one, other)) and one != other:
        said = [source if source != "model" else "found by the model" for source in (one, other)]
        return [
            f"The lesions of the baseline are {said[0]}, those of the follow-up {said[1]}: a part of the change may be "
            "that."
        ]
    return []
