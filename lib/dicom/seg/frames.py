# SPDX-License-Identifier: Apache-2.0
"""The frames a SEG is drawn on, and its functional groups (PS3.3 A.51.5, C.7.6.16).

highdicom's ``Segmentation`` writes these for single-frame images and for one enhanced multi-frame image. It refuses
frames without a frame of reference (ultrasound cines), frames at one place at several times (contrast series) and
several multi-frame images, so they are written here, the same way for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from ...types import InputError, Sequence, SequenceKind, VolumeSeries, volumes_of
from ..types import DicomSeries
from ..write import derived_uid

_IDENTITY = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
_FRAME_TAGS = [
    *_IDENTITY,
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


@dataclass(frozen=True)
class SourceFrame:
    """A frame of the series.

    Attributes:
        sop_class_uid: Of its instance.
        sop_instance_uid: Of its instance.
        series_instance_uid: Of its instance.
        frame_number: Within a multi-frame instance, from 1; None in a single-frame one.
        position: Image Position (Patient), None without geometry.
        orientation: Image Orientation (Patient), None without geometry.
        time: Number of the time point, from 1; None where the frames are slices of one volume.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    frame_number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    time: int | None


@dataclass(frozen=True)
class SourceFrames:
    """The series as a SEG refers to it: the header of its first instance and all its frames in order."""

    header: Dataset
    frames: tuple[SourceFrame, ...]

    @property
    def has_geometry(self) -> bool:
        """Whether every frame says where in the patient it lies."""
        return all(f.position is not None and f.orientation is not None for f in self.frames)


def mask_shape(image: Sequence | VolumeSeries) -> tuple[int, int, int]:
    """Shape (T, H, W) of a mask of the image; the volumes of a contrast series follow each other.

    Raises:
        InputError: If the volumes differ in their rows and columns.
    """
    volumes = volumes_of(image)
    sizes = {volume.frames.shape[2:] for volume in volumes}
    if len(sizes) > 1:
        raise InputError(f"the time points differ in size ({sorted(sizes)} rows x columns): a SEG needs one")
    rows, columns = sizes.pop()
    return sum(len(volume.positions) for volume in volumes), rows, columns


def read_source_frames(series: DicomSeries) -> SourceFrames:
    """Read the headers of the series' files.

    Raises:
        InputError: If the series has no DICOM frames, or a file is gone or damaged.
    """
    headers: dict[str, Dataset] = {}
    frames: list[SourceFrame] = []
    first: Dataset | None = None
    several = isinstance(series.image, VolumeSeries)
    for number, volume in enumerate(volumes_of(series.image), 1):
        for index, (uid, frame) in enumerate(zip(volume.sop_instance_uids, volume.frame_numbers, strict=True), 1):
            if uid not in headers:
                headers[uid] = _read_header(series, uid, whole=first is None)
                first = first if first is not None else headers[uid]
            time = number if several else None if volume.kind is SequenceKind.STACK else index
            frames.append(_source_frame(headers[uid], frame, time))
    if first is None:
        raise InputError("a DICOM SEG refers to DICOM frames, and this image has none")
    if len({header.StudyInstanceUID for header in headers.values()}) > 1:
        raise InputError("the frames are of several studies, and a DICOM SEG is of one: write one for each visit")
    return SourceFrames(first, tuple(frames))


