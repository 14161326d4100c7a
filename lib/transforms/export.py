# SPDX-License-Identifier: Apache-2.0
"""NIfTI files: masks, and DICOM series for programs that take one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from ..dicom.cine import to_grey
from ..dicom.files import atomic_write
from ..types import FloatArray, Sequence, SequenceKind, VolumeSeries, volumes_of
from .geometry import RAS_TO_LPS, unsheared

SECONDS_TO_MS = 1000.0


def write_nifti(image: Sequence | VolumeSeries, path: Path) -> None:
    """Write a sequence as NIfTI: (columns, rows, frames), for several volumes (columns, rows, slices, volumes).

    A label drawn on the file fits the series voxel by voxel. Colour becomes grey. Times of volumes are kept as their
    mean distance, which is all that NIfTI can hold; unevenly spaced slices lie at even distances in it.

    Args:
        image: As :func:`lib.dicom.series.read_series` gives it.
        path: Ends in .nii or .nii.gz.
    """
    volumes = volumes_of(image)
    arrays = [_array(volume) for volume in volumes]
    array = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)
    affine_ras = RAS_TO_LPS @ volumes[0].affine_lps
    file = nifti_image(array, affine_ras)
    if isinstance(image, VolumeSeries) and image.kind is SequenceKind.DYNAMIC and len(arrays) > 1:
        step_s = (image.positions[-1] - image.positions[0]) / (len(arrays) - 1)
        file.header.set_zooms((*file.header.get_zooms()[:3], step_s * SECONDS_TO_MS))
    with atomic_write(path) as temporary:
        nib.save(file, temporary)


def nifti_image(
    array: npt.NDArray[Any], affine_ras: FloatArray, label_names: dict[str, int] | None = None
) -> nib.Nifti1Image:
    """An image in memory that says in every way NIfTI has where it lies; the sform is exact.

    Args:
        array: (X, Y, Z[, N]).
        affine_ras: Voxel index to RAS mm, (4, 4).
        label_names: Class name -> value of a mask, kept in a header extension.
    """
    image = nib.Nifti1Image(np.asfortranarray(array), affine_ras)
    image.set_sform(affine_ras, code=1)
    image.set_qform(
        unsheared(affine_ras), code=1
    )  # it cannot be sheared (gantry tilt), and ITK refuses an sform that is
    image.header.set_xyzt_units("mm", "msec")
    if label_names:
        text = json.dumps({"label_names": label_names}).encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text))
    return image


def _array(sequence: Sequence) -> npt.NDArray[np.generic]:
    """(T, C, H, W) -> (W, H, T)."""
    grey = to_grey(sequence) if sequence.frames.shape[1] > 1 else sequence
    frames = grey.frames[:, 0].transpose(2, 1, 0)
    known = (np.uint8, np.int16, np.uint16, np.int32, np.float32)
    return np.asarray(frames if frames.dtype in known else frames.astype(np.float32))
