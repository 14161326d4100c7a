# SPDX-License-Identifier: Apache-2.0
"""Planes -> one stack: order along the normal, gantry tilt, uneven, missing and repeated slices.

Geometry follows PS3.3 C.7.6.2.1.1: the place of a slice is Image Position (Patient), never its name or number.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import FloatArray, InputError, Sequence, SequenceKind
from .cine import COLOUR_CHANNELS
from .headers import frame_count, number_in, shortened
from .pixels import frames_of, instance_name
from .planes import AXIAL, Plane, normal_of, slice_step_mm

EVEN_TOLERANCE = 0.02
"""Slices further than this part of the usual step from an even grid keep their true positions."""
SAME_PLACE = 0.02
"""Slices closer than this part of a pixel along the normal are at the same position."""
TILT_TOLERANCE_DEG = 0.1
_MISSING_TOLERANCE = 0.05
_MISSING_AT_MOST = 1 / 3


class Pixels:
    """Decoded frames of planes; a multi-frame instance is decoded once."""

    def __init__(self) -> None:
        self._multi_frame: dict[int, npt.NDArray[Any]] = {}

    def of(self, plane: Plane) -> npt.NDArray[Any]:
        """(H, W), or (H, W, 3) in colour.

        Raises:
            InputError: If the pixels cannot be decoded, or are fewer than the header says.
        """
        frames = self._frames(plane)
        if plane.frame >= len(frames):
            raise InputError(f"{instance_name(plane.dataset)}: no pixels for frame {plane.frame + 1}")
        return np.asarray(frames[plane.frame])

    def _frames(self, plane: Plane) -> npt.NDArray[Any]:
        if frame_count(plane.dataset) == 1:
            return frames_of(plane.dataset)
        key = id(plane.dataset)
        if key not in self._multi_frame:
            self._multi_frame[key] = frames_of(plane.dataset)
        return self._multi_frame[key]


def at_positions(planes: list[Plane]) -> list[list[Plane]]:
    """Sort planes along the normal; each inner list holds the planes at one position, in the order given."""
    distances = _distances(planes)
    apart = SAME_PLACE * min(planes[0].spacing_mm or (1.0, 1.0))
    columns: list[list[Plane]] = []
    last = -np.inf
    for index in np.argsort(distances, kind="stable"):
        if distances[index] - last > apart:
            columns.append([])
        columns[-1].append(planes[int(index)])
        last = float(distances[index])
    _check_one_station(columns)
    return columns


def _check_one_station(columns: list[list[Plane]]) -> None:
    """Images at one distance along the normal lie one above the other, unless they are of several stations."""
    for column in columns:
        origins = _origins(column)
        apart_mm = float(np.linalg.norm(origins - origins[0], axis=1).max())
        if apart_mm > max(1.0, *(column[0].spacing_mm or (1.0, 1.0))):
            raise InputError(
                f"images in one plane lie {apart_mm:.0f} mm beside each other: the series holds several stations; give "
                "the files of one"
            )


def _distances(planes: list[Plane]) -> FloatArray:
    """Distance of each plane from the patient's origin along the normal in mm."""
    return _origins(planes) @ normal_of(planes[0])


def _origins(planes: list[Plane]) -> FloatArray:
    return np.array([plane.position for plane in planes], np.float64)


def without_copies(columns: list[list[Plane]], pixels: Pixels) -> tuple[list[list[Plane]], list[str]]:
    """Where several planes at one position have the same pixels, keep the first and report the others."""
    first = float(_distances(columns[0][:1])[0])
    kept, told = [], []
    for column in columns:
        own: list[Plane] = []
        images: list[npt.NDArray[Any]] = []
        for plane in column if len(column) > 1 else ():
            image = pixels.of(plane)
            if any(np.array_equal(image, other) for other in images):
                told.append(f"number {plane.number} at {float(_distances([plane])[0]) - first:.2f} mm")
            else:
                own.append(plane)
                images.append(image)
        kept.append(own or column)
    return kept, [f"Left out exact duplicates of other slices: {shortened(told)}."] if told else []


def build_stack(planes: list[Plane], pixels: Pixels) -> tuple[Sequence, list[str]]:
    """One stack of planes that are sorted along the normal, one per position.

    Returns:
        The stack, and what is remarkable about its geometry.

    Raises:
        InputError: If the pixels cannot be decoded or differ in size.
    """
    first = planes[0]
    spacing_mm = first.spacing_mm or (1.0, 1.0)
    row, column = np.reshape(first.orientation or AXIAL, (2, 3))
    origins = _origins(planes)
    distances = origins @ normal_of(first)
    step, start, problems, exact = _steps(planes, origins, distances)
    affine = np.eye(4)
    affine[:3] = np.stack([row * spacing_mm[0], column * spacing_mm[1], step, start], axis=1)
    frames = _frames(planes, pixels)
    channels = COLOUR_CHANNELS if frames.shape[1] == 3 else ("image",)
    stack = Sequence(
        frames=frames,
        kind=SequenceKind.STACK,
        positions=tuple(float(d) for d in distances - distances[0]),
        spacing_mm=spacing_mm,
        affine_lps=affine,
        channels=channels,
        channel_present=(True,) * len(channels),
        sop_instance_uids=tuple(plane.sop_instance_uid for plane in planes),
        frame_numbers=tuple(plane.frame + 1 for plane in planes),
        origins_lps_mm=None if exact else origins,
    )
    return stack, problems


