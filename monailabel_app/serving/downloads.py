# SPDX-License-Identifier: Apache-2.0
"""DICOM series as files to download: 3D Slicer's module and MONAI Label's client take an image as one file."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from functools import cache
from pathlib import Path

from ..roots import lib_module

_LOCK = threading.Lock()
KEPT = 16
"""Series that are kept as NIfTI, the ones downloaded last."""


def nifti_of(image_id: str, folder: Path) -> Path:
    """Return a NIfTI file with the voxels of the series in a folder, made when it is first asked for.

    Raises:
        InputError: When the series cannot be read.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = lib_module("datastore.dicom_grid").state_of(files)
    path: Path = _folder() / state / f"{image_id}.nii.gz"
    with _LOCK:
        if not path.is_file():
            lib_module("transforms.export").write_nifti(lib_module("transforms.load").read_dicom(folder).image, path)
            _forget_oldest()
    return path


def _forget_oldest() -> None:
    folders = sorted(_folder().iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lesionloop-images-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
