# SPDX-License-Identifier: Apache-2.0
"""Images at one position that differ in how they were made, not in when: echoes, b-values, magnitude and phase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..types import InputError
from .enhanced import dimensions_of
from .headers import number_in, numbers_in, shortened
from .planes import Plane

Reader = Callable[[Plane], Any]
TIME_DIMENSIONS = (
    "TemporalPositionIndex",
    "TemporalPositionTimeOffset",
    "FrameAcquisitionNumber",
    "FrameAcquisitionDateTime",
    "FrameReferenceDateTime",
    "NominalCardiacTriggerDelayTime",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "TriggerTime",
)
"""Dimensions of enhanced objects that count time (PS3.3 C.7.6.17)."""


def _private(group: int, creator: str, element: int) -> Reader:
    """Read a private element by its creator, so that another vendor's element of that number is not taken for it."""

    def read(plane: Plane) -> Any:
        for source in (*plane.groups, plane.dataset):
            try:
                return source.private_block(group, creator)[element].value
            except Exception:  # not there, or damaged
                continue
        return None

    return read


# dcm2niix and 3D Slicer's MultiVolumeImporter read the same ones.
_PRIVATE_B_VALUES = (
    _private(0x0019, "SIEMENS MR HEADER", 0x0C),
    _private(0x0043, "GEMS_PARM_01", 0x39),
    _private(0x2001, "Philips Imaging DD 001", 0x03),
)
philips_dynamic_begin_s = _private(0x2005, "Philips MR Imaging DD 001", 0xA0)
ge_delta_start_s = _private(0x0043, "GEMS_PARM_01", 0x1E)


def _number(keyword: str) -> Reader:
    """A number to three significant digits: scanners vary the last ones from slice to slice."""

    def read(plane: Plane) -> Any:
        value = number_in(plane.get(keyword))
        return None if value is None else float(f"{value:.3g}")

    return read


def _text(keyword: str) -> Reader:
    def read(plane: Plane) -> Any:
        value = plane.get(keyword)
        return None if value in (None, "") else value if isinstance(value, str) else "\\".join(map(str, value))

    return read


def b_value(plane: Plane) -> float | None:
    """Diffusion b-value in s/mm2 (PS3.3 C.8.13.5.9), from the vendor's private element where the standard one lacks."""
    value = number_in(plane.get("DiffusionBValue"))
    for read in _PRIVATE_B_VALUES if value is None else ():
        found = read(plane)
        first = found[0] if hasattr(found, "append") or isinstance(found, list | tuple) else found
        if (number := number_in(first)) is not None:
            # GE adds a multiple of 10^9 as a flag.
            return number % 1e9
    return value


def _gradient(plane: Plane) -> Any:
    return numbers_in(plane.get("DiffusionGradientOrientation"), 3)


_PARTS: dict[str, tuple[Reader, str]] = {
    "EchoTime": (_number("EchoTime"), " ms"),
    "InversionTime": (_number("InversionTime"), " ms"),
    "RepetitionTime": (_number("RepetitionTime"), " ms"),
    "FlipAngle": (_number("FlipAngle"), " degrees"),
    "b-value": (b_value, " s/mm2"),
    "gradient": (_gradient, ""),
    "ImageType": (_text("ImageType"), ""),
    "ComplexImageComponent": (_text("ComplexImageComponent"), ""),
    "ConvolutionKernel": (_text("ConvolutionKernel"), ""),
    "KVP": (_number("KVP"), " kV"),
}


def one_part(columns: list[list[Plane]], part: str | None, series_uid: str) -> list[list[Plane]]:
    """Keep the planes of one part of a series whose images at a position differ in how they were made.

    Args:
        columns: Planes by position.
        part: Which one, as the error below names it; None if the series has one part only.
        series_uid: For the message.

    Returns:
        The columns with the planes of that part.

    Raises:
        InputError: If the series has several parts and none, or an unknown one, was asked for.
    """
    names = _part_names(columns)
    counts: dict[str, int] = {}
    for name in names.values():
        counts[name] = counts.get(name, 0) + 1
    if len(counts) < 2 and part is None:
        return columns
    if part in counts:
        return [kept for column in columns if (kept := [p for p in column if names[id(p)] == part])]
    listed = shortened([f"{name!r} ({count} images)" for name, count in counts.items()])
    if len(counts) < 2:
        raise InputError(f"series {series_uid} has no part {part!r}: all its images are of one kind")
    asked = f"has no part {part!r}; it " if part is not None else ""
    raise InputError(
        f"series {series_uid} {asked}holds images of the same slices that differ in how they were made, "
        f"not only in time: {listed}. Choose one part by its name, or give its files alone."
    )


def _part_names(columns: list[list[Plane]]) -> dict[int, str]:
    """Name of the part that each plane is in, by id; one name for all where there is one part."""
    planes = [plane for column in columns for plane in column]
    names: dict[int, list[str]] = {id(plane): [] for plane in planes}
    readers = {**_PARTS, **{name: (_dimension(name), "") for name in _other_dimensions(planes)}}
    if len(columns) == len(planes):
        return dict.fromkeys(names, "")
    for label, (read, unit) in readers.items():
        values = {id(plane): read(plane) for plane in planes}
        if _tells_parts(columns, values):
            for plane in planes:
                names[id(plane)].append(f"{label} {_shown(values[id(plane)])}{unit}")
    return {key: ", ".join(parts) for key, parts in names.items()}


def _other_dimensions(planes: list[Plane]) -> list[str]:
    """Dimensions of enhanced objects that are neither place nor time, nor known by another name here."""
    known = (*TIME_DIMENSIONS, "EffectiveEchoTime", "DiffusionBValue", "DiffusionGradientOrientation", *_PARTS)
    return [name for name in dimensions_of(planes[0]) if name not in known]


def _dimension(name: str) -> Reader:
    return lambda plane: dimensions_of(plane).get(name)


def _tells_parts(columns: list[list[Plane]], values: dict[int, Any]) -> bool:
    """Whether every value is there at every position, and there are several."""
    found = [{values[id(plane)] for plane in column} for column in columns]
    return len(found[0]) > 1 and all(one == found[0] for one in found)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(f"{v:.2f}" for v in value) + ")"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