def _steps(
    planes: list[Plane], origins: FloatArray, distances: FloatArray
) -> tuple[FloatArray, FloatArray, list[str], bool]:
    """Step from slice to slice, origin of the first, problems, and whether the two describe every slice."""
    normal = normal_of(planes[0])
    if len(planes) == 1:
        return normal * slice_step_mm(planes[0]), origins[0], [], True
    index = np.arange(len(planes))
    step, start = (origins[-1] - origins[0]) / index[-1], origins[0]
    usual = float(np.median(np.diff(distances)))
    off = np.abs(distances - distances[0] - index * (step @ normal)).max()
    drift = _drift(origins, distances)
    exact = bool(off <= EVEN_TOLERANCE * usual and drift <= 0.5 * min(planes[0].spacing_mm or (1.0, 1.0)))
    problems = _tilt(planes, origins, normal)
    if off > EVEN_TOLERANCE * usual:
        problems += _gaps(planes, distances)
    if drift > 0.5 * min(planes[0].spacing_mm or (1.0, 1.0)):
        problems.append(f"Slices are shifted sideways by up to {drift:.2f} mm; each keeps its true position.")
    if not exact:
        step, start = np.polyfit(index, origins, 1)
    return step, start, problems, exact


def _sideways(origins: FloatArray, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit origin = direction * distance + start."""
    direction, start = np.polyfit(distances - distances[0], origins, 1)
    return direction, start


def _drift(origins: FloatArray, distances: FloatArray) -> float:
    """Largest distance of an origin from the line through all of them in mm."""
    direction, start = _sideways(origins, distances)
    line = start + np.outer(distances - distances[0], direction)
    return float(np.linalg.norm(origins - line, axis=1).max())


def _tilt(planes: list[Plane], origins: FloatArray, normal: FloatArray) -> list[str]:
    """Angle between the direction in which the slices follow each other and their normal."""
    direction, _ = _sideways(origins, origins @ normal)
    shear = direction - normal
    angle = float(np.degrees(np.arctan(np.linalg.norm(shear))))
    if angle <= TILT_TOLERANCE_DEG:
        return []
    header = number_in(planes[0].get("GantryDetectorTilt"))
    said = f" (Gantry/Detector Tilt says {header:g})" if header else ""
    return [f"Gantry tilt of {angle:.1f} degrees{said}: slices are sheared, as the affine says; nothing was resampled."]


def _gaps(planes: list[Plane], distances: FloatArray) -> list[str]:
    """Say where slices are missing or unevenly spaced."""
    gaps = np.diff(distances)
    rounded = Counter(round(float(gap), 2) for gap in gaps)
    most = max(rounded.values())
    usual = min(gap for gap, count in rounded.items() if count == most) or float(np.median(gaps))
    ratios = gaps / usual
    whole = np.round(ratios)
    off = np.abs(ratios - whole) > _MISSING_TOLERANCE * whole
    wide = np.flatnonzero(whole >= 2)
    if off.any() or len(wide) > max(1, _MISSING_AT_MOST * len(gaps)) or len(gaps) < 3 or _thickness_changes(planes):
        return [f"Slices are unevenly spaced: {_runs(planes, gaps)}. Each keeps its true position."]
    places = []
    for gap in wide:
        lost = [distances[gap] - distances[0] + k * gaps[gap] / whole[gap] for k in range(1, int(whole[gap]))]
        at = f"{lost[0]:.2f} to {lost[-1]:.2f}" if len(lost) > 3 else ", ".join(f"{place:.2f}" for place in lost)
        places.append(f"{len(lost)} at {at} mm (between numbers {planes[gap].number} and {planes[gap + 1].number})")
    return [f"Missing slices: {shortened(places)}. The usual step is {usual:g} mm; positions are from the first slice."]


def _thickness_changes(planes: list[Plane]) -> bool:
    thickness = [number_in(plane.get("SliceThickness")) for plane in planes]
    known = [t for t in thickness if t]
    return bool(known) and max(known) > 1.1 * min(known)


def _runs(planes: list[Plane], gaps: FloatArray) -> str:
    """Stretches of equal gaps in words."""
    runs: list[list[int]] = []
    for index, gap in enumerate(gaps):
        if runs and abs(gap - gaps[runs[-1][0]]) <= EVEN_TOLERANCE * abs(gap):
            runs[-1].append(index)
        else:
            runs.append([index])
    return shortened(
        [
            f"{len(run)} x {gaps[run].mean():.2f} mm (numbers {planes[run[0]].number} to {planes[run[-1] + 1].number})"
            for run in runs
        ]
    )


def _frames(planes: list[Plane], pixels: Pixels) -> npt.NDArray[Any]:
    """(T, C, H, W) in the narrowest type that holds every slice."""
    first = pixels.of(planes[0])
    frames = np.empty((len(planes), *first.shape), first.dtype)
    for index, plane in enumerate(planes):
        image = pixels.of(plane) if index else first
        if image.shape != first.shape:
            raise InputError(f"{instance_name(plane.dataset)} is {image.shape}, the first slice {first.shape}")
        if image.dtype != frames.dtype:
            wide = np.result_type(image.dtype, frames.dtype)
            frames = frames.astype(np.float32 if wide.kind == "f" else wide, copy=False)
        frames[index] = image
    return frames[:, None] if frames.ndim == 3 else np.moveaxis(frames, -1, 1)
