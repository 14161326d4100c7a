# SPDX-License-Identifier: Apache-2.0
"""Open DICOM files, tell images from other objects, and read single header values without surprises."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, MediaStorageDirectoryStorage, RTDoseStorage, SegmentationStorage

from ..types import InputError

# They have pixels, but the pixels are a result (a mask, a dose), not an image to look for lesions in.
# The last is Label Map Segmentation Storage, newer than pydicom's dictionary.
_RESULTS_WITH_PIXELS = (SegmentationStorage, RTDoseStorage, "1.2.840.10008.5.1.4.1.1.66.7")
_PREFIX_AT = 128
_SHOWN = 6


class NotDicomError(InputError):
    """The file is not DICOM at all."""


def read_file(path: Path, keywords: Iterable[str] | None = None) -> Dataset:
    """Read a DICOM file (PS3.10), also one without preamble and file meta information.

    Args:
        path: The file.
        keywords: Read these elements only, and no pixels; None for all.

    Raises:
        NotDicomError: If the file does not begin like DICOM, or is a DICOMDIR.
        InputError: If it cannot be read; the message names the file.
    """
    tags = None if keywords is None else list(keywords)
    try:
        force = not _has_prefix(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        dataset = dcmread(path, force=force, stop_before_pixels=tags is not None, specific_tags=tags)
    except Exception as error:  # the parser raises whatever the bytes make it raise
        raise InputError(f"{path}: damaged DICOM file ({type(error).__name__}: {error}): export it again") from error
    if getattr(dataset, "file_meta", Dataset()).get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise NotDicomError(f"{path}: a DICOMDIR, the index of a medium: give the files it lists")
    return dataset


def _has_prefix(path: Path) -> bool:
    """Whether the file has the DICM prefix; without it the first element must be of group 2 or 8."""
    with path.open("rb") as file:
        head = file.read(_PREFIX_AT + 4)
    if head[_PREFIX_AT:] == b"DICM":
        return True
    if head[:2] in (b"\x02\0", b"\x08\0") or head[:2] == b"\0\x08":
        return False
    raise NotDicomError(f"{path}: not a DICOM file")


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def raw_of(dataset: Dataset, keyword: str) -> Any:
    """Value of an element as it is in memory: bytes unless something has looked at it; None if it is missing.

    pydicom's own access validates and converts, which takes more time than reading the pixels.
    """
    element = dataset.get_item(_tag(keyword))
    return None if element is None else element.value


def text_of(dataset: Dataset, keyword: str) -> str:
    """Value of an element that holds ASCII text, such as a UID or a number in letters; "" if it is missing."""
    value = raw_of(dataset, keyword)
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    return "" if value is None else str(value).strip()


def whole_of(dataset: Dataset, keyword: str) -> int | None:
    """Value of an unsigned short; None if it is missing or anything else."""
    element = dataset.get_item(_tag(keyword))
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return int.from_bytes(value, "little" if element.is_little_endian else "big") if len(value) == 2 else None
    return value if isinstance(value, int) else None


def decimals_of(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Values of an element that holds numbers in letters; None if they are not ``count`` finite numbers."""
    value = raw_of(dataset, keyword)
    return numbers_in(value.split(b"\\") if isinstance(value, bytes) else value, count)


def numbers_in(value: Any, count: int) -> tuple[float, ...] | None:
    """An element's value as ``count`` finite numbers; None if it holds anything else."""
    values = [value] if isinstance(value, int | float | str) else value
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def number_in(value: Any) -> float | None:
    """An element's value as one finite number; None if it holds anything else."""
    numbers = numbers_in(value, 1)
    return numbers[0] if numbers else None


def is_image(dataset: Dataset) -> bool:
    """Whether an instance is an image, not a report, a mask, a dose, a curve or a presentation state."""
    return text_of(dataset, "SOPClassUID") not in _RESULTS_WITH_PIXELS and raw_of(dataset, "Rows") not in (
        None,
        b"",
        "",
    )


def object_name(dataset: Dataset) -> str:
    """What kind of DICOM object an instance is, e.g. "Basic Text SR Storage"."""
    uid = text_of(dataset, "SOPClassUID")
    return str(UID(uid).name) if uid else "an object without SOP class"


def frame_count(dataset: Dataset) -> int:
    """Number of Frames (0028,0008); 1 where it is missing.

    Raises:
        InputError: If it is not a whole number above 0.
    """
    text = text_of(dataset, "NumberOfFrames") or "1"
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"Number of Frames is {text!r}")
    return int(text)


def shortened(parts: list[str]) -> str:
    """The first parts, and how many more there are."""
    more = f", and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more
