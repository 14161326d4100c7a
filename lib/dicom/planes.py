# SPDX-License-Identifier: Apache-2.0
"""Images with a place in the patient: one per single-frame instance, or one per frame of a multi-frame instance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..types import FloatArray, InputError
from .headers import decimals_of, number_in, raw_of, shortened, text_of, whole_of
from .pixels import instance_name

DIRECTION_TOLERANCE = np.deg2rad(0.1)
"""Images whose axes differ by more are not slices of one volume: 0.1 degrees are 0.4 mm at 250 mm."""
SPACING_TOLERANCE = 1e-3
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# What an element of single-frame objects is called in the functional groups (PS3.3 C.7.6.16.2, C.8.13.5).
_IN_GROUPS = {
    "AcquisitionNumber": "FrameAcquisitionNumber",
    "AcquisitionDateTime": "FrameAcquisitionDateTime",
    "EchoTime": "EffectiveEchoTime",
    "ImageType": "FrameType",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
    "TriggerTime": "NominalCardiacTriggerDelayTime",
}


@dataclass(frozen=True)
class Plane:
    """One image and where it lies.

    Attributes:
        dataset: The instance it is in.
        frame: Its index within the instance, from 0.
        sop_instance_uid: Of the instance.
        number: Instance Number, or the frame number in a multi-frame instance; what to call it in a message.
        size: (rows, columns, samples per pixel).
        spacing_mm: Between pixel centres, (x, y); None if the file does not say.
        position: Image Position (Patient): centre of the first pixel, LPS mm; None if the file does not say.
        orientation: Image Orientation (Patient): row and column direction; None if the file does not say.
        groups: Functional groups of the frame, then those shared by all; empty for a single-frame object.
    """

    dataset: Dataset
    frame: int
    sop_instance_uid: str
    number: str
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float] | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    groups: tuple[Dataset, ...] = ()

    def get(self, keyword: str) -> Any:
        """Value of an element for this image, wherever the object keeps it; None if it is missing or damaged."""
        try:
            if self.groups:
                found = self._in_groups(keyword)
                if found is not None:
                    return found
            return self.dataset.get(keyword)
        except Exception:  # a damaged element raises when it is first looked at
            return None

    def _in_groups(self, keyword: str) -> Any:
        for name in (keyword, _IN_GROUPS.get(keyword, keyword)):
            for group in self.groups:
                for element in group:
                    found = element.value[0].get(name) if element.VR == "SQ" and element.value else None
                    if found is not None:
                        return found
        return None

    @property
    def is_localizer(self) -> bool:
        """Whether the image only shows where the others lie (PS3.3 C.7.6.1.1.2: a value of Image Type)."""
        kinds = self.get("ImageType") or ()
        return any(str(kind).upper() in ("LOCALIZER", "SCOUT") for kind in kinds)


def plane_of(dataset: Dataset) -> Plane:
    """The plane of a single-frame instance (PS3.3 C.7.6.2).

    Raises:
        InputError: If the position or orientation is there but impossible; the message names the file.
    """
    return Plane(
        dataset=dataset,
        frame=0,
        sop_instance_uid=text_of(dataset, "SOPInstanceUID"),
        number=text_of(dataset, "InstanceNumber") or "without number",
        size=size_of(dataset),
        spacing_mm=pixel_spacing(dataset),
        position=_position(dataset),
        orientation=directions(dataset),
    )


def size_of(dataset: Dataset) -> tuple[int, int, int]:
    """(rows, columns, samples per pixel).

    Raises:
        InputError: If they are not numbers.
    """
    rows, columns = whole_of(dataset, "Rows"), whole_of(dataset, "Columns")
    if not rows or not columns:
        raise InputError(f"{instance_name(dataset)}: Rows or Columns is missing: not an image, or damaged")
    return rows, columns, whole_of(dataset, "SamplesPerPixel") or 1


def pixel_spacing(source: Dataset) -> tuple[float, float] | None:
    """Pixel spacing (x, y) in mm.

    Without one in the patient, that on the detector divided by the magnification where it is known (PS3.3 10.7.1.3).
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = decimals_of(source, keyword, 2)
        if spacing and min(spacing) > 0:
            if keyword != "ImagerPixelSpacing":
                return spacing[1], spacing[0]
            magnified = number_in(source.get("EstimatedRadiographicMagnificationFactor")) or 1.0
            factor = max(magnified, 1.0)
            return spacing[1] / factor, spacing[0] / factor
    return None


def _position(dataset: Dataset) -> tuple[float, ...] | None:
    if raw_of(dataset, "ImagePositionPatient") in (None, b"", ""):
        return None
    position = decimals_of(dataset, "ImagePositionPatient", 3)
    if position is None:
        value = dataset.get("ImagePositionPatient")
        raise InputError(f"{instance_name(dataset)}: Image Position (Patient) is {value}, not three numbers")
    return position


def directions(source: Dataset) -> tuple[float, ...] | None:
    """Row and column direction, with length 1; None if there are none.

    Raises:
        InputError: If they are not two perpendicular directions; the message names the file.
    """
    if raw_of(source, "ImageOrientationPatient") in (None, b"", ""):
        return None
    cosines = decimals_of(source, "ImageOrientationPatient", 6)
    if cosines == AXIAL:
        return AXIAL
    row, column = np.reshape(cosines, (2, 3)) if cosines else (np.zeros(3), np.zeros(3))
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5 or abs(float(row @ column)) > 0.01 * lengths[0] * lengths[1]:
        value = source.get("ImageOrientationPatient")
        raise InputError(f"{instance_name(source)}: Image Orientation (Patient) is {value}, not two perpendicular axes")
    return (*map(float, row / lengths[0]), *map(float, column / lengths[1]))


