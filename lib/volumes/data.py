# SPDX-License-Identifier: Apache-2.0
"""What the readers of image files share: bounded reading, the order of axes, checks of the affine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..types import FloatArray, InputError

AnyArray = npt.NDArray[Any]
FileParts = tuple[AnyArray, FloatArray, tuple[float, ...], list[str]]
"""The array (X, Y, Z, C, N), its affine (voxel to RAS mm), the times in s, the problems."""
MAX_BYTES = 8 * 2**30
"""Largest image that is read, unpacked."""
MAX_DEFLATE_RATIO = 1032
"""Deflate cannot pack tighter (zlib.net/zlib_tech.html): a header that claims more lies."""
MAX_HEADER_BYTES = 2**20
MAX_UNNAMED_CHANNELS = 4
LPS_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
MIN_SPACING_MM, MAX_SPACING_MM = 1e-6, 1e5
MIN_SINE = 1e-3
"""Smallest volume of the unit axis vectors; below it two axes run in the same direction."""


def n_bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Size of an array.

    Raises:
        InputError: If a size is not positive or the array is larger than :data:`MAX_BYTES`.
    """
    if min(shape) < 1:
        raise InputError(f"sizes {list(shape)}: each must be at least 1")
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise InputError(f"sizes {list(shape)}: {size / 2**30:.3g} GiB, the limit is {MAX_BYTES / 2**30:g} GiB")
    return size


def read_array(stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], at_most: int) -> AnyArray:
    """Read an array whose first axis runs fastest, as all these formats store it.

    Args:
        stream: At the first byte of the data.
        dtype: As stored; the result has the machine's byte order.
        shape: As stored.
        at_most: Number of bytes that the rest of the file can hold.

    Raises:
        InputError: If the file holds less than the shape says, or the array is too large.
    """
    size = n_bytes(dtype, shape)
    if size > at_most:
        raise InputError(f"cut short: sizes {list(shape)} need {size} bytes, the file can hold {max(at_most, 0)}")
    buffer = np.empty(size, np.uint8)
    view, done = buffer.data, 0
    while done < size and (count := stream.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    if done < size:
        raise InputError(f"cut short: sizes {list(shape)} need {size} bytes, the file has {done}")
    stream.read(MAX_HEADER_BYTES)  # a packed file compares its checksum at its end, which is here or soon
    array = buffer.view(dtype).reshape(shape, order="F")
    return array.astype(dtype.newbyteorder("="), copy=False)


def arranged(array: AnyArray, roles: str) -> AnyArray:
    """Bring the axes in the order (X, Y, Z, C, N), with size 1 for those that are missing.

    Args:
        array: As stored.
        roles: A letter per axis: "s" in space, "c" channels, "n" time points.

    Raises:
        InputError: If there are not 2 or 3 axes in space and at most one each of the others.
    """
    if not 2 <= roles.count("s") <= 3 or roles.count("c") > 1 or roles.count("n") > 1:
        raise InputError(f"sizes {list(array.shape)}: needs 2 or 3 axes in space, at most one of time and of channels")
    order = sorted(range(array.ndim), key=lambda axis: "scn".index(roles[axis]))
    full: list[slice | None] = [slice(None), slice(None), slice(None) if roles.count("s") == 3 else None]
    full += [slice(None) if role in roles else None for role in "cn"]
    return array.transpose(order)[tuple(full)]


def checked_affine(affine: FloatArray, n_slices: int) -> FloatArray:
    """The affine if it can be one; a single slice without direction gets the normal of its plane, 1 mm thick.

    Raises:
        InputError: If a value is not finite, a spacing is 0 or absurd, or two axes have the same direction.
    """
    if not np.isfinite(affine).all():
        raise InputError("spacing, direction or origin is not a number")
    affine = np.array(affine, np.float64)
    if n_slices == 1 and not affine[:3, 2].any():
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < MIN_SPACING_MM or spacing.max() > MAX_SPACING_MM:
        raise InputError(f"spacing of {', '.join(f'{mm:g}' for mm in spacing)} mm")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < MIN_SINE:
        raise InputError("the affine is singular: two axes have the same direction")
    return affine


def file_beside(path: Path, name: str) -> Path:
    """A data file that a header names; only files in the header's own folder are read.

    Raises:
        InputError: If it lies elsewhere or is missing.
    """
    data = path.parent / name
    try:
        inside = data.resolve().parent == path.parent.resolve() and Path(name).name == name
        if inside and data.is_file():
            return data
    except (OSError, ValueError):
        pass
    raise InputError(f"its data file {name!r} must be one file in the same folder")
