# SPDX-License-Identifier: Apache-2.0
"""Read images and labels, whatever holds them, as the sequences of frames that models see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..configs import InputConfig
from ..dicom.cine import to_grey
from ..dicom.types import DicomSeries
from ..dicom.worker import read_series_isolated
from ..types import FloatArray, InputError, MaskArray, Sequence, SequenceKind, VolumeSeries, volumes_of
from ..volumes.read import ImageFile, read_image_file
from .channels import (
    ChannelImage,
    channel_of,
    files_by_channel,
    read_dicom_channels,
    together,
    without_absent,
)
from .geometry import RAS_TO_LPS, VolumeGeometry, affine_spacing_mm
from .labels import Grid, read_mask
from .orient import oriented
from .shown import ShownFrames, shown_frames

READ_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Study:
    """An image as a model sees it.

    Attributes:
        sequence: (T, C, H, W) float32.
        geometry: Leads back to the array of the file: (X, Y, Z), for DICOM (columns, rows, frames in the order of
            :func:`lib.dicom.series.read_series`).
        modality: DICOM's; "" when the file does not say.
        problems: What the reader noticed and what it did about it.
        shown: The frames as a viewer shows them.
        brightness: How bright a viewer shows each grey value, (2, K), where a radiograph says so; see
            :func:`lib.dicom.pixels.voi.brightness_of`.
    """

    sequence: Sequence
    geometry: VolumeGeometry
    modality: str
    problems: tuple[str, ...]
    shown: ShownFrames
    brightness: FloatArray | None = None


def load_study(path: Path, config: InputConfig, time_point: int | None = None, part: str | None = None) -> Study:
    """Read an image: NIfTI, NRRD, MetaImage, PNG, JPEG, a DICOM file, or a folder with one DICOM series.

    A model of several channels takes them from one file, or by name from the series of a DICOM study or the files of a
    folder; see :mod:`lib.transforms.channels`. Channels that are missing are zeros, and ``channel_present`` says so.

    Args:
        path: The file or folder.
        config: What the model reads: kind, number and names of the channels.
        time_point: Which volume of an image that has several, from 0.
        part: Which images of a DICOM series that holds several of the same slices; see
            :func:`lib.dicom.series.read_series`.

    Raises:
        InputError: If the image cannot be read, is of another kind or has other channels than the model expects, or
            has several volumes or parts and none was chosen.
    """
    image, modality, problems, brightness = _read(path, config, part)
    stored = fitting(_chosen(image, time_point, path), config, path)
    if len(config.channels) > 1:
        stored, absent = without_absent(stored, config)
        problems = (*problems, *absent)
    sequence, geometry = oriented(stored)
    sequence = replace(sequence, frames=sequence.frames.astype(np.float32, copy=False))
    return Study(sequence, geometry, modality, problems, shown_frames(stored), brightness)


def load_sequence(path: Path, config: InputConfig, time_point: int | None = None) -> tuple[Sequence, VolumeGeometry]:
    """As :func:`load_study`, for callers that need the sequence and its geometry only."""
    study = load_study(path, config, time_point)
    return study.sequence, study.geometry


def misfit(modality: str, config: InputConfig) -> tuple[str, ...]:
    """What speaks against using a model on an image of some modality; nothing when it is not known."""
    if not modality or not config.modalities or modality in config.modalities:
        return ()
    return (f"the model was made for {' or '.join(config.modalities)}, this image is {modality}",)


def _read(
    path: Path, config: InputConfig, part: str | None
) -> tuple[Sequence | VolumeSeries, str, tuple[str, ...], FloatArray | None]:
    """The image, its modality, its problems and how bright its values are shown."""
    if len(config.channels) > 1 and path.is_dir():
        return *_read_channels(path, config, part), None
    if is_dicom(path):
        series = read_dicom(path, part)
        return series.image, series.facts.modality, series.problems, series.brightness
    file = read_image_file(path)
    image = from_file(file, config.kind)
    own = channel_of(path.name, config) if len(config.channels) > 1 else None
    if own is None or not isinstance(image, Sequence) or image.frames.shape[1] != 1:
        return image, "", file.problems, None
    alone, told = together(ChannelImage(image), {}, own, config)
    return alone, "", (*file.problems, *told), None


def _read_channels(path: Path, config: InputConfig, part: str | None) -> tuple[Sequence, str, tuple[str, ...]]:
    """All channels of a folder: of image files, else of DICOM series."""
    files = files_by_channel(path, config)
    if not files.items:
        sequence, series, problems = read_dicom_channels(
            path, config, lambda one: read_series_isolated(one.files, READ_TIMEOUT_S, part=part)
        )
        return sequence, series.facts.modality, problems
    images, problems = {}, files.problems
    for channel, name in files.items.items():
        file = read_image_file(name)
        images[channel] = ChannelImage(_chosen(from_file(file, config.kind), None, name))
        problems = (*problems, *(f"Channel '{channel}': {problem}" for problem in file.problems))
    own = next(c for c in (config.channels[config.reference_index], *config.channels) if c in images)
    sequence, told = together(images[own], images, own, config)
    return sequence, "", (*problems, *told)


def is_dicom(path: Path) -> bool:
    """Whether a path is a DICOM file (PS3.10 7.1: ``DICM`` after 128 bytes), or a folder."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(path: Path, part: str | None = None) -> DicomSeries:
    """Read a DICOM file or a folder with one series, in a process of its own.

    Raises:
        InputError: If there is no image, more than one series, or it cannot be read.
    """
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: the folder is empty")
    return read_series_isolated(files, READ_TIMEOUT_S, part=part)


