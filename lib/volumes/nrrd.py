# SPDX-License-Identifier: Apache-2.0
"""NRRD, attached or detached, with the sequences and segmentations of 3D Slicer (teem.sourceforge.net/nrrd)."""

from __future__ import annotations

import bz2
import gzip
import os
from pathlib import Path
from typing import IO, Any

import nrrd
import numpy as np

from ..types import FloatArray, InputError
from .data import (
    MAX_BYTES,
    MAX_DEFLATE_RATIO,
    MAX_HEADER_BYTES,
    MAX_UNNAMED_CHANNELS,
    AnyArray,
    FileParts,
    arranged,
    checked_affine,
    file_beside,
    n_bytes,
    read_array,
)

MM = {"": 1.0, "mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}
SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6}
TO_RAS = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
}
SHORT_SPACES = {"lps": "left-posterior-superior", "las": "left-anterior-superior", "ras": "right-anterior-superior"}
SPACE_KINDS = ("domain", "space")
OPEN_KINDS = ("list", "none", "???")
"""Kinds that do not say what an axis holds."""


def read_nrrd(path: Path) -> FileParts:
    """Read a NRRD.

    Raises:
        InputError: If the header or the data cannot be used.
    """
    with path.open("rb") as file:
        header = _header(file)
        name = header.get("data file", header.get("datafile"))
        with file_beside(path, name).open("rb") if name else file as data:
            array = _data(header, data)
    problems: list[str] = []
    directions = _directions(header, array.ndim)
    roles = "".join(
        "s" if np.isfinite(directions[axis]).any() else _role(header, axis, size)
        for axis, size in enumerate(array.shape)
    )
    result = arranged(array, roles)
    affine = checked_affine(_affine(header, directions, problems), result.shape[2])
    times = _times(header, roles.index("n"), result.shape[4], problems) if "n" in roles else ()
    return result, affine, times, problems


def _header(file: IO[bytes]) -> dict[str, Any]:
    """The header; the file is left at the first byte after it."""
    lines: list[bytes] = []
    while line := file.readline(MAX_HEADER_BYTES).rstrip():
        lines.append(line + b"\n")
        if file.tell() > MAX_HEADER_BYTES:
            raise InputError("not a NRRD header")
    try:
        with np.errstate(invalid="ignore"):
            return dict(nrrd.read_header(lines))
    except Exception as error:  # pynrrd raises IndexError, StopIteration and others on broken text
        raise InputError(f"not a NRRD header ({str(error) or type(error).__name__})") from error


def _data(header: dict[str, Any], file: IO[bytes]) -> AnyArray:
    """The array as it is stored, from the file at its first line of data."""
    dtype, shape = _type_and_shape(header)
    encoding = str(header["encoding"]).lower()
    lines = header.get("line skip", header.get("lineskip", 0))
    skip = header.get("byte skip", header.get("byteskip", 0))
    if not (0 <= lines <= MAX_HEADER_BYTES and -1 <= skip <= MAX_BYTES):
        raise InputError(f"line skip {lines}, byte skip {skip}")
    for _ in range(lines):
        file.readline()
    left = os.fstat(file.fileno()).st_size - file.tell()
    if encoding == "raw":
        if skip == -1:  # the data are the end of the file
            skip = max(left - n_bytes(dtype, shape), 0)
        file.seek(skip, os.SEEK_CUR)
        return read_array(file, dtype, shape, left - skip)
    if encoding in ("txt", "text", "ascii"):
        return _text_array(file.read(min(left, MAX_BYTES)), dtype, shape)
    if encoding in ("gz", "gzip"):
        return _packed_array(gzip.GzipFile(fileobj=file), dtype, shape, skip, left * MAX_DEFLATE_RATIO)  # type: ignore[arg-type]
    if encoding in ("bz2", "bzip2"):
        return _packed_array(bz2.BZ2File(file), dtype, shape, skip, MAX_BYTES)
    raise InputError(f"encoding {encoding!r} is not supported")


def _type_and_shape(header: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    try:
        shape = tuple(int(size) for size in header["sizes"])
        dtype = nrrd.reader._determine_datatype({**header, "encoding": header["encoding"].lower()})
    except (KeyError, nrrd.NRRDError) as error:
        raise InputError(f"the header lacks, or has a value that is not known: {error}") from error
    if dtype.kind == "V":
        raise InputError("type block is not supported")
    if len(shape) != header.get("dimension") or not 2 <= len(shape) <= 5:
        raise InputError(f"dimension {header.get('dimension')}, sizes {list(shape)}: needs 2 to 5 axes")
    return dtype, shape


def _packed_array(stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], skip: int, at_most: int) -> AnyArray:
    """The bytes to skip are counted in the unpacked data."""
    while skip > 0 and (passed := len(stream.read(min(skip, MAX_HEADER_BYTES)))):
        skip -= passed
    return read_array(stream, dtype, shape, at_most)


