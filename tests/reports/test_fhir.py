# SPDX-License-Identifier: Apache-2.0
"""The FHIR export is a DiagnosticReport by the published model, and says what the report says."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from lib.reports import amended, diagnostic_report, saved, signed
from lib.reports.fhir import LOINC_CODES
from lib.types import Finding, Measurement, Source
from lib.types.report import Report, ReportStatus, Sentence

from .making import T1, T2, T3, draft, edited

IMAGE = {
    "PatientID": "P07",
    "Modality": "MR",
    "StudyDate": "20260301",
    "StudyTime": "101112",
    "StudyInstanceUID": "1.2.3.4",
}
LESION = Finding(
    id=1,
    label="lesion",
    score=0.9,
    boxes={3: (1.0, 2.0, 8.0, 9.0)},
    box_lps_mm=(0.0, 0.0, 0.0, 5.0, 5.0, 5.0),
    center_lps_mm=(2.5, 2.5, 2.5),
    measurements={
        "long_axis": Measurement(12.4, "mm"),
        "volume": Measurement(1.25, "ml"),
        "odd one": Measurement(3.0, "apples"),
        "ratio": Measurement(0.5, ""),
    },
    source=Source("mr_lesion_detection", "v0003"),
)


@pytest.fixture(scope="module")
def model() -> Any:
    """R4B of fhir.resources: DiagnosticReport and Observation are those of R4 there."""
    module = pytest.importorskip("fhir.resources.R4B.diagnosticreport", reason="pip install fhir.resources")
    return module.DiagnosticReport


def stages() -> dict[str, Report]:
    first = saved(draft(), None, "report_brain_mr", T1)
    second = saved(edited(first, f2=None, f3="The left ventricle is wide."), first, "Jane Doe", T2)
    third = signed(second, "Jane Doe", T3)
    fourth = amended(edited(third, i1="Two lesions."), third, "John Roe", "missed one", T3)
    return {"draft": first, "corrected": second, "signed": third, "amended": fourth}


def exported(model: Any, report: Report, *more: Any) -> dict[str, Any]:
    """What the model makes of it, which refuses unknown keys and wrong values; nothing is lost on the way."""
    resource = json.loads(json.dumps(diagnostic_report(report, *more)))
    parsed = json.loads(model.model_validate(resource).model_dump_json(exclude_none=True))
    assert parsed == resource
    return resource


@pytest.mark.parametrize(
    ("stage", "status", "performer"),
    [
        ("draft", "preliminary", None),
        ("corrected", "preliminary", "Jane Doe"),
        ("signed", "final", "Jane Doe"),
        ("amended", "amended", "John Roe"),
    ],
)
def test_status_and_who_answers(model: Any, stage: str, status: str, performer: str | None) -> None:
    resource = exported(model, stages()[stage], IMAGE, [LESION], "1.2.3.4.5")
    assert resource["status"] == status
    assert [p["display"] for p in resource.get("performer", ())] == ([performer] if performer else [])
    assert {o["status"] for o in resource["contained"]} == {status}
    assert resource["meta"] == {"versionId": str(stages()[stage].version)}
    assert resource["identifier"][0]["value"] == "urn:oid:1.2.3.4.5"


def test_what_it_says(model: Any) -> None:
    resource = exported(model, stages()["signed"], IMAGE, [LESION])
    assert resource["code"]["coding"] == [
        {"system": "http://loinc.org", "code": "25056-3", "display": "MR Unspecified body region"}
    ]
    assert resource["subject"] == {"type": "Patient", "identifier": {"value": "P07"}}
    assert (resource["effectiveDateTime"], resource["issued"]) == ("2026-03-01", T3)
    assert resource["imagingStudy"][0]["identifier"]["value"] == "urn:oid:1.2.3.4"
    assert resource["conclusion"] == "One lesion on the left."
    text = base64.b64decode(resource["presentedForm"][0]["data"]).decode()
    assert "FINDINGS\nThere is a lesion of 12 mm in the left frontal lobe. The left ventricle is wide." in text
    assert "midline" not in text
    assert text.endswith(f"Signed by Jane Doe, {T3}.")


def test_lesions_are_observations(model: Any) -> None:
    resource = exported(model, stages()["signed"], IMAGE, [LESION])
    assert resource["result"] == [{"reference": "#lesion-1"}, {"reference": "#lesion-2"}]
    first, second = resource["contained"]
    assert first["device"]["display"] == "mr_lesion_detection v0003"
    quantities = {c["code"]["text"]: c["valueQuantity"] for c in first["component"]}
    assert quantities["volume"] == {"value": 1.25, "unit": "ml", "system": "http://unitsofmeasure.org", "code": "mL"}
    assert quantities["odd one"] == {"value": 3.0, "unit": "apples"}
    assert "component" not in second


def test_a_draft_says_that_nobody_has_read_it(model: Any) -> None:
    resource = exported(model, stages()["draft"], IMAGE)
    text = base64.b64decode(resource["presentedForm"][0]["data"]).decode()
    assert "[not supported by any finding] The midline is shifted." in text
    assert text.endswith("Draft by report_brain_mr v0002; no person has read it.")


def test_an_amendment_gives_its_reason(model: Any) -> None:
    assert "Reason: missed one" in exported(model, stages()["amended"], IMAGE)["text"]["div"]


def test_little_is_known_of_a_file(model: Any) -> None:
    bare = Report({"findings": (Sentence("Normal."),)}, changed_at="2026-01-02T03:04:05")
    resource = exported(model, bare, {"patient": "case_7"})
    assert resource["code"]["coding"][0]["code"] == "18748-4"
    assert resource["subject"]["identifier"]["value"] == "case_7"
    assert {"issued", "effectiveDateTime", "imagingStudy", "result", "contained"}.isdisjoint(resource)
    assert resource["conclusion"] == "Normal."
    exported(model, Report({}), {})


def test_text_cannot_break_the_narrative(model: Any) -> None:
    nasty = Sentence("<script>alert(1)</script> & \x00\ud83d\u2028 done")
    report = replace(draft(), sections={"impression": (nasty,), "<b>": (nasty,)}, status=ReportStatus.CORRECTED)
    resource = exported(model, replace(report, author="<i> & \x07"), IMAGE)
    assert "<script>" not in resource["text"]["div"]
    assert "&lt;script&gt;" in resource["text"]["div"]


@pytest.mark.parametrize("modality", [*LOINC_CODES, "OT", ""])
def test_every_modality_has_a_code(model: Any, modality: str) -> None:
    code = exported(model, draft(), {**IMAGE, "Modality": modality})["code"]["coding"][0]["code"]
    digits, check = code.split("-")
    doubled = [int(d) * (2 if place % 2 == 0 else 1) for place, d in enumerate(reversed(digits))]
    assert (10 - sum(sum(divmod(d, 10)) for d in doubled) % 10) % 10 == int(check)  # LOINC's mod 10 check digit
