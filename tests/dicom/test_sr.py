# SPDX-License-Identifier: Apache-2.0
"""Boxes come back from their SR as they were, OHIF can edit them, and damaged files are refused."""

import datetime
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, generate_uid

from lib.dicom.sr import boxes_dataset, read_boxes
from lib.dicom.sr.document import kind_of
from lib.dicom.types import DicomSeries, SeriesFacts
from lib.dicom.write import Subject, write_mr_series, write_us_multiframe
from lib.types import Finding, InputError, Measurement, Sequence, SequenceKind, Source, VolumeSeries

N_FRAMES, HEIGHT, WIDTH = 6, 64, 80
SPACING_MM = (0.5, 0.6, 3.0)
ORIGIN_MM = (-10.0, -20.0, 30.0)
MODEL = Source("lesion_mr", "0.1.0", "ab" * 32)
CREATED = datetime.datetime(2026, 2, 3, 4, 5, 6, 789)
SUBJECT = Subject("P1", datetime.date(2026, 1, 2))
RECTANGLE = "Cornerstone3DTools@^0.1.0:RectangleROI"

FINDINGS = (
    Finding(
        id=1,
        label="lesion",
        score=0.93125,
        boxes={1: (10.25, 11.5, 20.75, 22.129), 2: (0.0, 11.0, 21.333333, 64.0)},
        box_lps_mm=(1.123456, 2.0, 3.0, 4.0, 5.0, 6.0),
        center_lps_mm=(2.5, -3.5, 4.5),
        frame_scores={1: 0.87654321, 2: 1 / 3},
        measurements={
            "long_axis": Measurement(12.345678901234567, "mm"),
            "short_axis": Measurement(0.0, "mm"),
            "volume": Measurement(1 / 3, "ml"),
            "mean_intensity": Measurement(-55.5, "HU"),
            "doubling_time": Measurement(1e9, "days"),
            "volume_change": Measurement(-12.0, "%"),
            "contrast": Measurement(1.25, ""),
            "größe \\ breite ": Measurement(1e-9, "fürlong\\"),
        },
        source=MODEL,
        score_std=0.0123456789012345,
        track_id=0,
    ),
    Finding(2, "x" * 80, 0.5, {3: (0.0, 0.0, 1.0, 1.0)}, (1, 2, 3, 4, 5, 6), (0, 0, 0), source=Source(author="J. Döe")),
    Finding(7, "日本語 \x07", 0.5, {}, (1, 2, 3, 4, 5, 6), (0, 0, 0), {0: 0.1}),
)


def series_of(datasets: list[tuple[Dataset, Path]], frames: np.ndarray, multiframe: bool = False) -> DicomSeries:
    first = datasets[0][0]
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = ORIGIN_MM
    n = len(frames)
    image = Sequence(
        frames=frames[:, None].astype(np.float32),
        kind=SequenceKind.CINE if multiframe else SequenceKind.STACK,
        positions=tuple(3.0 * i for i in range(n)),
        spacing_mm=SPACING_MM[:2],
        affine_lps=affine,
        sop_instance_uids=(first.SOPInstanceUID,) * n if multiframe else tuple(d.SOPInstanceUID for d, _ in datasets),
        frame_numbers=tuple(range(1, n + 1)) if multiframe else (1,) * n,
    )
    facts = SeriesFacts(
        study_instance_uid=first.StudyInstanceUID,
        series_instance_uid=first.SeriesInstanceUID,
        sop_class_uid=first.SOPClassUID,
    )
    return DicomSeries(image, facts, {d.SOPInstanceUID: path for d, path in datasets})


def mr_series(folder: Path) -> DicomSeries:
    volume = np.random.default_rng(0).integers(0, 1000, (N_FRAMES, HEIGHT, WIDTH)).astype(np.uint16)
    paths = write_mr_series(volume, folder, SUBJECT, spacing_mm=SPACING_MM, origin_lps_mm=ORIGIN_MM)
    return series_of([(pydicom.dcmread(path), path) for path in paths], volume)


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> DicomSeries:
    return mr_series(tmp_path_factory.mktemp("mr"))


