# SPDX-License-Identifier: Apache-2.0
"""What must hold of a DICOM file before it is stored: its UIDs are well formed, and all of it is there."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import requests
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_file_meta_info, read_partial
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from ..types import InputError
from .headers import UNDEFINED_LENGTH, Header, read_header

MAX_INFLATED_BYTES = 512 << 20
"""A deflated dataset that becomes larger is refused."""
_UID = re.compile(r"(?=[0-9.]{1,64}\Z)[0-9]+(\.[0-9]+)*")
_DEFER_BYTES = 1 << 16
_META_LENGTH_END = 144  # preamble, DICM, and the element that holds the length of the rest (PS3.10 7.1)

Uids = tuple[str, str, str]
"""Study, series and SOP Instance UID."""


class NotInPacs(requests.HTTPError):
    """There is no such study, series, instance or frame; the same error as a web client's for the same answer.

    Args:
        message: What there is not.
        status: The HTTP status that a web server would have answered with.
    """

    def __init__(self, message: str, status: int = 404) -> None:
        """Make that answer."""
        response = requests.Response()
        response.status_code, response.reason = status, message
        super().__init__(message, response=response)


def check_uid(name: str, uid: str) -> str:
    """Return a well-formed UID: digits and dots, at most 64 (PS3.5 9.1). Only such become part of a path.

    Raises:
        InputError: Otherwise.
    """
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise InputError(f"{name} {str(uid)[:80]!r} is not a DICOM UID: digits and dots, at most 64 characters")
    return uid


def instance_uids(header: Header) -> Uids:
    """The UIDs of an instance.

    Raises:
        InputError: If one is missing or malformed, or the file is no instance of a study.
    """
    dataset = header.dataset
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise InputError("a DICOMDIR lists other files and is no image itself")
    for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            raise InputError(f"it has no {keyword}")
        check_uid(keyword, str(dataset.get(keyword)))
    return str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)


@dataclass(frozen=True)
class Incoming:
    """A DICOM file that may be stored.

    Attributes:
        path: The file.
        uids: Its UIDs.
        sop_class_uid: (0008,0016).
        made: Date and time of the instance (creation, else content), "" when it does not say; for comparison only.
    """

    path: Path
    uids: Uids
    sop_class_uid: str
    made: str


def check_incoming(path: Path) -> Incoming:
    """Check a file that is to be stored.

    Raises:
        InputError: If it is no DICOM Part 10 file, is cut off, or its UIDs are missing, malformed or contradictory.
    """
    with path.open("rb") as file:
        file.seek(128)
        if file.read(4) != b"DICM":
            raise InputError("it is not a DICOM Part 10 file")
    try:
        _check_whole(path)
        return _incoming(path)
    except (InputError, OSError):
        raise
    except Exception as error:  # pydicom raises anything on damaged files, RecursionError included
        raise InputError(f"it cannot be parsed: {type(error).__name__}: {str(error)[:200]}") from error


def _incoming(path: Path) -> Incoming:
    header = read_header(path)
    uids = instance_uids(header)
    _check_pixels(header)
    for keyword, own in (("MediaStorageSOPInstanceUID", "SOPInstanceUID"), ("MediaStorageSOPClassUID", "SOPClassUID")):
        if header.dataset.file_meta.get(keyword) != header.dataset.get(own):
            raise InputError(f"its {keyword} differs from its {own}")
    return Incoming(path, uids, str(header.dataset.SOPClassUID), made(header.dataset))


def _check_pixels(header: Header) -> None:
    """An image that was cut off between two elements looks whole, but for its pixels."""
    dataset = header.dataset
    image = "Image Storage" in UID(str(dataset.SOPClassUID)).name or ("Rows" in dataset and "BitsAllocated" in dataset)
    if image and header.pixel_tag is None and "PixelDataProviderURL" not in dataset:
        raise InputError("it is an image without pixel data: it was cut off")


def made(dataset: Dataset) -> str:
    """When an instance was made, to compare two of the same UID: creation, else content; "" when it does not say."""
    for part in ("InstanceCreation", "Content"):
        date, time = str(dataset.get(f"{part}Date") or ""), str(dataset.get(f"{part}Time") or "")
        if date:
            return f"{date}{time}"
    return ""


def _check_whole(path: Path) -> None:
    """Go through all elements and see that the file does not end within one; large values are not read."""
    meta = read_file_meta_info(path)
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise InputError("its file meta information has no transfer syntax")
    with path.open("rb") as file:
        data = _inflated(file, meta) if syntax == DeflatedExplicitVRLittleEndian else _at_dataset(file)
        start, size = data.tell(), data.seek(0, 2)
        data.seek(start)
        if start >= size:
            raise InputError("it holds no data after its file meta information")
        end = start
        elements = data_element_generator(data, syntax.is_implicit_VR, syntax.is_little_endian, defer_size=_DEFER_BYTES)
        for element in elements:
            length = getattr(element, "length", UNDEFINED_LENGTH)
            end = data.tell() if length == UNDEFINED_LENGTH else element.value_tell + length
            if end > size:
                raise InputError(f"it is cut off within element {element.tag}")
    if end != size:
        raise InputError("it is cut off, or there are bytes behind its last element")


def _at_dataset(file: BinaryIO) -> BinaryIO:
    read_partial(file, lambda tag, vr, length: True)
    return file


def _inflated(file: BinaryIO, meta: Dataset) -> BytesIO:
    file.seek(_META_LENGTH_END + int(meta.FileMetaInformationGroupLength))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(file.read(), MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise InputError(f"its deflated dataset is larger than {MAX_INFLATED_BYTES >> 20} MiB")
    if not inflater.eof:
        raise InputError("it is cut off")
    return BytesIO(data)
