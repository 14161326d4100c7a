# SPDX-License-Identifier: Apache-2.0
"""DICOM series with faults, made by editing good slices."""

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from lib.dicom.write import Subject, write_mr_series

SUBJECT = Subject("SLICES", datetime.date(2024, 2, 3))
Edit = Callable[[Dataset, int], object]


def pixels_of(n_slices: int, size: int = 16, start: int = 0) -> np.ndarray:
    """(T, H, W): every slice differs, slice k has ``start + 100 * k`` in its corner."""
    pixels = np.random.default_rng(start).integers(0, 4000, (n_slices, size, size)).astype(np.uint16)
    pixels[:, 0, 0] = start + 100 * np.arange(n_slices)
    return pixels


def make_slices(
    folder: Path, n_slices: int = 8, step_mm: float = 2.5, edit: Edit | None = None, *, start: int = 0
) -> list[Path]:
    """Axial slices (16 x 16, 0.5 mm, the first at -10, -20, 30 mm) of one series, changed by ``edit(dataset, k)``."""
    files = write_mr_series(
        pixels_of(n_slices, start=start),
        folder,
        SUBJECT,
        spacing_mm=(0.5, 0.5, step_mm),
        origin_lps_mm=(-10.0, -20.0, 30.0),
    )
    for index, file in enumerate(files):
        dataset = dcmread(file)
        dataset.SeriesInstanceUID = "1.2.3.4"
        if edit is not None:
            edit(dataset, index)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(file)
    return files


def new_instance(dataset: Dataset, **values: object) -> None:
    """Turn a dataset into another instance of its series."""
    dataset.SOPInstanceUID = generate_uid()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def edited(file: Path, target: Path, **values: object) -> Path:
    """Save a copy of a file as another instance."""
    dataset = dcmread(file)
    new_instance(dataset, **values)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(target)
    return target


def make_times(folder: Path, edit: Callable[[Dataset, int, int], object], n_times: int = 3) -> list[Path]:
    """``n_times`` x 8 slices of one series; ``edit(dataset, time, slice)`` says which is which."""
    files = []
    for time in range(n_times):

        def one(dataset: Dataset, index: int, time: int = time) -> None:
            new_instance(dataset, InstanceNumber=time * 8 + index + 1)
            for keyword in ("AcquisitionTime", "AcquisitionNumber", "ContentTime"):
                delattr(dataset, keyword)
            edit(dataset, time, index)

        files += make_slices(folder / f"{time}", edit=one, start=time + 1)
    return files
