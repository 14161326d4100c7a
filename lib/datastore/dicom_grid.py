# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as the image that a label belongs to."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..dicom.seg import read_seg
from ..dicom.types import DicomSeries
from ..dicom.worker import read_series_isolated
from ..transforms.labels import Grid
from ..transforms.orient import frame_origins_lps_mm, sequence_geometry
from ..types import InputError, Sequence, SequenceKind, VolumeSeries, volumes_of

READ_TIMEOUT_S = 120.0
REMEMBERED = 64
_known: OrderedDict[str, DicomSeries] = OrderedDict()
_lock = threading.Lock()


def series_of(folder: Path, part: str | None = None) -> DicomSeries:
    """Read the one series in a folder; its pixels are left out, so that many can be remembered.

    Args:
        folder: With its files.
        part: As in :func:`lib.dicom.series.read_series`.

    Raises:
        InputError: If the folder does not hold one series that can be read.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    key = f"{part}:{state_of(files)}"
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    series = without_pixels(read_series_isolated(files, READ_TIMEOUT_S, part=part))
    with _lock:
        _known[key] = series
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return series


def state_of(files: Iterable[Path]) -> str:
    """Changes when one of the files does."""
    states = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def without_pixels(series: DicomSeries) -> DicomSeries:
    """The series with frames that take no memory: zeros of the right shape and type."""
    return replace(series, image=_blank(series.image))


def _blank(image: Sequence | VolumeSeries) -> Sequence | VolumeSeries:
    if isinstance(image, VolumeSeries):
        return replace(image, volumes=tuple(_blank_sequence(volume) for volume in image.volumes))
    return _blank_sequence(image)


def _blank_sequence(sequence: Sequence) -> Sequence:
    zero = np.zeros((), sequence.frames.dtype)
    return replace(sequence, frames=np.broadcast_to(zero, sequence.frames.shape))


def series_grid(series: DicomSeries, name: str) -> Grid:
    """The grid of a series: (columns, rows, frames); of a dynamic one that of its first time point."""
    first = volumes_of(series.image)[0]
    geometry = sequence_geometry(first)
    return Grid(
        name,
        geometry,
        placed=first.kind is not SequenceKind.CINE,
        n_times=len(volumes_of(series.image)),
        origins_lps_mm=frame_origins_lps_mm(first, geometry),
    )


def mask_of_frames(frames: npt.NDArray[np.uint8], series: DicomSeries) -> npt.NDArray[np.uint8]:
    """(T, H, W) in the order of the series' frames -> (X, Y, Z), of a dynamic series (X, Y, Z, N)."""
    n_times = len(volumes_of(series.image))
    if n_times == 1:
        return np.asarray(frames.transpose(2, 1, 0))
    return np.asarray(frames.reshape(n_times, -1, *frames.shape[1:]).transpose(3, 2, 1, 0))


def frames_of_mask(mask: npt.NDArray[np.uint8], series: DicomSeries, time_point: int | None) -> npt.NDArray[np.uint8]:
    """(X, Y, Z[, N]) -> (T, H, W): the inverse of :func:`mask_of_frames`.

    Args:
        mask: On the grid of the series.
        series: Which one.
        time_point: The volume that a mask of one volume is of, from 0; may be None where there is only one.

    Raises:
        InputError: If it is not said, or there is no such time point.
    """
    if mask.ndim == 4:
        return np.ascontiguousarray(mask.transpose(3, 2, 1, 0)).reshape(-1, *mask.shape[1::-1])
    n_times = len(volumes_of(series.image))
    by_time = np.zeros((n_times, *mask.shape[::-1]), np.uint8)
    by_time[checked_time_point(time_point, n_times)] = mask.transpose(2, 1, 0)
    return by_time.reshape(-1, *by_time.shape[2:])


def checked_time_point(time_point: int | None, n_times: int) -> int:
    """The volume that a label of one volume is of.

    Raises:
        InputError: If there are several and it is not said which, or there is no such volume.
    """
    if time_point is None and n_times > 1:
        raise InputError(
            f"the image has {n_times} volumes: say in the label's info which one, time_point 0 to {n_times - 1}"
        )
    if not 0 <= (time_point or 0) < n_times:
        raise InputError(f"there is no time point {time_point}; the image has 0 to {n_times - 1}")
    return time_point or 0


def read_seg_mask(path: Path, folder: Path, part: str | None = None) -> npt.NDArray[np.uint8]:
    """Read a DICOM SEG onto the series in a folder, (X, Y, Z); ``part`` as for :func:`series_of`.

    Raises:
        InputError: If the image is not DICOM, or the SEG cannot be read or does not fit.
    """
    if not folder.is_dir():
        raise InputError(f"{path.name}: a DICOM SEG needs an image that is DICOM; save the mask as NIfTI or NRRD")
    series = series_of(folder, part)
    return mask_of_frames(read_seg(path, series).mask, series)


def linked_folder(files: Iterable[Path], folder: Path) -> Path:
    """A folder with links to the files of one series; made again when the files are others than before.

    Args:
        files: Anywhere.
        folder: Where the links shall be; its parent is made if missing.
    """
    names = {f"{number:05d}-{path.name}": path for number, path in enumerate(files)}
    present = {p.name: Path(os.readlink(p)) for p in folder.iterdir() if p.is_symlink()} if folder.is_dir() else {}
    if present == names:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, path in names.items():
        (folder / name).symlink_to(path)
    return folder
