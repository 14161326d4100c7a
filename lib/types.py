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

FloatArray = npt.NDArray[np.floating[Any]]
MaskArray = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Box on one frame: (x0, y0, x1, y1) in pixels, outer pixel edges (a single pixel has x1 - x0 = 1)."""
Box3d = tuple[float, float, float, float, float, float]
"""Box in space: (x0, y0, z0, x1, y1, z1) in LPS mm."""


class InputError(ValueError):
    """The caller's input cannot be used. The message says what is wrong, with which file or id, and what to do."""


class SequenceKind(StrEnum):
    """What the frame axis means."""

    STACK = "stack"
    """Slices of one volume; positions in mm."""
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
    """

    frames: FloatArray
    kind: SequenceKind
    positions: tuple[float, ...]
    spacing_mm: tuple[float, float]
    affine_lps: FloatArray
    channels: tuple[str, ...] = ("image",)
    channel_present: tuple[bool, ...] = (True,)
    sop_instance_uids: tuple[str, ...] = ()

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

    @property
    def position_unit(self) -> str:
        """Unit of :attr:`positions`."""
        return POSITION_UNITS[self.kind]

    @property
    def voxel_volume_ml(self) -> float | None:
        """Volume of a voxel in ml; None where the frames are not slices of one volume."""
        if self.kind is not SequenceKind.STACK:
            return None
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0


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

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values; frame indices become string keys."""
        data = asdict(self)
        data["boxes"] = {str(t): [round(v, 2) for v in box] for t, box in self.boxes.items()}
        data["frame_scores"] = {str(t): round(score, 4) for t, score in self.frame_scores.items()}
        data["box_lps_mm"] = [round(v, 3) for v in self.box_lps_mm]
        data["center_lps_mm"] = [round(v, 3) for v in self.center_lps_mm]
        data["score"] = round(self.score, 4)
        return data


class ReportStatus(StrEnum):
    """How far a report has come."""

    DRAFT = "draft"
    CORRECTED = "corrected"
    SIGNED = "signed"


@dataclass(frozen=True)
class Sentence:
    """One sentence with its evidence.

    Attributes:
        text: The sentence.
        finding_ids: The findings it speaks of; empty and ``supported`` False when none backs its facts.
        confidence: In [0, 1].
        supported: False marks a sentence whose facts no finding supports; it is never shown as a fact.
    """

    text: str
    finding_ids: tuple[int, ...] = ()
    confidence: float = 1.0
    supported: bool = True


@dataclass(frozen=True)
class Report:
    """A report by section (``indication``, ``comparison``, ``findings``, ``impression``)."""

    sections: dict[str, tuple[Sentence, ...]]
    status: ReportStatus = ReportStatus.DRAFT
    author: str = ""
    changed_at: str = ""
