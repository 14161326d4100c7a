# SPDX-License-Identifier: Apache-2.0
"""Regions that measurement reports mark on images (PS3.3 C.18.6 SCOORD), as boxes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ...types import Box, FloatArray, Measurement
from . import concepts as sr_codes
from .document import FrameKey
from .items import children, concept, is_named, read_number

_SITE_RETIRED = ("SRT", "G-C0E3")
_SITE = (codes.SCT.FindingSite.scheme_designator, codes.SCT.FindingSite.value)
_AXES = ("long_axis", "short_axis")
DECIMALS = 2  # of pixels in our own documents, as in JSON
DRAWN_DECIMALS = 4


@dataclass(frozen=True)
class Region:
    """One marked place.

    Attributes:
        frames: Frames of the series that it lies on; empty when its image is not in the series.
        box: Around it.
        label: As its author named it; "" without a name.
        finding_id: The lesion that it names.
        measurements: Lengths that were measured on it.
    """

    frames: tuple[int, ...]
    box: Box
    label: str = ""
    finding_id: int | None = None
    measurements: dict[str, Measurement] = field(default_factory=dict)


@dataclass(frozen=True)
class _Outline:
    """A SCOORD: kind, points (n, 2) and the item it came from."""

    kind: str
    points: FloatArray
    item: Dataset


def read_regions(
    root: Dataset, frames: dict[FrameKey, int], size_px: tuple[int, int] | None
) -> tuple[list[Region], list[str]]:
    """Regions of all measurement groups of a document, and what could not be taken over, a sentence each.

    Args:
        root: The document.
        frames: Index of each frame of the series.
        size_px: Width and height that boxes are cut to; None to take them as they are.
    """
    regions: list[Region] = []
    noted: Counter[str] = Counter()
    for section in children(root, "CONTAINER", codes.DCM.ImagingMeasurements):
        for group in children(section, "CONTAINER", codes.DCM.MeasurementGroup):
            region, note = _read_group(group, frames, size_px)
            if region:
                regions.append(region)
            if note:
                noted[note] += 1
    if unnamed := sum(not region.label for region in regions):
        noted["no label was given"] = unnamed
    return regions, [f"{count} of the drawings: {note}" for note, count in noted.items()]


def _read_group(
    group: Dataset, frames: dict[FrameKey, int], size_px: tuple[int, int] | None
) -> tuple[Region | None, str]:
    """The region of one group and what there is to say about it; None with the reason if it is no box."""
    try:
        outlines = [_outline(item) for item in _scoords(group)]
        if not outlines:
            what = "a place in space (SCOORD3D)" if _has_3d(group) else "no region"
            return None, f"marks {what}, not a box on an image, and was left out"
        tool = _tool(group)
        if len(outlines) < 2 and not _has_area(outlines[0]):
            return None, f"{tool} is no box and was left out"
        edges = np.concatenate([_extent(outline) for outline in outlines])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return None, f"cannot be read ({type(error).__name__}) and was left out"
    if not np.isfinite(edges).all():
        return None, "has coordinates that are not numbers and was left out"
    inside = edges if size_px is None else np.clip(edges, 0, size_px)
    decimals = DRAWN_DECIMALS if size_px else DECIMALS
    x0, y0, x1, y1 = (round(float(v), decimals) for v in (*inside.min(0), *inside.max(0)))
    if size_px and (x1 <= x0 or y1 <= y0):
        return None, f"{tool} has no area within the image and was left out"
    label, finding_id = _names(group)
    region = Region(_frames(outlines[0].item, frames), (x0, y0, x1, y1), label, finding_id, _lengths(group))
    if (inside != edges).any():
        return region, "reaches beyond the image and was cut at its edge"
    return region, "" if not size_px or all(_is_box(o) for o in outlines) else f"{tool} was read as the box around it"


def _scoords(group: Dataset) -> list[Dataset]:
    """Outlines of a group, at its top (TID 1410) or under its numbers (TID 320)."""
    parents = [group, *children(group, "NUM")]
    return [item for parent in parents for item in children(parent, "SCOORD")]


def _has_3d(group: Dataset) -> bool:
    return any(children(parent, "SCOORD3D") for parent in (group, *children(group, "NUM")))


def _outline(item: Dataset) -> _Outline:
    points = np.asarray(item.GraphicData, float).reshape(-1, 2)
    return _Outline(str(item.GraphicType), points, item)


def _tool(group: Dataset) -> str:
    """Name of the tool that drew it, from the tracking identifier that OHIF writes."""
    for item in children(group, "TEXT", codes.DCM.TrackingIdentifier):
        name = str(item.get("TextValue", "")).rpartition(":")[2]
        if re.fullmatch(r"\w{1,32}", name):
            return f"drawing of type {name}"
    return "drawing"


def _has_area(outline: _Outline) -> bool:
    if outline.kind == "POLYLINE":
        return len(np.unique(outline.points, axis=0)) > 2
    return outline.kind in ("CIRCLE", "ELLIPSE")


def _is_box(outline: _Outline) -> bool:
    """Whether it is a rectangle along rows and columns."""
    corners = np.unique(outline.points, axis=0)
    edges = {len(set(corners[:, 0])), len(set(corners[:, 1]))}
    return outline.kind == "POLYLINE" and len(corners) == 4 and edges == {2}


def _extent(outline: _Outline) -> FloatArray:
    """Two opposite corners of the box around an outline, (2, 2)."""
    points = outline.points
    if outline.kind == "CIRCLE":  # the centre and a point on it
        radius = np.linalg.norm(points[1] - points[0])
        return np.stack([points[0] - radius, points[0] + radius])
    if outline.kind == "ELLIPSE":  # both ends of the major and of the minor axis
        half = np.hypot((points[1] - points[0]) / 2, (points[3] - points[2]) / 2)
        center = points[:4].mean(0)
        return np.stack([center - half, center + half])
    return np.stack([points.min(0), points.max(0)])


def _frames(scoord: Dataset, frames: dict[FrameKey, int]) -> tuple[int, ...]:
    """Frames that a SCOORD was drawn on; all of an instance when it gives no number (PS3.3 C.17.3.2)."""
    found = []
    for image in children(scoord, "IMAGE"):
        for reference in image.get("ReferencedSOPSequence") or ():
            uid = str(reference.get("ReferencedSOPInstanceUID", ""))
            numbers = reference.get("ReferencedFrameNumber")
            if numbers is None or numbers == "":
                found += [index for (instance, _), index in frames.items() if instance == uid]
                continue
            numbers = [numbers] if isinstance(numbers, int | str) else numbers
            found += [frames[uid, int(number)] for number in numbers if (uid, int(number)) in frames]
    return tuple(sorted(set(found)))


def _names(group: Dataset) -> tuple[str, int | None]:
    """Label and lesion of a group. OHIF looks for its free text among the sites first, then at the finding."""
    sites = [item for item in children(group, "CODE") if concept(item)[:2] in (_SITE, _SITE_RETIRED)]
    kinds = [item for item in children(group, "CODE") if is_named(item, codes.DCM.Finding)]
    values = [concept(item, "ConceptCodeSequence") for item in (*sites, *kinds)]
    free = [meaning for _, value, meaning in values if value == sr_codes.OHIF_FREE_TEXT]
    coded = [concept(item, "ConceptCodeSequence")[2] for item in kinds]
    lesion = None
    for scheme, value, _ in values:
        if scheme == sr_codes.PRIVATE_SCHEME and (match := re.fullmatch(r"F(\d{1,9})", value)):
            lesion = int(match[1])
    return next((label for label in (*free, *coded) if label), ""), lesion


def _lengths(group: Dataset) -> dict[str, Measurement]:
    """Axes in mm that were measured on a drawing.

    OHIF writes others with the unit 1, whatever they were measured in; areas say nothing that the box does not.
    """
    found = {}
    for item in children(group, "NUM"):
        name = sr_codes.measurement_name(*concept(item)[:2])
        value = read_number(item)
        unit = None if value is None else item.MeasuredValueSequence[0].get("MeasurementUnitsCodeSequence")
        if name in _AXES and value is not None and unit and sr_codes.unit_name(unit[0]) == "mm":
            found[name] = Measurement(value, "mm")
    return found
