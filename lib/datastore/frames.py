# SPDX-License-Identifier: Apache-2.0
"""Images and their labels for viewers, which count the stored frames: see :mod:`lib.transforms.shown`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from ..transforms.frame_masks import mask_document
from ..transforms.geometry import VolumeGeometry
from ..transforms.labels import file_grid, mask_suffix, read_mask
from ..transforms.load import from_file
from ..transforms.orient import sequence_geometry
from ..transforms.shown import ShownFrames, findings_on, shown_frames
from ..types import Finding, InputError, SequenceKind, VolumeSeries, volumes_of
from ..volumes.read import read_image_file
from .dicom_grid import checked_time_point, series_grid, series_of
from .dicom_labels import part_of, segment_names, time_point_of
from .documents import read_json


@dataclass(frozen=True)
class ShownImage:
    """An image as a viewer shows it.

    Attributes:
        kind: ``stack``, ``cine`` or ``dynamic``.
        volumes: Its frames; of a dynamic image those of each volume.
        geometry: Leads to the frames that models see, of each volume.
        warnings: What the reader noticed.
    """

    kind: SequenceKind
    volumes: tuple[ShownFrames, ...]
    geometry: VolumeGeometry
    warnings: tuple[str, ...]


def shown_image(image: Path, part: str | None = None) -> ShownImage:
    """The frames of an image of a store.

    The pixels of a DICOM series are read the first time only: nothing less says which files can be read, and which
    slices are there twice.

    Args:
        image: File, or folder with one DICOM series.
        part: As for :func:`lib.dicom.series.read_series`.

    Raises:
        InputError: If it cannot be read.
    """
    if image.is_dir():
        series = series_of(image, part)
        content, warnings = series.image, series.problems
    else:
        file = read_image_file(image)
        content, warnings = from_file(file, SequenceKind.STACK), file.problems
    volumes = volumes_of(content)
    kind = content.kind if isinstance(content, VolumeSeries) else volumes[0].kind
    return ShownImage(kind, tuple(map(shown_frames, volumes)), sequence_geometry(volumes[0]), warnings)


def frames_json(image: Path, time_point: int | None = None, part: str | None = None) -> dict[str, Any]:
    """What a client has to know of the frames of an image; of a dynamic one, of the first volume unless it says which.

    Raises:
        InputError: If the image cannot be read, or has no such volume.
    """
    shown = shown_image(image, part)
    n_times = len(shown.volumes)
    chosen = checked_time_point(time_point or 0, n_times)
    return {
        "kind": shown.kind.value,
        **shown.volumes[chosen].to_json(),
        "time_point": chosen if n_times > 1 else None,
        "time_points": n_times,
        "warnings": list(shown.warnings),
    }


def mask_by_frames(image: Path, label: Path, info: dict[str, Any], time_point: int | None = None) -> dict[str, Any]:
    """A stored mask as a document with a part for each label; see :mod:`lib.transforms.frame_masks`.

    Args:
        image: File, or folder with one DICOM series.
        label: NIfTI, NRRD or MetaImage.
        info: Of the label: the part and volume that it is of, the names of its values.
        time_point: Which volume of a dynamic image; the label's own, or the first, if None.

    Raises:
        InputError: If one of them cannot be read, or there is no such volume.
    """
    part = part_of(info)
    shown = shown_image(image, part)
    grid = series_grid(series_of(image, part), label.name) if image.is_dir() else file_grid(image, label.name)
    own = time_point_of(info)
    chosen = checked_time_point(next((k for k in (time_point, own) if k is not None), 0), len(shown.volumes))
    mask = _volume_of(read_mask(label, grid).values, own, chosen)
    names = _names_in(label)
    named = {**info, "label_names": names} if names else info
    labels = segment_names(named, set(np.unique(mask).tolist()) - {0})
    return mask_document(mask, labels, shown.volumes[chosen])


def _volume_of(mask: npt.NDArray[np.uint8], own: int | None, chosen: int) -> npt.NDArray[np.uint8]:
    """The volume of a mask of all volumes, or of one: of the others it then says nothing."""
    if mask.ndim == 4:
        return mask[..., chosen]
    return mask if own in (None, chosen) else np.zeros_like(mask)


def _names_in(label: Path) -> dict[str, int]:
    """The names that :func:`lib.transforms.export.nifti_image` keeps in the header; {} where there are none."""
    if not mask_suffix(label).startswith(".nii"):
        return {}
    for extension in getattr(nib.load(label).header, "extensions", ()):
        try:
            return {str(name): int(value) for name, value in json.loads(extension.get_content())["label_names"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return {}


def boxes_by_frames(image: Path, label: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Stored findings, whose boxes are on the frames that models see, with boxes on the frames that viewers show.

    Args:
        image: File, or folder with one DICOM series.
        label: JSON.
        info: Of the label.

    Raises:
        InputError: If one of them cannot be read.
    """
    shown = shown_image(image, part_of(info))
    return _moved(read_json(label), shown.geometry, shown.volumes[0].geometry, label.name)


def boxes_for_models(image: Path, label: Path, info: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`boxes_by_frames`, for what a viewer sends; arguments are the same."""
    shown = shown_image(image, part_of(info))
    return _moved(read_json(label), shown.volumes[0].geometry, shown.geometry, label.name)


def _moved(data: dict[str, Any], source: VolumeGeometry, target: VolumeGeometry, name: str) -> dict[str, Any]:
    found = data.get("findings")
    if not isinstance(found, list):  # ROIs of 3D Slicer are in mm; what else it is, saving it will say
        return data
    try:
        findings = [Finding.from_json(item) for item in found]
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return {**data, "findings": [finding.to_json() for finding in findings_on(findings, source, target)]}
