# SPDX-License-Identifier: Apache-2.0
"""MetaImage (.mha, .mhd; itk.org/Wiki/ITK/MetaIO/Documentation).

ITK's own reader is not used for files that nobody vouches for: it dies (signal 11) on ``NDims = -3`` and allocates
whatever ``DimSize`` says.
"""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..types import FloatArray, InputError
from .data import (
    LPS_FLIP,
    MAX_DEFLATE_RATIO,
    MAX_HEADER_BYTES,
    MAX_UNNAMED_CHANNELS,
    FileParts,
    arranged,
    checked_affine,
    file_beside,
    n_bytes,
    read_array,
)

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read_meta(path: Path) -> FileParts:
    """Read a MetaImage.

    Raises:
        InputError: If the header or the data cannot be used.
    """
    with path.open("rb") as file:
        header = _header(file)
        name = header["elementdatafile"]
        with file if name.upper() == "LOCAL" else file_beside(path, name).open("rb") as data:
            array = _data(header, data, skip=name.upper() != "LOCAL")
    n_dims = array.ndim - 1
    fourth = "" if n_dims < 4 else "n" if array.shape[-1] > MAX_UNNAMED_CHANNELS else "c"
    if fourth == "c" and array.shape[0] > 1:
        fourth = "n"
    channels = array.shape[0] > 1 or fourth != "c"
    array = array if channels else array[0]
    affine = checked_affine(_affine(header, n_dims), header["sizes"][2] if n_dims > 2 else 1)
    return arranged(array, "c" * channels + "sss"[:n_dims] + fourth), affine, (), []


def _header(file: IO[bytes]) -> dict[str, Any]:
    """Keys in lower case; the file is left at the first byte after ``ElementDataFile``, the last key."""
    header: dict[str, Any] = {}
    while "elementdatafile" not in header:
        line = file.readline(MAX_HEADER_BYTES)
        key, equals, value = line.decode("latin-1").partition("=")
        if not equals or file.tell() > MAX_HEADER_BYTES:
            raise InputError("not a MetaImage header, or one without ElementDataFile")
        header[key.strip().lower()] = value.strip()
    n_dims = _numbers(header, ("ndims",), 1, None)[0]
    if n_dims not in (2, 3, 4):
        raise InputError(f"NDims is {n_dims:g}; an image has 2, 3 or 4")
    sizes = _numbers(header, ("dimsize",), int(n_dims), None)
    if not all(0 < size < 2**31 for size in sizes):
        raise InputError(f"DimSize {header['dimsize']}: each must be at least 1")
    return header | {"sizes": tuple(int(size) for size in sizes)}


def _numbers(header: dict[str, Any], keys: tuple[str, ...], count: int, default: list[float] | None) -> list[float]:
    """The values of the first of the keys that is there."""
    key = next((key for key in keys if key in header), None)
    if key is None and default is not None:
        return default
    try:
        values = [float(word) for word in header[key or keys[0]].split()]
    except (KeyError, ValueError) as error:
        raise InputError(f"{keys[0]} is missing or not numbers") from error
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{key} needs {count} finite numbers, has {values[:16]}")
    return values


def _data(header: dict[str, Any], file: IO[bytes], *, skip: bool) -> Any:
    """The array (C, X, Y[, Z[, 4th]])."""
    kind = header.get("elementtype", "").upper().removesuffix("_ARRAY")
    if kind not in TYPES or _is_true(header, "binarydata", default=True) is False:
        raise InputError(f"ElementType {kind!r}, BinaryData {header.get('binarydata')} is not supported")
    big = _is_true(header, "binarydatabyteordermsb") or _is_true(header, "elementbyteordermsb")
    dtype = np.dtype(("<", ">")[big] + TYPES[kind])
    channels = int(_numbers(header, ("elementnumberofchannels",), 1, [1.0])[0])
    shape = (channels, *header["sizes"])
    left = os.fstat(file.fileno()).st_size - file.tell()
    jump = int(_numbers(header, ("headersize",), 1, [0.0])[0]) if skip else 0
    if not _is_true(header, "compresseddata"):
        file.seek(left - n_bytes(dtype, shape) if jump == -1 else max(jump, 0), os.SEEK_CUR)
        return read_array(file, dtype, shape, left - max(jump, 0))
    size = n_bytes(dtype, shape)
    if size > left * MAX_DEFLATE_RATIO:
        raise InputError(f"cut short: DimSize needs {size} bytes, {left} packed bytes cannot hold them")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    values = unpack.decompress(file.read(), size)
    unpack.decompress(unpack.unconsumed_tail, 1)
    if len(values) == size and not unpack.eof:
        raise InputError("the packed data goes on after the image, or its end is cut off")
    return read_array(io.BytesIO(values), dtype, shape, len(values))


def _is_true(header: dict[str, Any], key: str, *, default: bool = False) -> bool:
    return str(header.get(key, default))[:1].lower() in ("t", "1", "y")


def _affine(header: dict[str, Any], n_dims: int) -> FloatArray:
    """Voxel index to RAS mm. A row of ``TransformMatrix`` is the direction of an axis in LPS."""
    spacing = np.array(_numbers(header, ("elementspacing", "elementsize"), n_dims, [1.0] * n_dims))
    if not (spacing > 0).all():
        raise InputError(f"ElementSpacing {spacing.tolist()}: each must be above 0")
    keys = ("transformmatrix", "rotation", "orientation")
    matrix = np.reshape(_numbers(header, keys, n_dims**2, np.eye(n_dims).ravel().tolist()), (n_dims, n_dims))
    origin = _numbers(header, ("offset", "position", "origin"), n_dims, [0.0] * n_dims)
    used = min(n_dims, 3)
    affine = np.zeros((4, 4))
    affine[:used, :used] = (matrix * spacing[:, None]).T[:used, :used]
    affine[:used, 3], affine[3, 3] = origin[:used], 1.0
    return np.asarray(LPS_FLIP @ affine)
