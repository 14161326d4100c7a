# SPDX-License-Identifier: Apache-2.0
"""SEGs of other makers are read right, and those that cannot be are refused with a reason."""

import copy
import io
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SegmentationStorage, generate_uid

from lib.dicom import codes
from lib.dicom.seg import read_seg, seg_dataset
from lib.dicom.types import DicomSeries, SeriesFacts
from lib.types import InputError, Sequence, SequenceKind, Source
from tests.dicom.seg_cases import MODEL, changed_stack, dynamic_mr, enhanced_mr, mr_stack, random_mask, us_cine

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
LABELS = {"lesion": 1, "cyst": 2}


@pytest.fixture
def mr(tmp_path: Path) -> DicomSeries:
    return mr_stack(tmp_path / "mr")


@pytest.fixture
def mask() -> np.ndarray:
    return random_mask((5, 20, 24), (1, 2))


@pytest.fixture
def seg(mr: DicomSeries, mask: np.ndarray) -> Dataset:
    return seg_dataset(mask, LABELS, mr, MODEL, tag="final")


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def dcmjs_seg(mask: np.ndarray, labels: dict[str, int], series: DicomSeries) -> Dataset:
    """A SEG in the layout of dcmjs' Segmentation derivation, as OHIF 3.10's "SEG export" fills it.

    Frames from the highest slice down, one for each segment on each slice that has it; segments renumbered from 1 in
    the order of their values; the images' functional groups copied with their Rescale Intercept; no time stamps in
    segments, no algorithm for MANUAL, empty ContentCreatorName, dimension index of the slice that skips empty ones.
    """
    headers = [dcmread(series.files[uid], stop_before_pixels=True) for uid in series.image.sop_instance_uids]
    order = list(reversed(range(len(headers))))
    seg = Dataset()
    seg.file_meta = FileMetaDataset()
    seg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID = SegmentationStorage
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID = generate_uid(None)
    seg.is_little_endian, seg.is_implicit_VR = True, False
    seg.SeriesInstanceUID, seg.StudyInstanceUID = generate_uid(None), headers[0].StudyInstanceUID
    seg.Modality, seg.SegmentationType, seg.ContentLabel, seg.ContentCreatorName = "SEG", "BINARY", "SEGMENTATION", ""
    seg.ContentDate, seg.ContentTime, seg.SeriesDescription = "20240506", "070809", "Research Derived series"
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PixelRepresentation = 1, "MONOCHROME2", 0
    seg.Rows, seg.Columns = mask.shape[1:]
    seg.BitsAllocated, seg.BitsStored, seg.HighBit = 1, 1, 0
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=headers[0].ImageOrientationPatient)],
        PixelMeasuresSequence=[item(PixelSpacing=headers[0].PixelSpacing, SpacingBetweenSlices=5, SliceThickness=5)],
        PixelValueTransformationSequence=[item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="US")],
    )
    seg.SharedFunctionalGroupsSequence = [shared]
    seg.ReferencedSeriesSequence = [item(SeriesInstanceUID=headers[0].SeriesInstanceUID)]
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [
        item(ReferencedSOPClassUID=headers[t].SOPClassUID, ReferencedSOPInstanceUID=headers[t].SOPInstanceUID)
        for t in order
    ]
    tissue = item(CodeValue="T-D0050", CodingSchemeDesignator="SRT", CodeMeaning="Tissue")
    seg.SegmentSequence, seg.PerFrameFunctionalGroupsSequence, bits = [], [], []
    for number, (label, value) in enumerate(sorted(labels.items(), key=lambda pair: pair[1]), 1):
        seg.SegmentSequence.append(
            item(
                SegmentNumber=number,
                SegmentLabel=label,
                SegmentAlgorithmType="MANUAL",
                RecommendedDisplayCIELabValue=[43802, 26566, 37721],
                SegmentedPropertyCategoryCodeSequence=[tissue],
                SegmentedPropertyTypeCodeSequence=[tissue],
            )
        )
        for place, t in enumerate(order):
            if not (mask[t] == value).any():
                continue
            source = item(
                ReferencedSOPClassUID=headers[t].SOPClassUID, ReferencedSOPInstanceUID=headers[t].SOPInstanceUID
            )
            seg.PerFrameFunctionalGroupsSequence.append(
                item(
                    PlanePositionSequence=[item(ImagePositionPatient=headers[t].ImagePositionPatient)],
                    FrameContentSequence=[item(DimensionIndexValues=[number, place + 1])],
                    SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
                    DerivationImageSequence=[item(SourceImageSequence=[source])],
                )
            )
            bits.append(mask[t] == value)
    seg.NumberOfFrames = len(bits)
    data = np.packbits(np.array(bits).reshape(-1), bitorder="little").tobytes()
    seg.PixelData = data + b"\0" * (len(data) % 2)
    seg["PixelData"].VR = "OB"
    return seg


