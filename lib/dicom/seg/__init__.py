# SPDX-License-Identifier: Apache-2.0
"""Masks as DICOM Segmentation (PS3.3 A.51): written here with highdicom's parts, read in read.py."""

from __future__ import annotations

import colorsys
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid
from skimage.color import rgb2lab

from ...types import InputError, Source
from .. import codes
from ..types import DicomSeries
from ..write import MANUFACTURER
from .frames import SourceFrames, add_functional_groups, add_references, mask_shape, read_source_frames
from .read import TAGS, UNUSED_SEGMENT, SegmentedMask, read_seg

__all__ = ["TAGS", "SegmentedMask", "display_cielab", "read_seg", "seg_dataset"]

SERIES_NUMBER = 900
"""Series Number of our SEGs unless another is given: far from the numbers scanners use."""
# Okabe and Ito's colours, which people who see colours differently can tell apart, vermilion first; then from Kelly's.
_COLOURS = (
    *("#D55E00", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "#0072B2", "#E69F00"),
    *("#875692", "#848482", "#8DB600", "#654522", "#BE0032"),
)


def seg_dataset(
    mask: npt.NDArray[np.integer[Any]],
    labels: dict[str, int],
    series: DicomSeries,
    source: Source,
    *,
    tag: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    series_number: int = SERIES_NUMBER,
    created: datetime | None = None,
) -> Dataset:
    """Write a mask as a BINARY SEG that refers to the frames of the series.

    The segment number is the value in the mask. Segment numbers must run from 1 without gaps (PS3.3 C.8.20.2), so a
    value that no label has gets a segment without pixels, which :func:`read_seg` leaves out again. An empty mask is a
    statement (looked, found nothing): it has one frame of zeros.

    Args:
        mask: Label values, (T, H, W) in the order of the series' frames; time points follow each other.
        labels: Value of each label, 1 to 255.
        series: The series that the mask is of; the headers of its files are read.
        source: A model, or a person (``author``), or both: a person who corrected a model.
        tag: ``final`` or ``original``.
        series_instance_uid: Of the SEG; a new one by default.
        sop_instance_uid: Of the SEG; a new one by default.
        series_number: Of the SEG.
        created: When the mask was made; now by default. A time with a zone is written in local time.

    Raises:
        InputError: If mask, labels or tag do not fit, or a file of the series cannot be read.
    """
    present = _check(mask, labels, series, tag)
    frames = read_source_frames(series)
    # where there are pixels, or one frame of an empty mask
    written = [(value, t) for value in sorted(labels.values()) for t, there in enumerate(present) if value in there]
    written = written or [(min(labels.values()), 0)]
    dataset = _new_seg(frames.header, series_instance_uid, sop_instance_uid, series_number)
    _describe(dataset, frames, source, tag, created or datetime.now())
    dataset.SegmentSequence = [_segment(number, labels, source) for number in range(1, max(labels.values()) + 1)]
    add_references(dataset, frames)
    add_functional_groups(dataset, frames, series, written)
    _add_pixels(dataset, mask, written)
    return dataset


def _check(mask: npt.NDArray[Any], labels: dict[str, int], series: DicomSeries, tag: str) -> list[set[int]]:
    """Check the arguments.

    Returns:
        The values in each frame of the mask.
    """
    if tag not in TAGS:
        raise InputError(f"the tag of a mask is one of {', '.join(TAGS)}, not {tag!r}")
    if mask.shape != mask_shape(series.image) or mask.dtype.kind not in "bui":
        raise InputError(
            f"the mask has shape {mask.shape} of {mask.dtype}; the series needs whole numbers of shape "
            f"{mask_shape(series.image)} (frames, rows, columns)"
        )
    values = list(labels.values())
    if not values or len(set(values)) < len(values) or not all(1 <= value <= 255 for value in values):
        raise InputError(f"a mask needs labels with values of their own from 1 to 255, got {labels}")
    for name in labels:
        if not name.strip() or name != name.strip() or len(name) > 64 or "\\" in name or not name.isprintable():
            raise InputError(f"label {name!r}: a DICOM segment label has 1 to 64 characters and no backslash")
    present = [_values_in(frame) for frame in mask]
    if unknown := sorted(set().union(*present) - {0, *values}):
        raise InputError(f"the mask has values {unknown} that no label has ({labels})")
    return present


