# SPDX-License-Identifier: Apache-2.0
"""A sequence as it was acquired -> the frames that models see, and the geometry that leads back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..types import FloatArray, Sequence, SequenceKind
from .geometry import RAS_TO_LPS, VolumeGeometry, unsheared


def sequence_geometry(sequence: Sequence) -> VolumeGeometry:
    """How the frames of a sequence, taken as a (W, H, T) array, relate to the frames that models see.

    Args:
        sequence: In the orientation of its source, as :mod:`lib.dicom.series` reads it.
    """
    frames, _, height, width = sequence.frames.shape
    shape = (width, height, frames)
    if sequence.kind is not SequenceKind.STACK:
        return VolumeGeometry.as_stored(sequence.affine_lps, shape)
    uneven = sequence.origins_lps_mm is not None
    return VolumeGeometry.from_affine(RAS_TO_LPS @ sequence.affine_lps, shape, keep_slices=uneven)


def oriented(sequence: Sequence) -> tuple[Sequence, VolumeGeometry]:
    """Turn a sequence to the orientation that models see; a cine stays as it is.

    An isotropic volume may be cut along another axis than it was acquired; its frames then have no DICOM instances.

    Returns:
        The sequence, and the geometry whose array is (W, H, T) of the sequence given.
    """
    geometry = sequence_geometry(sequence)
    if sequence.kind is not SequenceKind.STACK:
        return sequence, geometry
    volume = sequence.frames.transpose(3, 2, 0, 1)  # (T, C, H, W) -> (W, H, T, C)
    frames = np.moveaxis(geometry.to_frames(volume), -1, 1)  # -> (T', C, H', W')
    order = _slices_of_frames(geometry)
    dicom = bool(sequence.sop_instance_uids) and order is not None
    turned = replace(
        sequence,
        frames=np.ascontiguousarray(frames),
        positions=_positions_mm(sequence, order, geometry, len(frames)),
        spacing_mm=geometry.spacing_mm[:2],
        affine_lps=geometry.affine_lps,
        sop_instance_uids=tuple(sequence.sop_instance_uids[z] for z in order) if dicom and order is not None else (),
        frame_numbers=tuple(sequence.frame_numbers[z] for z in order) if dicom and order is not None else (),
        origins_lps_mm=frame_origins_lps_mm(sequence, geometry),
        content_px=None,
    )
    return turned, geometry


def _slices_of_frames(geometry: VolumeGeometry) -> npt.NDArray[np.intp] | None:
    """The Z index of each frame; None where frames are cut across the slices."""
    if not geometry.frames_are_slices:
        return None
    order = np.arange(geometry.shape[2])
    return order if geometry.to_frame_axes[2, 1] > 0 else order[::-1]


def _positions_mm(
    sequence: Sequence, order: npt.NDArray[np.intp] | None, geometry: VolumeGeometry, n_frames: int
) -> tuple[float, ...]:
    if order is None or sequence.origins_lps_mm is None:
        return geometry.positions_mm(n_frames)
    kept = np.array(sequence.positions)[order]
    return tuple(float(v) for v in np.abs(kept - kept[0]))


def frame_origins_lps_mm(sequence: Sequence, geometry: VolumeGeometry) -> FloatArray | None:
    """Centres of the first pixels of the frames that models see, (T, 3) LPS mm; None where they are evenly spaced.

    They may lie at another corner of the slices than the first pixels of the sequence.
    """
    order = _slices_of_frames(geometry)
    if sequence.origins_lps_mm is None or order is None:
        return None
    first_pixel = (np.linalg.inv(geometry.array_affine_lps) @ geometry.affine_lps)[:2, 3]
    return np.asarray(sequence.origins_lps_mm[order] + sequence.affine_lps[:3, :2] @ first_pixel)


def off_in_files(sequence: Sequence) -> tuple[str, ...]:
    """Warnings where NIfTI and NRRD, or the programs that read them, cannot say where the slices lie."""
    return (*_sheared_in_files(sequence), *_uneven_in_files(sequence))


def _sheared_in_files(sequence: Sequence) -> tuple[str, ...]:
    straight = unsheared(sequence.affine_lps)
    off_mm = float(np.linalg.norm((sequence.affine_lps - straight)[:3, 2])) * (len(sequence.frames) - 1)
    if sequence.kind is not SequenceKind.STACK or off_mm < min(sequence.spacing_mm) / 2:
        return ()
    return (
        f"3D Slicer and other programs built on ITK show tilted slices straight above each other, the last one "
        f"{off_mm:.1f} mm off; the findings and a DICOM SEG (output=dicom_seg) have the true places.",
    )


def _uneven_in_files(sequence: Sequence) -> tuple[str, ...]:
    if sequence.origins_lps_mm is None:
        return ()
    steps = np.arange(len(sequence.origins_lps_mm))[:, None] * sequence.affine_lps[:3, 2]
    off_mm = np.linalg.norm(sequence.origins_lps_mm - sequence.affine_lps[:3, 3] - steps, axis=1).max()
    return (
        f"In a NIfTI or NRRD file, which knows even distances only, its slices lie up to {off_mm:.1f} mm off; the "
        "findings and a DICOM SEG (output=dicom_seg) have the true places.",
    )