def _read_header(series: DicomSeries, uid: str, whole: bool) -> Dataset:
    path = series.files.get(uid)
    if path is None:
        raise InputError(f"series {series.facts.series_instance_uid}: the file of image {uid} is not known")
    try:
        header = dcmread(Path(path), stop_before_pixels=True, specific_tags=None if whole else _FRAME_TAGS)
    except (OSError, InvalidDicomError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: cannot be read any more ({error}); read the series again") from error
    if missing := [keyword for keyword in _IDENTITY if not header.get(keyword)]:
        raise InputError(f"{path}: has no {', '.join(missing)}, so no SEG can refer to it")
    return header


def _source_frame(header: Dataset, number: int, time: int | None) -> SourceFrame:
    return SourceFrame(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        frame_number=number if "NumberOfFrames" in header else None,
        position=_numbers(frame_value(header, number, "PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=_numbers(frame_value(header, number, "PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        time=time,
    )


def frame_value(dataset: Dataset, number: int, macro: str, keyword: str) -> Any:
    """Value of one frame: from its functional groups, the shared ones, or the header itself; None without."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups, index in ((per_frame, number - 1), (shared, 0)):
        items = groups[index].get(macro) if index < len(groups) else None
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return dataset.get(keyword)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None or isinstance(value, str | float | int) or len(value) != count:
        return None
    return tuple(float(v) for v in value)


def add_references(dataset: Dataset, source: SourceFrames) -> None:
    """Common Instance Reference (PS3.3 C.12.2): every image that was looked at, with a lesion or without."""
    series: dict[str, dict[str, Dataset]] = {}
    for frame in source.frames:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
        series.setdefault(frame.series_instance_uid, {})[frame.sop_instance_uid] = item
    dataset.ReferencedSeriesSequence = []
    for uid, images in series.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, list(images.values())
        dataset.ReferencedSeriesSequence.append(item)


def add_functional_groups(
    dataset: Dataset, source: SourceFrames, series: DicomSeries, written: list[tuple[int, int]]
) -> None:
    """Add the dimensions and the shared and per-frame functional groups.

    Args:
        dataset: The SEG; its Pixel Data holds the frames ``written``.
        source: The frames it is drawn on.
        series: For the spacing where the headers have none.
        written: (segment number, index of the source frame) of each frame of the SEG.
    """
    frames = {t: source.frames[t] for _, t in written}
    dimensions: dict[str, dict[int, int]] = {}
    shared = Dataset()
    orientation_per_frame = False
    if any(frame.time is not None for frame in source.frames) or not source.has_geometry:
        # the index of this dimension is the attribute itself (PS3.3 C.7.6.17.1)
        dimensions["TemporalPositionIndex"] = {t: frame.time or t + 1 for t, frame in frames.items()}
    if source.has_geometry:
        dimensions["ImagePositionPatient"] = _ranks({t: _along_normal(frame) for t, frame in frames.items()})
        _add_frame_of_reference(dataset, source.header)
        shared.PixelMeasuresSequence = [_pixel_measures(source.header, series)]
        orientation_per_frame = len({frame.orientation for frame in source.frames}) > 1
        if not orientation_per_frame:
            shared.PlaneOrientationSequence = [_orientation(source.frames[0])]
    _add_dimensions(dataset, ["ReferencedSegmentNumber", *dimensions])
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for segment, t in written:
        group = _frame_group(segment, frames[t], {name: values[t] for name, values in dimensions.items()})
        if orientation_per_frame:
            group.PlaneOrientationSequence = [_orientation(frames[t])]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups


def _frame_group(segment: int, frame: SourceFrame, index_values: dict[str, int]) -> Dataset:
    """Functional groups of one frame of the SEG; ``index_values`` are those of the dimensions after the segment."""
    group, content, identification = Dataset(), Dataset(), Dataset()
    group.DerivationImageSequence = [_derivation(frame)]
    content.DimensionIndexValues = [segment, *index_values.values()]
    if "TemporalPositionIndex" in index_values:
        content.TemporalPositionIndex = index_values["TemporalPositionIndex"]
    group.FrameContentSequence = [content]
    if "ImagePositionPatient" in index_values:
        group.PlanePositionSequence = [_position(frame)]
    identification.ReferencedSegmentNumber = segment
    group.SegmentIdentificationSequence = [identification]
    return group


def _ranks(keys: dict[int, Any]) -> dict[int, int]:
    """Index values of a dimension: from 1, without gaps, equal for equal keys (PS3.3 C.7.6.17.1)."""
    order = {key: rank for rank, key in enumerate(sorted(set(keys.values())), 1)}
    return {t: order[key] for t, key in keys.items()}


def _along_normal(frame: SourceFrame) -> tuple[float, ...]:
    """Sort key: distance along the normal, then the position itself."""
    assert frame.position is not None
    assert frame.orientation is not None
    normal = np.cross(frame.orientation[:3], frame.orientation[3:])
    return (round(float(normal @ np.asarray(frame.position)), 4), *frame.position)


def _add_frame_of_reference(dataset: Dataset, header: Dataset) -> None:
    """Frame of Reference (PS3.3 C.7.4.1); a series that names none is its own."""
    uid = header.get("FrameOfReferenceUID")
    dataset.FrameOfReferenceUID = uid or derived_uid(header.SeriesInstanceUID, "frame of reference")
    dataset.PositionReferenceIndicator = header.get("PositionReferenceIndicator") or ""


def _add_dimensions(dataset: Dataset, pointers: Iterable[str]) -> None:
    """Multi-frame Dimension (PS3.3 C.7.6.17)."""
    groups = {
        "ReferencedSegmentNumber": "SegmentIdentificationSequence",
        "TemporalPositionIndex": "FrameContentSequence",
        "ImagePositionPatient": "PlanePositionSequence",
    }
    organization = Dataset()
    organization.DimensionOrganizationUID = derived_uid(dataset.SOPInstanceUID, "dimensions")
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = DicomSequence()
    for pointer in pointers:
        item = Dataset()
        item.DimensionOrganizationUID = organization.DimensionOrganizationUID
        item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(pointer), Tag(groups[pointer])
        item.DimensionDescriptionLabel = pointer
        dataset.DimensionIndexSequence.append(item)


def _pixel_measures(header: Dataset, series: DicomSeries) -> Dataset:
    """Pixel Measures Macro (PS3.3 C.7.6.16.2.1); the slice spacing only where there is one for all slices."""
    first = volumes_of(series.image)[0]
    measures = Dataset()
    spacing = _numbers(frame_value(header, 1, "PixelMeasuresSequence", "PixelSpacing"), 2)
    measures.PixelSpacing = [_ds(v) for v in spacing or (first.spacing_mm[1], first.spacing_mm[0])]
    gap = float(first.positions[1] - first.positions[0]) if len(first.positions) > 1 else 0.0
    even = first.kind is SequenceKind.STACK and first.origins_lps_mm is None and gap > 0
    thickness = frame_value(header, 1, "PixelMeasuresSequence", "SliceThickness")
    if thickness or even:
        measures.SliceThickness = _ds(float(thickness or gap))
    if even:
        measures.SpacingBetweenSlices = _ds(gap)
    return measures


def _orientation(frame: SourceFrame) -> Dataset:
    item = Dataset()
    item.ImageOrientationPatient = [_ds(v) for v in frame.orientation or ()]
    return item


def _position(frame: SourceFrame) -> Dataset:
    item = Dataset()
    item.ImagePositionPatient = [_ds(v) for v in frame.position or ()]
    return item


def _derivation(frame: SourceFrame) -> Dataset:
    """Derivation Image Macro (PS3.3 C.7.6.16.2.6): the frame that these pixels are of."""
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
    if frame.frame_number is not None:
        image.ReferencedFrameNumber = frame.frame_number
    image.PurposeOfReferenceCodeSequence = [_code(codes.cid7202.SourceImageForImageProcessingOperation)]
    image.SpatialLocationsPreserved = "YES"
    item = Dataset()
    item.DerivationCodeSequence = [_code(codes.cid7203.Segmentation)]
    item.SourceImageSequence = [image]
    return item


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _ds(value: float) -> str:
    """A Decimal String of at most 16 characters (PS3.5 6.2), as precise as fits."""
    for digits in range(16, 5, -1):
        if len(text := f"{value:.{digits}g}") <= 16:
            return text
    return f"{value:.5g}"