def _values_in(frame: npt.NDArray[Any]) -> set[int]:
    """Distinct values; for bytes by counting, which is many times faster than sorting."""
    if frame.dtype.itemsize == 1 and frame.dtype.kind in "bu":
        return set(np.flatnonzero(np.bincount(frame.reshape(-1), minlength=1)).tolist())
    return set(np.unique(frame).tolist())


def _new_seg(header: Dataset, series_uid: str | None, instance_uid: str | None, series_number: int) -> Dataset:
    """Patient, study, series, equipment and SOP common modules (PS3.3 C.7.1 to C.7.5, C.12.1)."""
    dataset = hd.base.SOPClass(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=series_uid or generate_uid(prefix=None),
        series_number=series_number,
        sop_instance_uid=instance_uid or generate_uid(prefix=None),
        sop_class_uid=SegmentationStorage,
        instance_number=1,
        modality="SEG",
        manufacturer=MANUFACTURER,
        manufacturer_model_name=codes.MODEL_NAME,
        software_versions=codes.software_version(),
        device_serial_number=codes.DEVICE_SERIAL_NUMBER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    dataset.SpecificCharacterSet = "ISO_IR 192"
    # highdicom copies what the SOP class of the source has of these modules, and knows no private classes; what is
    # empty is left out, for it is allowed in type 2 elements only, and those are there already
    subject = Dataset()
    subject.update({element.tag: element for element in header if not element.is_empty and not element.tag.is_private})
    subject.SOPClassUID = SegmentationStorage
    dataset.copy_patient_and_study_information(subject)
    return dataset


def _describe(dataset: Dataset, frames: SourceFrames, source: Source, tag: str, created: datetime) -> None:
    """Segmentation Image and content identification (PS3.3 C.8.20.2, 10.9), but for segments and frames."""
    if created.tzinfo is not None:
        created = created.astimezone().replace(tzinfo=None)
    header = frames.header
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S.%f")
    dataset.SeriesDate, dataset.SeriesTime = dataset.ContentDate, dataset.ContentTime = date, time
    maker = source.model or "manual"
    dataset.SeriesDescription = f"LesionLoop {maker[: 64 - len(f'LesionLoop  ({tag})')]} ({tag})"
    dataset.ContentLabel, dataset.ContentDescription = tag.upper(), dataset.SeriesDescription
    dataset.ContentCreatorName = codes.person_name(source.author)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SegmentationType, dataset.SegmentsOverlap = "BINARY", "NO"
    dataset.LossyImageCompression = header.get("LossyImageCompression") or "00"
    if not frames.has_geometry:  # PatientOrientation is type 2C in General Image (PS3.3 C.7.6.1)
        dataset.PatientOrientation = header.get("PatientOrientation") or ""
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod", "BodyPartExamined"):
        if keyword in header:
            dataset[keyword] = header[keyword]


def _segment(number: int, labels: dict[str, int], source: Source) -> Dataset:
    name = next((name for name, value in labels.items() if value == number), f"{UNUSED_SEGMENT} {number}")
    category, kind = codes.property_codes(name)
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=codes.algorithm_type(source),
        algorithm_identification=codes.algorithm_identification(source),
    )
    segment.RecommendedDisplayCIELabValue = display_cielab(number)
    return segment


def display_cielab(value: int) -> list[int]:
    """Colour of a label value as DICOM CIELab (PS3.3 C.10.7.1.1).

    The white is D65, not the D50 of the ICC profile connection space: so do dcmjs (OHIF), dcmqi and Slicer.
    """
    if value <= len(_COLOURS):
        hexes = _COLOURS[value - 1]
        rgb = tuple(int(hexes[i : i + 2], 16) / 255 for i in (1, 3, 5))
    else:
        rgb = colorsys.hsv_to_rgb(value * 0.618034 % 1, 0.55 + 0.15 * (value % 4), 0.95)
    lightness, a, b = (float(v) for v in rgb2lab(np.array([[rgb]]))[0, 0])
    return [round(lightness / 100 * 65535), round((a + 128) / 255 * 65535), round((b + 128) / 255 * 65535)]


def _add_pixels(dataset: Dataset, mask: npt.NDArray[Any], written: list[tuple[int, int]]) -> None:
    """Image Pixel (PS3.3 C.7.6.3): one bit a pixel, first pixel in the lowest bit, frames without padding."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.NumberOfFrames = len(written)
    dataset.Rows, dataset.Columns = mask.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    bits = np.empty((len(written), *mask.shape[1:]), bool)
    for index, (value, t) in enumerate(written):
        np.equal(mask[t], value, out=bits[index])
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB"
