# SPDX-License-Identifier: Apache-2.0
"""Masks as DICOM SEG: what is written is valid and comes back identical, for every kind of series."""

import datetime
import io
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage
from skimage.color import lab2rgb

from lib.dicom.seg import SegmentedMask, display_cielab, read_seg, seg_dataset
from lib.dicom.seg.frames import mask_shape
from lib.dicom.types import DicomSeries
from lib.types import InputError, Source
from tests.dicom.seg_cases import (
    MODEL,
    READER,
    changed_stack,
    cine_of,
    dynamic_mr,
    enhanced_mr,
    mr_stack,
    random_mask,
    stack_of,
    us_cine,
)

OBLIQUE = [0.8, 0.6, 0.0, -0.36, 0.48, 0.8]


@pytest.fixture
def mr(tmp_path: Path) -> DicomSeries:
    return mr_stack(tmp_path / "mr")


def round_trip(mask: np.ndarray, labels: dict[str, int], series: DicomSeries, source: Source, path: Path):
    """Write, save, read with pydicom, highdicom and ours; check what must always hold."""
    dataset = seg_dataset(mask, labels, series, source, tag="original")
    dataset.save_as(path, write_like_original=False)
    assert dcmread(path).SOPClassUID == SegmentationStorage
    seg = hd.seg.segread(str(path))
    assert list(seg.segment_numbers) == list(range(1, max(labels.values()) + 1))
    assert dciodvfy_errors(path) == []
    result = read_seg(path, series)
    assert result.problems == ()
    assert result.labels == labels
    np.testing.assert_array_equal(result.mask, mask)
    assert result.mask.dtype == np.uint8
    return result, seg


def dciodvfy_errors(path: Path) -> list[str]:
    """What dciodvfy (Debian's dicom3tools) finds wrong with a SEG; nothing where it is not installed.

    The patient module is the source's: the GE series says that it was de-identified, and not how.
    """
    if not (program := shutil.which("dciodvfy")):
        return []
    run = subprocess.run([program, str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = (run.stdout + run.stderr).splitlines()
    return [line for line in lines if line.startswith("Error") and "<DeidentificationMethod" not in line]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"lesion": 1}, (1,)),
        ({"lesion": 2}, (2,)),
        ({"edema": 1, "lesion": 2}, (2,)),
        ({"lesion": 4, "liver": 2, "Läsion 病変": 7}, (2, 4, 7)),
        ({"lesion": 1, "cyst": 2}, ()),
        ({"lesion": 255}, (255,)),
    ],
)
def test_segment_numbers_are_the_values_of_the_mask(labels, values, mr, tmp_path):
    mask = random_mask((5, 20, 24), values)
    result, seg = round_trip(mask, labels, mr, MODEL, tmp_path / "seg.dcm")
    for name, value in labels.items():
        assert seg.get_segment_description(value).segment_label == name
    assert result.source == MODEL
    assert result.tag == "original"
    assert result.referenced_series_uid == mr.facts.series_instance_uid


def test_empty_mask_says_what_was_looked_at(mr, tmp_path):
    _, seg = round_trip(np.zeros((5, 20, 24), np.uint8), {"lesion": 1}, mr, MODEL, tmp_path / "seg.dcm")
    assert seg.NumberOfFrames == 1
    references = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [item.ReferencedSOPInstanceUID for item in references] == list(mr.image.sop_instance_uids)


def test_highdicom_sees_the_same_pixels(mr, tmp_path):
    mask = random_mask((5, 20, 24), (1, 3))
    _, seg = round_trip(mask, {"lesion": 1, "cyst": 3}, mr, MODEL, tmp_path / "seg.dcm")
    uids = list(mr.image.sop_instance_uids)
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(pixels, mask)


def test_segments_are_coded_and_coloured(mr):
    dataset = seg_dataset(random_mask((5, 20, 24), (1,)), {"ms_lesion": 1, "liver": 2, "x": 3}, mr, MODEL, tag="final")
    lesion, liver, other = dataset.SegmentSequence
    kinds = [
        (s.SegmentedPropertyCategoryCodeSequence[0].CodeValue, s.SegmentedPropertyTypeCodeSequence[0].CodeValue)
        for s in (lesion, liver, other)
    ]
    assert kinds == [("49755003", "52988006"), ("123037004", "10200004"), ("85756007", "85756007")]
    assert lesion.SegmentAlgorithmType == "AUTOMATIC"
    assert lesion.SegmentAlgorithmName == "mr_lesion_segmentation"
    item = lesion.SegmentationAlgorithmIdentificationSequence[0]
    assert (item.AlgorithmVersion, item.AlgorithmParameters) == ("v0003", "weights_sha256=" + "ab" * 32)
    assert item.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    assert dataset.ContentCreatorName == ""
    assert (dataset.ContentLabel, dataset.SeriesDescription) == ("FINAL", "LesionLoop mr_lesion_segmentation (final)")


