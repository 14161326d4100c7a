# SPDX-License-Identifier: Apache-2.0
import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from lib.dicom.borders import content_of_pixels, content_of_regions
from lib.dicom.cine import COLOUR_CHANNELS, clips_of, read_cine, to_grey
from lib.dicom.types import DicomSeries
from lib.dicom.write import Subject, write_us_multiframe
from lib.phantom import cine
from lib.types import InputError, Sequence, SequenceKind

SUBJECT = Subject("p1", datetime.date(2024, 5, 6))


def clip(frames: NDArray[np.uint8], **values: object) -> Dataset:
    """A clip of (T, H, W) or (T, H, W, 3) bytes without a time base or a pixel size; ``values`` are added."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SOPInstanceUID, dataset.Modality = "1.2.3", "US"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = frames.tobytes() + b"\0" * (frames.size % 2)
    dataset["PixelData"].VR = "OB"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def read(*datasets: Dataset) -> DicomSeries:
    return read_cine(list(datasets), {str(d.SOPInstanceUID): Path(f"{d.SOPInstanceUID}.dcm") for d in datasets})


def sequence(*datasets: Dataset) -> Sequence:
    image = read(*datasets).image
    assert isinstance(image, Sequence)
    return image


def region(x0: int, y0: int, x1: int, y1: int, delta_cm: float, *, data_type: int = 1, spatial: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data_type, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = delta_cm
    return item


NOISE = np.random.default_rng(0).integers(0, 256, (6, 40, 60), np.uint8)


def test_a_written_ultrasound_clip_comes_back(tmp_path: Path) -> None:
    phantom = cine(3, n_frames=6)
    path = write_us_multiframe(
        phantom.image, tmp_path / "clip.dcm", SUBJECT, frame_time_ms=33.3, pixel_spacing_mm=phantom.pixel_spacing_mm
    )
    dataset = pydicom.dcmread(path)
    series = read_cine([dataset], {dataset.SOPInstanceUID: path})
    image = series.image
    assert isinstance(image, Sequence)
    np.testing.assert_array_equal(image.frames[:, 0], phantom.image)
    assert image.kind is SequenceKind.CINE
    assert image.channels == ("image",)
    np.testing.assert_allclose(image.positions, np.arange(6) * 0.0333)
    np.testing.assert_allclose(image.spacing_mm, phantom.pixel_spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(image.affine_lps, np.diag([*image.spacing_mm, 1, 1]))
    assert set(image.sop_instance_uids) == {dataset.SOPInstanceUID}
    assert image.frame_numbers == (1, 2, 3, 4, 5, 6)
    assert image.content_px is None  # the region covers the frame
    assert series.files == {dataset.SOPInstanceUID: path}
    assert series.facts.patient_id == "p1"
    assert series.problems == ()


@pytest.mark.parametrize(
    ("values", "expected", "problem"),
    [
        ({"FrameTimeVector": [0, 10, 20, 30, 40, 50]}, [0, 0.01, 0.03, 0.06, 0.1, 0.15], ""),
        ({"FrameTimeVector": [10, 10, 10, 10, 10, 10], "FrameTime": 99}, np.arange(6) * 0.01, ""),
        ({"FrameTimeVector": [0, 10], "FrameTime": 20}, np.arange(6) * 0.02, "FrameTimeVector has 2 times for 6"),
        ({"FrameTime": "40", "CineRate": 10}, np.arange(6) * 0.04, ""),
        ({"FrameTime": "0", "CineRate": 10}, np.arange(6) * 0.1, ""),
        ({"RecommendedDisplayFrameRate": 50}, np.arange(6) * 0.02, ""),
        ({}, np.arange(6) / 30, "30 per s assumed"),
    ],
)
def test_frame_times(values: dict[str, object], expected: list[float], problem: str) -> None:
    series = read(clip(NOISE, PixelSpacing=[1, 1], **values))
    assert isinstance(series.image, Sequence)
    np.testing.assert_allclose(series.image.positions, expected)
    assert problem in " ".join(series.problems)
    assert len(series.problems) == bool(problem)


def test_frame_times_of_an_enhanced_clip() -> None:
    groups = []
    for second in ("00.5", "01.0", "03.0", "04.0", "05.0", "06.25"):
        group, content = Dataset(), Dataset()
        content.FrameAcquisitionDateTime = f"202405061200{second}"
        group.FrameContentSequence = [content]
        groups.append(group)
    image = sequence(clip(NOISE, PerFrameFunctionalGroupsSequence=groups))
    assert image.positions == (0.0, 0.5, 2.5, 3.5, 4.5, 5.75)


def singles(**values: list[object]) -> list[Dataset]:
    """One dataset per frame, given in reverse order; ``values`` by frame."""
    out = []
    for k, frame in enumerate(NOISE):
        dataset = clip(frame[None], InstanceNumber=k + 1, SOPInstanceUID=f"1.2.{k}", PixelSpacing=[0.5, 0.25])
        for keyword, value in values.items():
            setattr(dataset, keyword, value[k])
        out.append(dataset)
    return out[::-1]


def test_single_frames_are_put_in_order_of_time() -> None:
    times = [f"20240506115959.{k}" for k in (0, 2, 4, 6, 8)] + ["20240506120000.5"]
    series = read(*singles(AcquisitionDateTime=times, InstanceNumber=[1, 2, 3, 4, 6, 5]))
    image = series.image
    assert isinstance(image, Sequence)
    np.testing.assert_array_equal(image.frames[:, 0], NOISE)
    np.testing.assert_allclose(image.positions, [0, 0.2, 0.4, 0.6, 0.8, 1.5])
    assert image.sop_instance_uids == tuple(f"1.2.{k}" for k in range(6))
    assert image.frame_numbers == (1,) * 6
    assert image.spacing_mm == (0.25, 0.5)
    assert series.problems == ()
    assert list(series.files) == list(image.sop_instance_uids)


def test_single_frames_by_content_time_across_midnight() -> None:
    dates = ["20240506"] * 3 + ["20240507"] * 3
    clock = ["235957", "235958", "235959", "000000", "000001", "000002.5"]
    image = sequence(*singles(ContentDate=dates, ContentTime=clock))
    np.testing.assert_allclose(image.positions, [0, 1, 2, 3, 4, 5.5])


def test_single_frames_of_one_time_stay_in_order_of_number_and_say_so() -> None:
    series = read(*singles(ContentTime=["120000"] * 6, ContentDate=["20240506"] * 6))
    assert isinstance(series.image, Sequence)
    np.testing.assert_array_equal(series.image.frames[:, 0], NOISE)
    assert "order of InstanceNumber" in series.problems[0]
    assert "30 per s assumed" in series.problems[1]


def test_clips_of_different_sizes_are_told_apart() -> None:
    one = clip(NOISE, InstanceNumber=2, SOPInstanceUID="1.2.1")
    other = clip(NOISE[:, :20], InstanceNumber=1, SOPInstanceUID="1.2.2")
    still = clip(NOISE[:1], InstanceNumber=3, SOPInstanceUID="1.2.3")
    assert [[d.SOPInstanceUID for d in c] for c in clips_of([one, other, still])] == [["1.2.2"], ["1.2.1"], ["1.2.3"]]
    series = read(one, other, still)
    assert isinstance(series.image, Sequence)
    assert series.image.frames.shape == (6, 1, 20, 60)
    assert "3 clips (60x20, 60x40 pixels); this is the first, instance 1.2.2" in series.problems[0]


@pytest.mark.parametrize(
    ("values", "spacing_mm", "problem"),
    [
        ({"SequenceOfUltrasoundRegions": [region(0, 0, 59, 39, 0.05)]}, (0.5, 0.5), ""),
        # a spectrum's "cm" are not those of the picture
        ({"SequenceOfUltrasoundRegions": [region(0, 0, 59, 39, 9, spatial=3, data_type=3)]}, (1, 1), "1 mm assumed"),
        ({"PixelSpacing": [0.3, 0.4]}, (0.4, 0.3), ""),
        ({"ImagerPixelSpacing": [0.3, 0.4]}, (0.4, 0.3), "at the detector"),
        ({"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 1.5}, (0.2, 0.2), ""),
        ({"NominalScannedPixelSpacing": [0.3, 0.3]}, (0.3, 0.3), "scanner"),
        ({"PixelAspectRatio": [2, 1]}, (1, 2), "1 mm assumed"),
        ({}, (1, 1), "1 mm assumed"),
        ({"PixelSpacing": [0, 0]}, (1, 1), "1 mm assumed"),
    ],
)
def test_pixel_size(values: dict[str, object], spacing_mm: tuple[float, float], problem: str) -> None:
    series = read(clip(NOISE, FrameTime=30, **values))
    assert isinstance(series.image, Sequence)
    np.testing.assert_allclose(series.image.spacing_mm, spacing_mm)
    assert problem in " ".join(series.problems)
    assert len(series.problems) == bool(problem)


def test_a_clip_with_a_place_in_the_patient_keeps_it() -> None:
    image = sequence(
        clip(NOISE, PixelSpacing=[2, 3], ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[5, 6, 7])
    )
    np.testing.assert_allclose(image.affine_lps @ [1, 1, 0, 1], [5, 6 + 3, 7 - 2, 1])
    np.testing.assert_allclose(image.affine_lps[:3, 2], [-1, 0, 0])


def in_colour(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=-1)


def test_grey_stored_as_colour_is_grey_again() -> None:
    phantom = cine(1, n_frames=6).image
    noisy = in_colour(phantom).astype(int) + np.random.default_rng(0).integers(-6, 7, (*phantom.shape, 3))
    picture = noisy.clip(0, 255).astype(np.uint8)
    picture[:, 2:9, 2:9] = (20, 20, 220)  # a logo
    image = sequence(clip(picture, FrameTime=30))
    assert image.channels == ("image",)
    assert image.frames.dtype == np.uint8
    assert np.abs(image.frames[:, 0, 20:].astype(int) - phantom[:, 20:]).max() <= 6


def test_doppler_and_endoscopy_stay_coloured() -> None:
    picture = in_colour(cine(1, n_frames=6).image)
    picture[2:4, 100:115, 150:170] = (230, 30, 20)  # flow in two frames, in 0.4% of the picture
    image = sequence(clip(picture, FrameTime=30))
    assert image.channels == COLOUR_CHANNELS
    assert image.channel_present == (True, True, True)
    np.testing.assert_array_equal(np.moveaxis(image.frames, 1, -1), picture)
    tissue = np.zeros((4, 50, 60, 3), np.uint8) + np.array([190, 90, 70], np.uint8)
    assert sequence(clip(tissue)).channels == COLOUR_CHANNELS


def test_to_grey() -> None:
    picture = np.zeros((2, 4, 4, 3), np.uint8)
    picture[0, ..., 0], picture[1, ..., 1] = 255, 255
    grey = to_grey(sequence(clip(picture)))
    assert grey.channels == ("image",)
    assert grey.frames.shape == (2, 1, 4, 4)
    assert grey.frames[:, 0, 0, 0].tolist() == [76, 150]
    assert to_grey(grey) is grey


def screen(seed: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """A phantom clip on an ultrasound system's screen: a heading, a ruler, a tool bar and a running counter.

    Returns the clip and the bounds (y0, y1, x0, x1) of what is not black in the phantom.
    """
    inner = cine(seed, n_frames=12).image
    full = np.zeros((12, 360, 480), np.uint8)
    full[:, 60:300, 90:410] = inner
    full[:, 10:14, 10:110] = 200
    full[:, 330:345, 20:460] = 60
    full[:, 70:290:20, 440:444] = 180
    full[:, 5:14, 300:309] = np.arange(12, dtype=np.uint8)[:, None, None] * 20
    rows, columns = (np.flatnonzero(inner.max(axis=(0, axis)) > 30) for axis in (2, 1))
    return full, (60 + rows[0], 61 + rows[-1], 90 + columns[0], 91 + columns[-1])


@pytest.mark.parametrize("seed", range(4))
def test_borders_are_found_by_what_moves(seed: int) -> None:
    frames, inner = screen(seed)
    found = content_of_pixels(frames)
    assert found is not None
    assert np.abs(np.array(found) - inner).max() <= 3, (found, inner)
    assert content_of_pixels(in_colour(frames)) == found
    assert sequence(clip(frames)).content_px == found


def test_a_picture_without_border_has_none() -> None:
    assert content_of_pixels(NOISE) is None
    assert content_of_pixels(np.zeros((3, 20, 20), np.uint8)) is None
    assert content_of_pixels(NOISE[:1]) is None


def test_a_still_loses_only_empty_margins() -> None:
    still = np.zeros((1, 50, 80), np.uint8)
    still[0, 10:40, 20:70] = NOISE[0, :30, :50] // 2 + 100
    assert content_of_pixels(still) == (10, 40, 20, 70)


def test_regions_tell_what_is_picture() -> None:
    regions = [
        region(20, 5, 49, 24, 0.05),
        region(40, 10, 53, 29, 0.05, data_type=2),
        region(0, 30, 59, 39, 1, spatial=3),
    ]
    assert content_of_regions(clip(NOISE, SequenceOfUltrasoundRegions=regions), 40, 60) == ((5, 30, 20, 54), 1)


def test_regions_of_a_larger_screen_are_scaled_with_their_pixel_size() -> None:
    series = read(clip(NOISE, FrameTime=30, SequenceOfUltrasoundRegions=[region(20, 10, 99, 69, 0.05)]))
    assert isinstance(series.image, Sequence)
    assert series.image.content_px == (5, 35, 10, 50)
    assert series.image.spacing_mm == (1.0, 1.0)
    assert "screen 2 times as large" in series.problems[0]


def test_absurd_regions_are_not_believed() -> None:
    for odd in (region(0, 0, 10**6, 10**6, 0.05), region(50, 5, 20, 9, 0.05)):
        assert content_of_regions(clip(NOISE, SequenceOfUltrasoundRegions=[odd]), 40, 60) == (None, 1)


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(InputError, match="got none"):
        read_cine([], {})
    broken = clip(NOISE)
    broken.PixelData = b"\0\0"
    with pytest.raises(InputError, match=r"instance 1\.2\.3"):
        read(broken)


def test_a_real_sonosite_clip(shared_data: Path) -> None:
    """SonoSite stores 320 x 240 pixels and leaves the regions in those of its 640 x 480 screen."""
    path = shared_data / "dicom" / "us_multiframe" / "examples_ybr_color.dcm"
    if not path.is_file():
        pytest.skip(f"no {path.name} in the real data")
    dataset = pydicom.dcmread(path)
    series = read_cine([dataset], {dataset.SOPInstanceUID: path})
    image = series.image
    assert isinstance(image, Sequence)
    assert image.frames.shape == (30, 1, 240, 320)
    assert image.positions[-1] == pytest.approx(29 * 0.033333)
    # The screen says 19 cm of depth, and the sector is 187 pixels deep.
    assert 187 * image.spacing_mm[1] == pytest.approx(190, abs=3)
    assert image.content_px == (15, 208, 42, 298)
    y0, y1, x0, x1 = image.content_px
    outside = image.frames[:, 0].astype(int)
    outside[:, y0:y1, x0:x1] = 0
    assert np.ptp(outside, axis=0).max() < 20  # there only JPEG flickers; the heart changes by up to 200
    found = content_of_pixels(image.frames[:, 0])
    assert found is not None
    assert y0 <= found[0] < found[1] <= y1
    assert x0 <= found[2] < found[3] <= x1