@pytest.fixture(scope="module")
def stored(series, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sr") / "boxes.dcm"
    boxes_dataset(FINDINGS, series, MODEL, created=CREATED).save_as(path, write_like_original=False)
    return path


def saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, write_like_original=False)
    return path


# --- ours, there and back


def test_every_field_comes_back(stored, series):
    result = read_boxes(stored, series)
    assert [f.to_json() for f in result.findings] == [f.to_json() for f in FINDINGS]
    assert result.problems == ()
    assert result.source == MODEL
    assert result.created == CREATED.isoformat()
    assert result.tag == "boxes"
    assert result.referenced_series_uid == series.facts.series_instance_uid


def test_a_second_round_is_the_same_as_the_first(stored, series, tmp_path):
    first = read_boxes(stored, series)
    again = saved(boxes_dataset(first.findings, series, first.source), tmp_path / "again.dcm")
    assert read_boxes(again, series).findings == first.findings


def test_nothing_found_is_a_result(series, tmp_path):
    dataset = boxes_dataset([], series, MODEL, tag="boxes_final")
    result = read_boxes(saved(dataset, tmp_path / "none.dcm"), series)
    assert result.findings == ()
    assert result.problems == ()
    assert result.source == MODEL
    assert result.tag == "boxes_final"
    assert result.referenced_series_uid == series.facts.series_instance_uid
    assert "nothing was found" in json.dumps(dataset.to_json_dict())
    # OHIF's measurement viewer needs a measurement; any other title opens in its text viewer
    assert dataset.ConceptNameCodeSequence[0].CodeValue != "126000"
    assert len(srread(str(tmp_path / "none.dcm")).content) == 1


def test_highdicom_reads_it_and_finds_the_groups(stored):
    document = srread(str(stored))
    assert document.SOPClassUID == ComprehensiveSRStorage
    groups = document.content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [RECTANGLE] * 3
    assert len({group.tracking_uid for group in groups}) == 3


def test_header(stored, series):
    dataset = pydicom.dcmread(stored)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.PatientID == "P1"
    assert dataset.StudyInstanceUID == series.facts.study_instance_uid
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert [s.CodingSchemeDesignator for s in dataset.CodingSchemeIdentificationSequence] == [
        "99LESIONLOOP",
        "CORNERSTONEJS",
    ]
    current = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    others = dataset.PertinentOtherEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert len(current) == 4  # frames 1 to 3 have boxes, frame 0 a score
    assert len(others) == N_FRAMES - 4
    assert kind_of(dataset) == "boxes"


def test_the_predecessor_is_named(series, stored):
    old = pydicom.dcmread(stored)
    new = boxes_dataset(FINDINGS[:1], series, Source(author="Jane Doe"), predecessor=old)
    reference = new.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert "Doe^Jane" in str(new)


def test_only_the_free_text_code_of_ohif_breaks_a_vr(stored):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        str(pydicom.dcmread(stored))
    assert {str(w.message) for w in caught} == {
        "The value length (20) exceeds the maximum length of 16 allowed for VR SH."
    }


def test_patient_names_in_other_character_sets_survive(series, tmp_path):
    header = pydicom.dcmread(next(iter(series.files.values())))
    header.SpecificCharacterSet, header.PatientName = "ISO_IR 100", "Müller^Jürgen"
    del header.PatientBirthDate, header.AccessionNumber
    path = saved(header, tmp_path / "latin.dcm")
    only = replace(series, files={header.SOPInstanceUID: path})
    dataset = boxes_dataset(FINDINGS, only, MODEL)
    again = pydicom.dcmread(saved(dataset, tmp_path / "boxes.dcm"))
    assert str(again.PatientName) == "Müller^Jürgen"
    assert again.AccessionNumber == ""


