# SPDX-License-Identifier: Apache-2.0
"""What is written as DICOM is valid for its IOD and reads back as it was, in pydicom, ITK and SimpleITK."""

import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom._module_utils import check_required_attributes, is_attribute_in_iod
from pydicom.uid import CTImageStorage, MRImageStorage, UltrasoundMultiFrameImageStorage

from lib.dicom.write import Subject, derived_uid, write_ct_series, write_mr_series, write_us_multiframe
from lib.phantom import chest_stack, cine, head_stack, head_visits, write_cine_dicom, write_dicom

# PS3.3 2024 Tables C.7-1 to C.12-1: Type 1 (a value is needed) and Type 2 (may be empty).
COMMON_1 = "StudyInstanceUID Modality SeriesInstanceUID SOPClassUID SOPInstanceUID SamplesPerPixel "
COMMON_1 += "PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData"
COMMON_2 = "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber "
COMMON_2 += "ReferringPhysicianName StudyID SeriesNumber Manufacturer InstanceNumber"
MR_1 = "FrameOfReferenceUID PixelSpacing ImageOrientationPatient ImagePositionPatient ImageType "
MR_1 += "ScanningSequence SequenceVariant SpecificCharacterSet"
MR_2 = "PositionReferenceIndicator SliceThickness ScanOptions MRAcquisitionType RepetitionTime EchoTime "
MR_2 += "EchoTrainLength PatientPosition AcquisitionNumber"
CT_1 = "FrameOfReferenceUID PixelSpacing ImageOrientationPatient ImagePositionPatient ImageType "
CT_1 += "RescaleIntercept RescaleSlope SpecificCharacterSet"
CT_2 = "PositionReferenceIndicator SliceThickness PatientPosition AcquisitionNumber KVP"
US_1 = "NumberOfFrames FrameIncrementPointer FrameTime ImageType SequenceOfUltrasoundRegions"
MODULES = [
    "patient",
    "general-study",
    "general-series",
    "general-equipment",
    "general-image",
    "image-pixel",
    "sop-common",
]
MODULES_MR = [*MODULES, "frame-of-reference", "image-plane", "mr-image"]
MODULES_CT = [*MODULES, "frame-of-reference", "image-plane", "ct-image"]
MODULES_US = [*MODULES, "cine", "multi-frame", "us-region-calibration", "us-image"]


def assert_valid(dataset: pydicom.Dataset, type_1: str, type_2: str, modules: list[str]) -> None:
    for keyword in f"{COMMON_1} {type_1}".split():
        assert keyword in dataset, f"{keyword} is missing"
        assert not dataset[keyword].is_empty, f"{keyword} is Type 1 and empty"
    for keyword in f"{COMMON_2} {type_2}".split():
        assert keyword in dataset, f"{keyword} is missing"
    for module in modules:
        check_required_attributes(dataset, module)
    for element in dataset:
        assert is_attribute_in_iod(element.keyword, dataset.SOPClassUID), f"{element.keyword} is not of this IOD"
    uids = [element.value for element in dataset if element.VR == "UI" and element.keyword.endswith("InstanceUID")]
    assert all(uid.is_valid and len(uid) <= 64 for uid in uids)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def read_all(paths: list[Path]) -> list[pydicom.FileDataset]:
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    return [pydicom.dcmread(path) for path in paths]


@pytest.fixture(autouse=True)
def _restore_validation_mode():
    mode = pydicom.config.settings.reading_validation_mode
    yield
    pydicom.config.settings.reading_validation_mode = mode


@pytest.fixture(scope="module")
def stack():
    return head_stack(8, n_frames=9, size=(80, 96), spacing_mm=(2.5, 2.7, 11.0))


def test_every_mr_file_is_valid(stack, tmp_path) -> None:
    files = read_all(write_dicom(stack, tmp_path, patient_id="P8"))
    assert len(files) == 9
    for dataset in files:
        assert dataset.SOPClassUID == MRImageStorage
        assert_valid(dataset, MR_1, MR_2, MODULES_MR)
        str(dataset)
    assert len({dataset.SOPInstanceUID for dataset in files}) == 9
    assert len({(dataset.SeriesInstanceUID, dataset.StudyInstanceUID) for dataset in files}) == 1


def test_every_ct_file_is_valid_and_holds_hounsfield_units(tmp_path) -> None:
    chest = chest_stack(1, n_frames=3, size=(48, 64), spacing_mm=(5.5, 5.5, 10.0))
    for frame, dataset in enumerate(read_all(write_dicom(chest, tmp_path, patient_id="C1"))):
        assert dataset.SOPClassUID == CTImageStorage
        assert_valid(dataset, CT_1, CT_2, MODULES_CT)
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(hu, chest.image[frame])


def test_a_ct_series_takes_hounsfield_units_only(tmp_path) -> None:
    subject, grid = Subject("C", datetime.date(2024, 1, 1)), {"spacing_mm": (1.0,) * 3, "origin_lps_mm": (0.0,) * 3}
    for wrong in (np.zeros((2, 8, 8), np.uint16), np.full((2, 8, 8), -2000, np.int16), np.zeros((8, 8), np.int16)):
        with pytest.raises(ValueError, match="int16 HU from -1024"):
            write_ct_series(wrong, tmp_path, subject, **grid)