def test_ohif_export(mr, mask, tmp_path):
    path = tmp_path / "ohif.dcm"
    dcmjs_seg(mask, LABELS, mr).save_as(path, write_like_original=False)
    result = read_seg(path, mr)
    np.testing.assert_array_equal(result.mask, mask)
    assert result.labels == LABELS
    assert result.source == Source()
    assert (result.tag, result.created, result.problems) == ("", "2024-05-06T07:08:09", ())
    assert result.referenced_series_uid == mr.facts.series_instance_uid


def test_ohif_export_numbers_segments_anew(mr, mask):
    result = read_seg(dcmjs_seg(mask, {"lesion": 2}, mr), mr)
    assert result.labels == {"lesion": 1}
    np.testing.assert_array_equal(result.mask, mask == 2)


@pytest.mark.parametrize(
    "missing", ["SegmentNumber", "SegmentLabel", "SegmentAlgorithmType", "SegmentedPropertyTypeCodeSequence"]
)
def test_missing_fields_of_a_segment_are_made_good(missing, mr, mask):
    seg = dcmjs_seg(mask, LABELS, mr)
    for segment in seg.SegmentSequence:
        del segment[missing]
    for keyword in ("ContentLabel", "ContentDate", "ContentCreatorName", "ReferencedSeriesSequence"):
        del seg[keyword]
    result = read_seg(seg, mr)
    np.testing.assert_array_equal(result.mask, mask)
    assert sorted(result.labels.values()) == [1, 2]
    if missing == "SegmentLabel":
        assert list(result.labels) == ["segment 1", "segment 2"]
        assert result.problems == ("segment 1 has no label", "segment 2 has no label")


def test_label_used_twice_is_said(mr, mask):
    result = read_seg(dcmjs_seg(mask, {"lesion": 1, "lesion ": 2}, mr), mr)
    assert result.labels == {"lesion": 1, "lesion 2": 2}
    assert result.problems == ("segment 2 has the label of another (lesion)",)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("rows", [1, -1])
@pytest.mark.parametrize("columns", [1, -1])
@pytest.mark.parametrize("referenced", [True, False])
def test_rows_and_columns_may_run_the_other_way(transpose, rows, columns, referenced, mr, mask):
    seg = dcmjs_seg(mask, LABELS, mr)
    turned = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: seg.NumberOfFrames * 480]
    turned = turned.reshape(-1, 20, 24)[:, ::rows, ::columns]
    direction = np.array([[columns, 0, 0], [0, rows, 0]])
    spacing = [0.8, 0.9]
    if transpose:
        turned, direction, spacing = turned.transpose(0, 2, 1), direction[::-1], [0.9, 0.8]
        seg.Rows, seg.Columns = 24, 20
    data = np.packbits(np.ascontiguousarray(turned).reshape(-1), bitorder="little").tobytes()
    seg.PixelData = data + b"\0" * (len(data) % 2)
    seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[
        0
    ].ImageOrientationPatient = direction.ravel().tolist()
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = spacing
    for group in seg.PerFrameFunctionalGroupsSequence:
        x, y, z = map(float, group.PlanePositionSequence[0].ImagePositionPatient)
        corner = [x + (columns < 0) * 23 * 0.9, y + (rows < 0) * 19 * 0.8, z]
        group.PlanePositionSequence[0].ImagePositionPatient = corner
        if not referenced:
            del group.DerivationImageSequence
    np.testing.assert_array_equal(read_seg(seg, mr).mask, mask)


def test_highdicom_seg_without_references_is_placed_by_position(mr, mask):
    images = [dcmread(path) for path in mr.files.values()]
    described = [
        hd.seg.SegmentDescription(n, name, *codes.property_codes(name), "MANUAL") for name, n in LABELS.items()
    ]
    seg = hd.seg.Segmentation(
        images, mask, "BINARY", described, generate_uid(), 7, generate_uid(), 1, "A", "B", "1", "2",
        pixel_measures=hd.PixelMeasuresSequence([0.8, 0.9], 4.9),  # not those of the images: nothing is "preserved"
    )  # fmt: skip
    assert not seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    np.testing.assert_array_equal(read_seg(seg, mr).mask, mask)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_fractional_is_cut_at_one_half(syntax, mr):
    images = [dcmread(path) for path in mr.files.values()]
    share = np.random.default_rng(3).random((5, 20, 24))
    described = [hd.seg.SegmentDescription(1, "lesion", *codes.property_codes("lesion"), "MANUAL")]
    seg = hd.seg.Segmentation(
        images, share, "FRACTIONAL", described, generate_uid(), 7, generate_uid(), 1, "A", "B", "1", "2",
        max_fractional_value=200, transfer_syntax_uid=syntax,
    )  # fmt: skip
    np.testing.assert_array_equal(read_seg(seg, mr).mask, np.around(share * 200) >= 100)


