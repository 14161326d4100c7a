# SPDX-License-Identifier: Apache-2.0
"""Reports in stores of every kind: history survives, what is signed stays, training takes what a person stands for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lib.reports import ReportConflict, amended, saved, signed, stored_report, training_reports
from lib.types import InputError
from lib.types.report import Report, ReportStatus, Sentence
from tests.datastore.conftest import Filled, dicomweb, embedded, filled, local, local_folder, orthanc, pacs

from .making import T1, T2, T3, draft, edited

__all__ = ["dicomweb", "embedded", "filled", "local", "local_folder", "orthanc", "pacs"]


def put(store, image: str, report: Report, folder: Path) -> Report:
    path = folder / "report.json"
    path.write_text(json.dumps(report.to_json()), encoding="utf-8")
    store.save_label(image, str(path), "report", {"model": report.model, "user": report.signer or report.author})
    return report


def instances(filled: Filled) -> list[dict]:
    return filled.store._pacs.client.search_for_instances(search_filters={"Modality": "SR"})


def test_the_whole_way_in_a_store(filled: Filled, tmp_path: Path) -> None:
    store, image = filled.store, filled.image
    first = put(store, image, saved(draft(), None, "report_brain_mr", T1), tmp_path)
    assert training_reports(store) == []
    second = saved(edited(first, f2=None, f3="The left ventricle is wide."), first, "Jane", T2)
    put(store, image, second, tmp_path)
    assert stored_report(filled.reopen(), image) == second
    third = put(store, image, signed(stored_report(store, image), "Jane", T3), tmp_path)
    with pytest.raises(ReportConflict, match="amend it"):
        put(store, image, draft(), tmp_path)
    with pytest.raises(ReportConflict, match="never removed"):
        store.remove_label(image, "report")
    fourth = amended(edited(third, i1="Two lesions."), third, "John", "missed one", T3)
    put(store, image, fourth, tmp_path)
    for opened in (store, filled.reopen()):
        assert stored_report(opened, image) == fourth
        [one] = training_reports(opened)
        assert (one.image, one.report) == (image, fourth)
        assert one.change.share == pytest.approx(14 / 62)


def test_a_pacs_keeps_what_was_signed_and_drops_what_was_not(pacs: Filled, tmp_path: Path) -> None:
    store, image = pacs.store, pacs.image
    first = put(store, image, saved(edited(draft(), f2=None, f3=None), None, "Jane", T1), tmp_path)
    second = put(store, image, signed(first, "Jane", T2), tmp_path)
    [only] = instances(pacs)
    third = amended(edited(second, i1="Two lesions."), second, "John", "missed one", T3)
    put(store, image, third, tmp_path)
    uids = {item["00080018"]["Value"][0] for item in instances(pacs)}
    assert len(uids) == 2
    assert only["00080018"]["Value"][0] in uids
    newest = store._labels.signed_report(image)
    [study] = newest.PredecessorDocumentsSequence
    named = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == only["00080018"]["Value"][0]
    assert (newest.CompletionFlag, newest.VerificationFlag) == ("COMPLETE", "VERIFIED")


def test_another_model_s_draft_takes_the_place_of_the_first(pacs: Filled, tmp_path: Path) -> None:
    first = put(pacs.store, pacs.image, saved(draft(), None, "a", T1), tmp_path)
    put(pacs.store, pacs.image, saved(draft(model="other"), first, "other", T2), tmp_path)
    assert len(instances(pacs)) == 1
    assert stored_report(pacs.store, pacs.image).model == "other"


def test_a_corrected_report_is_safe_from_drafts_and_may_be_removed(local: Filled, tmp_path: Path) -> None:
    store, image = local.store, local.image
    put(store, image, saved(edited(draft(), f2=None), None, "Jane", T1), tmp_path)
    with pytest.raises(ReportConflict, match="not replaced by a draft"):
        put(store, image, draft(), tmp_path)
    store.remove_label(image, "report")
    put(store, image, draft(), tmp_path)
    assert stored_report(store, image).status is ReportStatus.DRAFT


def test_what_cannot_be_read_is_named_and_left_out(local: Filled, tmp_path: Path) -> None:
    store, image = local.store, local.image
    assert stored_report(store, image) is None
    put(store, image, replace(Report({"findings": (Sentence("A."),)}), status=ReportStatus.CORRECTED), tmp_path)
    [one] = training_reports(store)
    assert one.change.share == 1
    Path(store.get_label_uri(image, "report")).write_text("{")
    with pytest.raises(InputError, match=f"stored report of image '{image}' cannot be read"):
        stored_report(store, image)
    assert training_reports(store) == []
    put(store, image, draft(), tmp_path)
