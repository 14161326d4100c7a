# SPDX-License-Identifier: Apache-2.0
"""When the frames of a clip were taken, in s from the first (PS3.3 C.7.6.5 Cine, C.7.6.16.2.2 Frame Content)."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

ASSUMED_FRAMES_PER_S = 30.0
_MAX_FRAME_MS = 60_000.0


def multi_frame_times(dataset: Dataset, frames: int) -> tuple[tuple[float, ...], list[str]]:
    """Times of the frames of one instance in s, and what is wrong with them."""
    problems: list[str] = []
    vector = _floats(dataset.get("FrameTimeVector"))
    if vector:
        if len(vector) == frames and min(vector[1:], default=0.0) >= 0 and sum(vector[1:]) > 0:
            # The first entry is the time before the first frame, in most files 0.
            return tuple(float(t) / 1000.0 for t in np.cumsum([0.0, *vector[1:]])), problems
        problems.append(
            f"FrameTimeVector has {len(vector)} times for {frames} frames, or no increasing ones: not used."
        )
    acquired = _acquisition_times(dataset, frames)
    if acquired is not None:
        return acquired, problems
    step = frame_step_s(dataset)
    if step is None and frames > 1:
        step = 1.0 / ASSUMED_FRAMES_PER_S
        problems.append(f"The file does not say how fast the frames follow: {ASSUMED_FRAMES_PER_S:g} per s assumed.")
    return even_times(frames, step or 0.0), problems


def frame_step_s(dataset: Dataset) -> float | None:
    """The time between frames by FrameTime (ms), CineRate or RecommendedDisplayFrameRate (1/s); None without."""
    time_ms = next(iter(_floats(dataset.get("FrameTime"))), 0.0)
    if 0 < time_ms <= _MAX_FRAME_MS:
        return time_ms / 1000.0
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = next(iter(_floats(dataset.get(keyword))), 0.0)
        if rate >= 1000.0 / _MAX_FRAME_MS:
            return 1.0 / rate
    return None


def even_times(frames: int, step_s: float) -> tuple[float, ...]:
    """Times from 0 at equal steps."""
    return tuple(k * step_s for k in range(frames))


def _acquisition_times(dataset: Dataset, frames: int) -> tuple[float, ...] | None:
    """Frame Content of enhanced multi-frame objects; None unless every frame has a later time than the one before."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if frames < 2 or len(groups) < frames:
        return None
    moments = []
    for group in groups[:frames]:
        content = (group.get("FrameContentSequence") or [Dataset()])[0]
        moments.append(_moment(content.get("FrameAcquisitionDateTime") or content.get("FrameReferenceDateTime")))
    return seconds_from_first(moments, strict=True)


def seconds_from_first(moments: list[datetime.datetime | None], *, strict: bool) -> tuple[float, ...] | None:
    """Seconds since the first moment; None where one is missing, or (strict) they do not all increase."""
    known = [moment for moment in moments if moment is not None]
    if len(known) < len(moments) or not known:
        return None
    seconds = tuple((moment - known[0]).total_seconds() for moment in known)
    steps = np.diff(seconds)
    return None if strict and (steps <= 0).any() else seconds


def instance_moment(dataset: Dataset) -> datetime.datetime | None:
    """When a single frame was taken: AcquisitionDateTime, or date and time of acquisition or content."""
    moment = _moment(dataset.get("AcquisitionDateTime"))
    for kind in ("Acquisition", "Content"):
        if moment is None:
            moment = _combined(dataset.get(f"{kind}Date") or dataset.get("StudyDate"), dataset.get(f"{kind}Time"))
    return moment


def _combined(date: Any, time: Any) -> datetime.datetime | None:
    try:
        day, clock = DA(str(date)), TM(str(time))
    except (TypeError, ValueError):
        return None
    return datetime.datetime.combine(day, clock) if day is not None and clock is not None else None


def _moment(value: Any) -> datetime.datetime | None:
    try:
        moment = DT(str(value)) if value else None
    except (TypeError, ValueError):
        return None
    if moment is None:
        return None
    plain = datetime.datetime.combine(moment.date(), moment.time())
    return plain - moment.utcoffset() if moment.utcoffset() is not None else plain


def _floats(value: Any) -> list[float]:
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    try:
        numbers = [float(v) for v in values if v is not None and v != ""]
    except (TypeError, ValueError):
        return []
    return numbers if np.isfinite(numbers).all() else []
