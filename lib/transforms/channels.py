# SPDX-License-Identifier: Apache-2.0
"""Channels by name: which series of a study, or which file of a folder, is which channel; all on one grid.

A series belongs to the channel whose pattern (``input.channel_patterns``) finds the longest text in its modality and
description, a file to the one that finds it in its name. The grid is that of the reference channel, or of the series
that was asked for. Series in the same frame of reference lie where they were acquired; others are registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from ..configs import InputConfig
from ..dicom.series import SeriesFiles, find_series
from ..dicom.types import DicomSeries
from ..types import FloatArray, InputError, Sequence, SequenceKind
from ..volumes.read import READERS
from .registration import register, resample_to

MAX_SIBLING_FOLDERS = 64
"""A folder with more sub-folders is a collection of patients, not the study of one."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Named(Generic[Item]):
    """What was found for the channels.

    Attributes:
        items: By channel; a channel that was not found is missing.
        problems: What was left out because its channel was taken.
    """

    items: dict[str, Item]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ChannelImage:
    """One channel as it was read; ``frame_of_reference`` is "" where the source does not say."""

    sequence: Sequence
    frame_of_reference: str = ""


def channel_of(text: str, config: InputConfig) -> str | None:
    """The channel whose pattern finds the longest part of a text, ignoring case; None where none finds any."""
    best, longest = None, 0
    for channel in config.channels:
        pattern = config.channel_patterns.get(channel, rf"(?<![a-z0-9]){re.escape(channel)}(?![a-z0-9])")
        found = max((len(match.group()) for match in re.finditer(pattern, text, re.IGNORECASE)), default=0)
        if found > longest:
            best, longest = channel, found
    return best


def by_channel(items: Iterable[tuple[str, Item]], config: InputConfig) -> Named[Item]:
    """Sort items to channels by what is written on them; the first of several for one channel is taken."""
    found: dict[str, Item] = {}
    taken: dict[str, str] = {}
    problems = []
    for text, item in items:
        channel = channel_of(text, config)
        if channel is None:
            continue
        if channel in found:
            problems.append(f"Left out '{text}': channel '{channel}' is '{taken[channel]}'.")
            continue
        found[channel], taken[channel] = item, text
    return Named(found, tuple(problems))


def lacking(series: Iterable[SeriesFiles], config: InputConfig) -> tuple[str, ...]:
    """The required channels that no series of a study is."""
    found = by_channel(((_written_on(one), one) for one in series), config).items
    return tuple(channel for channel in config.required if channel not in found)


def check_required(sequence: Sequence, config: InputConfig) -> None:
    """Keep a model from an image that it was not made for.

    Raises:
        InputError: If a required channel is missing.
    """
    there = {channel for channel, present in zip(config.channels, sequence.channel_present, strict=True) if present}
    if missing := [channel for channel in config.required if channel not in there]:
        raise InputError(without_channels(missing))


def without_channels(missing: Iterable[str]) -> str:
    """What is said of a model whose channels are not all there."""
    return f"the model is not made for studies without {' and '.join(missing)}"


def files_by_channel(folder: Path, config: InputConfig) -> Named[Path]:
    """The image files of a folder (NIfTI, NRRD, MetaImage) that name a channel."""
    suffixes = tuple(READERS)
    paths = sorted(p for p in folder.iterdir() if p.name.lower().endswith(suffixes) and not p.name.startswith("."))
    return by_channel(((path.name, path) for path in paths), config)


def series_by_channel(folder: Path, config: InputConfig) -> tuple[Named[SeriesFiles], SeriesFiles]:
    """The series of a study that name a channel, and the one whose grid counts.

    A folder with one series stands for it: the others of its study are looked for beside it, in the folder where its
    files really are and in the neighbouring folders. Of a folder with several series the reference channel's counts.

    Raises:
        InputError: If the folder holds no series, or several of which none is a channel.
    """
    own = find_series(folder).series or find_series(_home(folder)).series
    if not own:
        raise InputError(f"{folder}: there is no DICOM image, and no image file that names a channel")
    asked = own[0] if len(own) == 1 else None
    study = own[0].facts.study_instance_uid
    beside = _beside(folder, study) if asked else []
    first = {one.uid: one for one in (*own, *sorted(beside, key=_number)) if one.facts.study_instance_uid == study}
    named = by_channel(((_written_on(one), one) for one in first.values()), config)
    order = (config.channels[config.reference_index], *config.channels)
    chosen = asked or next((named.items[channel] for channel in order if channel in named.items), None)
    if chosen is None:
        listed = ", ".join(f"'{_written_on(one)}'" for one in own)
        raise InputError(f"{folder}: none of the series {listed} is one of the channels {list(config.channels)}")
    return named, chosen


def _home(folder: Path) -> Path:
    """Where the files of a folder of links are."""
    first = next((path for path in sorted(folder.iterdir()) if path.is_file()), None)
    return folder if first is None else first.resolve().parent


def _beside(folder: Path, study: str) -> list[SeriesFiles]:
    """Series of the study in the real folder of a series and in its neighbours."""
    home = _home(folder)
    found = [one for one in find_series(home).series if one.facts.study_instance_uid == study]
    neighbours = [path for path in sorted(home.parent.iterdir()) if path.is_dir() and path != home]
    if len(neighbours) > MAX_SIBLING_FOLDERS:
        return found
    for neighbour in neighbours:
        if not neighbour.name.startswith(".") and neighbour.name != "labels":
            found += [one for one in find_series(neighbour).series if one.facts.study_instance_uid == study]
    return found


def _number(series: SeriesFiles) -> tuple[int, str]:
    text = series.facts.series_number
    return (int(text) if text.isdecimal() else 0, series.uid)


