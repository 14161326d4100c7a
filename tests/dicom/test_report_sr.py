# SPDX-License-Identifier: Apache-2.0
"""Reports come back from their SR as they were; text reports of other systems are read."""

import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, ComprehensiveSRStorage, generate_uid

from lib.dicom.sr import boxes_dataset, read_boxes
from lib.dicom.sr.document import kind_of
from lib.dicom.sr.report import read_report, report_dataset
from lib.dicom.types import DicomSeries, SeriesFacts
from lib.dicom.write import Subject, write_mr_series
from lib.types import InputError, Report, ReportStatus, Sentence, Sequence, SequenceKind, Source
from lib.types.report import Alternative, Decision, Support

SECTIONS = {
    "indication": (Sentence("Headache for 3 days.  "),),
    "comparison": (),
    "findings": (
        Sentence("Two lesions in the left frontal lobe.", (2, 1), 1 / 3),
        Sentence("No midline shift.", (), 0.2, Support.UNSUPPORTED),
        Sentence(""),
    ),
    "impression": (Sentence("多発性病変 🎉\nZeile \\ zwei\x00\x1b[0m\ud83d"),),
    "Findings": (Sentence("not the section of that name"),),
    "": (Sentence("under no heading"),),
    "Anmerkung \\ " + "ü" * 80: (Sentence("long name"),),
}


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> DicomSeries:
    volume = np.zeros((3, 16, 16), np.uint16)
    subject = Subject("P1", datetime.date(2026, 1, 2))
    folder = tmp_path_factory.mktemp("mr")
    paths = write_mr_series(volume, folder, subject, spacing_mm=(1, 1, 2), origin_lps_mm=(0, 0, 0))
    headers = [pydicom.dcmread(path) for path in paths]
    image = Sequence(
        frames=volume[:, None].astype(np.float32),
        kind=SequenceKind.STACK,
        positions=(0.0, 2.0, 4.0),
        spacing_mm=(1.0, 1.0),
        affine_lps=np.diag([1.0, 1.0, 2.0, 1.0]),
        sop_instance_uids=tuple(h.SOPInstanceUID for h in headers),
        frame_numbers=(1, 1, 1),
    )
    facts = SeriesFacts(series_instance_uid=headers[0].SeriesInstanceUID, sop_class_uid=headers[0].SOPClassUID)
    return DicomSeries(image, facts, {h.SOPInstanceUID: p for h, p in zip(headers, paths, strict=True)})


def saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, write_like_original=False)
    return path


@pytest.mark.parametrize("status", list(ReportStatus))
@pytest.mark.parametrize("author", ["", "Jane Döe", "Doe^Jane", "net \\ 1=2" * 20])
def test_a_report_comes_back_as_it_was(series, tmp_path, status, author):
    report = Report(SECTIONS, status, author, "2026-02-03T04:05:06+02:00")
    path = saved(report_dataset(report, series), tmp_path / "report.dcm")
    stored = read_report(path)
    assert stored.report == report
    assert list(stored.report.sections) == list(SECTIONS)
    assert stored.referenced_series_uid == series.facts.series_instance_uid
    assert stored.tag == "report"
    assert srread(str(path)).SOPClassUID == ComprehensiveSRStorage


def test_an_empty_report_comes_back(series, tmp_path):
    report = Report({}, changed_at="yesterday")
    assert read_report(saved(report_dataset(report, series), tmp_path / "r.dcm")).report == report


def test_status_is_what_others_see(series):
    flags = {}
    for status in ReportStatus:
        dataset = report_dataset(Report(SECTIONS, status, "Jane Doe", "2026-02-03T04:05:06"), series)
        flags[status] = dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag
    assert flags == {
        ReportStatus.DRAFT: ("PARTIAL", "UNVERIFIED", "PRELIMINARY"),
        ReportStatus.CORRECTED: ("COMPLETE", "UNVERIFIED", "PRELIMINARY"),
        ReportStatus.SIGNED: ("COMPLETE", "VERIFIED", "FINAL"),
        ReportStatus.AMENDED: ("COMPLETE", "VERIFIED", "FINAL"),
    }