def test_mr_geometry_and_pixels_by_pydicom(stack, tmp_path) -> None:
    for frame, dataset in enumerate(read_all(write_dicom(stack, tmp_path, patient_id="P8"))):
        np.testing.assert_array_equal(dataset.pixel_array, stack.image[frame])
        rows, columns = (float(value) for value in dataset.PixelSpacing)
        assert (columns, rows, float(dataset.SpacingBetweenSlices)) == stack.spacing_mm
        ras = (stack.affine @ [0, 0, frame, 1])[:3]
        np.testing.assert_allclose(np.array(dataset.ImagePositionPatient, float) * [-1, -1, 1], ras, atol=1e-5)


def test_mr_series_by_simpleitk(stack, tmp_path) -> None:
    import SimpleITK

    write_dicom(stack, tmp_path, patient_id="P8")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), stack.image)
    np.testing.assert_allclose(image.GetSpacing(), stack.spacing_mm, atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), stack.origin_lps_mm, atol=1e-5)
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-9)


def test_mr_series_by_monai_has_the_nifti_affine(stack, tmp_path) -> None:
    from monai.data import ITKReader

    write_dicom(stack, tmp_path, patient_id="P8")
    reader = ITKReader()
    array, meta = reader.get_data(reader.read(str(tmp_path)))
    np.testing.assert_array_equal(array, stack.image.transpose(2, 1, 0))
    np.testing.assert_allclose(meta["affine"], stack.affine, atol=1e-4)


def test_writing_twice_gives_the_same_bytes_and_another_patient_other_uids(stack, tmp_path) -> None:
    first, again, other = (
        write_dicom(stack, tmp_path / n, patient_id=p) for n, p in (("a", "A"), ("b", "A"), ("c", "C"))
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    a, c = pydicom.dcmread(first[0]), pydicom.dcmread(other[0])
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert a[keyword].value != c[keyword].value


def test_visits_are_studies_on_their_days_in_one_frame_of_reference(tmp_path) -> None:
    visits = head_visits(3, n_frames=4, size=64, spacing_mm=(3.5, 3.5, 30.0), n_lesions=1, new_lesion=False)
    heads = [
        pydicom.dcmread(write_dicom(v, tmp_path / str(v.day), patient_id="P3", study_date=datetime.date(2024, 1, 1))[0])
        for v in visits
    ]
    assert [head.StudyDate for head in heads] == ["20240101", "20240331", "20240629"]
    assert len({head.StudyInstanceUID for head in heads}) == 3
    assert len({head.SOPInstanceUID for head in heads}) == 3
    assert len({head.FrameOfReferenceUID for head in heads}) == 1


def test_cine_file_is_valid_and_keeps_time_size_and_pixels(tmp_path) -> None:
    clip = cine(2, n_frames=7, size=(61, 81), frame_time_ms=41.7)
    (dataset,) = read_all([write_cine_dicom(clip, tmp_path / "us" / "clip.dcm", patient_id="U2")])
    assert dataset.SOPClassUID == UltrasoundMultiFrameImageStorage
    assert_valid(dataset, US_1, "", MODULES_US)
    np.testing.assert_array_equal(dataset.pixel_array, clip.image)
    assert dataset.NumberOfFrames == 7
    assert float(dataset.FrameTime) == 41.7
    assert dataset.FrameIncrementPointer == pydicom.tag.Tag("FrameTime")
    region = dataset.SequenceOfUltrasoundRegions[0]
    assert (region.PhysicalDeltaX * 10, region.PhysicalDeltaY * 10) == pytest.approx(clip.pixel_spacing_mm)
    assert (region.RegionLocationMaxX1, region.RegionLocationMaxY1) == (80, 60)


def test_cine_by_simpleitk(tmp_path) -> None:
    import SimpleITK

    clip = cine(2, n_frames=4, size=(60, 80))
    path = write_cine_dicom(clip, tmp_path / "clip.dcm", patient_id="U2")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), clip.image)


def test_derived_uids_are_valid_and_follow_their_parts() -> None:
    assert derived_uid("a", 1) == derived_uid("a", "1")
    assert derived_uid("a", 1) != derived_uid("a1")
    assert derived_uid("x").is_valid
    assert len(derived_uid("x")) <= 64


def test_wrong_arrays_are_refused(tmp_path) -> None:
    subject = Subject("P", datetime.date(2024, 1, 1))
    with pytest.raises(ValueError, match="uint16"):
        write_mr_series(
            np.zeros((2, 4, 4), np.float32), tmp_path, subject, spacing_mm=(1, 1, 1), origin_lps_mm=(0, 0, 0)
        )
    with pytest.raises(ValueError, match="uint8"):
        write_us_multiframe(
            np.zeros((4, 4), np.uint8), tmp_path / "x.dcm", subject, frame_time_ms=1, pixel_spacing_mm=(1, 1)
        )
