# SPDX-License-Identifier: Apache-2.0
"""Frames of enhanced and legacy converted enhanced multi-frame objects (PS3.3 C.7.6.16: functional groups)."""

from __future__ import annotations

from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from ..types import InputError
from .headers import decimals_of, frame_count, number_in, raw_of, text_of
from .pixels import instance_name
from .planes import Plane, directions, pixel_spacing, size_of

# Dimensions that say where a frame lies; the others say what it is or when it was taken (PS3.3 C.7.6.17).
_PLACE = ("StackID", "InStackPositionNumber", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation")


def is_enhanced(dataset: Dataset) -> bool:
    """Whether an instance gives its frames a place in the patient by functional groups."""
    if not raw_of(dataset, "PerFrameFunctionalGroupsSequence"):
        return False
    frames = dataset.PerFrameFunctionalGroupsSequence
    shared = dataset.get("SharedFunctionalGroupsSequence")
    return "PlanePositionSequence" in frames[0] or bool(shared and "PlanePositionSequence" in shared[0])


def planes_of(dataset: Dataset) -> list[Plane]:
    """The planes of an enhanced multi-frame instance, in the order they are stored.

    Raises:
        InputError: If frames and functional groups do not fit together, or a frame has no place.
    """
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    if len(frames) != frame_count(dataset):
        raise InputError(
            f"{instance_name(dataset)}: {frame_count(dataset)} frames but {len(frames)} per-frame functional groups"
        )
    size, uid = size_of(dataset), text_of(dataset, "SOPInstanceUID")
    planes = []
    for index, group in enumerate(frames):
        groups = (group, *shared)
        position = decimals_of(_macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3)
        orientation = directions(_macro(groups, "PlaneOrientationSequence"))
        if position is None or orientation is None:
            raise InputError(f"{instance_name(dataset)}: frame {index + 1} has no position or no orientation")
        planes.append(
            Plane(
                dataset=dataset,
                frame=index,
                sop_instance_uid=uid,
                number=str(index + 1),
                size=size,
                spacing_mm=pixel_spacing(_macro(groups, "PixelMeasuresSequence")),
                position=position,
                orientation=orientation,
                groups=groups,
            )
        )
    return planes


def _macro(groups: tuple[Dataset, ...], name: str) -> Dataset:
    """The item of a functional group: of the frame, else the one shared by all, else an empty one."""
    return next((group[name].value[0] for group in groups if group.get(name)), Dataset())


def dimensions_of(plane: Plane) -> dict[str, int]:
    """Dimension Index Values of a frame by what they count, but for those that only say where the frame lies."""
    values = plane.get("DimensionIndexValues") if plane.groups else None
    organisation = plane.dataset.get("DimensionIndexSequence") or []
    if values is None:
        return {}
    values = [values] if number_in(values) is not None else list(values)
    names = [_pointer_name(item) for item in organisation]
    return {name: int(v) for name, v in zip(names, values, strict=False) if name not in _PLACE}


def _pointer_name(item: Any) -> str:
    pointer = item.get("DimensionIndexPointer")
    label = text_of(item, "DimensionDescriptionLabel")
    return keyword_for_tag(pointer) or label or str(pointer) if pointer is not None else label
