# SPDX-License-Identifier: Apache-2.0
"""Frames in time: ultrasound, angiography, fluoroscopy, endoscopy, secondary capture -> a cine Sequence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ..types import FloatArray, InputError, Sequence, SequenceKind
from .borders import Bounds, content_of_pixels, content_of_regions, two_d_regions
from .facts import facts_of, text_of
from .frame_times import (
    ASSUMED_FRAMES_PER_S,
    even_times,
    frame_step_s,
    instance_moment,
    multi_frame_times,
    seconds_from_first,
)
from .pixels import frames_of, instance_name
from .pixels.modality import whole_number
from .types import DicomSeries

COLOUR_CHANNELS = ("red", "green", "blue")
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: what a grey picture of a colour one is."""
_CM = 3
# Colour that compression leaves in grey pictures stays under this; drawn overlays and Doppler are far above.
_COLOURED_BY = 40
_SAMPLED_FRAMES = 48


def clips_of(datasets: Iterable[Dataset]) -> list[list[Dataset]]:
    """Split a series into clips, in order of time.

    Every multi-frame instance is a clip of its own: an ultrasound series holds many, of different sizes. The
    single-frame instances of one size make one clip.
    """
    clips: list[list[Dataset]] = []
    singles: dict[tuple[int, ...], list[Dataset]] = {}
    for dataset in sorted(datasets, key=lambda d: (_whole(d, "InstanceNumber", 0), text_of(d, "SOPInstanceUID"))):
        if _whole(dataset, "NumberOfFrames", 1) > 1:
            clips.append([dataset])
        else:
            size = tuple(_whole(dataset, k, 0) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
            singles.setdefault(size, []).append(dataset)
    return clips + sorted(singles.values(), key=len, reverse=True)


def read_cine(datasets: list[Dataset], files: dict[str, Path]) -> DicomSeries:
    """Read the first clip of :func:`clips_of`; ``problems`` says how many others there are.

    Frames keep the type of their pixels (most are uint8): grey is one channel ``image``, colour is
    :data:`COLOUR_CHANNELS`. A colour file that shows a grey picture, but for still overlays, is grey.

    Args:
        datasets: Instances of one series, with their pixels.
        files: Where each SOP Instance UID came from.

    Raises:
        InputError: If there is nothing to read, or an instance cannot be decoded; the message names it.
    """
    if not datasets:
        raise InputError("a clip needs at least one DICOM instance; got none")
    clips = clips_of(datasets)
    try:
        series = _read_clip(clips[0], files)
    except InputError:
        raise
    except Exception as error:  # damaged elements raise anything when they are first looked at
        raise InputError(
            f"{instance_name(clips[0][0])}: {type(error).__name__}: {error}; the file is damaged"
        ) from error
    if len(clips) == 1:
        return series
    sizes = sorted({f"{_whole(c[0], 'Columns', 0)}x{_whole(c[0], 'Rows', 0)}" for c in clips})
    said = (
        f"The series holds {len(clips)} clips ({', '.join(sizes)} pixels); this is the first, "
        f"{instance_name(clips[0][0])}. Open the others one by one."
    )
    return replace(series, problems=(said, *series.problems))


def to_grey(sequence: Sequence) -> Sequence:
    """A colour sequence as one channel ``image`` of luma (ITU-R BT.601); a grey one as it is."""
    if sequence.channels != COLOUR_CHANNELS:
        return sequence
    grey = _luma(np.moveaxis(sequence.frames, 1, -1))
    return replace(sequence, frames=grey[:, None], channels=("image",), channel_present=(True,))


def _read_clip(clip: list[Dataset], files: dict[str, Path]) -> DicomSeries:
    clip, times, problems = _in_time(clip)
    pixels = _pixels(clip)
    if len(clip) == 1:
        times, problems = multi_frame_times(clip[0], len(pixels))
    first = clip[0]
    content, factor = content_of_regions(first, *pixels.shape[1:3])
    if content is None:
        content = content_of_pixels(pixels)
    spacing, said = _spacing_mm(first, factor)
    channels = COLOUR_CHANNELS if pixels.ndim == 4 else ("image",)
    if pixels.ndim == 4 and not _shows_colour(pixels, content):
        pixels, channels = _luma(pixels), ("image",)
    frames = np.moveaxis(pixels, -1, 1) if pixels.ndim == 4 else pixels[:, None]
    uids = [text_of(dataset, "SOPInstanceUID") for dataset in clip]
    image = Sequence(
        frames=cast(FloatArray, frames),
        kind=SequenceKind.CINE,
        positions=times,
        spacing_mm=spacing,
        affine_lps=_affine_lps(first, spacing),
        channels=channels,
        channel_present=(True,) * len(channels),
        sop_instance_uids=tuple(uids if len(uids) > 1 else uids * len(frames)),
        frame_numbers=(1,) * len(frames) if len(uids) > 1 else tuple(range(1, len(frames) + 1)),
        content_px=_inside(content, *pixels.shape[1:3]),
    )
    used = {uid: files[uid] for uid in uids if uid in files}
    return DicomSeries(image, facts_of(first), used, tuple(problems + said))


def _pixels(clip: list[Dataset]) -> npt.NDArray[Any]:
    """(T, H, W) or (T, H, W, 3)."""
    if len(clip) == 1:
        return frames_of(clip[0])
    parts = [frames_of(dataset) for dataset in clip]
    odd = next((k for k, part in enumerate(parts) if part.shape[1:] != parts[0].shape[1:]), None)
    if odd is not None:
        raise InputError(f"{instance_name(clip[odd])} is {parts[odd].shape[1:]}, the first frame {parts[0].shape[1:]}")
    return np.concatenate(parts)


def _in_time(clip: list[Dataset]) -> tuple[list[Dataset], tuple[float, ...], list[str]]:
    """Put single frames in order of time; times in s from the first."""
    if len(clip) == 1:
        return clip, (0.0,), []
    moments = [instance_moment(dataset) for dataset in clip]
    if all(moments) and len(set(moments)) == len(moments):
        order = np.argsort(np.array(moments, "datetime64[us]"))
        times = seconds_from_first([moments[k] for k in order], strict=True)
        if times is not None:
            return [clip[k] for k in order], times, []
    step = frame_step_s(clip[0])
    problems = ["The frames do not tell their times apart: they are in order of InstanceNumber."]
    if step is None:
        step = 1.0 / ASSUMED_FRAMES_PER_S
        problems.append(f"The files do not say how fast the frames follow: {ASSUMED_FRAMES_PER_S:g} per s assumed.")
    return clip, even_times(len(clip), step), problems


def _spacing_mm(dataset: Dataset, factor: int) -> tuple[tuple[float, float], list[str]]:
    """(x, y) in mm, and what is doubtful about it; ``factor`` region pixels make one of the image's."""
    for region in two_d_regions(dataset):
        x, y = (abs(float(region.get(f"PhysicalDelta{axis}") or 0)) * 10.0 * factor for axis in "XY")
        units = {region.get(f"PhysicalUnits{axis}Direction") for axis in "XY"}
        if units == {_CM} and min(x, y) > 0:
            said = f"The ultrasound regions are in pixels of a screen {factor} times as large as the frames: scaled."
            return (x, y), [said] if factor > 1 else []
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = dataset.get(keyword)
        if not values or len(values) != 2 or not min(float(v) for v in values) > 0:
            continue
        y, x = (float(v) for v in values)
        if keyword == "PixelSpacing":
            return (x, y), []
        magnified = float(dataset.get("EstimatedRadiographicMagnificationFactor") or 0)
        if keyword == "ImagerPixelSpacing" and magnified >= 1:
            return (x / magnified, y / magnified), []
        return (x, y), [f"Pixel spacing is {keyword}, at the detector or scanner: sizes in the patient may differ."]
    down, across = [float(v) for v in dataset.get("PixelAspectRatio") or (1, 1)]
    ratio = down / across if down > 0 and across > 0 else 1.0
    return (1.0, ratio), ["The file gives no pixel size: 1 mm assumed, so sizes are in pixels, not mm."]


def _affine_lps(dataset: Dataset, spacing_mm: tuple[float, float]) -> FloatArray:
    """Of the image plane where the file has one (PS3.3 C.7.6.2.1.1), else of the pixels; 1 mm from frame to frame."""
    affine = np.diag([*spacing_mm, 1.0, 1.0])
    cosines, origin = dataset.get("ImageOrientationPatient"), dataset.get("ImagePositionPatient")
    if cosines and origin and len(cosines) == 6 and len(origin) == 3:
        row, column = np.array(cosines, float).reshape(2, 3)
        if abs(np.linalg.norm(np.cross(row, column)) - 1) < 0.01:
            affine[:3] = np.stack(
                [row * spacing_mm[0], column * spacing_mm[1], np.cross(row, column), np.array(origin, float)], axis=1
            )
    return affine


def _shows_colour(pixels: npt.NDArray[np.uint8], content: Bounds | None) -> bool:
    """Whether the picture is coloured (Doppler, endoscopy, a tint), not only still marks on a grey one."""
    y0, y1, x0, x1 = content or (0, pixels.shape[1], 0, pixels.shape[2])
    part = pixels[:: max(1, len(pixels) // _SAMPLED_FRAMES), y0:y1, x0:x1]
    red, green, blue = np.moveaxis(part, -1, 0)
    highest = np.maximum(np.maximum(red, green), blue)  # much faster than max() over a short axis
    coloured = highest - np.minimum(np.minimum(red, green), blue) > _COLOURED_BY
    always, ever = coloured.all(axis=0), coloured.any(axis=0)
    return bool((ever & ~always).mean() > 0.002 or always.mean() > 0.01)


def _luma(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(T, H, W, 3) -> (T, H, W) of the same type, frame by frame to spare memory."""
    grey = np.empty(pixels.shape[:3], pixels.dtype)
    weights = np.array(LUMA, np.float32)
    for source, target in zip(pixels, grey, strict=True):
        values = source.astype(np.float32) @ weights
        target[...] = values if grey.dtype.kind == "f" else np.rint(values)
    return grey


def _inside(content: Bounds | None, rows: int, columns: int) -> Bounds | None:
    return None if content == (0, rows, 0, columns) else content


def _whole(dataset: Dataset, keyword: str, default: int) -> int:
    try:
        return whole_number(dataset, keyword, default)
    except InputError:
        return default