def test_who_signed_and_when(series):
    report = Report(SECTIONS, ReportStatus.SIGNED, "Jane Doe", "2026-02-03T04:05:06")
    dataset = report_dataset(report, series, organization="St. Elsewhere", source=Source("net", "2"))
    (verifier,) = dataset.VerifyingObserverSequence
    assert str(verifier.VerifyingObserverName) == "Doe^Jane"
    assert verifier.VerifyingOrganization == "St. Elsewhere"
    assert str(verifier.VerificationDateTime).startswith("20260203040506")
    assert (dataset.ContentDate, dataset.ContentTime) == ("20260203", "040506.000000")
    assert observer_types(dataset) == ["Person", "Device"]


def test_a_draft_is_a_devices_and_a_correction_a_persons(series):
    for status, who in ((ReportStatus.DRAFT, ["Device"]), (ReportStatus.CORRECTED, ["Person"])):
        assert observer_types(report_dataset(Report(SECTIONS, status, "x"), series)) == who
    typed = report_dataset(Report(SECTIONS, ReportStatus.DRAFT, "Jane"), series, source=Source(author="Jane"))
    assert observer_types(typed) == ["Person"]


def observer_types(dataset: Dataset) -> list[str]:
    names = [(i, i.ConceptNameCodeSequence[0].CodeValue) for i in dataset.ContentSequence]
    return [item.ConceptCodeSequence[0].CodeMeaning for item, value in names if value == "121005"]


def test_sections_and_sentences_carry_standard_codes(series):
    dataset = report_dataset(Report(SECTIONS), series)
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "18748-4"
    headings = [i for i in dataset.ContentSequence if i.ValueType == "CONTAINER"]
    coded = [
        (h.ConceptNameCodeSequence[0].CodingSchemeDesignator, h.ConceptNameCodeSequence[0].CodeValue) for h in headings
    ]
    assert coded[:4] == [("LN", "18785-6"), ("LN", "18834-2"), ("LN", "59776-5"), ("LN", "19005-8")]
    assert {scheme for scheme, _ in coded[4:]} == {"99LESIONLOOP"}
    assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99LESIONLOOP"


def test_an_unsupported_sentence_is_not_shown_as_a_finding(series):
    dataset = report_dataset(Report(SECTIONS), series)
    findings = next(i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "59776-5")
    names = [item.ConceptNameCodeSequence[0].CodeMeaning for item in findings.ContentSequence]
    assert names == ["Finding", "Not supported by any finding", "Finding"]
    texts = [item.TextValue for item in findings.ContentSequence]
    assert texts[1] == "[not supported by any finding] No midline shift."
    assert read_report(dataset).report.sections["findings"][1].text == "No midline shift."


def test_an_amendment_names_what_it_amends(series, tmp_path):
    first = report_dataset(Report(SECTIONS, author="net"), series)
    second = report_dataset(
        Report(SECTIONS, ReportStatus.SIGNED, "Jane Doe"),
        series,
        predecessor=first,
        series_instance_uid=first.SeriesInstanceUID,
        tag="report_final",
    )
    stored = read_report(saved(second, tmp_path / "second.dcm"))
    assert stored.predecessor_uids == (first.SOPInstanceUID,)
    assert stored.series_instance_uid == first.SeriesInstanceUID
    assert stored.sop_instance_uid == second.SOPInstanceUID != first.SOPInstanceUID
    assert stored.tag == "report_final"


def full_report(status: ReportStatus = ReportStatus.AMENDED) -> Report:
    evidence = Sentence(
        "A lesion of 12 mm.",
        (1,),
        0.5,
        id="f1",
        facts=({"finding": "lesion", "size_mm": [12.0, 9.0]},),
        frame_attention={2: 1.0},
        word_attention=(("headache", 0.5),),
        alternatives=(Alternative("One lesion.", 0.25),),
        decision=Decision.ACCEPTED,
    )
    sections = {
        "findings": (
            evidence,
            Sentence("Struck out.", id="f2", decision=Decision.STRUCK),
            Sentence("The midline is shifted.", support=Support.CONTRADICTED, id="f3"),
            Sentence("No shift.", support=Support.UNSUPPORTED, id="f4", decision=Decision.EDITED),
        )
    }
    first = Report(sections, author="net", changed_at="2026-02-01T00:00:00+00:00", model="net")
    return Report(
        sections,
        status,
        "net",
        "2026-02-03T04:05:06+02:00",
        2,
        "2026-02-01T00:00:00+00:00",
        "Jane Doe",
        "2026-02-03T04:05:06+02:00",
        "net",
        "v2",
        "ab" * 32,
        "1.2.3",
        {"findings": {"f1": "A lesion."}},
        "wrong side",
        (first,),
    )


