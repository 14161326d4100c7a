# SPDX-License-Identifier: Apache-2.0
"""NIfTI-1 and NIfTI-2 in one file, packed or not (nifti.nimh.nih.gov)."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..types import FloatArray, InputError
from .data import (
    LPS_FLIP,
    MAX_DEFLATE_RATIO,
    MAX_UNNAMED_CHANNELS,
    AnyArray,
    FileParts,
    arranged,
    checked_affine,
    read_array,
)

MM = {1: 1000.0, 2: 1.0, 3: 1e-3}
"""Spatial codes of ``xyzt_units``: metre, millimetre, micrometre."""
SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
"""Time codes of ``xyzt_units``: second, millisecond, microsecond."""
INTENT_TIME_SERIES = 2001
INTENTS_OF_CHANNELS = (1003, 1004, 1005, 1006, 1007, 1008, 2003, 2004)
"""Matrices, vectors, points, triangles, quaternions and colours."""


def read_nifti(path: Path) -> FileParts:
    """Read a NIfTI file; whether it is packed is seen from its first bytes.

    Raises:
        InputError: If the header or the data cannot be used.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
        header = _header(stream.read(540))
        dtype, shape = _type(header), _shape(header)
        offset = float(header["vox_offset"]) or 352.0
        if not int(header["sizeof_hdr"]) <= offset <= 2**31:
            raise InputError(f"the data cannot start at byte {offset:g}")
        stream.seek(int(offset))
        size = path.stat().st_size
        array = read_array(stream, dtype, shape, size * MAX_DEFLATE_RATIO if packed else size - int(offset))
    problems: list[str] = []
    affine = _affine(header, shape[2] if len(shape) > 2 else 1, problems)
    roles = _roles(header, shape)
    if array.dtype.fields:  # RGB and RGBA: the colours of a voxel lie beside each other
        array = array.reshape(-1, order="F").view(np.uint8).reshape((-1, *shape), order="F")
        roles = "c" + roles
    array = arranged(_scaled(array, header), roles)
    return array, affine, _times(header, array.shape[4]), problems


def _header(block: bytes) -> Any:
    sizes = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")} & {348, 540}
    if not sizes or len(block) < min(sizes):
        raise InputError("not a NIfTI header")
    kind = nib.Nifti1Header if sizes == {348} else nib.Nifti2Header
    header = kind(block[: min(sizes)], check=False)
    if bytes(header["magic"].item())[:3] not in (b"n+1", b"n+2"):
        raise InputError("not a NIfTI in one file (magic n+1 or n+2)")
    return header


def _type(header: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (KeyError, HeaderDataError) as error:
        raise InputError(f"data type code {int(header['datatype'])} is not supported") from error
    if (dtype.kind not in "iuf" and not dtype.fields) or dtype.itemsize > 8:
        raise InputError(f"data type {dtype} is not supported")
    return dtype


def _shape(header: Any) -> tuple[int, ...]:
    n_dims = int(header["dim"][0])
    if not 1 <= n_dims <= 7:
        raise InputError(f"the header says {n_dims} dimensions; NIfTI has 1 to 7")
    shape = [int(size) for size in header["dim"][1 : n_dims + 1]]
    while len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    if not 2 <= len(shape) <= 5:
        raise InputError(f"sizes {shape}: an image has 2 or 3 axes in space, then time, then channels")
    return tuple(shape)


def _roles(header: Any, shape: tuple[int, ...]) -> str:
    """What each axis holds (nifti1.h: dim[4] is time, dim[5] the values of a voxel)."""
    if len(shape) != 4:
        return "sssnc"[: len(shape)]
    intent = int(header["intent_code"])
    if intent == INTENT_TIME_SERIES:
        return "sssn"
    if intent in INTENTS_OF_CHANNELS:
        return "sssc"
    says_time = int(header["xyzt_units"]) & 0x38 in SECONDS and float(header["pixdim"][4]) not in (0.0, 1.0)
    return "sss" + ("n" if says_time or shape[3] > MAX_UNNAMED_CHANNELS else "c")


def _times(header: Any, count: int) -> tuple[float, ...]:
    factor = SECONDS.get(int(header["xyzt_units"]) & 0x38, 0.0)
    step, start = float(header["pixdim"][4]) * factor, float(header["toffset"]) * factor
    if count < 2 or not (np.isfinite(step) and np.isfinite(start) and step > 0):
        return ()
    return tuple(round(start + k * step, 9) for k in range(count))


def _affine(header: Any, n_slices: int, problems: list[str]) -> FloatArray:
    """Voxel index to RAS mm: the sform, else the qform.

    With neither the voxel sizes alone count and the grid starts at 0, along LPS as ITK and with it 3D Slicer has it.
    """
    to_mm = np.array([MM.get(int(header["xyzt_units"]) & 0x07, 1.0)] * 3 + [1.0])[:, None]
    unusable = []
    for name, read in (("sform", _sform), ("qform", _qform)):
        try:
            if int(header[f"{name}_code"]) > 0:
                return checked_affine(to_mm * read(header, n_slices), n_slices)
        except InputError as error:
            unusable.append(f"{name}: {error}")
            problems.append(f"The {name} cannot be used ({error}).")
    if unusable:
        raise InputError("; ".join(unusable))
    problems.append("The file says no orientation (no sform, no qform): x is taken as left, y as back, z as up.")
    return checked_affine(to_mm * LPS_FLIP @ np.diag([*_voxel_mm(header, n_slices), 1.0]), n_slices)


def _sform(header: Any, _: int) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(header.get_sform(), np.float64)


def _qform(header: Any, n_slices: int) -> FloatArray:
    spacing = _voxel_mm(header, n_slices)
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            affine = np.asarray(header.get_qform(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"the quaternion is not one: {error}") from error
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if n_slices == 1 and lengths[2] == 0:
        lengths[2] = spacing[2]
    if not np.allclose(lengths, spacing, rtol=1e-3):
        raise InputError("the quaternion is not one")
    return affine


def _voxel_mm(header: Any, n_slices: int) -> FloatArray:
    """``pixdim[1:4]``; a file with one slice need not say how thick it is."""
    spacing = np.asarray(header["pixdim"][1:4], np.float64)
    if n_slices == 1 and spacing[2] == 0:
        spacing[2] = 1.0
    if not (spacing > 0).all():
        raise InputError(f"voxel size {spacing.tolist()}: each must be above 0")
    return spacing


def _scaled(array: AnyArray, header: Any) -> AnyArray:
    """Apply ``scl_slope`` and ``scl_inter``, in float32 where it holds the values; slope 0 means none."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0 or (slope == 1 and inter == 0):
        return array
    if not np.isfinite(inter):
        raise InputError(f"scl_inter is {inter}")
    wide = array.dtype.itemsize > (4 if array.dtype.kind == "f" else 2)
    scaled = array.astype(np.float64 if wide else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(scaled, slope, out=scaled)
        np.add(scaled, inter, out=scaled)
    return scaled
