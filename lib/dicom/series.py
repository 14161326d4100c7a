# SPDX-License-Identifier: Apache-2.0
"""DICOM files -> series: what a folder holds, and one series as the image it is.

The pixels of each file are read once; the order never comes from file names.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..types import InputError, SequenceKind, VolumeSeries, volumes_of
from .cine import read_cine
from .dynamic import time_points
from .enhanced import is_enhanced, planes_of
from .facts import facts_of
from .headers import NotDicomError, frame_count, is_image, object_name, raw_of, read_file, shortened, text_of
from .nuclear import is_tomographic, slices_of
from .parts import one_part
from .pixels import frames_of, instance_name
from .pixels.voi import brightness_of
from .planes import Plane, one_grid, plane_of, with_assumed_positions, with_spacing
from .stack import Pixels, at_positions, build_stack
from .types import DicomSeries, SeriesFacts

_SLICED = ("CT", "MR", "PT")
_RADIOGRAPHS = ("CR", "DX", "MG", "IO", "PX", "RG")
_LISTED = (
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "Modality",
    "StudyDate",
    "StudyTime",
    "SeriesDescription",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "Manufacturer",
    "Rows",
    "NumberOfFrames",
    "SpecificCharacterSet",
)


@dataclass(frozen=True)
class SeriesFiles:
    """The files of one series in a folder.

    Attributes:
        uid: Series Instance UID.
        facts: Who, when and what, from its first file.
        files: In order of path.
        n_frames: Images in them; 0 for objects that are not images.
    """

    uid: str
    facts: SeriesFacts
    files: tuple[Path, ...]
    n_frames: int


@dataclass(frozen=True)
class FoundSeries:
    """What a folder holds.

    Attributes:
        series: Image series.
        non_images: Series of other objects: SR, SEG, presentation states, dose, curves ...
        unreadable: DICOM files that cannot be used, and why.
        ignored: Files that are not DICOM, and DICOMDIR.
    """

    series: tuple[SeriesFiles, ...] = ()
    non_images: tuple[SeriesFiles, ...] = ()
    unreadable: dict[Path, str] = field(default_factory=dict)
    ignored: tuple[Path, ...] = ()


def find_series(folder: Path) -> FoundSeries:
    """Walk a folder tree and sort its DICOM files into series; links and hidden files are not followed.

    Raises:
        InputError: If there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    groups: dict[tuple[bool, str], list[tuple[Path, Dataset, int]]] = {}
    unreadable: dict[Path, str] = {}
    ignored: list[Path] = []
    for path in _files_under(folder):
        try:
            dataset = read_file(path, _LISTED)
            image, uid, frames = _listed(dataset)
        except NotDicomError:
            ignored.append(path)
        except InputError as error:
            unreadable[path] = str(error).removeprefix(f"{path}: ")
        else:
            groups.setdefault((image, uid), []).append((path, dataset, frames))
    found: dict[bool, list[SeriesFiles]] = {True: [], False: []}
    for (image, uid), members in groups.items():
        files = tuple(path for path, _, _ in members)
        n_frames = sum(frames for _, _, frames in members) if image else 0
        found[image].append(SeriesFiles(uid, facts_of(members[0][1]), files, n_frames))
    return FoundSeries(tuple(found[True]), tuple(found[False]), unreadable, tuple(ignored))


