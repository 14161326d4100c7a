# SPDX-License-Identifier: Apache-2.0
"""Reports for hospital systems: a FHIR R4 DiagnosticReport (https://hl7.org/fhir/R4/diagnosticreport.html).

What it refers to stands by identifiers (patient, study) or inside it (an Observation for each lesion), because this
server has no FHIR resources of its own.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any

from ..dicom.sr.concepts import MEASUREMENTS, unit_code
from ..types import Finding
from ..types.report import Report, ReportStatus
from .text import conclusion, plain_text

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
DICOM_UID = "urn:dicom:uid"
CATEGORY = {
    "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
    "code": "IMG",
    "display": "Diagnostic Imaging",
}
STATUS = {
    ReportStatus.DRAFT: "preliminary",
    ReportStatus.CORRECTED: "preliminary",
    ReportStatus.SIGNED: "final",
    ReportStatus.AMENDED: "amended",
}
ANY_MODALITY = ("18748-4", "Diagnostic imaging study")
LOINC_CODES = {
    "CT": ("25045-6", "CT Unspecified body region"),
    "MR": ("25056-3", "MR Unspecified body region"),
    "US": ("25061-3", "US Unspecified body region"),
    "PT": ("44136-0", "PET Unspecified body region"),
    "NM": ("49118-3", "NM Unspecified body region"),
    "CR": ("43468-8", "XR Unspecified body region Views"),
    "DX": ("43468-8", "XR Unspecified body region Views"),
    "ES": ("18751-8", "Endoscopy study"),
}
"""DICOM modality -> LOINC document code, those of PS3.16 CID 7000 where it has one."""


def diagnostic_report(
    report: Report, image: Mapping[str, Any], findings: Iterable[Finding] = (), sop_instance_uid: str = ""
) -> dict[str, Any]:
    """A version of a report as a FHIR R4 DiagnosticReport.

    Args:
        report: The version.
        image: What is known about the image, by DICOM keyword: ``PatientID`` (else ``patient``), ``Modality``,
            ``StudyDate``, ``StudyInstanceUID``; what is missing is left out.
        findings: The lesions that its sentences may speak of.
        sop_instance_uid: Of the structured report that holds the same; "" where there is none.

    Returns:
        Plain JSON values.
    """
    code, display = LOINC_CODES.get(str(image.get("Modality", "")), ANY_MODALITY)
    lesions = _observations(report, findings, _subject(image))
    answer: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "meta": {"versionId": str(report.version)},
        "text": {"status": "generated", "div": _narrative(report)},
        "contained": lesions,
        "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{sop_instance_uid}"}] if sop_instance_uid else [],
        "status": STATUS[report.status],
        "category": [{"coding": [CATEGORY]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": display}]},
        "subject": _subject(image),
        "effectiveDateTime": _date(str(image.get("StudyDate", ""))),
        "issued": _instant(report.signed_at or report.changed_at),
        "performer": _person(report),
        "resultsInterpreter": _person(report),
        "imagingStudy": _study(str(image.get("StudyInstanceUID", ""))),
        "result": [{"reference": f"#{lesion['id']}"} for lesion in lesions],
        "conclusion": _clean(conclusion(report)),
        "presentedForm": [_form(report)],
    }
    return {key: value for key, value in answer.items() if value}


def _observations(report: Report, findings: Iterable[Finding], subject: dict[str, Any]) -> list[dict[str, Any]]:
    """An Observation for each lesion that a standing sentence speaks of."""
    known = {finding.id: finding for finding in findings}
    spoken_of = sorted({one for sentence in report.sentences if sentence.stands for one in sentence.finding_ids})
    return [_observation(number, known.get(number), STATUS[report.status], subject) for number in spoken_of]


def _observation(number: int, finding: Finding | None, status: str, subject: dict[str, Any]) -> dict[str, Any]:
    label = _clean(finding.label) if finding else ""
    answer = {
        "resourceType": "Observation",
        "id": f"lesion-{number}",
        "status": status,
        "code": {"text": f"{label or 'lesion'} {number}"},
        "subject": subject,
        "device": _device(finding),
        "component": _components(finding),
    }
    return {key: value for key, value in answer.items() if value}


def _device(finding: Finding | None) -> dict[str, str]:
    """The model that found it, unless a person did."""
    source = finding.source if finding else None
    if source is None or not source.model:
        return {}
    return {"type": "Device", "display": _clean(f"{source.model} {source.version}")}


def _components(finding: Finding | None) -> list[dict[str, Any]]:
    components = []
    for name, measured in (finding.measurements if finding else {}).items():
        coded = MEASUREMENTS.get(name)
        coding = {"coding": [{"system": SNOMED, "code": coded.value, "display": coded.meaning}]} if coded else {}
        unit = unit_code(measured.unit)
        ucum = {"system": UCUM, "code": unit.value} if unit.scheme_designator == "UCUM" else {}
        quantity = {"value": measured.value, **({"unit": measured.unit} if measured.unit else {}), **ucum}
        components.append({"code": {**coding, "text": name.replace("_", " ")}, "valueQuantity": quantity})
    return components


def _subject(image: Mapping[str, Any]) -> dict[str, Any]:
    patient = _clean(str(image.get("PatientID") or image.get("patient") or ""))
    return {"type": "Patient", "identifier": {"value": patient}} if patient else {}


def _study(uid: str) -> list[dict[str, Any]]:
    return [{"type": "ImagingStudy", "identifier": {"system": DICOM_UID, "value": f"urn:oid:{uid}"}}] if uid else []


def _person(report: Report) -> list[dict[str, str]]:
    """Who answers for the words; nobody for a draft, since R4 takes no device here."""
    name = "" if report.status is ReportStatus.DRAFT else _clean(report.signer or report.author)
    return [{"type": "Practitioner", "display": name}] if name else []


def _form(report: Report) -> dict[str, str]:
    data = base64.b64encode(plain_text(report).encode("utf-8", "replace")).decode()
    return {"contentType": "text/plain; charset=utf-8", "data": data, "title": f"Report, version {report.version}"}


def _narrative(report: Report) -> str:
    paragraphs = "".join(
        f"<p>{escape(_clean(part)).replace(chr(10), '<br/>')}</p>" for part in plain_text(report).split("\n\n")
    )
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'


def _date(value: str) -> str:
    """A DICOM date as a FHIR one; without the time, for which FHIR wants a zone that DICOM rarely tells."""
    try:
        return datetime.strptime(value, "%Y%m%d").date().isoformat()
    except ValueError:
        return ""


def _instant(iso: str) -> str:
    """A date and time with its zone; "" where it has none."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return ""
    return moment.isoformat() if moment.tzinfo else ""


def _clean(text: str) -> str:
    """Text as FHIR takes it: no control characters but line ends and tabs, no blanks around it."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text).strip()