def test_higher_number_wins_where_segments_overlap(mr, seg, mask):
    lesion = np.flatnonzero((mask == 1).any(axis=(1, 2)))[0]
    seg.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 2
    frame = mask[lesion] == 1
    both = copy.deepcopy(seg)
    both.PerFrameFunctionalGroupsSequence.append(copy.deepcopy(seg.PerFrameFunctionalGroupsSequence[0]))
    both.PerFrameFunctionalGroupsSequence[-1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: seg.NumberOfFrames * 480]
    both.NumberOfFrames = seg.NumberOfFrames + 1
    both.PixelData = np.packbits(np.append(bits, frame.reshape(-1)), bitorder="little").tobytes()
    result = read_seg(both, mr)
    assert (result.mask[lesion][frame] == 2).all()
    assert result.problems == (f"segments 1 and 2 overlap in {frame.sum()} pixels, which were given to segment 2",)


def test_images_that_are_gone_are_counted(mr, seg, tmp_path):
    path = tmp_path / "seg.dcm"
    seg.save_as(path, write_like_original=False)
    used = {g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for g in seg.PerFrameFunctionalGroupsSequence}  # fmt: skip
    image = mr.image
    keep = [t for t, uid in enumerate(image.sop_instance_uids) if uid != sorted(used)[0]]
    less = Sequence(
        image.frames[keep], SequenceKind.STACK, tuple(image.positions[t] for t in keep), image.spacing_mm,
        image.affine_lps, sop_instance_uids=tuple(image.sop_instance_uids[t] for t in keep),
        frame_numbers=(1,) * len(keep),
    )  # fmt: skip
    with pytest.raises(InputError, match=rf"seg\.dcm: 1 of the {len(used)} images it refers to are not in series"):
        read_seg(path, DicomSeries(less, mr.facts, mr.files))


def test_seg_of_another_series_is_refused(seg, tmp_path):
    other = changed_stack(tmp_path / "other", {"PatientID": "P2"})
    uids = tuple(generate_uid() for _ in other.image.sop_instance_uids)
    image = Sequence(
        other.image.frames, SequenceKind.STACK, other.image.positions, other.image.spacing_mm, other.image.affine_lps,
        sop_instance_uids=uids, frame_numbers=(1,) * 5,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"(\d) of the \1 images it refers to are not in series 1\.9"):
        read_seg(seg, DicomSeries(image, SeriesFacts(series_instance_uid="1.9"), {}))


def change_orientation(seg: Dataset) -> None:
    shared = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    shared.ImageOrientationPatient = [0.8, 0.6, 0, -0.6, 0.8, 0]


def change_position(seg: Dataset) -> None:
    seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [-100, -90.5, 12.5]


def swap_reference(seg: Dataset) -> None:
    first, *_, last = seg.PerFrameFunctionalGroupsSequence
    first.DerivationImageSequence = last.DerivationImageSequence
    first.PlanePositionSequence[0].ImagePositionPatient = [-100, -90.5, 10.25]
    last.PlanePositionSequence[0].ImagePositionPatient = [-100, -90.5, 10.25]


def change_spacing(seg: Dataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.4, 0.45]


def drop_reference_and_place(seg: Dataset) -> None:
    group = seg.PerFrameFunctionalGroupsSequence[0]
    del group.DerivationImageSequence, group.PlanePositionSequence


def change_size(seg: Dataset) -> None:
    seg.Rows, seg.Columns = 24, 20


def change_segment(seg: Dataset) -> None:
    seg.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


