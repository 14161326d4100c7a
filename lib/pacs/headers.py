# SPDX-License-Identifier: Apache-2.0
"""DICOM datasets as DICOM JSON (PS3.18 Annex F), whatever the file holds.

pydicom's own ``Dataset.to_json_dict`` stops at the first value it cannot convert, writes NaN (which is not JSON) and
value representations such as ``OB or OW``; here a bad element costs that element only.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread, read_partial
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian
from pydicom.uid import ImplicitVRLittleEndian as ImplicitLittle

from ..types import InputError

logger = logging.getLogger(__name__)

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float Pixel Data, Double Float Pixel Data, Pixel Data."""
UNDEFINED_LENGTH = 0xFFFFFFFF
BULK_BYTES = 2048
"""Binary values that are longer are not part of the metadata; it names the address where they are."""
_BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_CHARACTER_SET = 0x00080005
_UTF8 = {"vr": "CS", "Value": ["ISO_IR 192"]}
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")

Json = dict[str, Any]
BulkUri = Callable[[str], str]
"""Path of an element within its instance (``00420011``, ``54000100/1/54001010``) -> address of its value."""


@dataclass(frozen=True)
class Header:
    """A DICOM file without its pixel data.

    Attributes:
        path: The file.
        dataset: Everything before the pixel data.
        syntax: Transfer syntax (0002,0010); where the file has none, the one it was parsed with.
        pixel_tag: Tag of the pixel data that follows, or None.
        pixel_vr: Its value representation, as stored; None in implicit VR.
        pixel_offset: Where its value begins in the file, bytes; -1 in a deflated file.
        pixel_length: Its length in bytes, or :data:`UNDEFINED_LENGTH`.
    """

    path: Path
    dataset: Dataset
    syntax: UID
    pixel_tag: int | None = None
    pixel_vr: str | None = None
    pixel_offset: int = -1
    pixel_length: int = 0


