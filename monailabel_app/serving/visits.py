# SPDX-License-Identifier: Apache-2.0
"""The visits of a patient in the store: who, when, and which of them show the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from ..roots import lib_module
from .checks import bad_request
from .stock import settled, store

FACTS = {
    "patient_id": "PatientID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_description": "SeriesDescription",
}


@dataclass(frozen=True)
class Side:
    """A visit.

    Attributes:
        image: Id in the store.
        facts: Who, when and what (``lib.dicom.types.SeriesFacts``).
    """

    image: str
    facts: Any


def side_of(image: str) -> Side:
    """The visit that an image of the store is of."""
    return Side(image, _facts(store().get_image_info(image)))


def dicom_side(image: str) -> Side:
    """The same, of an image that can be compared with others.

    Raises:
        HTTPException: 400 if it is not DICOM, or does not say whose it is.
    """
    side = side_of(image)
    if not side.facts.series_instance_uid:
        raise bad_request(
            f"Image '{image}' is not DICOM: its file does not say whose it is or when it was taken. Visits "
            "can be compared where both are DICOM series."
        )
    if not side.facts.patient_id:
        raise bad_request(f"Image '{image}' has no patient id, so it is not known whose visit it is.")
    return side


def two_sides(baseline: str, image: str) -> tuple[Side, Side]:
    """Two visits of one patient.

    Raises:
        HTTPException: 400 naming what does not fit.
    """
    first, second = dicom_side(baseline), dicom_side(image)
    if first.facts.patient_id != second.facts.patient_id:
        raise bad_request(
            f"Image '{baseline}' is of patient '{first.facts.patient_id}', image '{image}' of patient "
            f"'{second.facts.patient_id}'; compare two visits of one patient."
        )
    return first, second


def visits_like(image: str) -> list[Side]:
    """The visits of an image's patient that show the same, oldest first; only its own where there is no other."""
    own = side_of(image).facts
    of_patient = {}
    for image_id, entry in settled(store().json)["objects"].items():
        facts = _facts(entry["image"]["info"])
        if facts.series_instance_uid and facts.patient_id and facts.patient_id == own.patient_id:
            of_patient[facts.series_instance_uid] = (image_id, facts)
    chains = lib_module("dicom.visits").visit_chains(facts for _, facts in of_patient.values())
    own_uid = own.series_instance_uid
    chain = next((found for found in chains if own_uid in {facts.series_instance_uid for facts in found}), [own])
    return [Side(of_patient.get(facts.series_instance_uid, (image, facts))[0], facts) for facts in chain]


def _facts(info: dict[str, Any]) -> Any:
    """What the store says of an image, as ``lib.dicom.types.SeriesFacts``."""
    values = {name: str(info.get(keyword) or "") for name, keyword in FACTS.items()}
    return lib_module("dicom.types").SeriesFacts(**values)


def date_of(facts: Any) -> str:
    """YYYY-MM-DD; "" where the study does not say."""
    dicom_visits = lib_module("dicom.visits")
    try:
        return str(dicom_visits.study_date(facts))
    except dicom_visits.InputError:
        return ""


def days_between(first: Any, second: Any) -> float | None:
    """Days from a study to another; None where one of them does not say its date."""
    if not date_of(first) or not date_of(second):
        return None
    return round(float(lib_module("dicom.visits").days_between(first, second)), 2)


def described(side: Side, first: Any) -> dict[str, Any]:
    """What an answer says of a visit; its days are counted from ``first``."""
    return {
        "image": side.image,
        "study_instance_uid": side.facts.study_instance_uid,
        "date": date_of(side.facts),
        "days": days_between(first, side.facts),
        "description": side.facts.series_description,
    }


def name_of(side: Side) -> str:
    """A visit in a sentence."""
    return f"visit of {date_of(side.facts) or 'a day that is not known'}"


def check_followed(model: str, kind: str) -> None:
    """Check that a type of model finds lesions.

    Raises:
        HTTPException: 400 if it does not.
    """
    if kind not in ("segmentation", "detection"):
        raise HTTPException(400, f"The model '{model}' finds no lesions that could be followed over visits.")