def test_colours_are_distinct_and_in_range():
    colours = [display_cielab(value) for value in range(1, 256)]
    assert all(0 <= v <= 65535 for colour in colours for v in colour)
    near = np.array(colours[:12], float) / 65535 * [100, 255, 255]
    distances = np.linalg.norm(near[:, None] - near[None], axis=-1)[~np.eye(12, dtype=bool)]
    assert distances.min() > 15  # 2.3 is just noticeable
    vermilion = np.array(colours[0]) / 65535 * [100, 255, 255] - [0, 128, 128]  # PS3.3 C.10.7.1.1
    np.testing.assert_allclose(lab2rgb(vermilion) * 255, [0xD5, 0x5E, 0x00], atol=1)


@pytest.mark.parametrize(
    ("source", "kind"),
    [(READER, "MANUAL"), (Source("m", "v1", "c" * 64, "Ada Lovelace"), "SEMIAUTOMATIC"), (Source("m"), "AUTOMATIC")],
)
def test_maker_comes_back(source, kind, mr, tmp_path):
    result, seg = round_trip(random_mask((5, 20, 24), (1,)), {"lesion": 1}, mr, source, tmp_path / "seg.dcm")
    assert result.source == source
    assert seg.SegmentSequence[0].SegmentAlgorithmType == kind
    assert seg.ContentCreatorName == source.author


def test_time_and_uids_are_those_given(mr):
    made = datetime.datetime(2024, 5, 6, 7, 8, 9, 120000)
    dataset = seg_dataset(
        np.zeros((5, 20, 24), np.uint8),
        {"lesion": 1},
        mr,
        MODEL,
        tag="final",
        series_instance_uid="1.2.3",
        sop_instance_uid="1.2.3.4",
        created=made,
    )
    result = read_seg(dataset, mr)
    assert result.created == made.isoformat()
    assert (result.series_instance_uid, result.sop_instance_uid, result.tag) == ("1.2.3", "1.2.3.4", "final")


def test_time_with_zone_is_written_in_local_time(mr):
    made = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    dataset = seg_dataset(np.zeros((5, 20, 24), np.uint8), {"a": 1}, mr, MODEL, tag="final", created=made)
    assert read_seg(dataset, mr).created == made.astimezone().replace(tzinfo=None).isoformat()


def test_same_input_gives_the_same_bytes(mr):
    def written() -> bytes:
        dataset = seg_dataset(
            random_mask((5, 20, 24), (1, 2)),
            {"lesion": 1, "cyst": 2},
            mr,
            MODEL,
            tag="final",
            series_instance_uid="1.2.3",
            sop_instance_uid="1.2.3.4",
            created=datetime.datetime(2024, 5, 6),
        )
        buffer = io.BytesIO()
        dataset.save_as(buffer, write_like_original=False)
        return buffer.getvalue()

    assert written() == written()


def test_patient_and_study_are_those_of_the_series(tmp_path):
    change = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Zoë", "PatientSex": "", "StudyID": "7"}
    series = changed_stack(tmp_path / "mr", change)
    _, seg = round_trip(random_mask((5, 20, 24), (1,)), {"lesion": 1}, series, MODEL, tmp_path / "seg.dcm")
    assert str(seg.PatientName) == "Müller^Zoë"
    header = dcmread(next(iter(series.files.values())), stop_before_pixels=True)
    for keyword in ("PatientID", "StudyInstanceUID", "StudyID", "StudyDate", "FrameOfReferenceUID"):
        assert seg[keyword].value == header[keyword].value
    assert seg.SeriesInstanceUID != header.SeriesInstanceUID


