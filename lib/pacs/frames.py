# SPDX-License-Identifier: Apache-2.0
"""Frames of a DICOM file: as they are stored, and as raw little-endian samples (PS3.18 10.4.1.1.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_pixel_data_frame
from pydicom.filereader import dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from ..dicom.pixels import pixel_format
from ..dicom.pixels.codecs import decode_frames
from ..types import InputError
from .headers import UNDEFINED_LENGTH, Header, value_of

UNCOMPRESSED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_PIECE_BYTES = 1 << 20
_MODULE = (
    *("SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
)


def number_of_frames(header: Header) -> int:
    """Number of frames (0028,0008); 1 where it is not given."""
    try:
        return max(int(value_of(header.dataset, "NumberOfFrames", 1)), 1)
    except (TypeError, ValueError):
        return 1


def is_compressed(syntax: UID) -> bool:
    """Whether frames are encapsulated code streams (PS3.5 A.4)."""
    return str(syntax) not in UNCOMPRESSED


def stored_frames(header: Header, numbers: Sequence[int]) -> Iterator[bytes]:
    """Frames as they are stored: code streams where compressed, else samples in the byte order of the file.

    Single-bit frames begin at a byte of their own, as if each were stored alone.

    Args:
        header: Of an image.
        numbers: Which, from 1 to :func:`number_of_frames`.

    Raises:
        InputError: If the file ends before a frame.
    """
    if is_compressed(header.syntax):
        count = number_of_frames(header)
        streams = _code_streams(header, count)
        if len(streams) < max(numbers):
            raise InputError(f"the header says {count} frames, the file holds {len(streams)}")
        yield from (streams[number - 1] for number in numbers)
        return
    bits = _frame_bits(header)
    for number in numbers:
        yield _native_frame(header, bits, number - 1)


def _code_streams(header: Header, count: int) -> list[bytes]:
    with header.path.open("rb") as file:
        file.seek(header.pixel_offset)
        data = file.read() if header.pixel_length == UNDEFINED_LENGTH else file.read(header.pixel_length)
    try:
        return list(generate_pixel_data_frame(data, count))
    except Exception as error:  # struct.error, ValueError: whatever a damaged item leads to
        raise InputError(f"the encapsulated frames cannot be told apart: {error}") from error


def _frame_bits(header: Header) -> int:
    dataset = header.dataset
    try:
        samples = (
            int(value_of(dataset, "Rows"))
            * int(value_of(dataset, "Columns"))
            * int(value_of(dataset, "SamplesPerPixel", 1))
        )
        bits = samples * int(value_of(dataset, "BitsAllocated"))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"the size of a frame is not known: {error}") from error
    return bits // 3 * 2 if value_of(dataset, "PhotometricInterpretation") == "YBR_FULL_422" else bits


def _native_frame(header: Header, bits: int, index: int) -> bytes:
    first, skip = divmod(index * bits, 8)
    length = -(-(skip + bits) // 8)
    data = _native_bytes(header, first, length)
    if len(data) < length:
        raise InputError(f"the file ends before frame {index + 1}: it was cut off, or its header is wrong")
    if bits % 8 == 0:
        return data
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[skip : skip + bits]
    return np.packbits(unpacked, bitorder="little").tobytes()


def _native_bytes(header: Header, first: int, length: int) -> bytes:
    if header.syntax == DeflatedExplicitVRLittleEndian:
        return bytes(dcmread(header.path)[header.pixel_tag or 0].value[first : first + length])
    with header.path.open("rb") as file:
        file.seek(header.pixel_offset + first)
        return file.read(min(length, header.pixel_length - first))


def native_pixels(header: Header) -> Iterator[bytes]:
    """All of uncompressed pixel data, little endian, in pieces."""
    bits = int(value_of(header.dataset, "BitsAllocated", 8))
    swapped = header.syntax == ExplicitVRBigEndian and bits > 8
    length = len(dcmread(header.path).PixelData) if header.pixel_offset < 0 else header.pixel_length
    for first in range(0, length, _PIECE_BYTES):
        piece = _native_bytes(header, first, min(_PIECE_BYTES, length - first))
        yield np.frombuffer(piece, f">u{bits // 8}").astype(f"<u{bits // 8}").tobytes() if swapped else piece


def raw_frames(header: Header, numbers: Sequence[int]) -> Iterator[bytes]:
    """Frames as Explicit VR Little Endian would store them, each on its own.

    Decoded colour has three samples a pixel in the planar configuration of the header, in the colour space of the
    code stream.

    Raises:
        InputError: If a frame cannot be decoded.
    """
    swapped = header.syntax == ExplicitVRBigEndian and int(value_of(header.dataset, "BitsAllocated", 8)) > 8
    if not swapped and not is_compressed(header.syntax):
        yield from stored_frames(header, numbers)
        return
    for stream in stored_frames(header, numbers):
        if swapped:
            size = int(header.dataset.BitsAllocated) // 8
            yield np.frombuffer(stream, f">u{size}").astype(f"<u{size}").tobytes()
        else:
            yield raw_frame(header, stream)[0]


def raw_frame(header: Header, stream: bytes) -> tuple[bytes, str]:
    """Decode one compressed frame: raw samples as in :func:`raw_frames`, and their photometric interpretation."""
    values, photometric = decoded(header, stream)
    if values.ndim == 3 and int(value_of(header.dataset, "PlanarConfiguration", 0)) == 1:
        values = np.moveaxis(values, -1, 0)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes(), photometric


def one_frame(header: Header, stream: bytes) -> Dataset:
    """A dataset of one frame, as :func:`stored_frames` returns it."""
    dataset = Dataset()
    for keyword in _MODULE:
        if value_of(header.dataset, keyword) is not None:
            dataset[keyword] = copy(header.dataset[keyword])
    compressed = is_compressed(header.syntax)
    syntax = header.syntax if compressed or header.syntax == ExplicitVRBigEndian else ExplicitVRLittleEndian
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.is_little_endian, dataset.is_implicit_VR = syntax.is_little_endian, False
    keyword = _KEYWORDS[header.pixel_tag or 0x7FE00010]
    setattr(dataset, keyword, encapsulate([stream], has_bot=False) if compressed else stream)
    if keyword == "PixelData":
        wide = not compressed and int(value_of(dataset, "BitsAllocated", 8)) > 8
        dataset["PixelData"].VR = "OW" if wide else "OB"
    return dataset


def decoded(header: Header, stream: bytes) -> tuple[npt.NDArray[Any], str]:
    """Decode one frame.

    Returns:
        Stored values, (H, W) or (H, W, 3), and their photometric interpretation.

    Raises:
        InputError: If the frame cannot be decoded.
    """
    dataset = one_frame(header, stream)
    try:
        form = pixel_format(dataset)
        if is_compressed(header.syntax):
            frames, form = decode_frames(dataset, form)
            return frames[0], form.photometric
        return np.asarray(dataset.pixel_array), form.photometric
    except InputError:
        raise
    except Exception as error:  # decoders raise anything
        raise InputError(f"the frame cannot be decoded ({header.syntax.name}): {error}") from error
