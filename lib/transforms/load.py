# SPDX-License-Identifier: Apache-2.0
"""Read image and label files as sequences of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data.image_reader import ITKReader, NibabelReader

from ..configs import InputConfig
from ..types import InputError, MaskArray, Sequence, SequenceKind
from .geometry import VolumeGeometry


def load_sequence(path: Path, config: InputConfig) -> tuple[Sequence, VolumeGeometry]:
    """Read an image: NIfTI, NRRD, MetaImage or a folder with one DICOM series.

    Args:
        path: The file or folder.
        config: Says how many channels there must be and what they are called.

    Returns:
        The sequence (T, C, H, W) and the geometry that leads back to the file's array.

    Raises:
        InputError: If the file cannot be read, is not 3D (or 3D with channels), or has other channels than expected.
    """
    volume, affine = _read(path)
    if volume.ndim == 2:
        volume = volume[..., None]
    if volume.ndim == 3:
        volume = volume[..., None]
    expected = len(config.channels)
    if volume.ndim != 4 or volume.shape[-1] != expected:
        raise InputError(
            f"{path}: shape {volume.shape[:-1] if volume.shape[-1] == 1 else volume.shape}, but the model expects a "
            f"volume (X, Y, Z) with {expected} channel(s) {list(config.channels)}"
        )
    if not np.isfinite(volume).all():
        volume = np.nan_to_num(volume, nan=0.0, posinf=0.0, neginf=0.0)
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    geometry = VolumeGeometry.from_affine(affine, shape)
    frames = np.moveaxis(geometry.to_frames(volume), -1, 1)  # (T, H, W, C) -> (T, C, H, W)
    sequence = Sequence(
        frames=np.ascontiguousarray(frames, dtype=np.float32),
        kind=SequenceKind(config.kind),
        positions=geometry.positions_mm(frames.shape[0]),
        spacing_mm=geometry.spacing_mm[:2],
        affine_lps=geometry.affine_lps,
        channels=config.channels,
        channel_present=(True,) * expected,
    )
    return sequence, geometry


def load_label(path: Path, geometry: VolumeGeometry) -> MaskArray:
    """Read a labelmap that belongs to an image.

    Returns:
        Label values, (T, H, W).

    Raises:
        InputError: If it cannot be read or its shape is not the image's.
    """
    volume, affine = _read(path)
    if volume.ndim == 2:
        volume = volume[..., None]
    if volume.ndim == 4 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    if volume.shape != geometry.shape:
        raise InputError(f"{path}: label of shape {volume.shape} does not fit its image of shape {geometry.shape}")
    own = VolumeGeometry.from_affine(affine, geometry.shape)
    if not np.allclose(own.affine_lps, geometry.affine_lps, atol=0.05):
        raise InputError(f"{path}: the label lies elsewhere in space than its image; export it in the image's geometry")
    values = np.rint(volume)
    if not ((values >= 0) & (values <= 255)).all():
        raise InputError(f"{path}: label values must lie in 0..255; this file holds others")
    return np.ascontiguousarray(geometry.to_frames(values.astype(np.uint8)))


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Read the array (X, Y, Z[, C]) and its affine (voxel to RAS mm)."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    reader = NibabelReader() if path.name.endswith((".nii", ".nii.gz")) else ITKReader()
    try:
        array, meta = reader.get_data(reader.read(str(path)))
    except Exception as error:  # readers raise many kinds; the user needs the file's name
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason})") from error
    if array.size == 0:
        raise InputError(f"{path}: the image is empty")
    affine = np.asarray(meta["affine"], dtype=np.float64)
    if affine.shape != (4, 4) or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: the image has no usable voxel spacing and orientation")
    return np.asarray(array, dtype=np.float32), affine