def _text_array(text: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> AnyArray:
    count = n_bytes(dtype, shape) // dtype.itemsize
    words = text.split(maxsplit=count)[:count]
    try:
        return np.array(words).astype(np.float64).astype(dtype).reshape(shape, order="F")
    except ValueError as error:
        raise InputError(f"the text is not {count} numbers") from error


def _directions(header: dict[str, Any], n_dims: int) -> FloatArray:
    """The step along each axis in space, (n_dims, 3); NaN for axes that are not in space, all but the first three."""
    given = header.get("space directions")
    if given is None:
        given = _from_spacings(header, n_dims)
    if given.ndim != 2 or len(given) != n_dims or not 2 <= given.shape[1] <= 4:
        raise InputError(f"{n_dims} axes but space directions of shape {given.shape}")
    directions = np.full((n_dims, 3), np.nan)
    in_space = [axis for axis in range(n_dims) if not np.isnan(given[axis]).all()][:3]
    directions[in_space] = np.pad(given[in_space], ((0, 0), (0, 1)))[:, :3]
    return directions


def _from_spacings(header: dict[str, Any], n_dims: int) -> FloatArray:
    spacings = np.atleast_1d(header.get("spacings", np.ones(n_dims)))
    if len(spacings) != n_dims:
        raise InputError(f"{n_dims} axes but {len(spacings)} spacings")
    in_space = [axis for axis in range(n_dims) if _kind(header, axis) in (*SPACE_KINDS, *OPEN_KINDS)][:3]
    if not (spacings[in_space] > 0).all():
        raise InputError(f"spacings {spacings[in_space].tolist()}: each must be above 0")
    directions = np.full((n_dims, 3), np.nan)
    directions[in_space] = np.diag(np.ones(3))[: len(in_space)] * spacings[in_space][:, None]
    return directions


def _kind(header: dict[str, Any], axis: int) -> str:
    return _nth(header.get("kinds"), axis) or "???"


def _nth(values: Any, axis: int) -> str:
    """The word of a per-axis field in lower case; "" where there is none."""
    return str(values[axis]).lower() if values is not None and axis < len(values) else ""


def _role(header: dict[str, Any], axis: int, size: int) -> str:
    """What an axis holds that is not in space: "n" time points or "c" channels."""
    kind = _kind(header, axis)
    if kind == "time" or f"axis {axis} index values" in header:
        return "n"
    if "complex" in kind:
        raise InputError("complex values are not supported")
    if kind not in (*OPEN_KINDS, *SPACE_KINDS):
        return "c"
    if _nth(header.get("labels"), axis) == "time" or _nth(header.get("units"), axis) in SECONDS:
        return "n"
    if any(key.startswith("Segment0_") for key in header):  # the layers of segments that overlap
        return "c"
    return "n" if size > MAX_UNNAMED_CHANNELS or "MultiVolume.FrameLabels" in header else "c"


def _affine(header: dict[str, Any], directions: FloatArray, problems: list[str]) -> FloatArray:
    """Voxel index to RAS mm. Without a named space the axes are those of LPS, as ITK has it."""
    steps = directions[np.isfinite(directions).any(axis=1)]
    affine = np.zeros((4, 4))
    affine[:3, : len(steps)], affine[3, 3] = steps.T, 1.0
    origin = np.atleast_1d(header.get("space origin", np.zeros(3)))[:3]
    affine[: len(origin), 3] = origin
    units = {str(unit).lower() for unit in header.get("space units", ["mm"])[:3]}
    if len(units) > 1 or not units <= set(MM):
        problems.append(f"Space units {', '.join(sorted(units))} are taken as mm.")
        units = {"mm"}
    affine[:3] *= MM[units.pop() if units else "mm"]
    space = str(header.get("space", "lps")).lower().removesuffix("-time")
    space = SHORT_SPACES.get(space, space)
    if space not in TO_RAS:
        problems.append(f"Space {space} is no place in a patient: taken as left-posterior-superior.")
    affine[:3] *= np.array(TO_RAS.get(space, TO_RAS["left-posterior-superior"]))[:, None]
    return affine


def _times(header: dict[str, Any], axis: int, count: int, problems: list[str]) -> tuple[float, ...]:
    """Times in s from 3D Slicer's index values or MultiVolume labels, else from the spacing along the axis."""
    unit = _nth(header.get("units"), axis)
    words = str(header.get(f"axis {axis} index values", "")).split()
    spacings = np.atleast_1d(header.get("spacings", ()))
    if not words and "MultiVolume.FrameLabels" in header:
        words = str(header["MultiVolume.FrameLabels"]).split(",")
        unit = str(header.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "")).lower()
    elif not words and axis < len(spacings):
        words = [str(k * spacings[axis]) for k in range(count)]
    if count < 2 or unit not in SECONDS or not words:
        return ()
    try:
        times = tuple(round(float(word) * SECONDS[unit], 9) for word in words)
    except ValueError:
        times = ()
    if len(times) != count or not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        problems.append(f"The times of the {count} time points are not {count} ascending numbers: left out.")
        return ()
    return times