def test_frames_of_a_multiframe_image_are_numbered(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, HEIGHT, WIDTH)).astype(np.uint8)
    path = write_us_multiframe(frames, tmp_path / "us.dcm", SUBJECT, frame_time_ms=40, pixel_spacing_mm=(0.5, 0.6))
    cine = series_of([(pydicom.dcmread(path), path)], frames, multiframe=True)
    finding = Finding(1, "cyst", 0.9, {0: (1, 2, 3, 4), 4: (1, 2, 4, 5)}, (0,) * 6, (0,) * 3, {0: 0.5, 4: 0.25})
    dataset = boxes_dataset([finding], cine, MODEL)
    assert [s[0]["ReferencedFrameNumber"] for s in references(dataset.to_json_dict())] == [1, 5, 1, 5]
    assert read_boxes(saved(dataset, tmp_path / "sr.dcm"), cine).findings[0].to_json() == finding.to_json()


def references(node: object) -> list[list[dict]]:
    """Every ReferencedSOPSequence of IMAGE items in the DICOM JSON of a document, in order."""
    if isinstance(node, list):
        return [found for child in node for found in references(child)]
    if not isinstance(node, dict):
        return []
    if node.get("0040A040", {}).get("Value") == ["IMAGE"]:
        item = node["00081199"]["Value"][0]
        return [[{"ReferencedFrameNumber": item.get("00081160", {}).get("Value", [None])[0]}]]
    return references(list(node.values()))


def test_frames_of_a_dynamic_series_run_through_its_volumes(series, tmp_path):
    others = mr_series(tmp_path / "second")
    uids = [generate_uid() for _ in range(N_FRAMES)]
    second = replace(others.image, sop_instance_uids=tuple(uids))
    dynamic = replace(series, image=VolumeSeries(SequenceKind.DYNAMIC, (series.image, second), (0.0, 30.0)))
    finding = Finding(1, "lesion", 0.9, {2: (1, 2, 9, 8), 8: (1, 2, 9, 8)}, (0,) * 6, (0,) * 3)
    dataset = boxes_dataset([finding], dynamic, MODEL)
    assert read_boxes(dataset, dynamic).findings[0].boxes == finding.boxes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": {6: (1, 2, 3, 4)}}, "frame 6: the series has frames 0 to 5"),
        ({"frame_scores": {-1: 0.5}}, "frame -1"),
        ({"boxes": {0: (1, 2, 3, float("nan"))}}, "not finite"),
        ({"measurements": {"growth": Measurement(float("inf"), "%")}}, "not finite"),
        ({"id": 2}, "2 findings have this id"),
    ],
)
def test_what_cannot_be_written_is_refused(series, change, message):
    with pytest.raises(InputError, match=message):
        boxes_dataset([replace(FINDINGS[0], **change), FINDINGS[1]], series, MODEL)


def test_a_sequence_that_is_not_dicom_is_refused(series):
    plain = replace(series, image=replace(series.image, sop_instance_uids=(), frame_numbers=()))
    with pytest.raises(InputError, match="does not come from DICOM"):
        boxes_dataset(FINDINGS, plain, MODEL)


# --- the layout that OHIF edits