def read_header(path: Path, tags: list[BaseTag] | None = None) -> Header:
    """Read a DICOM file up to its pixel data.

    A file without the preamble and ``DICM`` is read too when it begins like a dataset.

    Args:
        path: The file.
        tags: Read these elements only.

    Raises:
        InputError: If it is not DICOM or cannot be parsed; the message says why.
        OSError: If the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, tags)
    except (OSError, InputError):
        raise
    except Exception as error:  # pydicom raises anything on damaged files, RecursionError included
        raise InputError(f"{path.name} cannot be read as DICOM: {type(error).__name__}: {str(error)[:200]}") from error


def _read(path: Path, file: BinaryIO, tags: list[BaseTag] | None) -> Header:
    start = file.read(132)
    file.seek(0)
    if start[128:] != b"DICM" and start[:2] not in _FIRST_GROUPS:
        raise InputError("it does not begin as a DICOM file")
    pixels: tuple[int, str | None, int] | None = None

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal pixels
        if int(tag) in PIXEL_TAGS:
            pixels = (int(tag), vr, length)
        return pixels is not None

    dataset = read_partial(file, at_pixels, defer_size=None, force=True, specific_tags=tags)
    syntax = _syntax(dataset)
    if pixels is None:
        return Header(path, dataset, syntax)
    tag, vr, length = pixels
    deflated = syntax == DeflatedExplicitVRLittleEndian
    offset = (
        -1 if deflated else file.tell() + (8 if vr is None else 12)
    )  # some files are in implicit VR though they say otherwise
    return Header(path, dataset, syntax, tag, vr, offset, length)


def _syntax(dataset: Dataset) -> UID:
    found = dataset.file_meta.get("TransferSyntaxUID")
    if found:
        return UID(str(found))
    if dataset.is_implicit_VR:
        return ImplicitLittle
    return ExplicitVRLittleEndian if dataset.is_little_endian else ExplicitVRBigEndian


def value_of(dataset: Dataset, keyword: str, default: Any = None) -> Any:
    """The value of an element; ``default`` where there is none, it is empty, or pydicom cannot convert it."""
    try:
        value = dataset.get(keyword)
    except Exception:  # damaged elements raise anything when they are first looked at
        return default
    return default if value is None or value == "" else value


def metadata(header: Header, bulk_uri: BulkUri) -> Json:
    """All of an instance as DICOM JSON; values that are long and binary by address (PS3.18 10.4.1.1.2, F.2.2)."""
    found = to_json(header.dataset, bulk_uri)
    if header.pixel_tag is not None:
        name = f"{header.pixel_tag:08X}"
        vr = {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(header.pixel_tag, header.pixel_vr or "OW")
        found[name] = {"vr": vr, "BulkDataURI": bulk_uri(name)}
    return found


def to_json(
    dataset: Dataset, bulk_uri: BulkUri | None = None, tags: Iterable[int] | None = None, path: str = ""
) -> Json:
    """A dataset as DICOM JSON, in UTF-8 (so its Specific Character Set is ISO_IR 192).

    Args:
        dataset: The dataset.
        bulk_uri: Gives the address of a long binary value; without it such values are left out.
        tags: Only these elements.
        path: Where ``dataset`` lies within its instance, ending in "/" when it is an item of a sequence.
    """
    wanted = sorted(dataset.keys() if tags is None else (Tag(tag) for tag in tags if tag in dataset))
    found = {}
    for tag in wanted:
        if tag.element == 0 or tag.group in (0xFFFC, 0xFFFA) or int(tag) in PIXEL_TAGS:
            continue
        name = f"{int(tag):08X}"
        found[name] = _UTF8 if int(tag) == _CHARACTER_SET else _element(dataset, tag, bulk_uri, f"{path}{name}")
    return found


def _element(dataset: Dataset, tag: BaseTag, bulk_uri: BulkUri | None, path: str) -> Json:
    raw = None
    try:
        raw = dataset.get_item(tag)
        element = dataset[tag]
        if " or " in element.VR:
            element = correct_ambiguous_vr_element(element, dataset, dataset.is_little_endian is not False)
        if element.VR == "SQ":
            items = [to_json(item, bulk_uri, None, f"{path}/{i}/") for i, item in enumerate(element.value, 1)]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if " or " in element.VR:
            element.VR = "OW"
        if element.VR in _BULK_VRS and len(element.value or b"") > BULK_BYTES:
            return {"vr": element.VR, "BulkDataURI": bulk_uri(path)} if bulk_uri else {"vr": element.VR}
        return _finite(element.to_json_dict(None, 0))
    except Exception as error:  # the converters of pydicom raise anything
        logger.debug("element %s: %s", path, error)
        return _as_text(raw)


def _finite(element: Json) -> Json:
    """Write NaN and infinity as text: JSON has no number for them."""
    values = element.get("Value")
    if values and any(isinstance(value, float) and not math.isfinite(value) for value in values):
        element["Value"] = [_text_if_infinite(value) for value in values]
    return element


def _text_if_infinite(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _as_text(raw: Any) -> Json:
    """What is left of an element whose value does not fit its VR: the text that stands there, if any."""
    vr = str(getattr(raw, "VR", None) or "UN").split(" or ")[0]
    value = getattr(raw, "value", None)
    if vr in ("SQ", "UN") or vr in _BULK_VRS or not isinstance(value, bytes):
        return {"vr": vr}
    return {"vr": vr, "Value": [part.strip(" \0") or None for part in value.decode("latin-1").split("\\")]}


def bulk_value(path: Path, element_path: str) -> bytes:
    """The value at an address that :func:`metadata` gave out, little endian.

    Raises:
        InputError: If the instance has no such element, or it is not binary.
    """
    dataset: Any = dcmread(path, force=True, stop_before_pixels=True)
    parts = element_path.split("/")
    try:
        for tag, item in zip(parts[:-1:2], parts[1::2], strict=True):
            if int(item) < 1:
                raise IndexError(item)
            dataset = dataset[int(tag, 16)].value[int(item) - 1]
        element = dataset[int(parts[-1], 16)]
        if " or " in element.VR:
            element = correct_ambiguous_vr_element(element, dataset, dataset.is_little_endian is not False)
        value = element.value
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the instance has no bulk data at '{element_path[:80]}'") from error
    if not isinstance(value, bytes):
        raise InputError(f"the element at '{element_path[:80]}' is not bulk data; the metadata has its value")
    return value