GEOMETRIES = {
    "uneven": ({}, [[-100.0, -90, z] for z in (0, 3, 6, 11, 19)]),
    "tilted": ({"ImageOrientationPatient": [1, 0, 0, 0, 0.9, -0.435889894]}, [[0.0, 0, 5.0 * t] for t in range(5)]),
    "oblique": ({"ImageOrientationPatient": OBLIQUE}, [[3 + 2.4 * t, 1 - 3.2 * t, 3.0 * t] for t in range(5)]),
    "no frame of reference": ({"FrameOfReferenceUID": ""}, None),
    "no thickness": ({"SliceThickness": None}, None),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry_of_the_slices_is_kept(name, tmp_path):
    change, positions = GEOMETRIES[name]
    series = changed_stack(tmp_path / "mr", change, positions)
    mask = random_mask((5, 20, 24), (1,))
    mask[:, 0, 0] = 1
    _, seg = round_trip(mask, {"lesion": 1}, series, MODEL, tmp_path / "seg.dcm")
    for t, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        header = dcmread(series.files[series.image.sop_instance_uids[t]], stop_before_pixels=True)
        assert group.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(header.ImagePositionPatient)
        assert list(group.FrameContentSequence[0].DimensionIndexValues) == [1, t + 1]
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == header.ImageOrientationPatient
    assert ("SpacingBetweenSlices" in shared.PixelMeasuresSequence[0]) == (name != "uneven")


def test_orientations_that_differ_a_little_are_kept_per_frame(mr, tmp_path):
    path = mr.files[mr.image.sop_instance_uids[3]]
    dataset = dcmread(path)
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.99999, 0.0044721]
    dataset.save_as(path)
    _, seg = round_trip(np.ones((5, 20, 24), np.uint8), {"lesion": 1}, mr, MODEL, tmp_path / "seg.dcm")
    assert "PlaneOrientationSequence" not in seg.SharedFunctionalGroupsSequence[0]
    planes = [g.PlaneOrientationSequence[0].ImageOrientationPatient[5] for g in seg.PerFrameFunctionalGroupsSequence]
    assert planes == [0, 0, 0, 0.0044721, 0]


def test_ultrasound_cine_without_frame_of_reference(tmp_path):
    series = us_cine(tmp_path)
    mask = random_mask((7, 15, 17), (1, 2))
    _, seg = round_trip(mask, {"nodule": 1, "cyst": 2}, series, READER, tmp_path / "seg.dcm")
    assert "FrameOfReferenceUID" not in seg
    uid = series.image.sop_instance_uids[0]
    pixels = seg.get_pixels_by_source_frame(
        uid, list(range(1, 8)), combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels, mask)


@pytest.mark.parametrize("times", [1, 2])
def test_enhanced_multi_frame_keeps_its_frame_numbers(times, tmp_path):
    series = enhanced_mr(tmp_path / "enhanced.dcm", times)
    mask = random_mask((4 * times, 10, 12), (1,))
    _, seg = round_trip(mask, {"lesion": 1}, series, MODEL, tmp_path / "seg.dcm")
    numbers = [n for volume in getattr(series.image, "volumes", [series.image]) for n in volume.frame_numbers]
    wanted = [numbers[t] for t in np.flatnonzero(mask.any(axis=(1, 2)))]
    groups = seg.PerFrameFunctionalGroupsSequence
    assert [g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for g in groups] == wanted


def test_dynamic_series_is_time_major(tmp_path):
    series = dynamic_mr(tmp_path)
    mask = np.zeros((24, 9, 11), np.uint8)
    mask[8 + 2, 1:4, 2:5] = 1  # time point 2, slice 3
    mask[16 + 2, 1:5, 2:5] = 1
    _, seg = round_trip(mask, {"lesion": 1}, series, MODEL, tmp_path / "seg.dcm")
    times = [g.FrameContentSequence[0].TemporalPositionIndex for g in seg.PerFrameFunctionalGroupsSequence]
    assert times == [2, 3]
    assert [list(g.FrameContentSequence[0].DimensionIndexValues) for g in seg.PerFrameFunctionalGroupsSequence] == [
        [1, 2, 1],
        [1, 3, 1],
    ]


def test_source_of_a_private_sop_class(tmp_path):
    series = changed_stack(tmp_path / "mr", {"SOPClassUID": "1.3.12.2.1107.5.9.1"})
    round_trip(random_mask((5, 20, 24), (1,)), {"lesion": 1}, series, MODEL, tmp_path / "seg.dcm")


@pytest.mark.parametrize(
    ("mask", "labels", "tag", "message"),
    [
        (np.zeros((4, 20, 24), np.uint8), {"a": 1}, "final", r"shape \(4, 20, 24\)"),
        (np.zeros((5, 20, 24), np.float32), {"a": 1}, "final", "whole numbers"),
        (np.full((5, 20, 24), 3), {"a": 1}, "final", r"values \[3\] that no label has"),
        (np.full((5, 20, 24), -1), {"a": 1}, "final", r"values \[-1\]"),
        (np.zeros((5, 20, 24), np.uint8), {}, "final", "needs labels"),
        (np.zeros((5, 20, 24), np.uint8), {"a": 1, "b": 1}, "final", "values of their own"),
        (np.zeros((5, 20, 24), np.uint8), {"a": 256}, "final", "1 to 255"),
        (np.zeros((5, 20, 24), np.uint8), {"a\\b": 1}, "final", "no backslash"),
        (np.zeros((5, 20, 24), np.uint8), {"a" * 65: 1}, "final", "64 characters"),
        (np.zeros((5, 20, 24), np.uint8), {"a": 1}, "../x", "one of final, original"),
    ],
)
def test_what_cannot_be_written_is_refused(mask, labels, tag, message, mr):
    with pytest.raises(InputError, match=message):
        seg_dataset(mask, labels, mr, MODEL, tag=tag)


