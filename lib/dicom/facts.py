# SPDX-License-Identifier: Apache-2.0
"""Who, when and what: the plain attributes of a series."""

from __future__ import annotations

from dataclasses import fields

from pydicom.dataset import Dataset

from .types import SeriesFacts

_KEYWORDS = {
    "patient_id": "PatientID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "modality": "Modality",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_description": "SeriesDescription",
    "series_number": "SeriesNumber",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "manufacturer": "Manufacturer",
}


def facts_of(dataset: Dataset) -> SeriesFacts:
    """Read the facts of a series from one of its instances; what is missing or damaged is ""."""
    return SeriesFacts(**{field.name: text_of(dataset, _KEYWORDS[field.name]) for field in fields(SeriesFacts)})


def text_of(dataset: Dataset, keyword: str) -> str:
    """An element's value as text; "" if it is missing or damaged."""
    try:
        value = dataset.get(keyword)
    except Exception:  # a damaged element raises when it is first looked at
        return ""
    return "" if value is None else str(value).strip()
