# SPDX-License-Identifier: Apache-2.0
"""Phantoms on disk: NIfTI and DICOM."""

import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..dicom.write import Subject, write_ct_series, write_mr_series, write_us_multiframe
from .types import PhantomCine, PhantomStack

FIRST_VISIT = datetime.date(2024, 1, 15)


def write_nifti(stack: PhantomStack, image_path: str | Path, mask_path: str | Path | None = None) -> None:
    """Write the image (its own type) and, if asked, the mask (uint8) in (X, Y, Z) order with the RAS affine.

    Args:
        stack: the phantom.
        image_path: ends in .nii or .nii.gz; its folder is made if missing.
        mask_path: the same for the mask; None writes none.
    """
    _save_nifti(stack.image, stack.affine, Path(image_path))
    if mask_path is not None:
        write_mask(stack, mask_path)


def write_mask(stack: PhantomStack, path: str | Path) -> None:
    """Write the mask (uint8) as :func:`write_nifti` does."""
    _save_nifti(stack.mask, stack.affine, Path(path))


def _save_nifti(array: NDArray[np.generic], affine: NDArray[np.float64], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.nifti1.Nifti1Image(array.transpose(2, 1, 0), affine, dtype=array.dtype)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    nib.loadsave.save(image, path)


def write_dicom(
    stack: PhantomStack, folder: str | Path, *, patient_id: str, study_date: datetime.date = FIRST_VISIT
) -> list[Path]:
    """Write an MR or CT Image Storage series, one file per frame, with UIDs that follow from patient, day and pixels.

    Args:
        stack: the phantom; ``stack.day`` is added to the study date, so visits become studies of their own.
        folder: made if missing.
        patient_id: (0010,0020); visits of one patient share their frame of reference.
        study_date: of day 0.

    Returns:
        The files in frame order.
    """
    date = study_date + datetime.timedelta(days=stack.day)
    origin, spacing = stack.origin_lps_mm, stack.spacing_mm
    if stack.modality == "CT":
        subject = Subject(patient_id, date, "Phantom chest", "CT-like phantom, axial")
        hu = np.asarray(stack.image, np.int16)
        return write_ct_series(hu, Path(folder), subject, spacing_mm=spacing, origin_lps_mm=origin)
    subject = Subject(patient_id, date, "Phantom head", "FLAIR-like phantom, axial")
    image = np.asarray(stack.image, np.uint16)
    return write_mr_series(image, Path(folder), subject, spacing_mm=spacing, origin_lps_mm=origin)


def write_cine_dicom(
    cine: PhantomCine, path: str | Path, *, patient_id: str, study_date: datetime.date = FIRST_VISIT
) -> Path:
    """Write one Ultrasound Multi-frame Image Storage file with its frame time and pixel calibration.

    Args:
        cine: the phantom.
        path: the file; its folder is made if missing.
        patient_id: (0010,0020).
        study_date: of the study.
    """
    subject = Subject(patient_id, study_date, "Phantom abdomen", "Ultrasound-like phantom, cine")
    return write_us_multiframe(
        cine.image,
        Path(path),
        subject,
        frame_time_ms=cine.frame_time_ms,
        pixel_spacing_mm=cine.pixel_spacing_mm,
    )