def normal_of(plane: Plane) -> FloatArray:
    """Unit vector across the plane, row x column direction."""
    row, column = np.reshape(plane.orientation or AXIAL, (2, 3))
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def one_grid(planes: list[Plane], series_uid: str) -> tuple[list[Plane], list[str]]:
    """Keep the images of one orientation, size and spacing; localizers among them are left out and reported.

    Raises:
        InputError: If there are several kinds of images left; the message names the groups.
    """
    groups = _grouped(planes)
    if len(groups) == 1:
        return planes, []
    kept = [group for group in groups if not all(plane.is_localizer for plane in group)] or groups
    left_out = [plane for group in groups if group not in kept for plane in group]
    if len(kept) > 1:
        names = shortened([_group_name(group) for group in sorted(kept, key=len, reverse=True)])
        raise InputError(
            f"series {series_uid} holds images that are not slices of one volume: {names}. "
            "Give the files of one group alone."
        )
    numbers = shortened([plane.number for plane in left_out])
    return kept[0], [f"Left out {len(left_out)} localizer image(s), number {numbers}."]


def _grouped(planes: list[Plane]) -> list[list[Plane]]:
    groups: list[list[Plane]] = []
    known: dict[Any, list[Plane]] = {}
    for plane in planes:
        key = (plane.size, plane.spacing_mm, plane.orientation, plane.position is None)
        if key not in known:
            known[key] = next((group for group in groups if _same_grid(group[0], plane)), [])
            if not known[key]:
                groups.append(known[key])
        known[key].append(plane)
    return groups


def _same_grid(one: Plane, other: Plane) -> bool:
    if one.size != other.size or (one.position is None) != (other.position is None):
        return False
    if (one.spacing_mm is None) != (other.spacing_mm is None) or (one.orientation is None) != (
        other.orientation is None
    ):
        return False
    turned = np.subtract(one.orientation or AXIAL, other.orientation or AXIAL).reshape(2, 3)
    same_axes = bool(np.linalg.norm(turned, axis=1).max() <= DIRECTION_TOLERANCE)
    return same_axes and np.allclose(one.spacing_mm or 1, other.spacing_mm or 1, rtol=SPACING_TOLERANCE, atol=0)


def _group_name(group: list[Plane]) -> str:
    first = group[0]
    if first.position is None:
        view = "without position"
    else:
        normal = normal_of(first)
        axis = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]
        view = f"{axis} (normal {', '.join(f'{v:.3f}' for v in normal)})"
    spacing = "" if first.spacing_mm is None else f" at {first.spacing_mm[0]:.3g} x {first.spacing_mm[1]:.3g} mm"
    colour = " colour" if first.size[2] > 1 else ""
    return f"{len(group)} of {first.size[1]} x {first.size[0]}{colour} pixels{spacing} {view}"


def slice_step_mm(plane: Plane) -> float:
    """Distance to the next slice as the header has it: Spacing Between Slices, else Slice Thickness, else 1 mm."""
    found = (number_in(plane.get(keyword)) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    return next((abs(step) for step in found if step), 1.0)


def with_assumed_positions(planes: list[Plane]) -> tuple[list[Plane], list[str]]:
    """Give images without Image Position (Patient) a place by Slice Location, else by Instance Number.

    Raises:
        InputError: If there are several images and neither tells them apart.
    """
    if all(plane.position is not None for plane in planes):
        return planes, []
    step = slice_step_mm(planes[0])
    locations = [number_in(plane.get("SliceLocation")) for plane in planes]
    source, places = "Slice Location", locations
    if None in locations or (len(planes) > 1 and len(set(locations)) == 1):
        order = [number_in(plane.get("InstanceNumber")) for plane in planes]
        source, places = "Instance Number", [None if k is None else k * step for k in order]
    known = [place for place in places if place is not None]
    if len(planes) == 1:
        known = known or [0.0]
    if len(known) < len(planes) or max(Counter(known).values()) == len(known) > 1:
        raise InputError(
            f"{instance_name(planes[0].dataset)} and {len(planes) - 1} more have no Image Position (Patient), and "
            "neither Slice Location nor Instance Number tells them apart: they cannot be put in order"
        )
    placed = []
    for plane, place in zip(planes, known, strict=True):
        oriented = replace(plane, orientation=plane.orientation or AXIAL)
        placed.append(replace(oriented, position=tuple(float(v) for v in normal_of(oriented) * place)))
    if len(planes) == 1:
        return placed, ["No Image Position (Patient): the place of the image in the patient is not known."]
    detail = f", {step:g} mm apart" if source == "Instance Number" else ""
    return placed, [f"No Image Position (Patient): slices are ordered by {source}{detail}; their place is not known."]


def with_spacing(planes: list[Plane]) -> tuple[list[Plane], list[str]]:
    """Say where pixel spacing is not that in the patient; without any take 1 mm."""
    first = planes[0]
    if first.spacing_mm is None:
        known = [replace(plane, spacing_mm=(1.0, 1.0)) for plane in planes]
        return known, ["No pixel spacing: taken as 1 mm; lengths and volumes are in pixels."]
    if first.get("PixelSpacing") or first.get("EstimatedRadiographicMagnificationFactor"):
        return planes, []
    return planes, ["Pixel spacing is that at the detector or scanner: sizes in the patient may differ."]
