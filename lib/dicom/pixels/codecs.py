# SPDX-License-Identifier: Apache-2.0
"""Decode encapsulated pixel data frame by frame with pydicom's handlers, after a look at each code stream's header.

The Image Pixel module of a file may disagree with its code streams: another size, or RGB said of a JPEG that holds
YCbCr. The code stream is right (PS3.5 8.2.1), and a wrong size must be known before a decoder allocates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_pixel_data_frame
from pydicom.pixel_data_handlers import gdcm_handler, pillow_handler, rle_handler
from pydicom.pixel_data_handlers.util import reshape_pixel_array
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
    RLETransferSyntaxes,
)

from ...types import InputError

_LOSSY_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit)
_DECODED_TO_RGB = ("YBR_RCT", "YBR_ICT")
_JPEG_NO_LENGTH = {0x01, *range(0xD0, 0xDA)}
_JPEG_NOT_A_FRAME_HEADER = {0xC4, 0xC8, 0xCC}
_J2K_START, _JPEG_START = b"\xff\x4f\xff\x51", b"\xff\xd8"


@dataclass(frozen=True)
class PixelFormat:
    """The Image Pixel module (PS3.3 C.7.6.3) of a dataset, checked.

    Attributes:
        frames: (0028,0008).
        rows: (0028,0010).
        columns: (0028,0011).
        samples: (0028,0002).
        bits_allocated: (0028,0100).
        bits_stored: (0028,0101).
        signed: (0028,0103) is 1.
        photometric: (0028,0004).
        planar: (0028,0006).
        syntax: Transfer syntax (0002,0010), or the one the dataset was parsed with.
        keyword: The element that holds the pixels.
    """

    frames: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    planar: int
    syntax: UID
    keyword: str = "PixelData"

    @property
    def size(self) -> int:
        """Number of samples of all frames."""
        return self.frames * self.rows * self.columns * self.samples

    def module(self, pixels: bytes) -> Dataset:
        """A dataset that holds nothing but these values and ``pixels``, for pydicom's handlers."""
        module = Dataset()
        module.file_meta = FileMetaDataset()
        module.file_meta.TransferSyntaxUID = self.syntax
        module.is_little_endian, module.is_implicit_VR = self.syntax.is_little_endian, self.syntax.is_implicit_VR
        module.SamplesPerPixel, module.PhotometricInterpretation = self.samples, self.photometric
        module.Rows, module.Columns, module.NumberOfFrames = self.rows, self.columns, self.frames
        module.BitsAllocated, module.BitsStored, module.HighBit = (
            self.bits_allocated,
            self.bits_stored,
            self.bits_stored - 1,
        )
        module.PixelRepresentation = int(self.signed)
        if self.samples > 1:
            module.PlanarConfiguration = self.planar
        setattr(module, self.keyword, pixels)
        if self.keyword == "PixelData":
            module["PixelData"].VR = "OW" if self.bits_allocated > 8 else "OB"
        return module


@dataclass(frozen=True)
class CodeStream:
    """What the header of a JPEG, JPEG-LS or JPEG 2000 code stream says; ``ybr`` is None where it does not say."""

    rows: int
    columns: int
    samples: int
    bits: int
    ybr: bool | None


def decode_frames(dataset: Dataset, form: PixelFormat) -> tuple[npt.NDArray[Any], PixelFormat]:
    """Decode encapsulated pixel data.

    Returns:
        Stored values, (N, H, W) or (N, H, W, S), and the format with the photometric interpretation that they have.

    Raises:
        InputError: If frames are missing, disagree with the header, or no handler knows the transfer syntax.
    """
    _handler(form)  # an unknown syntax may not even be split into frames
    streams = list(generate_pixel_data_frame(dataset.PixelData, form.frames))
    if len(streams) < form.frames:
        raise InputError(f"the header says {form.frames} frames, the file holds {len(streams)}")
    form = replace(form, photometric=_photometric(streams[0], form))
    out: npt.NDArray[Any] | None = None
    for index, stream in enumerate(streams[: form.frames]):
        _check_size(stream, form, index)
        frame = _decode_frame(stream, form)
        if out is None:
            out = np.empty((form.frames, *frame.shape), frame.dtype)
        out[index] = frame
    assert out is not None
    if form.photometric in _DECODED_TO_RGB:
        form = replace(form, photometric="RGB")
    return out, form


def _decode_frame(stream: bytes, form: PixelFormat) -> npt.NDArray[Any]:
    module = replace(form, frames=1).module(encapsulate([stream], has_bot=False))
    return np.asarray(reshape_pixel_array(module, _handler(form).get_pixeldata(module)))