def test_wider_integers_and_booleans_are_masks_too(mr):
    for dtype in (bool, np.int16, np.int64):
        mask = random_mask((5, 20, 24), (1,)).astype(dtype)
        result = read_seg(seg_dataset(mask, {"lesion": 1}, mr, MODEL, tag="final"), mr)
        np.testing.assert_array_equal(result.mask, mask.astype(np.uint8))


def test_source_file_that_is_gone_is_named(mr):
    path = mr.files[mr.image.sop_instance_uids[2]]
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        seg_dataset(np.zeros((5, 20, 24), np.uint8), {"lesion": 1}, mr, MODEL, tag="final")


def test_source_file_without_identity_is_named(mr):
    path = mr.files[mr.image.sop_instance_uids[2]]
    dataset = dcmread(path)
    del dataset.StudyInstanceUID
    dataset.save_as(path)
    with pytest.raises(InputError, match=rf"{path.name}: has no StudyInstanceUID"):
        seg_dataset(np.zeros((5, 20, 24), np.uint8), {"lesion": 1}, mr, MODEL, tag="final")


def test_frames_of_several_studies_are_refused(mr):
    path = mr.files[mr.image.sop_instance_uids[2]]
    dataset = dcmread(path)
    dataset.StudyInstanceUID = "1.2.3"
    dataset.save_as(path)
    with pytest.raises(InputError, match="several studies"):
        seg_dataset(np.zeros((5, 20, 24), np.uint8), {"lesion": 1}, mr, MODEL, tag="final")


def test_large_mask_takes_less_than_a_second(tmp_path):
    series = mr_stack(tmp_path / "mr", (30, 512, 512))
    mask = random_mask((30, 512, 512), (1, 2, 3))
    start = time.perf_counter()
    dataset = seg_dataset(mask, {"a": 1, "b": 2, "c": 3}, series, MODEL, tag="final")
    result = read_seg(dataset, series)
    assert time.perf_counter() - start < 1.0
    np.testing.assert_array_equal(result.mask, mask)


def unpacked(shared_data: Path, name: str, folder: Path) -> list[Path]:
    archive = shared_data / "dicom" / f"{name}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return sorted(folder.rglob("*.dcm"))


@pytest.mark.parametrize("name", ["ct_head_ge_tilt", "ct_chest_lungcancer_A0002_B40f"])
def test_real_stack(name, shared_data, tmp_path):
    series = stack_of(unpacked(shared_data, name, tmp_path / "ct"))
    mask = random_mask(mask_shape(series.image), (1, 2))
    result, _ = round_trip(mask, {"lesion": 1, "cyst": 2}, series, MODEL, tmp_path / "seg.dcm")
    dataset = dcmread(tmp_path / "seg.dcm")
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence = []  # by position alone
    np.testing.assert_array_equal(read_seg(dataset, series).mask, mask)
    assert isinstance(result, SegmentedMask)


def test_real_ultrasound_cine(shared_data, tmp_path):
    path = shared_data / "dicom" / "us_multiframe" / "examples_ybr_color.dcm"
    if not path.is_file():
        pytest.skip(f"no {path}")
    series = cine_of(path)
    round_trip(random_mask((30, 240, 320), (1,)), {"lesion": 1}, series, READER, tmp_path / "seg.dcm")


def test_real_liver_of_dcmqi(shared_data):
    folder = shared_data / "dicom" / "ct_liver_seg"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    series = stack_of([folder / f"0{n}.dcm" for n in (1, 2, 3)])
    result = read_seg(folder / "liver.dcm", series)
    truth: Dataset = dcmread(folder / "liver.dcm")
    assert result.labels == {"Liver": 1}
    assert result.source == Source(model="SlicerEditor")
    assert result.created == "2016-03-18T17:48:52"
    # the SEG's frames run from the lowest slice up, as the series does once it is sorted
    np.testing.assert_array_equal(result.mask, truth.pixel_array)
    assert result.mask.sum() > 10_000
