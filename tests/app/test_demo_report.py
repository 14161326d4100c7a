# SPDX-License-Identifier: Apache-2.0
"""The demo's draft beside the truth: which facts are ticked, which are crossed, what is missing."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lib.drafting.measured import brain_box, measured_study
from lib.phantom import head_visits, write_nifti
from lib.text import MeasuredLesion, Side
from lib.types.report import Report, Sentence, Support
from monailabel_app.demo import _config
from monailabel_app.demo_followup import sequence_of, true_timeline
from monailabel_app.demo_report import JudgedReport, set_against_truth
from monailabel_app.patients import Patient
from monailabel_app.tables import report_table
from monailabel_app.truth import View, load_view

DAYS = (0, 90)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[View]:
    """Two visits of a phantom with one lesion that grows by half."""
    folder = tmp_path_factory.mktemp("visits")
    stacks = head_visits(
        4, DAYS, (1.0, 1.5), n_frames=10, size=96, spacing_mm=(2.5, 2.5, 10.0), n_lesions=1, new_lesion=False
    )
    config, found = _config("mr_lesion_segmentation"), []
    for number, stack in enumerate(stacks, start=1):
        image, truth = folder / f"{number}.nii.gz", folder / f"{number}_truth.nii.gz"
        write_nifti(stack, image, truth)
        found.append(load_view(Patient(f"p{number}", image, truth, f"p__visit{number}"), config))
    return found


@pytest.fixture(scope="module")
def lesion(views: list[View]) -> tuple[MeasuredLesion, dict[str, Any]]:
    """The true lesion of the last visit, measured, and as a finding of an answer under another number."""
    (true,) = true_timeline(views, DAYS).findings_at(1)
    study = measured_study([true], brain_box(sequence_of(views[1])))
    return study.lesions[0], replace(true, id=7).to_json()


def judged(views: list[View], findings: list[dict[str, Any]], facts: list[dict[str, Any]]) -> JudgedReport:
    said = Sentence("What the draft says.", (7,), 0.9, Support.SUPPORTED, facts=tuple(facts))
    report = Report({"findings": (said,)}, author="model", model="model")
    return set_against_truth("p", views, DAYS, {"findings": findings, "report": report.to_json()})


def fact_of(lesion: MeasuredLesion, **other: Any) -> dict[str, Any]:
    told = {"finding": "lesion", "present": True, "side": lesion.side.value, "location": lesion.region, "lesion": 7}
    return {**told, "size_mm": [lesion.long_mm], "change": "grown", **other}


def test_a_true_draft_is_ticked_throughout(views, lesion):
    measured, finding = lesion
    report = judged(views, [finding], [fact_of(measured)])
    assert [fact.is_true for fact in report.sentences[0].facts] == [True] * 5
    assert {"lesion", measured.side.value, "grown"} < {fact.words for fact in report.sentences[0].facts}
    assert (report.true, report.stated, report.untold) == (5, 5, ())
    assert "5 of 5 facts are true; nothing is left out" in shown(report)


def test_a_wrong_side_is_crossed_and_counts_as_untold(views, lesion):
    measured, finding = lesion
    other = Side.LEFT if measured.side is Side.RIGHT else Side.RIGHT
    report = judged(views, [finding], [fact_of(measured, side=other.value)])
    assert [fact.words for fact in report.sentences[0].facts if not fact.is_true] == [other.value]
    assert report.untold == (f"side of the lesion of {finding['measurements']['volume']['value']:.1f} ml",)
    text = shown(report)
    assert "\u2717 " + other.value in text
    assert "4 of 5 facts are true" in text


def test_a_lesion_that_is_not_there_is_wrong_in_everything(views, lesion):
    measured, finding = lesion
    shift = np.array([40.0, 0, 0, 40.0, 0, 0])
    elsewhere = {**finding, "box_lps_mm": list(np.array(finding["box_lps_mm"]) + shift)}
    report = judged(views, [elsewhere], [fact_of(measured)])
    assert report.true == 0
    assert report.untold == (f"the lesion of {finding['measurements']['volume']['value']:.1f} ml",)
    assert judged(views, [], [{"finding": "lesion", "present": False}]).true == 0


def shown(report: JudgedReport) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(report_table(report))
    text = console.file.getvalue()
    return " ".join(text.split())