def test_evidence_and_history_come_back_too(series, tmp_path):
    report = full_report()
    path = saved(report_dataset(report, series), tmp_path / "report.dcm")
    assert read_report(path).report == report


def test_people_see_what_stands_and_its_doubts(series):
    dataset = report_dataset(full_report(), series)
    findings = next(i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "59776-5")
    assert [(i.ConceptNameCodeSequence[0].CodeMeaning, i.TextValue) for i in findings.ContentSequence] == [
        ("Finding", "A lesion of 12 mm."),
        ("Contradicted by the findings", "[contradicted by the findings] The midline is shifted."),
        ("Not supported by any finding", "No shift."),
    ]


def test_the_signer_is_the_verifying_observer(series):
    dataset = report_dataset(full_report(), series, source=Source("net", "v2", author="the sender"))
    (verifier,) = dataset.VerifyingObserverSequence
    assert str(verifier.VerifyingObserverName) == "Doe^Jane"
    assert verifier.VerifyingOrganization
    assert str(verifier.VerificationDateTime) == "20260203040506.000000+0200"
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert observer_types(dataset) == ["Person", "Device"]
    names = [str(i.PersonName) for i in dataset.ContentSequence if i.ValueType == "PNAME"]
    assert names == ["Doe^Jane"]


def test_without_its_private_element_the_words_remain(series):
    """As after an archive that drops what it does not know."""
    dataset = report_dataset(full_report(), series)
    dataset.remove_private_tags()
    report = read_report(dataset).report
    assert [s.text for s in report.sections["findings"]] == [
        "A lesion of 12 mm.",
        "The midline is shifted.",
        "No shift.",
    ]
    assert [s.support.value for s in report.sentences] == ["supported", "contradicted", "unsupported"]
    assert (report.status, report.history) == (ReportStatus.SIGNED, ())


def test_items_that_were_changed_count_more_than_the_private_element(series):
    dataset = report_dataset(full_report(), series)
    findings = next(i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "59776-5")
    findings.ContentSequence[0].TextValue = "A lesion of 21 mm."
    assert read_report(dataset).report.sections["findings"][0].text == "A lesion of 21 mm."
    unsigned = report_dataset(full_report(), series)
    unsigned.VerificationFlag = "UNVERIFIED"
    assert read_report(unsigned).report.status is ReportStatus.CORRECTED


def test_boxes_and_reports_are_told_apart(series):
    boxes, report = boxes_dataset([], series, Source("net")), report_dataset(Report({}), series)
    assert (kind_of(boxes), kind_of(report)) == ("boxes", "report")
    with pytest.raises(InputError, match="measurement report"):
        read_report(boxes)
    with pytest.raises(InputError, match="Diagnostic Imaging Report"):
        read_boxes(report, series)
    assert kind_of(pydicom.dcmread(next(iter(series.files.values())))) == ""


# --- other systems


