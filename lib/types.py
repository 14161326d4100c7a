# SPDX-License-Identifier: Apache-2.0
"""The data contract: what a sequence, a finding and a report are. Shapes are named here once.

Shape letters: B batch, T frames, C channels, K lesion classes, H rows, W columns (pixels).
Coordinates: pixels are ``(x, y)`` = (column, row); millimetres are DICOM patient coordinates (LPS: x to the
patient's left, y to posterior, z to superior; DICOM PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError as InputError
from .report_types import Report as Report
from .report_types import ReportStatus as ReportStatus
from .report_types import Sentence as Sentence

FloatArray = npt.NDArray[np.floating[Any]]
MaskArray = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Box on one frame: (x0, y0, x1, y1) in pixels, outer pixel edges (a single pixel has x1 - x0 = 1)."""
Box3d = tuple[float, float, float, float, float, float]
"""Box in space: (x0, y0, z0, x1, y1, z1) in LPS mm."""


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


@dataclass(frozen=True)
class Measurement:
    """A number with its unit, e.g. ``Measurement(12.4, "mm")``."""

    value: float
    unit: str


@dataclass(frozen=True)
class Source:
    """Where a finding came from: a model (name, version, hash of its weights) or a clinician (author)."""

    model: str = ""
    version: str = ""
    weights_sha256: str = ""
    author: str = ""


@dataclass(frozen=True)
class Finding:
    """One lesion.

    Attributes:
        id: 1-based number within the result; the value of the lesion in an instance mask.
        label: Lesion class name.
        score: Confidence in [0, 1].
        boxes: Per-frame box in pixels of the original image, keyed by frame index.
        box_lps_mm: Box in space in LPS mm.
        center_lps_mm: Centre of mass (mask) or centre of the box, LPS mm.
        frame_scores: Confidence per frame, keyed as ``boxes``.
        measurements: By name: ``long_axis``, ``short_axis`` (mm), ``volume`` (ml), ``mean_intensity`` ...
        source: Who or what found it.
        score_std: Standard deviation of the score where the model gives one, else None.
        track_id: The lesion's identity across frames and visits, where tracking ran.
        class_probabilities: By class name, sums to 1; calibrated where the weights bring a calibration. Empty from a
            model with one class.
        possible_labels: Classes that cannot be left out at the weights' error rate; all of them means "not sure".
            Empty where the weights bring no calibration.
    """

    id: int
    label: str
    score: float
    boxes: dict[int, Box]
    box_lps_mm: Box3d
    center_lps_mm: tuple[float, float, float]
    frame_scores: dict[int, float] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    source: Source = field(default_factory=Source)
    score_std: float | None = None
    track_id: int | None = None
    class_probabilities: dict[str, float] = field(default_factory=dict)
    possible_labels: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values; frame indices become string keys, classes stand there if told."""
        data = asdict(self)
        data["boxes"] = {str(t): [round(v, 2) for v in box] for t, box in self.boxes.items()}
        data["frame_scores"] = {str(t): round(score, 4) for t, score in self.frame_scores.items()}
        data["box_lps_mm"] = [round(v, 3) for v in self.box_lps_mm]
        data["center_lps_mm"] = [round(v, 3) for v in self.center_lps_mm]
        data["score"] = round(self.score, 4)
        told = {
            "class_probabilities": {name: round(value, 4) for name, value in self.class_probabilities.items()},
            "possible_labels": list(self.possible_labels),
        }
        return {key: value for key, value in {**data, **told}.items() if value or key not in told}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """Build a finding from :meth:`to_json`'s values, as a client sends them back.

        Raises:
            InputError: If a value is missing or of the wrong type; the message names the finding and the key.
        """
        try:
            return cls(**_finding_values(data))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            name = data.get("id", "without id") if isinstance(data, dict) else data
            raise InputError(f"finding {name}: {reason}") from error


_FINDING_KEYS = frozenset(Finding.__dataclass_fields__)
_MEASURED_ANEW = "growth"
"""What an answer may say beside a finding, and what is not kept: it depends on the patient's other visits."""


def _finding_values(data: dict[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in data.items() if key != _MEASURED_ANEW}
    if unknown := sorted(set(data) - _FINDING_KEYS):
        raise ValueError(f"unknown keys {unknown}")
    values = {
        **data,
        "id": int(data["id"]),
        "label": str(data["label"]),
        "score": float(data["score"]),
        "boxes": {int(t): _numbers(box, 4) for t, box in data["boxes"].items()},
        "box_lps_mm": _numbers(data["box_lps_mm"], 6),
        "center_lps_mm": _numbers(data["center_lps_mm"], 3),
        "frame_scores": {int(t): float(score) for t, score in data.get("frame_scores", {}).items()},
        "measurements": {
            str(name): Measurement(float(m["value"]), str(m["unit"]))
            for name, m in data.get("measurements", {}).items()
        },
        "source": Source(**{str(k): str(v) for k, v in data.get("source", {}).items()}),
        "class_probabilities": {str(name): float(p) for name, p in data.get("class_probabilities", {}).items()},
        "possible_labels": tuple(str(name) for name in data.get("possible_labels", ())),
    }
    numbers = [
        values["score"],
        *values["class_probabilities"].values(),
        *values["box_lps_mm"],
        *values["center_lps_mm"],
    ]
    if not np.isfinite(numbers).all():
        raise ValueError("score, class_probabilities, box_lps_mm and center_lps_mm must be finite numbers")
    return values


def _numbers(values: Any, count: int) -> Any:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} finite numbers, got {values}")
    return numbers