def _written_on(series: SeriesFiles) -> str:
    return f"{series.facts.modality} {series.facts.series_description}".strip()


def together(
    reference: ChannelImage, others: dict[str, ChannelImage], own: str | None, config: InputConfig
) -> tuple[Sequence, tuple[str, ...]]:
    """Several images of one channel each -> one sequence with all channels of the model.

    Args:
        reference: Gives the grid.
        others: By channel; may hold the reference too.
        own: Channel of the reference; None where it is none of the model's.
        config: The channels.

    Returns:
        The sequence on the grid of the reference, zeros where a channel is missing, and what was done.

    Raises:
        InputError: If there is no channel at all, or one cannot be brought to the grid.
    """
    grid = reference.sequence
    shape = (len(grid.frames), len(config.channels), *grid.frames.shape[2:])
    frames = np.zeros(shape, np.float32)
    present, problems = [False] * len(config.channels), []
    for c, channel in enumerate(config.channels):
        if channel == own:
            frames[:, c], present[c] = grid.frames[:, 0], True
        elif channel in others:
            frames[:, c], told = _on_grid(reference, others[channel], channel)
            present[c] = True
            problems += told
        else:
            problems.append(f"Channel '{channel}' is missing.")
    if not any(present):
        raise InputError(f"the image is none of the channels {list(config.channels)}, and none was found beside it")
    return replace(grid, frames=frames, channels=config.channels, channel_present=tuple(present)), tuple(problems)


def _on_grid(reference: ChannelImage, image: ChannelImage, channel: str) -> tuple[FloatArray, list[str]]:
    """(T, H, W) on the grid of the reference, and what was done to get there."""
    fixed, moving = reference.sequence, image.sequence
    if fixed.kind is not SequenceKind.STACK or moving.kind is not SequenceKind.STACK:
        raise InputError(f"channel '{channel}': only stacks can share a grid, not a {moving.kind.value}")
    if moving.frames.shape[1] != 1:
        raise InputError(f"channel '{channel}': its image has {moving.frames.shape[1]} channels itself")
    same_place = reference.frame_of_reference == image.frame_of_reference  # files say nothing: they share a grid
    if same_place and fixed.frames.shape == moving.frames.shape and _same_grid(fixed, moving):
        return moving.frames[:, 0].astype(np.float32), []
    if same_place:
        return resample_to(fixed, moving, np.eye(4))[:, 0], [f"Channel '{channel}' was resampled."]
    found = register(fixed, moving)
    told = f"Channel '{channel}' has another frame of reference: registered ({found.method}), check where it lies."
    return resample_to(fixed, moving, found.to_fixed)[:, 0], [told]


def _same_grid(one: Sequence, other: Sequence) -> bool:
    even = one.origins_lps_mm is None and other.origins_lps_mm is None
    return even and bool(np.allclose(one.affine_lps, other.affine_lps, atol=1e-3))


def read_dicom_channels(
    folder: Path, config: InputConfig, read: Callable[[SeriesFiles], DicomSeries]
) -> tuple[Sequence, DicomSeries, tuple[str, ...]]:
    """All channels of a DICOM study on the grid of one of its series.

    Args:
        folder: Of one series, or of a study.
        config: The channels and their patterns.
        read: Reads the files of a series.

    Returns:
        The sequence with all channels, the series whose grid it has, and the problems.

    Raises:
        InputError: If there is no channel, or a series cannot be read or brought to the grid.
    """
    named, chosen = series_by_channel(folder, config)
    base = read(chosen)
    own = next((channel for channel, one in named.items.items() if one.uid == chosen.uid), None)
    others, problems = {}, [*base.problems, *named.problems]
    for channel, one in named.items.items():
        if channel != own:
            series = read(one)
            others[channel] = ChannelImage(_stack(series.image, channel), series.facts.frame_of_reference_uid)
            problems += [f"Channel '{channel}': {problem}" for problem in series.problems]
    reference = ChannelImage(_stack(base.image, own or "image"), base.facts.frame_of_reference_uid)
    sequence, told = together(reference, others, own, config)
    return sequence, base, (*problems, *told)


def _stack(image: object, channel: str) -> Sequence:
    if not isinstance(image, Sequence):
        raise InputError(f"channel '{channel}' holds several volumes; a channel is one stack")
    return image


def without_absent(sequence: Sequence, config: InputConfig) -> tuple[Sequence, tuple[str, ...]]:
    """Find channels that hold nothing of their own: one value throughout, or a copy of another channel.

    Data sets fill a sequence that was not acquired with zeros, or with another one. Shown to a network as if it were
    there, it is wrong in every voxel. Of copies the reference channel stays, else the first.

    Returns:
        The sequence, with zeros and ``channel_present`` False for these channels, and what was found.
    """
    present, problems = list(sequence.channel_present), []
    first = config.reference_index
    for c in sorted(range(len(present)), key=lambda c: (c != first, c)):
        if not present[c]:
            continue
        values, name = sequence.frames[:, c], config.channels[c]
        earlier = [first, *range(c)] if c != first else []
        twin = next((e for e in earlier if present[e] and np.array_equal(sequence.frames[:, e], values)), None)
        if values.size and (values == values.flat[0]).all() and sum(present) > 1:
            present[c] = False
            problems.append(f"Channel '{name}' has one value throughout: taken as missing.")
        elif twin is not None:
            present[c] = False
            problems.append(f"Channel '{name}' is a copy of '{config.channels[twin]}': taken as missing.")
    if not problems:
        return sequence, ()
    frames = sequence.frames * np.array(present, sequence.frames.dtype)[None, :, None, None]
    return replace(sequence, frames=frames, channel_present=tuple(present)), tuple(problems)