def concept(scheme: str, value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def item(kind: str, name: Dataset | None, relationship: str = "CONTAINS", **values: object) -> Dataset:
    dataset = Dataset()
    dataset.RelationshipType, dataset.ValueType = relationship, kind
    if name is not None:
        dataset.ConceptNameCodeSequence = [name]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def basic_text(content: list[Dataset], **values: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = BasicTextSRStorage, generate_uid(), "SR"
    dataset.ValueType, dataset.ConceptNameCodeSequence = "CONTAINER", [concept("LN", "11528-7", "Radiology Report")]
    dataset.ContentDate, dataset.ContentTime = "20260102", "0304"
    dataset.ContentSequence = content
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_a_basic_text_sr_of_another_system():
    text = concept("DCM", "121071", "Finding")
    liver = item("CONTAINER", concept("99X", "1", "Liver"), ContentSequence=[item("TEXT", text, TextValue="Cyst.")])
    seen = "Normal heart size. No effusion, 2.5 cm node.\nStable."
    size = Dataset()
    size.NumericValue, size.MeasurementUnitsCodeSequence = "12", [concept("UCUM", "mm", "mm")]
    findings = [
        item(
            "CODE",
            concept("DCM", "121049", "Language"),
            "HAS CONCEPT MOD",
            ConceptCodeSequence=[concept("X", "e", "E")],
        ),
        item("TEXT", text, TextValue=seen),
        item("CODE", concept("99X", "2", "Side"), ConceptCodeSequence=[concept("SCT", "7771000", "Left")]),
        item("NUM", concept("99X", "3", "Size"), MeasuredValueSequence=[size]),
        item("NUM", concept("99X", "4", "Depth"), MeasuredValueSequence=[]),
        item("IMAGE", None),
        liver,
    ]
    dataset = basic_text(
        [
            item(
                "PNAME", concept("DCM", "121008", "Person Observer Name"), "HAS OBS CONTEXT", PersonName="Doe^Jane^^Dr"
            ),
            item("CONTAINER", concept("DCM", "121070", "Findings"), ContentSequence=findings),
            item("TEXT", concept("DCM", "121073", "Impression"), TextValue="No change."),
            item("TEXT", concept("99X", "9", "Remark"), TextValue="See above"),
        ],
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
    )
    report = read_report(dataset).report
    assert {name: [s.text for s in part] for name, part in report.sections.items()} == {
        "findings": ["Normal heart size.", "No effusion, 2.5 cm node.", "Stable.", "Side: Left.", "Size: 12 mm."],
        "Liver": ["Cyst."],
        "impression": ["No change."],
        "report": ["See above"],
    }
    assert all(s == Sentence(s.text) for part in report.sections.values() for s in part)
    assert (report.status, report.author) == (ReportStatus.CORRECTED, "Dr Jane Doe")
    assert report.changed_at == "2026-01-02T03:04:00"


def test_a_verified_report_is_signed_by_its_verifier():
    verifier = Dataset()
    verifier.VerifyingObserverName = "Roe^Richard"
    dataset = basic_text(
        [item("TEXT", concept("DCM", "121073", "Impression"), TextValue="Normal.")],
        CompletionFlag="COMPLETE",
        VerificationFlag="VERIFIED",
        VerifyingObserverSequence=[verifier],
    )
    report = read_report(dataset).report
    assert (report.status, report.author) == (ReportStatus.SIGNED, "Richard Roe")


def test_a_real_basic_text_sr():
    report = read_report(get_testdata_file("reportsi.dcm", download=False)).report
    assert report.sections == {"Section Heading": (Sentence("Enter text"),)}
    assert report.status is ReportStatus.DRAFT
    assert report.changed_at == "2005-05-30T16:05:27"


def test_what_is_no_report_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="holds no text"):
        read_report(basic_text([item("IMAGE", None)]))
    deep = item("TEXT", concept("99X", "9", "Remark"), TextValue="x")
    for _ in range(40):
        deep = item("CONTAINER", concept("99X", "8", "Box"), ContentSequence=[deep])
    with pytest.raises(InputError, match="nested more than"):
        read_report(basic_text([deep]))
    with pytest.raises(InputError, match=r"CT_small\.dcm: no structured report"):
        read_report(get_testdata_file("CT_small.dcm", download=False))


def test_a_truncated_report_is_refused(series, tmp_path):
    content = saved(report_dataset(Report(SECTIONS), series), tmp_path / "r.dcm").read_bytes()
    for keep in range(200, len(content), len(content) // 40):
        (tmp_path / "cut.dcm").write_bytes(content[:keep])
        with pytest.raises(InputError, match=r"cut\.dcm"):
            read_report(tmp_path / "cut.dcm")
