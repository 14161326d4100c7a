# SPDX-License-Identifier: Apache-2.0
"""Pixel data of one DICOM instance -> values that mean what the Modality LUT says, larger is brighter.

Decoding of compressed data is in codecs.py, grey values in modality.py, colour in colour.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixel_data_handlers import numpy_handler
from pydicom.pixel_data_handlers.util import reshape_pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLETransferSyntaxes

from ...types import InputError
from ..facts import text_of
from .codecs import PixelFormat, decode_frames
from .colour import from_palette, to_rgb
from .modality import float_values, grey_values, meant_bits, whole_number

MAX_DECODED_BYTES = 8 << 30
"""Pixel data that would be larger when decoded is refused."""
# By samples per pixel (PS3.3 C.7.6.3.1.2). Decoders abort on others.
_PHOTOMETRIC = {
    1: ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"),
    3: ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"),
}
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_BITS = {"PixelData": (1, 8, 16, 32, 64), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}


def frames_of(dataset: Dataset) -> npt.NDArray[Any]:
    """Read the pixels of an instance.

    Grey values are rescaled (Modality LUT, PS3.3 C.11.1; in enhanced multi-frame objects the Pixel Value
    Transformation of the functional groups, C.7.6.16.2.9; in RT Dose the grid scaling: Gy), MONOCHROME1 is inverted
    within its stored range (not in CT, PT, NM and dose, whose numbers are quantities), padding becomes the lowest
    real value. Integers stay integers where slope and intercept are whole numbers; else float32.

    Returns:
        (N, H, W), or for colour (N, H, W, 3) RGB uint8. The array may be read-only: it can be a view of the
        dataset's own bytes.

    Raises:
        InputError: If there are no pixels or they cannot be decoded; it names the instance, its file and the
            transfer syntax.
    """
    syntax = "unknown"
    try:
        syntax = _syntax(dataset).name
        return _values(dataset, pixel_format(dataset))
    except InputError as error:
        raise InputError(f"{instance_name(dataset)} (transfer syntax {syntax}): {error}") from error
    except MemoryError:
        raise InputError(
            f"{instance_name(dataset)} (transfer syntax {syntax}): decoding needs more memory than there is"
        ) from None
    except Exception as error:  # decoders raise anything
        raise InputError(
            f"{instance_name(dataset)} (transfer syntax {syntax}): the pixel data cannot be decoded: "
            f"{type(error).__name__}: {error}; the file is damaged or not standard: export it again, uncompressed"
        ) from error


def instance_name(dataset: Dataset) -> str:
    """What to call an instance in a message: its SOP Instance UID and, when it came from a file, the file."""
    uid = text_of(dataset, "SOPInstanceUID") or "without SOP Instance UID"
    file = getattr(dataset, "filename", None)
    return f"instance {uid}" + (f" in {file}" if isinstance(file, str) and file else "")


def pixel_format(dataset: Dataset) -> PixelFormat:
    """Read and check the Image Pixel module; nothing is allocated.

    Raises:
        InputError: If values are missing or impossible, or the data is shorter than they say.
    """
    keyword = next((k for k in _PIXEL_KEYWORDS if k in dataset), None)
    if keyword is None:
        raise InputError("no pixel data: not an image, or the image is damaged")
    bits = whole_number(dataset, "BitsAllocated")
    form = PixelFormat(
        frames=max(whole_number(dataset, "NumberOfFrames", 1), 1),
        rows=whole_number(dataset, "Rows"),
        columns=whole_number(dataset, "Columns"),
        samples=whole_number(dataset, "SamplesPerPixel", 1),
        bits_allocated=bits,
        bits_stored=whole_number(dataset, "BitsStored", bits),
        signed=keyword == "PixelData" and whole_number(dataset, "PixelRepresentation", 0) == 1,
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip(),
        planar=whole_number(dataset, "PlanarConfiguration", 0),
        syntax=_syntax(dataset),
        keyword=keyword,
    )
    _check(form, len(dataset[keyword].value or b""))
    return form


def _syntax(dataset: Dataset) -> UID:
    uid = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if uid:
        return UID(str(uid))
    if dataset.is_little_endian is False:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if dataset.is_implicit_VR else ExplicitVRLittleEndian


def _check(form: PixelFormat, available: int) -> None:
    if form.bits_allocated not in _BITS[form.keyword]:
        raise InputError(f"{form.bits_allocated} bits allocated per sample are not read")
    if not 1 <= form.bits_stored <= form.bits_allocated:
        raise InputError(f"{form.bits_stored} bits stored of {form.bits_allocated} allocated is impossible")
    if form.samples not in _PHOTOMETRIC:
        raise InputError(f"{form.samples} samples per pixel are not read, only 1 (grey, palette) and 3 (colour)")
    if form.photometric not in _PHOTOMETRIC[form.samples] or form.planar not in (0, 1):
        raise InputError(
            f"photometric interpretation {form.photometric!r} with {form.samples} samples per pixel and planar "
            f"configuration {form.planar} is not read; convert the file"
        )
    shape = f"{form.frames} frames x {form.rows} rows x {form.columns} columns x {form.samples} samples"
    if form.rows < 1 or form.columns < 1:
        raise InputError(f"an image of {shape} has no pixels")
    decoded = -(-form.size * form.bits_allocated // 8)
    if decoded > MAX_DECODED_BYTES:
        raise InputError(f"{shape} are {decoded / 2**30:.1f} GiB, more than the {MAX_DECODED_BYTES / 2**30:g} allowed")
    if available == 0:
        raise InputError("the pixel data is empty")
    if form.syntax in RLETransferSyntaxes and decoded > 64 * available:  # two bytes hold a run of at most 128
        raise InputError(f"{shape} cannot come from {available} bytes of RLE: the header is wrong")
    needed = decoded // 3 * 2 if form.photometric == "YBR_FULL_422" else decoded
    if not _is_compressed(form.syntax) and available < needed:
        raise InputError(
            f"{shape} need {needed} bytes, the file holds {available}: it was cut off or its header is wrong"
        )


def _is_compressed(syntax: UID) -> bool:
    return syntax not in numpy_handler.SUPPORTED_TRANSFER_SYNTAXES


def _values(dataset: Dataset, form: PixelFormat) -> npt.NDArray[Any]:
    if _is_compressed(form.syntax):
        stored, form = decode_frames(dataset, form)
    else:
        stored = _uncompressed(dataset, form)
    if form.samples == 3:
        return to_rgb(stored, form.photometric, form.bits_stored)
    if form.keyword != "PixelData":
        return float_values(dataset, form, stored)
    stored = meant_bits(dataset, form, stored)
    if form.photometric == "PALETTE COLOR":
        return from_palette(stored, dataset)
    return grey_values(dataset, form, stored)


def _uncompressed(dataset: Dataset, form: PixelFormat) -> npt.NDArray[Any]:
    """(N, H, W) or (N, H, W, S), a view of the dataset's bytes where possible."""
    data = dataset[form.keyword]
    odd = form.photometric == "YBR_FULL_422" or form.bits_allocated == 1
    if odd or (form.bits_allocated == 8 and not form.syntax.is_little_endian and data.VR == "OW"):
        module = form.module(data.value)
        if form.keyword == "PixelData":
            module["PixelData"].VR = data.VR
        pixels = reshape_pixel_array(module, numpy_handler.get_pixeldata(module, read_only=True))
        return np.asarray(pixels).reshape(form.frames, *pixels.shape[form.frames > 1 :])
    kind = "f" if form.keyword != "PixelData" else "i" if form.signed else "u"
    dtype = np.dtype(f"{'<' if form.syntax.is_little_endian else '>'}{kind}{form.bits_allocated // 8}")
    flat = np.frombuffer(data.value, dtype, form.size)
    if not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    if form.samples == 1:
        return flat.reshape(form.frames, form.rows, form.columns)
    if form.planar:
        return np.moveaxis(flat.reshape(form.frames, form.samples, form.rows, form.columns), 1, -1)
    return flat.reshape(form.frames, form.rows, form.columns, form.samples)
