# SPDX-License-Identifier: Apache-2.0
"""Planes that repeat at their positions -> time points.

Vendors keep the time in different elements. A key is right when it cuts the images into groups with the same
positions, one image per position. Where every slice has a time of its own, the k-th image at each position makes the
k-th time point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..types import InputError
from .enhanced import dimensions_of
from .frame_times import instance_moment
from .headers import number_in, shortened
from .parts import TIME_DIMENSIONS, ge_delta_start_s, philips_dynamic_begin_s
from .planes import Plane
from .stack import Pixels, without_copies

Columns = list[list[Plane]]


@dataclass(frozen=True)
class TimePoints:
    """Planes by time.

    Attributes:
        volumes: Per time point the planes sorted along the normal; a single one if nothing repeats.
        seconds: Time of each from the first.
        problems: What was done about images that do not fit, and times that are not known.
    """

    volumes: list[list[Plane]]
    seconds: tuple[float, ...]
    problems: list[str] = field(default_factory=list)


def _moment_s(**keywords: str) -> Callable[[Plane], float | None]:
    """Seconds since year 1 by the elements that hold date and time."""

    def read(plane: Plane) -> float | None:
        values = {name: plane.get(keyword) for name, keyword in keywords.items()}
        # Without a date the time of day still puts images in order.
        values["StudyDate"] = plane.get("StudyDate") or "19000101"
        moment = instance_moment(values)
        return None if moment is None else moment.toordinal() * 86400.0 + _of_day_s(moment)

    return read


def _of_day_s(moment: Any) -> float:
    return float(moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6)


def _scaled(keyword: str, unit_s: float) -> Callable[[Plane], float | None]:
    def read(plane: Plane) -> float | None:
        value = number_in(plane.get(keyword))
        return None if value is None else value * unit_s

    return read


def _plain(read: Callable[[Plane], Any]) -> Callable[[Plane], float | None]:
    return lambda plane: number_in(read(plane))


# What counts time points, without seconds.
_COUNTERS: dict[str, Callable[[Plane], float | None]] = {
    "TemporalPositionIdentifier": _scaled("TemporalPositionIdentifier", 1),
    "AcquisitionNumber": _scaled("AcquisitionNumber", 1),
}
# What gives seconds, in the order of trust.
_CLOCKS: dict[str, Callable[[Plane], float | None]] = {
    "TriggerTime": _scaled("TriggerTime", 1e-3),
    "FrameReferenceTime": _scaled("FrameReferenceTime", 1e-3),
    "TemporalPositionTimeOffset": _scaled("TemporalPositionTimeOffset", 1),
    "dynamic scan begin time (Philips)": _plain(philips_dynamic_begin_s),
    "delta start time (GE)": _plain(ge_delta_start_s),
    "AcquisitionDateTime": _moment_s(AcquisitionDateTime="AcquisitionDateTime"),
    "AcquisitionTime": _moment_s(AcquisitionDate="AcquisitionDate", AcquisitionTime="AcquisitionTime"),
    "FrameReferenceDateTime": _moment_s(AcquisitionDateTime="FrameReferenceDateTime"),
    "ContentTime": _moment_s(ContentDate="ContentDate", ContentTime="ContentTime"),
}
_PHASES: dict[str, Callable[[Plane], float | None]] = {
    "NominalPercentageOfCardiacPhase": _scaled("NominalPercentageOfCardiacPhase", 1),
    "NominalPercentageOfRespiratoryPhase": _scaled("NominalPercentageOfRespiratoryPhase", 1),
}


def _time_dimension(plane: Plane) -> float | None:
    """Dimension Index Value that counts time in an enhanced object."""
    return next((float(v) for name, v in dimensions_of(plane).items() if name in TIME_DIMENSIONS), None)


_KEYS = {**_COUNTERS, **_CLOCKS, **_PHASES, "the time dimension": _time_dimension}


def time_points(columns: Columns, pixels: Pixels, series_uid: str) -> TimePoints:
    """Split planes that share positions into time points.

    Args:
        columns: Planes by position, sorted along the normal.
        pixels: To find exact duplicates.
        series_uid: For the message.

    Raises:
        InputError: If several different images lie at one position and nothing tells them apart.
    """
    if all(len(column) == 1 for column in columns):
        return TimePoints([[column[0] for column in columns]], (0.0,))
    found = _by_key(columns) or _by_rank(columns)
    if found:
        return found
    columns, problems = without_copies(columns, pixels)
    if all(len(column) == 1 for column in columns):
        return TimePoints([[column[0] for column in columns]], (0.0,), problems)
    found = _by_key(columns) or _by_rank(columns) if problems else None
    found = found or _by_blocks(columns) or _by_key(columns, whole=False)
    if found:
        return TimePoints(found.volumes, found.seconds, problems + found.problems)
    raise InputError(_ambiguous(columns, series_uid))


def _by_key(columns: Columns, *, whole: bool = True) -> TimePoints | None:
    """Cut by the first key that gives one image per position; ``whole``: at every position, for every value."""
    for name, read in _KEYS.items():
        groups: dict[float, dict[int, Plane]] = defaultdict(dict)
        for index, column in enumerate(columns):
            values = [read(plane) for plane in column]
            known = [value for value in values if value is not None]
            if len(known) < len(values) or len(set(known)) < len(known):
                break
            for value, plane in zip(known, column, strict=True):
                groups[value][index] = plane
        else:
            full = {value: group for value, group in groups.items() if len(group) == len(columns)}
            if 1 < len(full) == len(groups) or (not whole and len(full) > max(1, len(groups) // 2)):
                return _timed(name, full, _cut_off(name, groups, full))
    return None


def _cut_off(name: str, groups: dict[float, dict[int, Plane]], full: dict[float, dict[int, Plane]]) -> list[str]:
    """Say which time points lack slices."""
    short = [(k, len(group)) for k, (value, group) in enumerate(sorted(groups.items()), 1) if value not in full]
    if not short:
        return []
    slices = len(next(iter(full.values())))
    told = shortened([f"number {k} has {count} of {slices} slices" for k, count in short])
    return [f"Left out incomplete time points (by {name}): {told}."]


def _timed(name: str, groups: dict[float, dict[int, Plane]], problems: list[str]) -> TimePoints:
    volumes = [[groups[value][index] for index in sorted(groups[value])] for value in sorted(groups)]
    clocks = {name: _CLOCKS[name], **_CLOCKS} if name in _CLOCKS else _CLOCKS
    for clock in clocks.values():
        starts = _starts(volumes, clock)
        if starts is not None and (np.diff(starts) > 0).all():
            return TimePoints(volumes, tuple(float(s - starts[0]) for s in starts), problems)
    resolution = number_in(volumes[0][0].get("TemporalResolution"))
    if resolution and resolution > 0:
        return TimePoints(volumes, tuple(k * resolution / 1000 for k in range(len(volumes))), problems)
    said = f"The files tell {len(volumes)} time points apart by {name}, but not their times: taken as 0, 1, 2 ... s."
    return TimePoints(volumes, tuple(float(k) for k in range(len(volumes))), [*problems, said])


def _starts(volumes: list[list[Plane]], clock: Callable[[Plane], float | None]) -> list[float] | None:
    """When the first slice of each volume was taken, in s; None where a slice does not say."""
    starts = []
    for volume in volumes:
        values = [value for plane in volume if (value := clock(plane)) is not None]
        if len(values) < len(volume):
            return None
        starts.append(min(values))
    return starts


def _by_rank(columns: Columns) -> TimePoints | None:
    """Every slice has its own time: the k-th image at each position belongs to time point k."""
    if len({len(column) for column in columns}) != 1:
        return None
    for clock in _CLOCKS.values():
        values = [[clock(plane) for plane in column] for column in columns]
        if any(None in row or len(set(row)) < len(row) for row in values):
            continue
        times = np.sort(np.array(values, np.float64), axis=1)
        order = np.argsort(np.array(values, np.float64), axis=1)
        volumes = [[column[int(order[i, k])] for i, column in enumerate(columns)] for k in range(times.shape[1])]
        seconds = (times - times[:, :1]).mean(axis=0)
        return TimePoints(volumes, tuple(float(s) for s in seconds))
    return None


def _by_blocks(columns: Columns) -> TimePoints | None:
    """Without any time: Instance Numbers that run through all positions, then through all again."""
    if len({len(column) for column in columns}) != 1:
        return None
    numbers = [[number_in(plane.get("InstanceNumber")) for plane in column] for column in columns]
    if any(None in row or len(set(row)) < len(row) for row in numbers):
        return None
    values = np.array(numbers, np.float64)
    order = np.argsort(values, axis=1)
    ranked = np.sort(values, axis=1)
    if (ranked[:, :-1].max(axis=0) >= ranked[:, 1:].min(axis=0)).any():
        return None
    volumes = [[column[int(order[i, k])] for i, column in enumerate(columns)] for k in range(values.shape[1])]
    said = (
        f"Nothing in the files but the Instance Numbers tells the {len(volumes)} images of each slice apart: "
        "they are taken as time points in this order, at 0, 1, 2 ... s."
    )
    return TimePoints(volumes, tuple(float(k) for k in range(len(volumes))), [said])


def _ambiguous(columns: Columns, series_uid: str) -> str:
    several = [column for column in columns if len(column) > 1]
    told = shortened([f"numbers {', '.join(plane.number for plane in column)}" for column in several])
    return (
        f"series {series_uid}: different images lie at the same position at {len(several)} of {len(columns)} "
        f"positions ({told}), and no time or acquisition in the files tells them apart. "
        "Take out the ones that do not belong, or give the files of one acquisition alone."
    )
