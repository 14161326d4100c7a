# SPDX-License-Identifier: Apache-2.0
"""Read the DICOM Segmentation (PS3.3 A.51) of a series, whoever wrote it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from ...types import InputError, MaskArray, Source
from ..codes import read_algorithm
from ..pixels import frames_of, pixel_format
from ..types import DicomSeries
from .frames import mask_shape
from .match import Matcher

TAGS = ("final", "original")
UNUSED_SEGMENT = "unused segment"
"""Label of a segment that only fills a gap in the segment numbers; its number follows."""


@dataclass(frozen=True)
class SegmentedMask:
    """A mask as a SEG holds it.

    Attributes:
        mask: Label values, (T, H, W) in the order of the series' frames; time points follow each other.
        labels: Value in the mask of each label, with or without pixels.
        source: The model or person that made it.
        created: ISO 8601 content date and time; "" where the file has none.
        sop_instance_uid: Of the SEG.
        series_instance_uid: Of the SEG.
        referenced_series_uid: Of the series it is of, as the SEG says.
        tag: ``final`` or ``original``; "" in a SEG of another maker.
        problems: What was noticed in reading and what was done about it, a sentence each.
    """

    mask: MaskArray
    labels: dict[str, int]
    source: Source
    created: str
    sop_instance_uid: str
    series_instance_uid: str
    referenced_series_uid: str
    tag: str = ""
    problems: tuple[str, ...] = ()

    def with_values(self, labels: dict[str, int]) -> SegmentedMask:
        """The same mask with the values that ``labels`` has for these names: OHIF numbers segments anew.

        Names that ``labels`` does not have get the lowest numbers that are free.
        """
        free = (value for value in range(1, 256) if value not in labels.values())
        values = {name: labels[name] if name in labels else next(free) for name in self.labels}
        table = np.zeros(256, np.uint8)
        table[list(self.labels.values())] = list(values.values())
        return replace(self, mask=table[self.mask], labels=values)


def read_seg(source: Dataset | str | Path, series: DicomSeries) -> SegmentedMask:
    """Read the SEG of a series into a mask: ours, dcmqi's, highdicom's, dcmjs' (OHIF's export).

    Frames are matched by the image they refer to, else by where they lie. A FRACTIONAL SEG is cut at one half. Where
    segments overlap the higher number wins.

    Args:
        source: The file, or the dataset.
        series: The series that the SEG is of.

    Raises:
        InputError: If it is no SEG, is damaged, refers to images that are not in the series, or does not lie in the
            planes of the series. The message names the file.
    """
    dataset, name = _load(source)
    try:
        return _read(dataset, series, name)
    except InputError:
        raise
    except Exception as error:  # a damaged element raises anything when it is first looked at
        raise InputError(f"{name}: damaged or not standard: {type(error).__name__}: {error}") from error


def _read(dataset: Dataset, series: DicomSeries, name: str) -> SegmentedMask:
    problems: list[str] = []
    segments = _segments(dataset, name)
    pixels = _pixels(dataset, name)
    numbers = [_segment_number(dataset, index, segments, name) for index in range(len(pixels))]
    mask = _draw(dataset, series, name, pixels, numbers, problems)
    labels = _labels(segments, set(numbers), problems)
    first = next(iter(segments.values()), Dataset())
    references = dataset.get("ReferencedSeriesSequence") or [Dataset()]
    tag = str(dataset.get("ContentLabel", "") or "").lower()
    author = str(dataset.get("ContentCreatorName", "") or dataset.get("OperatorsName", "") or "")
    return SegmentedMask(
        mask=mask,
        labels=labels,
        source=read_algorithm(first, author),
        created=_created(dataset),
        sop_instance_uid=str(dataset.get("SOPInstanceUID", "")),
        series_instance_uid=str(dataset.get("SeriesInstanceUID", "")),
        referenced_series_uid=str(references[0].get("SeriesInstanceUID", "")),
        tag=tag if tag in TAGS else "",
        problems=tuple(problems),
    )


def _load(source: Dataset | str | Path) -> tuple[Dataset, str]:
    """The dataset, and what to call it in messages."""
    if isinstance(source, Dataset):
        file = getattr(source, "filename", None)
        dataset, name = source, file if isinstance(file, str) else f"SEG {source.get('SOPInstanceUID', 'without UID')}"
    else:
        name = str(source)
        try:
            dataset = dcmread(source)
        except (OSError, InvalidDicomError, ValueError, NotImplementedError, EOFError) as error:
            raise InputError(f"{name}: cannot be read as DICOM: {error}") from error
    if dataset.get("SOPClassUID") != SegmentationStorage:
        kind = getattr(dataset.get("SOPClassUID"), "name", "an object without SOP Class UID")
        raise InputError(f"{name}: not a DICOM Segmentation but {kind}")
    return dataset, name


def _segments(dataset: Dataset, name: str) -> dict[int, Dataset]:
    """Items of the Segment Sequence by segment number."""
    segments: dict[int, Dataset] = {}
    for position, item in enumerate(dataset.get("SegmentSequence") or [], 1):
        number = int(item.get("SegmentNumber") or position)
        if not 1 <= number <= 255 or number in segments:
            raise InputError(f"{name}: segment numbers must differ and lie in 1 to 255; found {number}")
        segments[number] = item
    if not segments:
        raise InputError(f"{name}: describes no segments")
    return segments


def _pixels(dataset: Dataset, name: str) -> npt.NDArray[np.bool_]:
    """Whether each pixel belongs to its frame's segment, (frames, rows, columns)."""
    kind = dataset.get("SegmentationType", "BINARY")
    if kind not in ("BINARY", "FRACTIONAL"):
        raise InputError(f"{name}: a SEG of type {kind} is not read, only BINARY and FRACTIONAL")
    groups = len(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if not groups and not dataset.get("PixelData"):  # segments without any frame
        return np.zeros((0, 1, 1), bool)
    try:
        form = replace(pixel_format(dataset), photometric="MONOCHROME2")
        # only the pixel module: dcmjs copies the images' Rescale Intercept into the SEG, where it means nothing
        stored = frames_of(form.module(dataset.PixelData))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if len(stored) != groups:
        raise InputError(f"{name}: the pixel data has {len(stored)} frames, the header describes {groups}")
    if kind == "BINARY":
        return np.asarray(stored != 0)
    return np.asarray(stored >= 0.5 * float(dataset.get("MaximumFractionalValue") or 255))


def _segment_number(dataset: Dataset, index: int, segments: dict[int, Dataset], name: str) -> int:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for group in (dataset.PerFrameFunctionalGroupsSequence[index], shared):
        items = group.get("SegmentIdentificationSequence")
        if items and items[0].get("ReferencedSegmentNumber") is not None:
            number = int(items[0].ReferencedSegmentNumber)
            if number in segments:
                return number
            raise InputError(f"{name}: frame {index + 1} is of segment {number}, which is not described")
    if len(segments) == 1:
        return min(segments)
    raise InputError(f"{name}: frame {index + 1} does not say which segment it is of")


def _draw(
    dataset: Dataset,
    series: DicomSeries,
    name: str,
    pixels: npt.NDArray[np.bool_],
    numbers: list[int],
    problems: list[str],
) -> MaskArray:
    """The mask, lower segment numbers first."""
    places = Matcher(dataset, series, name).placements(len(pixels))
    mask = np.zeros(mask_shape(series.image), np.uint8)
    overlaps: dict[tuple[int, int], int] = {}
    for index in sorted(range(len(pixels)), key=numbers.__getitem__):
        number, frame = numbers[index], places[index].apply(pixels[index])
        target = mask[places[index].index]
        if frame.shape != target.shape:
            raise InputError(
                f"{name}: frames of {frame.shape} rows and columns, the series has {target.shape}; resample the SEG"
            )
        for under in np.unique(target[frame & (target != 0) & (target != number)]):
            pair = int(under), number
            overlaps[pair] = overlaps.get(pair, 0) + int(np.count_nonzero(frame & (target == under)))
        target[frame] = number
    problems += [
        f"segments {low} and {high} overlap in {count} pixels, which were given to segment {high}"
        for (low, high), count in sorted(overlaps.items())
    ]
    return mask


def _labels(segments: dict[int, Dataset], drawn: set[int], problems: list[str]) -> dict[str, int]:
    """Value of each label; names that are missing or used twice get the segment's number."""
    labels: dict[str, int] = {}
    for number, item in segments.items():
        label = str(item.get("SegmentLabel", "") or "").strip()
        if label == f"{UNUSED_SEGMENT} {number}" and number not in drawn:
            continue
        if not label or label in labels:
            problems.append(f"segment {number} has {'no label' if not label else f'the label of another ({label})'}")
            label = f"{label or 'segment'} {number}"
        while label in labels:
            label += "'"
        labels[label] = number
    return labels


def _created(dataset: Dataset) -> str:
    """Content date and time as ISO 8601; the date alone where the time is damaged."""
    date, time = (str(dataset.get(keyword) or "") for keyword in ("ContentDate", "ContentTime"))
    if not re.fullmatch(r"\d{8}", date):
        return ""
    for text, form in ((f"{date}{time}", "%Y%m%d%H%M%S.%f"), (f"{date}{time}", "%Y%m%d%H%M%S"), (date, "%Y%m%d")):
        try:
            return datetime.strptime(text, form).isoformat()
        except ValueError:
            continue
    return ""
