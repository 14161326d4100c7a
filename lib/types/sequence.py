# SPDX-License-Identifier: Apache-2.0
"""What an image is: frames along one axis of meaning, or volumes at several times. Shapes as in :mod:`lib.types`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]
MaskArray = npt.NDArray[np.uint8]


class SequenceKind(StrEnum):
    """What the frame axis means."""

    STACK = "stack"
    """Slices of one volume; positions in mm along the normal, from the first slice."""
    CINE = "cine"
    """Frames in time (ultrasound, endoscopy, angiography); positions in s."""
    DYNAMIC = "dynamic"
    """A volume per time point (contrast series); positions in s."""
    LONGITUDINAL = "longitudinal"
    """A study per visit; positions in days."""


POSITION_UNITS = {
    SequenceKind.STACK: "mm",
    SequenceKind.CINE: "s",
    SequenceKind.DYNAMIC: "s",
    SequenceKind.LONGITUDINAL: "days",
}


@dataclass(frozen=True)
class Sequence:
    """Frames ordered along one axis of meaning.

    Attributes:
        frames: Intensities, shape (T, C, H, W).
        kind: What the frame axis means.
        positions: Frame positions, shape (T,), in :data:`POSITION_UNITS` of ``kind``.
        spacing_mm: In-plane distance between pixel centres, (x, y) in mm.
        affine_lps: Maps (x, y, t, 1) frame indices to LPS mm, shape (4, 4).
        channels: What each channel holds, e.g. ``("flair",)``; shape (C,).
        channel_present: False for a channel that is missing and filled with zeros; shape (C,).
        sop_instance_uids: The source DICOM instance of each frame; empty when the source is not DICOM.
        frame_numbers: Number of each frame within its instance, from 1 (PS3.3 C.7.6.16.1.2); empty without DICOM.
        origins_lps_mm: Centre of each frame's first pixel in LPS mm, (T, 3), where the slices are unevenly spaced and
            ``affine_lps`` is only the best fit; None where it is exact.
        content_px: Part of the frames (y0, y1, x0, x1) that holds the image where the rest is burned-in border;
            models look at this part only. None for all of it.
    """

    frames: FloatArray
    kind: SequenceKind
    positions: tuple[float, ...]
    spacing_mm: tuple[float, float]
    affine_lps: FloatArray
    channels: tuple[str, ...] = ("image",)
    channel_present: tuple[bool, ...] = (True,)
    sop_instance_uids: tuple[str, ...] = ()
    frame_numbers: tuple[int, ...] = ()
    origins_lps_mm: FloatArray | None = None
    content_px: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        """Check that the parts describe the same number of frames and channels.

        Raises:
            InputError: If they do not.
        """
        if self.frames.ndim != 4:
            raise InputError(f"a sequence has shape (T, C, H, W); got {self.frames.shape}")
        frames, channels = self.frames.shape[:2]
        if len(self.positions) != frames:
            raise InputError(f"{frames} frames but {len(self.positions)} positions")
        if len(self.channels) != channels or len(self.channel_present) != channels:
            raise InputError(f"{channels} channels but names {self.channels} and presence {self.channel_present}")
        if self.sop_instance_uids and len(self.sop_instance_uids) != frames:
            raise InputError(f"{frames} frames but {len(self.sop_instance_uids)} SOP Instance UIDs")
        if len(self.frame_numbers) != len(self.sop_instance_uids):
            raise InputError(f"{len(self.sop_instance_uids)} SOP Instance UIDs but {len(self.frame_numbers)} numbers")
        if self.origins_lps_mm is not None and self.origins_lps_mm.shape != (frames, 3):
            raise InputError(f"{frames} frames but frame origins of shape {self.origins_lps_mm.shape}")

    @property
    def position_unit(self) -> str:
        """Unit of :attr:`positions`."""
        return POSITION_UNITS[self.kind]

    @property
    def voxel_volume_ml(self) -> float | None:
        """Mean volume of a voxel in ml; None where the frames are not slices of one volume."""
        if self.kind is not SequenceKind.STACK:
            return None
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    @property
    def voxel_volumes_ml(self) -> FloatArray | None:
        """Volume of a voxel of each frame in ml, (T,); None where the frames are not slices of one volume."""
        mean = self.voxel_volume_ml
        if mean is None:
            return None
        if self.origins_lps_mm is None or len(self.positions) < 2:
            return np.full(len(self.positions), mean)
        edges_mm = self.slice_edges_mm
        return np.asarray(self.spacing_mm[0] * self.spacing_mm[1] * np.diff(edges_mm) / 1000.0)

    @property
    def slice_edges_mm(self) -> FloatArray:
        """Where slices end along the stack in mm, (T + 1,): half way to their neighbours, the outer ones as far."""
        centres = np.asarray(self.positions, dtype=np.float64)
        if len(centres) < 2:
            step = float(np.linalg.norm(self.affine_lps[:3, 2]))  # the thickness, as good as it is known
            return np.array([centres[0] - step / 2, centres[0] + step / 2])
        between = (centres[:-1] + centres[1:]) / 2
        first, last = centres[0] - (between[0] - centres[0]), centres[-1] + (centres[-1] - between[-1])
        return np.concatenate([[first], between, [last]])


@dataclass(frozen=True)
class VolumeSeries:
    """Volumes of the same place at several times: a contrast series, or the visits of a patient.

    Attributes:
        kind: ``dynamic`` or ``longitudinal``.
        volumes: A ``stack`` per time point, in order of time.
        positions: Time of each volume from the first, in s (dynamic) or days (longitudinal).
        to_reference: Per volume the (4, 4) affine that maps its LPS mm to the LPS mm of volume ``reference``; empty
            when the volumes have not been registered.
        reference: Index of the volume that the others are registered to.
    """

    kind: SequenceKind
    volumes: tuple[Sequence, ...]
    positions: tuple[float, ...]
    to_reference: tuple[FloatArray, ...] = ()
    reference: int = 0

    def __post_init__(self) -> None:
        """Check that the parts describe the same number of volumes.

        Raises:
            InputError: If they do not, or the kind has no time points.
        """
        if self.kind not in (SequenceKind.DYNAMIC, SequenceKind.LONGITUDINAL):
            raise InputError(f"a series of volumes is dynamic or longitudinal, not {self.kind.value}")
        if not self.volumes or len(self.positions) != len(self.volumes):
            raise InputError(f"{len(self.volumes)} volumes but {len(self.positions)} positions")
        if len(self.to_reference) not in (0, len(self.volumes)):
            raise InputError(f"{len(self.volumes)} volumes but {len(self.to_reference)} transforms")

    @property
    def position_unit(self) -> str:
        """Unit of :attr:`positions`."""
        return POSITION_UNITS[self.kind]

    def at_slice(self, index: int) -> Sequence:
        """One slice over time: (n_times, C, H, W).

        Raises:
            InputError: If the volumes differ in size, or have no such slice.
        """
        shapes = {volume.frames.shape for volume in self.volumes}
        if len(shapes) > 1:
            raise InputError(f"the volumes differ in shape ({sorted(shapes)}): resample them to one grid first")
        first = self.volumes[0]
        if not 0 <= index < len(first.frames):
            raise InputError(f"slice {index}: the volumes have slices 0 to {len(first.frames) - 1}")
        affine = first.affine_lps.copy()
        affine[:3, 3] = (affine @ np.array([0.0, 0.0, index, 1.0]))[:3]
        dicom = bool(first.sop_instance_uids)
        return Sequence(
            frames=np.stack([volume.frames[index] for volume in self.volumes]),
            kind=self.kind,
            positions=self.positions,
            spacing_mm=first.spacing_mm,
            affine_lps=affine,
            channels=first.channels,
            channel_present=first.channel_present,
            sop_instance_uids=tuple(v.sop_instance_uids[index] for v in self.volumes) if dicom else (),
            frame_numbers=tuple(v.frame_numbers[index] for v in self.volumes) if dicom else (),
        )


def volumes_of(image: Sequence | VolumeSeries) -> tuple[Sequence, ...]:
    """The volumes of a series of volumes in order of time, or the one sequence."""
    return image.volumes if isinstance(image, VolumeSeries) else (image,)