def _handler(form: PixelFormat) -> Any:
    """The decoder for a format: gdcm knows all but RLE; Pillow is 3x faster on 8 bit JPEG that needs no tricks."""
    if form.syntax in RLETransferSyntaxes:
        return rle_handler
    eight_bit_jpeg = form.syntax in _LOSSY_JPEG and form.bits_allocated == 8
    for handler in (pillow_handler, gdcm_handler) if eight_bit_jpeg else (gdcm_handler, pillow_handler):
        if handler is pillow_handler and eight_bit_jpeg and form.photometric == "RGB":
            continue
        if handler.is_available() and handler.supports_transfer_syntax(form.syntax):
            return handler
    raise InputError("no decoder here knows this transfer syntax; convert the file (gdcmconv --raw, dcmdjpeg)")


def _photometric(stream: bytes, form: PixelFormat) -> str:
    """The colour space that the decoder will deliver, which the code stream knows better than the header."""
    if form.samples != 3 or form.syntax == RLELossless:
        return form.photometric
    header = code_stream(stream)
    if form.syntax in JPEG2000TransferSyntaxes:
        return "RGB" if header is not None and header.ybr else form.photometric
    if form.syntax in _LOSSY_JPEG:
        ybr = header.ybr if header is not None else None
        if ybr is None:
            ybr = form.photometric.startswith("YBR")
        return "YBR_FULL" if ybr else "RGB"
    return form.photometric


def _check_size(stream: bytes, form: PixelFormat, index: int) -> None:
    if form.syntax in RLETransferSyntaxes:
        return
    header = code_stream(stream)
    if header is None:
        raise InputError(f"frame {index + 1} has no {form.syntax.name} header: the data is damaged")
    if not 1 <= header.bits <= form.bits_allocated:
        raise InputError(f"frame {index + 1} has samples of {header.bits} bits, the header {form.bits_allocated}")
    found = (header.rows or form.rows, header.columns, header.samples)
    if found != (form.rows, form.columns, form.samples):
        raise InputError(
            f"frame {index + 1} is compressed as {found[0]} rows x {found[1]} columns x {found[2]} samples, but the "
            f"header says {form.rows} x {form.columns} x {form.samples}"
        )


def code_stream(stream: bytes) -> CodeStream | None:
    """Read the header of a code stream; None for other data (RLE), or where the header cannot be found."""
    if stream.startswith(_JPEG_START):
        return _jpeg(stream)
    start = stream.find(_J2K_START, 0, 4096)  # behind the boxes of a JP2 file, which some writers keep
    return _jpeg_2000(stream[start:]) if start >= 0 else None


def _jpeg_2000(stream: bytes) -> CodeStream | None:
    """SIZ and COD (ISO/IEC 15444-1 A.5.1, A.6.1); ``ybr`` says that the decoder undoes a colour transform."""
    if len(stream) < 43:
        return None
    x1, y1, x0, y0 = (int.from_bytes(stream[at : at + 4], "big") for at in (8, 12, 16, 20))
    at, transform = 4 + int.from_bytes(stream[4:6], "big"), False
    while at + 9 <= len(stream) and stream[at] == 0xFF and stream[at + 1] not in (0x90, 0xD9):
        if stream[at + 1] == 0x52:
            transform = stream[at + 8] == 1
            break
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return CodeStream(y1 - y0, x1 - x0, int.from_bytes(stream[40:42], "big"), (stream[42] & 0x7F) + 1, transform)


def _jpeg(stream: bytes) -> CodeStream | None:
    """Frame header and application markers (ISO/IEC 10918-1 B.2, 10918-5 for JFIF, 10918-6 for Adobe)."""
    at, jfif, adobe = 2, False, None
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF or marker in _JPEG_NO_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        body = stream[at + 4 : at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")]
        jfif |= marker == 0xE0 and body.startswith(b"JFIF\0")
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _JPEG_NOT_A_FRAME_HEADER):
            return _jpeg_frame(body, jfif, adobe)
        at += 4 + len(body)
    return None


def _jpeg_frame(body: bytes, jfif: bool, adobe: int | None) -> CodeStream | None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    rows, columns, samples = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5]
    parts = [body[6 + 3 * k : 9 + 3 * k] for k in range(samples)]
    ybr: bool | None = None
    if adobe is not None:
        ybr = adobe != 0
    elif bytes(part[0] for part in parts) == b"RGB":
        ybr = False
    elif jfif or (samples == 3 and len({part[1] for part in parts}) > 1):
        ybr = True  # JFIF knows no RGB; and only colour differences are stored at less resolution
    return CodeStream(rows, columns, samples, body[0], ybr)