def test_the_layout_is_the_one_that_ohif_edits(stored):
    """What @cornerstonejs/adapters' MeasurementReport and RectangleROI and OHIF's SR handler look at."""
    dataset = pydicom.dcmread(stored)
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert all("ConceptNameCodeSequence" in item for item in dataset.ContentSequence)
    (section,) = [c for c in dataset.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "126010"]
    assert section.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    assert len(section.ContentSequence) == 3
    for group in section.ContentSequence:
        by_meaning = {item.ConceptNameCodeSequence[0].CodeMeaning: item for item in group.ContentSequence}
        assert group.ConceptNameCodeSequence[0].CodeMeaning == "Measurement Group"
        assert by_meaning["Tracking Identifier"].TextValue == RECTANGLE
        assert by_meaning["Tracking Unique Identifier"].ValueType == "UIDREF"
        finding = by_meaning["Finding"].ConceptCodeSequence[0]
        assert (finding.CodingSchemeDesignator, finding.CodeValue) == ("CORNERSTONEJS", "CORNERSTONEFREETEXT")
        assert [item.ValueType for item in group.ContentSequence].count("SCOORD") == 0
        (area,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        (region,) = area.ContentSequence
        assert (region.RelationshipType, region.ValueType, region.GraphicType) == (
            "INFERRED FROM",
            "SCOORD",
            "POLYLINE",
        )
        assert len(region.GraphicData) == 10
        assert region.GraphicData[:2] == region.GraphicData[8:]
        (image,) = region.ContentSequence
        assert (image.RelationshipType, image.ValueType) == ("SELECTED FROM", "IMAGE")
        assert len(image.ReferencedSOPSequence) == 1


def test_corners_and_area(stored):
    dataset = pydicom.dcmread(stored)
    section = next(c for c in dataset.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "126010")
    area = section.ContentSequence[0].ContentSequence[-1]
    expected = [10.25, 11.5, 20.75, 11.5, 20.75, 22.13, 10.25, 22.13, 10.25, 11.5]
    assert area.ContentSequence[0].GraphicData == pytest.approx(expected, abs=1e-5)
    assert area.MeasuredValueSequence[0].FloatingPointValue == pytest.approx(10.5 * 10.63 * 0.5 * 0.6)
    # OHIF 3.10 writes `point[0] || point.x`: a coordinate of 0 would keep it from saving
    for group in section.ContentSequence:
        assert all(group.ContentSequence[-1].ContentSequence[0].GraphicData)


# --- what cannot be read


def test_our_own_boxes_on_images_that_are_gone(stored, series):
    others = replace(series, image=replace(series.image, sop_instance_uids=tuple(generate_uid() for _ in range(6))))
    with pytest.raises(InputError, match=r"boxes\.dcm: all 3 boxes"):
        read_boxes(stored, others)


def test_other_files_are_refused_by_name(series, tmp_path):
    text = tmp_path / "note.dcm"
    text.write_bytes(b"no DICOM at all" * 20)
    with pytest.raises(InputError, match=r"note\.dcm"):
        read_boxes(text, series)
    with pytest.raises(InputError, match=r"IM0001\.dcm: no structured report"):
        read_boxes(next(iter(series.files.values())), series)
    with pytest.raises(InputError, match=r"missing\.dcm"):
        read_boxes(tmp_path / "missing.dcm", series)


def test_truncated_files_are_refused_by_name(stored, series, tmp_path):
    content = stored.read_bytes()
    path = tmp_path / "cut.dcm"
    for keep in range(200, len(content), len(content) // 60):
        path.write_bytes(content[:keep])
        with pytest.raises(InputError, match=r"cut\.dcm"):
            read_boxes(path, series)


def test_mutated_files_never_crash(stored, series, tmp_path):
    rng = np.random.default_rng(7)
    content = np.frombuffer(stored.read_bytes(), np.uint8)
    path = tmp_path / "mutated.dcm"
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            changed = content.copy()
            changed[rng.integers(132, len(content), 12)] = rng.integers(0, 256, 12)
            path.write_bytes(changed.tobytes())
            try:
                read_boxes(path, series)
            except InputError:
                refused += 1
    assert refused < 40


def test_images_without_a_readable_file_are_named(series, tmp_path):
    uid = series.image.sop_instance_uids[0]
    with pytest.raises(InputError, match=r"no image of the series can be read.*gone\.dcm"):
        boxes_dataset(FINDINGS, replace(series, files={uid: tmp_path / "gone.dcm"}), MODEL)
