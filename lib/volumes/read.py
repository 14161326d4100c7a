# SPDX-License-Identifier: Apache-2.0
"""Read NIfTI, NRRD and MetaImage files and pictures that nobody vouches for.

nibabel, pynrrd and Pillow read the headers; sizes are checked before anything is allocated, and one bounded
reader takes the data of volumes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..types import FloatArray, InputError
from .data import AnyArray, FileParts
from .metaimage import read_meta
from .nifti import read_nifti
from .nrrd import read_nrrd
from .picture import PICTURES, read_picture

READERS: dict[str, Callable[[Path], FileParts]] = {
    ".nii.gz": read_nifti,
    ".nii": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_meta,
    ".mhd": read_meta,
}
"""Of volumes, by the end of the file's name."""
ALL_READERS = {**READERS, **dict.fromkeys(PICTURES, read_picture)}


@dataclass(frozen=True)
class ImageFile:
    """An image file as it was read.

    A fourth axis that the file does not name holds channels if it has up to 4 entries (the MR sequences of a study),
    else time points. What names it: a NIfTI intent code, a NIfTI time unit with a time step other than 0 or 1 (1 s is
    what writers put that know no time), NRRD ``kinds``, ``labels`` or ``units``, the index values of 3D Slicer.

    Attributes:
        array: (X, Y, Z, C, N): space, channels, time points; C and N are 1 where there are none. The file's own
            type, except that scaled NIfTI becomes floating point.
        affine_ras: Voxel index to RAS mm, (4, 4).
        times: Of the N time points in ``time_unit``; empty when there is one or the file does not say.
        time_unit: Always "s".
        problems: What was noticed and what was done about it, a sentence each.
        n_not_finite: Voxels that held no finite number and have been set to the lowest value.
    """

    array: AnyArray
    affine_ras: FloatArray
    times: tuple[float, ...] = ()
    time_unit: str = "s"
    problems: tuple[str, ...] = ()
    n_not_finite: int = 0


def read_image_file(path: Path) -> ImageFile:
    """Read a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, or a .png, .jpg or .jpeg file as one grey frame.

    Raises:
        InputError: If the file is not one of these, is damaged or cut short, or says something impossible. The
            message names the file and the reason.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'this is a folder, not an image file' if path.is_dir() else 'no such file'}")
    reader = next((read for suffix, read in ALL_READERS.items() if path.name.lower().endswith(suffix)), None)
    if reader is None:
        raise InputError(f"{path}: not an image file by its name, which must end in one of {', '.join(ALL_READERS)}")
    try:
        if path.stat().st_size == 0:
            raise InputError("the file is empty")
        array, affine_ras, times, problems = reader(path)
        array, n_not_finite = _finite(array, problems)
    except InputError as error:
        raise InputError(f"{path}: cannot be read as an image ({error})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as an image (damaged or cut short: {error})") from error
    except MemoryError as error:
        raise InputError(f"{path}: cannot be read as an image (there is not enough memory for it)") from error
    return ImageFile(array, affine_ras, times, problems=tuple(problems), n_not_finite=n_not_finite)


def _finite(array: AnyArray, problems: list[str]) -> tuple[AnyArray, int]:
    """Replace what is not a finite number by the lowest value that is; tells how many there were."""
    if array.dtype.kind != "f":
        return array, 0
    good = np.isfinite(array)
    count = int(array.size - np.count_nonzero(good))
    if count == array.size:
        raise InputError("no voxel holds a finite number")
    if count:
        lowest = array[good].min()
        array = np.where(good, array, lowest)
        problems.append(f"{count} voxels hold no finite number: set to the lowest value, {lowest:g}.")
    return array, count
