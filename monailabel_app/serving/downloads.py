# SPDX-License-Identifier: Apache-2.0
"""Downloads: files, and DICOM series as one; 3D Slicer's module and MONAI Label's client take an image as a file."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import defaultdict
from functools import cache
from pathlib import Path

import psutil
from fastapi.responses import FileResponse
from monailabel.utils.others.generic import get_mime_type

from ..roots import lib_module

PREFIX = "lesionloop-images-"
KEPT = 16
"""Series that are kept as NIfTI, the ones downloaded last."""
_making: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""By series, so that one does not wait for another."""


def download(path: str) -> FileResponse:
    """Return a file as an answer, under its own name."""
    return FileResponse(path, media_type=get_mime_type(path), filename=Path(path).name)


def nifti_of(image_id: str, folder: Path) -> Path:
    """Return a NIfTI file with the voxels of the series in a folder, made when it is first asked for.

    Raises:
        InputError: When the series cannot be read.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = lib_module("datastore.dicom_grid").state_of(files)
    path: Path = _folder() / state / f"{image_id}.nii.gz"
    with _making[state]:
        if not path.is_file():
            lib_module("transforms.export").write_nifti(lib_module("transforms.load").read_dicom(folder).image, path)
            _forget_oldest()
        path.parent.touch()
    return path


def forget_all() -> None:
    """Remove every file; at the end of the server, because they are images of patients."""
    if _folder.cache_info().currsize:
        shutil.rmtree(_folder(), ignore_errors=True)
        _folder.cache_clear()


def _forget_oldest() -> None:
    folders = sorted(_folder().iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _folder() -> Path:
    """A folder of this process; what killed processes left is removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
