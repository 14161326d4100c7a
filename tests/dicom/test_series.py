# SPDX-License-Identifier: Apache-2.0
"""What is in a folder, and which files make one series."""

import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from lib.dicom.series import find_series, read_series
from lib.types import InputError, Sequence, SequenceKind
from monailabel_app.bench.reading import benchmark_reading
from tests.dicom.making import edited, make_slices, new_instance

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def test_folder_tree(tmp_path: Path) -> None:
    one = make_slices(tmp_path / "b" / "one", n_slices=3)
    two = make_slices(tmp_path / "a", n_slices=2, edit=lambda ds, k: setattr(ds, "SeriesInstanceUID", "1.2.9"))
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / "empty").touch()
    (tmp_path / ".hidden").write_bytes(one[0].read_bytes())
    (tmp_path / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + one[0].read_bytes()[132:400])
    (tmp_path / "link.dcm").symlink_to(one[0])
    report = PYDICOM_FILES / "test-SR.dcm"
    (tmp_path / "report.dcm").write_bytes(report.read_bytes())
    found = find_series(tmp_path)
    assert [(s.uid, s.files, s.n_frames) for s in found.series] == [
        ("1.2.9", tuple(two), 2),
        ("1.2.3.4", tuple(one), 3),
    ]
    assert found.series[0].facts.modality == "MR"
    assert found.series[0].facts.patient_id == "SLICES"
    assert [s.facts.modality for s in found.non_images] == ["SR"]
    assert found.non_images[0].n_frames == 0
    assert found.ignored == (tmp_path / "README.txt", tmp_path / "empty")
    assert list(found.unreadable) == [tmp_path / "cut.dcm"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        find_series(tmp_path / "nowhere")


def test_pydicoms_own_files() -> None:
    """Each file is listed exactly once, and each series is read or refused with a reason."""
    found = find_series(PYDICOM_FILES)
    listed = [file for series in (*found.series, *found.non_images) for file in series.files]
    listed += [*found.unreadable, *found.ignored]
    assert sorted(listed) == sorted(p for p in PYDICOM_FILES.rglob("*") if p.is_file() and p.name[0] != ".")
    assert {series.facts.modality for series in found.non_images} == {
        "RTPLAN",
        "RTDOSE",
        "RTSTRUCT",
        "SEG",
        "SR",
        "ECG",
    }
    assert "badVR.dcm" in {file.name for series in found.non_images for file in series.files}
    kinds = {}
    for series in found.series:
        try:
            kinds[series.files[0].name] = read_series(series.files).image.kind.value
        except InputError as error:
            kinds[series.files[0].name] = str(error)
    assert kinds["CT_small.dcm"] == "stack"
    assert kinds["ExplVR_BigEnd.dcm"] == "cine"
    assert "sagittal" in kinds["6293"]


def test_real_series_of_the_pydicom_set() -> None:
    folder = PYDICOM_FILES / "dicomdirtests"
    axial = read_series((folder / "98892001" / "CT5N").iterdir())
    assert isinstance(axial.image, Sequence)
    np.testing.assert_allclose(axial.image.positions, [0, 2.5, 5, 7.5, 10])
    assert axial.image.affine_lps[2, 3] == pytest.approx(-1.2375)
    (gap,) = read_series((folder / "77654033" / "CT2").iterdir()).problems
    assert gap.startswith("Missing slices: 161 at 1.25 to 201.25 mm (between numbers 18 and 180)")


@pytest.mark.parametrize("name", ["MR_small", "MR_small_implicit", "MR_small_bigendian", "MR_small_RLE"])
def test_transfer_syntaxes_give_one_result(name: str) -> None:
    first = read_series([PYDICOM_FILES / "MR_small.dcm"]).image
    other = read_series([PYDICOM_FILES / f"{name}.dcm"]).image
    assert isinstance(first, Sequence)
    assert isinstance(other, Sequence)
    np.testing.assert_array_equal(first.frames, other.frames)
    np.testing.assert_array_equal(first.affine_lps, other.affine_lps)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "no files were given"),
        (["README.txt"], "not a DICOM file"),
        (["nowhere.dcm"], "No such file"),
        (["dicomdirtests/DICOMDIR"], "a DICOMDIR"),
        (["test-SR.dcm"], "Comprehensive SR Storage, not an image"),
        (["liver_1frame.dcm"], "Segmentation Storage, not an image"),
        (["MR_truncated.dcm"], "the file holds 8130"),
        (["MR_small.dcm", "CT_small.dcm"], "the files hold 2 series"),
    ],
)
def test_refused(files: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_series(PYDICOM_FILES / file for file in files)


def test_other_objects_among_the_slices_are_reported(tmp_path: Path) -> None:
    files = [*make_slices(tmp_path), PYDICOM_FILES / "test-SR.dcm", PYDICOM_FILES / "README.txt"]
    series = read_series(files)
    assert len(series.image.positions) == 8
    assert len(series.problems) == 2
    assert "test-SR.dcm: Comprehensive SR Storage, not an image" in series.problems[0]


def test_file_without_preamble_and_meta(tmp_path: Path) -> None:
    (file,) = make_slices(tmp_path, n_slices=1)
    dataset = dcmread(file)
    del dataset.file_meta
    dataset.preamble = None
    dataset.is_implicit_VR = True
    dataset.save_as(file)
    assert file.read_bytes()[128:132] != b"DICM"
    assert find_series(tmp_path).series[0].n_frames == 1
    assert read_series([file]).image.positions == (0,)


def radiograph(dataset: Dataset, index: int) -> None:
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.Modality = "DX"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    dataset.ImagerPixelSpacing = [0.2, 0.1]


def test_radiograph(tmp_path: Path) -> None:
    series = read_series(make_slices(tmp_path, n_slices=1, edit=radiograph))
    assert isinstance(series.image, Sequence)
    assert series.image.kind is SequenceKind.STACK
    assert series.image.frames.shape == (1, 1, 16, 16)
    assert series.image.spacing_mm == (0.1, 0.2)
    assert "Pixel spacing is that at the detector" in series.problems[0]


def test_magnified_radiograph(tmp_path: Path) -> None:
    (file,) = make_slices(tmp_path, n_slices=1, edit=radiograph)
    edited(file, file, EstimatedRadiographicMagnificationFactor="2")
    assert read_series([file]).image.spacing_mm == (0.05, 0.1)  # type: ignore[union-attr]


def test_radiograph_without_spacing(tmp_path: Path) -> None:
    (file,) = make_slices(tmp_path, n_slices=1, edit=radiograph)
    edited(file, file, ImagerPixelSpacing=None)
    assert "No pixel spacing: taken as 1 mm; lengths and volumes are in pixels." in read_series([file]).problems


def test_several_radiographs_make_no_sequence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 DX radiographs, which make no sequence: give one file alone"):
        read_series(make_slices(tmp_path, n_slices=2, edit=radiograph))


def test_a_clip_among_slices(tmp_path: Path) -> None:
    files = make_slices(tmp_path)
    dataset = dcmread(files[0])
    files.append(
        edited(files[0], tmp_path / "clip.dcm", NumberOfFrames=2, PixelData=dataset.PixelData * 2, Modality="US")
    )
    with pytest.raises(InputError, match="give it alone"):
        read_series(files)


@pytest.mark.filterwarnings("ignore")
def test_damaged_headers_give_a_reason(tmp_path: Path) -> None:
    """One of four files with changed bytes is read or refused with a message; nothing else is raised."""
    files = make_slices(tmp_path / "series", n_slices=4)
    whole = files[1].read_bytes()
    rng = random.Random(0)
    reasons = []
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 2, 5))):
            damaged[rng.randrange(128, len(whole) - 512)] = rng.randrange(256)
        files[1].write_bytes(damaged[: rng.choice((None, None, rng.randrange(len(whole))))])
        found = find_series(tmp_path)
        listed = [file for series in (*found.series, *found.non_images) for file in series.files]
        assert sorted([*listed, *found.unreadable, *found.ignored]) == files
        try:
            read_series(files)
        except InputError as error:
            reasons.append(str(error))
    assert 20 < len(reasons) < 140
    assert all(reasons)


@pytest.mark.slow
def test_reading_is_five_times_as_fast_as_monai() -> None:
    """Three tries: other work on the machine may hit one reader more than the other."""
    results = (benchmark_reading(n_slices=200, size=512, repeats=3) for _ in range(3))
    ratios = []
    for result in results:
        ratios.append(result.ratio)
        if ratios[-1] >= 5:
            break
    assert max(ratios) >= 5


def test_files_of_two_studies_are_not_put_together(tmp_path):
    def other_study(dataset, index):
        if index > 4:
            dataset.StudyInstanceUID = "1.2.9"

    with pytest.raises(InputError, match="of one series, but of 2 studies"):
        read_series(make_slices(tmp_path, edit=other_study))


def test_two_stations_beside_each_other_are_no_time_points(tmp_path):
    files = make_slices(tmp_path / "a")

    def beside(dataset, index):
        new_instance(dataset, InstanceNumber=100 + index, AcquisitionTime="130000")
        dataset.ImagePositionPatient = [60, *dataset.ImagePositionPatient[1:]]

    with pytest.raises(InputError, match="lie 70 mm beside each other: the series holds several stations"):
        read_series([*files, *make_slices(tmp_path / "b", edit=beside)])