def load_label(path: Path, geometry: VolumeGeometry, kind: SequenceKind = SequenceKind.STACK) -> MaskArray:
    """Read a labelmap that belongs to an image.

    Args:
        path: NIfTI, NRRD or MetaImage.
        geometry: Of the image.
        kind: Of the image; a label of a cine, which lies nowhere in particular, only needs its size.

    Returns:
        Label values, (T, H, W).

    Raises:
        InputError: If it cannot be read, its voxels are not voxels of the image, or a value lies beyond 0..255.
    """
    return np.ascontiguousarray(
        geometry.to_frames(read_mask(path, Grid(path.name, geometry, placed=kind is not SequenceKind.CINE)).values)
    )


def from_file(file: ImageFile, kind: SequenceKind) -> Sequence | VolumeSeries:
    """The file does not say what its frames are: what the model reads decides."""
    volumes = tuple(_volume(file, i, kind) for i in range(file.array.shape[4]))
    if len(volumes) == 1:
        return volumes[0]
    times = file.times or tuple(float(i) for i in range(len(volumes)))
    return VolumeSeries(SequenceKind.DYNAMIC, volumes, times)


def _volume(file: ImageFile, index: int, kind: SequenceKind) -> Sequence:
    frames = file.array[..., index].transpose(2, 3, 1, 0)  # (X, Y, Z, C) -> (T, C, H, W)
    affine_lps: FloatArray = RAS_TO_LPS @ file.affine_ras
    spacing_mm = affine_spacing_mm(affine_lps)
    channels = tuple(f"channel_{c}" for c in range(frames.shape[1]))
    return Sequence(
        frames=frames,
        kind=kind if kind in (SequenceKind.STACK, SequenceKind.CINE) else SequenceKind.STACK,
        positions=tuple(t * spacing_mm[2] for t in range(len(frames))),
        spacing_mm=spacing_mm[:2],
        affine_lps=affine_lps,
        channels=channels,
        channel_present=(True,) * len(channels),
    )


def _chosen(image: Sequence | VolumeSeries, time_point: int | None, path: Path) -> Sequence:
    volumes = volumes_of(image)
    if time_point is None:
        if isinstance(image, VolumeSeries):
            times = ", ".join(f"{position:g}" for position in image.positions)
            raise InputError(
                f"{path}: {len(volumes)} volumes (at {times} {image.position_unit}); choose one with the parameter "
                f"time_point, 0 to {len(volumes) - 1}"
            )
        return volumes[0]
    if not 0 <= time_point < len(volumes):
        raise InputError(f"{path}: there is no time point {time_point}; the image has 0 to {len(volumes) - 1}")
    return volumes[time_point]


def fitting(sequence: Sequence, config: InputConfig, path: Path) -> Sequence:
    """The sequence with the model's channel names.

    Raises:
        InputError: If it is not what the model reads.
    """
    expected = config.channels
    if sequence.kind is not config.kind and config.kind in (SequenceKind.STACK, SequenceKind.CINE):
        raise InputError(f"{path}: a {sequence.kind.value}, but the model reads a {config.kind.value}")
    if len(expected) == 1 and sequence.channels == ("red", "green", "blue"):
        sequence = to_grey(sequence)
    if len(sequence.channels) != len(expected):
        frames, channels, height, width = sequence.frames.shape
        raise InputError(
            f"{path}: shape {(width, height, frames, channels)}, but the model expects a volume (X, Y, Z) with "
            f"{len(expected)} channel(s) {list(expected)}"
        )
    return replace(sequence, channels=expected)