REFUSED = {
    change_orientation: "frame 1 is oblique to the images",
    change_position: "frame 1 lies where the series has no slice",
    swap_reference: "refers to one image and lies at the place of another",
    change_spacing: "has pixels of 0.4 x 0.45 mm, the series of 0.8 x 0.9 mm",
    drop_reference_and_place: "frame 1 does not say which one frame",
    change_size: r"frames of \(24, 20\) rows and columns, the series has \(20, 24\)",
    change_segment: "frame 1 is of segment 9, which is not described",
    (lambda seg: setattr(seg, "SegmentationType", "LABELMAP")): "type LABELMAP is not read",
    (lambda seg: setattr(seg, "SegmentSequence", [])): "describes no segments",
    (lambda seg: setattr(seg, "PixelData", seg.PixelData[:40])): "it was cut off or its header is wrong",
    (lambda seg: setattr(seg, "NumberOfFrames", 2)): "the pixel data has 2 frames, the header describes",
    (lambda seg: setattr(seg, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")): "not a DICOM Segmentation but CT Image",
    (lambda seg: seg.__delitem__("Rows")): "SEG .*Rows",
}


@pytest.mark.parametrize("change", REFUSED, ids=REFUSED.values())
def test_what_cannot_be_placed_is_refused(change, mr, seg):
    change(seg)
    with pytest.raises(InputError, match=REFUSED[change]):
        read_seg(seg, mr)


def test_position_at_several_times_needs_the_time(tmp_path):
    series = dynamic_mr(tmp_path)
    mask = random_mask((24, 9, 11), (1,))
    seg = seg_dataset(mask, {"lesion": 1}, series, MODEL, tag="final")
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    np.testing.assert_array_equal(read_seg(seg, series).mask, mask)
    del seg.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0].TemporalPositionIndex
    with pytest.raises(InputError, match="frame 1 does not say which one frame"):
        read_seg(seg, series)


def test_multi_frame_reference_without_frame_number_needs_a_place(tmp_path):
    for series, placed in ((enhanced_mr(tmp_path / "enhanced.dcm", 1), True), (us_cine(tmp_path), False)):
        mask = random_mask((len(series.image.positions), *series.image.frames.shape[2:]), (1,))
        seg = seg_dataset(mask, {"lesion": 1}, series, MODEL, tag="final")
        for group in seg.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        if placed:
            np.testing.assert_array_equal(read_seg(seg, series).mask, mask)
            continue
        with pytest.raises(InputError, match="does not say which one frame"):
            read_seg(seg, series)


def test_references_in_the_shared_groups(mr, seg, mask):
    images = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in seg.PerFrameFunctionalGroupsSequence]
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence, group.PlanePositionSequence
    seg.SharedFunctionalGroupsSequence[0].DerivationImageSequence = [item(SourceImageSequence=images)]
    np.testing.assert_array_equal(read_seg(seg, mr).mask, mask)


def test_values_can_be_those_of_a_model(mr, mask):
    result = read_seg(dcmjs_seg(mask, {"lesion": 1, "drawn anew": 2}, mr), mr).with_values({"cyst": 1, "lesion": 3})
    assert result.labels == {"lesion": 3, "drawn anew": 2}
    np.testing.assert_array_equal(result.mask, np.choose(mask, [0, 3, 2]))


def test_segments_without_any_frame_are_an_empty_mask(mr, seg):
    del seg.PixelData, seg.PerFrameFunctionalGroupsSequence
    result = read_seg(seg, mr)
    assert not result.mask.any()
    assert result.labels == LABELS


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_other_file_is_refused_by_name(mr):
    files = [path for path in PYDICOM_FILES.iterdir() if path.is_file()]
    assert len(files) > 50
    for path in files:
        with pytest.raises(InputError) as caught:
            read_seg(path, mr)
        assert path.name in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on the damage
def test_damaged_bytes_give_a_mask_or_a_reason(mr, seg):
    buffer = io.BytesIO()
    seg.save_as(buffer, write_like_original=False)
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    rng = np.random.default_rng(4)
    reasons: list[str] = []
    for _ in range(150):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
        end = len(whole) if rng.random() < 0.7 else int(rng.integers(0, len(whole)))
        path = Path(next(iter(mr.files.values()))).with_name("damaged.dcm")
        path.write_bytes(damaged[:end].tobytes())
        reasons += reason_of(path, mr)
    assert 20 < len(reasons) < 150
    assert all("damaged.dcm" in reason for reason in reasons)


def reason_of(path: Path, series: DicomSeries) -> list[str]:
    """Why the file was refused; nothing where it was read."""
    try:
        assert read_seg(path, series).mask.shape == (5, 20, 24)
    except InputError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("degrees", [2.5, 4.0])
def test_a_seg_that_is_turned_by_more_than_half_a_pixel_is_refused(tmp_path, degrees):
    """At 2.5 degrees the far corner of 64 pixels would lie 2.8 pixels off."""
    series = mr_stack(tmp_path / "mr", shape=(4, 64, 64))
    turned = seg_dataset(random_mask((4, 64, 64), (1,)), {"lesion": 1}, series, MODEL, tag="final")
    angle = np.deg2rad(degrees)
    plane = turned.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0]
    with pytest.raises(InputError):
        read_seg(turned, series)