def _files_under(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path


def _listed(dataset: Dataset) -> tuple[bool, str, int]:
    """(is an image, Series Instance UID, frames)."""
    uid = text_of(dataset, "SeriesInstanceUID")
    if not uid:
        raise InputError("no Series Instance UID: it belongs to no series")
    image = is_image(dataset)
    if not image and "Image Storage" in object_name(dataset):
        raise InputError(f"{object_name(dataset)} without Rows: an image that has no pixels")
    return image, uid, frame_count(dataset) if image else 0


def read_series(files: Iterable[Path], *, part: str | None = None) -> DicomSeries:
    """Read the files of one series as a stack, a clip, or volumes over time.

    Files that are not DICOM, and objects that are no images, are left out and reported.

    Args:
        files: In any order.
        part: Which images to take where a series holds several of the same slices that differ in how they were made
            (echo times, b-values, magnitude and phase); the error that is raised without it names them.

    Raises:
        InputError: If the files hold no image, several series, or images that make no sequence; the message says
            what they hold.
    """
    files = list(files)
    try:
        with _no_garbage_collection():
            return _read(files, part)
    except InputError:
        raise
    except Exception as error:  # damaged elements raise anything when they are first looked at
        first = f"{files[0]} and {len(files) - 1} more" if len(files) > 1 else str(files[0])
        raise InputError(f"{first}: damaged DICOM ({type(error).__name__}: {error}): export it again") from error


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause the collector of reference cycles: the headers are many small objects without cycles.

    Each full collection goes through all objects of the process; with torch and MONAI loaded that took as long as
    reading 200 slices.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(files: list[Path], part: str | None) -> DicomSeries:
    images, problems = _images(files)
    series_uid = text_of(images[0][1], "SeriesInstanceUID")
    images, copies = _without_second_files(images)
    problems += copies
    datasets = [dataset for _, dataset in images]
    paths = {text_of(dataset, "SOPInstanceUID"): path for path, dataset in images}
    facts = facts_of(datasets[0])
    if not _has_planes(datasets, facts.modality):
        clip = read_cine(datasets, paths)
        return DicomSeries(clip.image, clip.facts, clip.files, (*problems, *clip.problems))
    planes = [plane for dataset in datasets for plane in _planes(dataset)]
    image, found = _read_planes(planes, series_uid, part)
    used = volumes_of(image)
    uids = dict.fromkeys(uid for volume in used for uid in volume.sop_instance_uids)
    brightness, shown = brightness_of(datasets[0]) if _is_radiograph(datasets, facts.modality) else (None, [])
    used_files = {uid: paths[uid] for uid in uids}
    return DicomSeries(image, facts, used_files, (*problems, *found, *shown), brightness)


def _is_radiograph(datasets: list[Dataset], modality: str) -> bool:
    return modality in _RADIOGRAPHS and len(datasets) == 1 and frame_count(datasets[0]) == 1


def _images(files: list[Path]) -> tuple[list[tuple[Path, Dataset]], list[str]]:
    """Read the images among the files; what is not one is reported."""
    images: list[tuple[Path, Dataset]] = []
    problems: list[str] = []
    for path in files:
        try:
            dataset = read_file(path)
        except NotDicomError as error:
            problems.append(f"Left out {error}.")
            continue
        if is_image(dataset):
            images.append((path, dataset))
        else:
            problems.append(f"Left out {path}: {object_name(dataset)}, not an image.")
    if not images:
        raise InputError("there is no DICOM image: " + (" ".join(problems[:6]) or "no files were given"))
    uids = {text_of(dataset, "SeriesInstanceUID"): path for path, dataset in images}
    if len(uids) > 1:
        listed = "; ".join(
            f"{uid or 'no Series Instance UID'} (e.g. {path.name})" for uid, path in list(uids.items())[:6]
        )
        raise InputError(f"the files hold {len(uids)} series, give those of one: {listed}")
    studies = {text_of(dataset, "StudyInstanceUID"): path for path, dataset in images}
    if len(studies) > 1:
        listed = "; ".join(f"{uid or 'no Study Instance UID'} (e.g. {path.name})" for uid, path in studies.items())
        raise InputError(f"the files are of one series, but of {len(studies)} studies, give those of one: {listed}")
    return images, problems


def _without_second_files(images: list[tuple[Path, Dataset]]) -> tuple[list[tuple[Path, Dataset]], list[str]]:
    """Keep the first file of each SOP instance."""
    first: dict[str, tuple[Path, Dataset]] = {}
    told: list[str] = []
    for path, dataset in images:
        uid = text_of(dataset, "SOPInstanceUID")
        if not uid:
            raise InputError(f"{path}: no SOP Instance UID")
        if uid not in first:
            first[uid] = (path, dataset)
            continue
        told.append(f"{path.name} of {first[uid][0].name}{_difference(first[uid][1], dataset)}")
    return list(first.values()), [f"Left out second files of the same instance: {shortened(told)}."] if told else []


def _difference(one: Dataset, other: Dataset) -> str:
    try:
        same = one.get("PixelData") == other.get("PixelData") or np.array_equal(frames_of(one), frames_of(other))
    except InputError:
        return " (of which one is damaged)"
    return "" if same else " (with other pixels)"


def _has_planes(datasets: list[Dataset], modality: str) -> bool:
    """Whether the images are slices, or one radiograph, rather than frames in time.

    Raises:
        InputError: If they are several radiographs.
    """
    if any(is_enhanced(dataset) or is_tomographic(dataset) for dataset in datasets):
        return True
    clips = [dataset for dataset in datasets if frame_count(dataset) > 1]
    slices = (dataset for dataset in datasets if frame_count(dataset) == 1)
    if clips and any(raw_of(dataset, "ImagePositionPatient") for dataset in slices):
        raise InputError(f"{instance_name(clips[0])} is a clip in a series of slices: give it alone")
    if clips:
        return False
    if modality in _SLICED or any(raw_of(dataset, "ImagePositionPatient") for dataset in datasets):
        return True
    if modality in _RADIOGRAPHS and len(datasets) > 1:
        raise InputError(
            f"series {text_of(datasets[0], 'SeriesInstanceUID')} holds {len(datasets)} {modality} radiographs, "
            "which make no sequence: give one file alone"
        )
    return modality in _RADIOGRAPHS


def _planes(dataset: Dataset) -> list[Plane]:
    if is_enhanced(dataset):
        return planes_of(dataset)
    if is_tomographic(dataset):
        return slices_of(dataset)
    if frame_count(dataset) > 1:
        raise InputError(f"{instance_name(dataset)}: a clip in a series of slices: give it alone")
    return [plane_of(dataset)]


def _read_planes(planes: list[Plane], series_uid: str, part: str | None) -> tuple[Any, list[str]]:
    """A stack, or a dynamic series of stacks, and the problems."""
    planes, problems = one_grid(planes, series_uid)
    for complete in (with_spacing, with_assumed_positions):
        planes, found = complete(planes)
        problems += found
    pixels = Pixels()
    columns = one_part(at_positions(planes), part, series_uid)
    times = time_points(columns, pixels, series_uid)
    problems += times.problems
    stacks = []
    for volume in times.volumes:
        stack, found = build_stack(volume, pixels)
        stacks.append(stack)
        problems += [problem for problem in found if len(stacks) == 1 and problem not in problems]
    if len(stacks) == 1:
        return stacks[0], problems
    return VolumeSeries(SequenceKind.DYNAMIC, tuple(stacks), times.seconds), problems
