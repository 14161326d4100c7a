# SPDX-License-Identifier: Apache-2.0
"""What a lesion is: where, how sure, how large, and who says so. Shapes and coordinates as in :mod:`lib.types`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .errors import InputError

Box = tuple[float, float, float, float]
"""Box on one frame: (x0, y0, x1, y1) in pixels, outer pixel edges (a single pixel has x1 - x0 = 1)."""
Box3d = tuple[float, float, float, float, float, float]
"""Box in space: (x0, y0, z0, x1, y1, z1) in LPS mm."""


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
