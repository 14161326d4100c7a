# SPDX-License-Identifier: Apache-2.0
"""Masks by frames: a JSON document for viewers that edit masks on the stored frames of an image, and back.

``{"rows", "columns", "sop_instance_uids": [...], "frame_numbers": [...], "labels": {label: value}, "parts": [...]}``.
The two lists name the frames by index. A part is ``{"label", "finding", "frames": {"frame index": [start, length,
start, length ...]}}``: pixels are numbered along the rows, from 0 at the top left, through all rows of the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import InputError
from .geometry import VolumeGeometry
from .shown import Corner, ShownFrames, region_on

MAX_LABELS = 255
Piece = tuple[str, int, list[int]]
"""Label, frame index in the document, runs: the pixels of a part on a frame."""


@dataclass(frozen=True)
class Outline:
    """The voxels of one lesion, on the frames that models see.

    Attributes:
        label: Class name.
        finding: Id of the finding.
        mask: (t, h, w), cut to the lesion.
        corner: Frame, row and column of its first voxel.
    """

    label: str
    finding: int
    mask: npt.NDArray[np.bool_]
    corner: Corner


@dataclass(frozen=True)
class FrameMask:
    """A document that fits its image.

    Attributes:
        mask: (X, Y, Z) on the grid of one volume of the image.
        labels: Class name -> value.
        time_point: Volume of a dynamic image that its frames are of; None where there is one only.
    """

    mask: npt.NDArray[np.uint8]
    labels: dict[str, int]
    time_point: int | None


def is_frame_mask(data: dict[str, Any]) -> bool:
    """Whether a document is a mask by frames."""
    return "parts" in data


def outlines_document(
    outlines: list[Outline], labels: dict[str, int], shown: ShownFrames, geometry: VolumeGeometry
) -> dict[str, Any]:
    """Lesions as a document with a part for each.

    Args:
        outlines: The lesions.
        labels: Class name -> value.
        shown: Frames of the document.
        geometry: Leads to the frames that the outlines are on.
    """
    columns = shown.shape[2]
    parts = []
    for outline in outlines:
        mask, (t, y, x) = region_on(outline.mask, outline.corner, geometry, shown.geometry)
        frames: dict[str, list[int]] = {}
        for i in np.flatnonzero(mask.any(axis=(1, 2))):
            row, column = np.nonzero(mask[i])
            frames[str(t + int(i))] = _runs_of((row + y) * columns + column + x)
        parts.append({"label": outline.label, "finding": outline.finding, "frames": frames})
    return _document(shown, labels, parts)


def mask_document(mask: npt.NDArray[np.uint8], labels: dict[str, int], shown: ShownFrames) -> dict[str, Any]:
    """A mask as a document with a part for each label.

    Args:
        mask: (X, Y, Z) on the grid of the image.
        labels: Class name -> value; of every value in the mask.
        shown: Frames of the document.
    """
    frames = shown.geometry.to_frames(mask)
    parts: dict[int, dict[str, list[int]]] = {value: {} for value in labels.values()}
    for t in np.flatnonzero(frames.any(axis=(1, 2))):
        for value, runs in _runs_by_value(frames[t].reshape(-1)):
            parts[value][str(int(t))] = runs
    listed = [{"label": label, "finding": None, "frames": parts[value]} for label, value in labels.items()]
    return _document(shown, labels, [part for part in listed if part["frames"]])


def _document(shown: ShownFrames, labels: dict[str, int], parts: list[dict[str, Any]]) -> dict[str, Any]:
    _, rows, columns = shown.shape
    return {
        "rows": rows,
        "columns": columns,
        "sop_instance_uids": list(shown.sop_instance_uids),
        "frame_numbers": list(shown.frame_numbers),
        "labels": dict(labels),
        "parts": parts,
    }


def _runs_of(pixels: npt.NDArray[np.intp]) -> list[int]:
    """Numbers of pixels in rising order, at least one -> start, length, start, length ..."""
    breaks = np.flatnonzero(np.diff(pixels) > 1)
    first, last = pixels[np.r_[0, breaks + 1]], pixels[np.r_[breaks, len(pixels) - 1]]
    found: list[int] = np.stack([first, last - first + 1], axis=1).reshape(-1).tolist()
    return found


def _runs_by_value(pixels: npt.NDArray[np.uint8]) -> Iterator[tuple[int, list[int]]]:
    """The runs of each value of a frame (H * W) but 0."""
    starts = np.r_[0, np.flatnonzero(pixels[1:] != pixels[:-1]) + 1]
    values = pixels[starts]
    runs = np.stack([starts, np.diff(np.r_[starts, len(pixels)])], axis=1)
    for value in np.unique(values[values > 0]):
        yield int(value), runs[values == value].reshape(-1).tolist()


def read_frame_mask(data: dict[str, Any], volumes: tuple[ShownFrames, ...], name: str) -> FrameMask:
    """Place a document on the grid of its image: by SOP Instance UID and frame number, by index where there are none.

    Args:
        data: The document.
        volumes: Frames of the image; of a dynamic one those of each volume.
        name: Of the file, for messages.

    Raises:
        InputError: If a value is missing or wrong, a frame is not one of the image, its size is another, a run leaves
            its frame, or two runs share a pixel.
    """
    labels = _labels(data, name)
    time_point, order = _placed_frames(data, volumes, name)
    shown = volumes[time_point]
    _, rows, columns = shown.shape
    if (data.get("rows"), data.get("columns")) != (rows, columns):
        raise InputError(
            f"{name}: its frames have {data.get('rows')} rows and {data.get('columns')} columns, those of the image "
            f"{rows} and {columns}"
        )
    pieces = list(_pieces(data, labels, len(order), rows * columns, name))
    values = _drawn(pieces, np.array(order, np.int64), shown.shape, labels, name)
    mask = np.ascontiguousarray(shown.geometry.to_volume(values))
    return FrameMask(mask, labels, time_point if len(volumes) > 1 and order else None)


def _labels(data: dict[str, Any], name: str) -> dict[str, int]:
    labels = data.get("labels")
    if not isinstance(labels, dict) or not all(label.strip() for label in labels):
        raise InputError(f'{name}: "labels" must hold the value of each label by its name')
    values = list(labels.values())
    if not all(type(value) is int and 1 <= value <= MAX_LABELS for value in values) or len(set(values)) < len(values):
        raise InputError(f"{name}: the values of labels are different whole numbers, 1 to {MAX_LABELS}")
    return dict(labels)


def _placed_frames(data: dict[str, Any], volumes: tuple[ShownFrames, ...], name: str) -> tuple[int, list[int]]:
    """The volume that a document is of, and the frame there of each of its frames."""
    uids, numbers = data.get("sop_instance_uids"), data.get("frame_numbers")
    if not isinstance(uids, list) or not isinstance(numbers, list) or len(uids) != len(numbers):
        raise InputError(f"{name}: sop_instance_uids and frame_numbers must be two lists of the same length")
    if not volumes[0].sop_instance_uids:
        if uids:
            raise InputError(f"{name}: its frames are DICOM instances, but the image is not DICOM")
        return 0, list(range(volumes[0].shape[0]))
    known = {
        (uid, number): (k, t)
        for k, volume in enumerate(volumes)
        for t, (uid, number) in enumerate(zip(volume.sop_instance_uids, volume.frame_numbers, strict=True))
    }
    keys = [(uid, number) for uid, number in zip(uids, numbers, strict=True)]
    if not all(isinstance(uid, str) and type(number) is int for uid, number in keys):
        raise InputError(f"{name}: sop_instance_uids are texts, frame_numbers whole numbers")
    if foreign := next((key for key in keys if key not in known), None):
        raise InputError(f"{name}: frame {foreign[1]} of instance {foreign[0][:64]} is not in this image")
    if not keys and data.get("parts"):
        raise InputError(f"{name}: the image is DICOM, so the mask must name its frames: SOP Instance UID and number")
    places = [known[key] for key in keys]
    if len(set(places)) < len(places):
        raise InputError(f"{name}: a frame is listed twice")
    if len(times := {k for k, _ in places}) > 1:
        raise InputError(f"{name}: its frames are of {len(times)} volumes; save the mask of each volume by itself")
    return next(iter(times), 0), [t for _, t in places]


def _pieces(data: dict[str, Any], labels: dict[str, int], n_frames: int, n_pixels: int, name: str) -> Iterator[Piece]:
    """The runs of each part on each frame, in the order of the document."""
    parts = data.get("parts")
    if not isinstance(parts, list):
        raise InputError(f'{name}: "parts" must be a list')
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("frames"), dict):
            raise InputError(f'{name}: a part is {{"label": ..., "frames": {{"frame index": [start, length ...]}}}}')
        label = part.get("label")
        if not isinstance(label, str) or label not in labels:
            raise InputError(f"{name}: a part has the label {str(label)[:60]!r}, which is not in labels")
        for key, runs in part["frames"].items():
            if not (key.isascii() and key.isdecimal() and len(key) < 10 and int(key) < n_frames):
                raise InputError(f"{name}: part '{label[:60]}' is on frame {key[:20]!r}; there are 0 to {n_frames - 1}")
            numbers = isinstance(runs, list) and all(type(v) is int and 0 <= v <= n_pixels for v in runs)
            if not numbers or len(runs) % 2:
                raise InputError(
                    f"{name}: part '{label[:60]}', frame {key}: runs are pairs of whole numbers, start and length, "
                    f"within its {n_pixels} pixels"
                )
            yield label, int(key), runs


def _drawn(
    pieces: list[Piece], order: npt.NDArray[np.int64], shape: tuple[int, int, int], labels: dict[str, int], name: str
) -> npt.NDArray[np.uint8]:
    """The values of all pixels, (T, H, W): gaps and runs follow each other through all frames."""
    n_pixels = shape[1] * shape[2]
    owners = np.repeat(np.arange(len(pieces)), [len(runs) // 2 for _, _, runs in pieces])
    pairs = np.array([v for _, _, runs in pieces for v in runs], np.int64).reshape(-1, 2)
    first = order[np.array([frame for _, frame, _ in pieces], np.int64)][owners] * n_pixels
    _refuse((pairs[:, 1] < 1) | (pairs.sum(axis=1) > n_pixels), owners, pieces, f"{name}: a run is empty or too long")
    starts, lengths = first + pairs[:, 0], pairs[:, 1]
    sorting = np.argsort(starts, kind="stable")
    starts, lengths, owners = starts[sorting], lengths[sorting], owners[sorting]
    gaps = np.diff(starts, prepend=0) - np.r_[0, lengths[:-1]][: len(starts)]
    _refuse(gaps < 0, owners, pieces, f"{name}: a pixel is in two runs")
    values = np.array([labels[label] for label, _, _ in pieces], np.uint8)[owners]
    n_runs = len(starts)
    alternating, counts = np.zeros(2 * n_runs + 1, np.uint8), np.zeros(2 * n_runs + 1, np.int64)
    alternating[1::2], counts[:-1:2], counts[1::2] = values, gaps, lengths
    counts[-1] = shape[0] * n_pixels - counts.sum()
    return np.repeat(alternating, counts).reshape(shape)


def _refuse(wrong: npt.NDArray[np.bool_], owners: npt.NDArray[np.int64], pieces: list[Piece], message: str) -> None:
    if wrong.any():
        label, frame, _ = pieces[int(owners[int(np.argmax(wrong))])]
        raise InputError(f"{message}: part '{label[:60]}', frame {frame}")
