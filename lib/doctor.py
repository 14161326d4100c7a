# SPDX-License-Identifier: Apache-2.0
"""What is in a folder of studies: every sequence, what is wrong with it, and what each model could do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from .configs import InputConfig, ModelConfig
from .dicom.series import SeriesFiles, find_series
from .dicom.types import SeriesFacts
from .dicom.visits import visit_chains
from .dicom.worker import read_series_isolated
from .transforms.channels import lacking, without_channels
from .transforms.geometry import affine_spacing_mm
from .transforms.load import READ_TIMEOUT_S, fitting, from_file, misfit
from .types import InputError, Sequence, SequenceKind, VolumeSeries
from .volumes.read import ALL_READERS, read_image_file

IMAGE_SUFFIXES = tuple(ALL_READERS)
Progress = Callable[[int, int, str], None]
"""Told (done, all, what)."""


@dataclass(frozen=True)
class Examined:
    """A sequence that was read.

    Attributes:
        name: File or folder, relative to the studies.
        modality: DICOM's, or the file format.
        kind: Stack, cine or dynamic.
        frames: Number of frames, for several volumes "volumes x slices".
        size_px: Columns and rows.
        spacing_mm: Along columns, rows and frames; None along frames in time.
        duration_s: From the first to the last frame in time, else None.
        problems: What the reader noticed.
        models: By model: "" where it can run, else why not.
        facts: Of a DICOM series.
    """

    name: str
    modality: str
    kind: SequenceKind
    frames: str
    size_px: tuple[int, int]
    spacing_mm: tuple[float, float, float | None]
    duration_s: float | None
    problems: tuple[str, ...]
    models: dict[str, str]
    facts: SeriesFacts | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What a folder holds.

    Attributes:
        sequences: Images that can be read.
        others: DICOM objects that are no images (segmentations, reports ...): name -> what it is.
        failures: Path -> why it cannot be read.
        visits: Series of a patient that can be followed over time, a list per chain.
        ignored: Files of no image format.
    """

    sequences: tuple[Examined, ...]
    others: dict[str, str]
    failures: dict[str, str]
    visits: tuple[tuple[SeriesFacts, ...], ...]
    ignored: int


def examine(folder: Path, models: dict[str, ModelConfig], progress: Progress | None = None) -> Diagnosis:
    """Read every image below a folder; what cannot be read is reported, never raised.

    Args:
        folder: Images, in folders of any depth; masks in a MONAI Label ``labels`` folder are left out.
        models: By name.
        progress: Told what is being read.

    Raises:
        InputError: If there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; doctor looks into folders, for a PACS use a viewer's study list")
    found = find_series(folder)
    volumes = _volume_files(folder)
    others = {_name(one, folder): f"{one.facts.modality}, {len(one.files)} object(s)" for one in found.non_images}
    failures = {_relative(path, folder): reason for path, reason in found.unreadable.items() if path not in volumes}
    jobs: list[tuple[str, Callable[[str], Examined]]] = [
        *((_name(one, folder), partial(_examine_series, one, found.series, models)) for one in found.series),
        *((_relative(path, folder), partial(_examine_file, path, models)) for path in volumes),
    ]
    sequences: list[Examined] = []
    for i, (name, examined) in enumerate(jobs):
        if progress is not None:
            progress(i, len(jobs), name)
        try:
            sequences.append(examined(name))
        except InputError as error:
            failures[name] = str(error)
    chains = visit_chains([s.facts for s in sequences if s.facts is not None])
    followed = tuple(tuple(chain) for chain in chains if len(chain) > 1)
    ignored = [path for path in found.ignored if path not in volumes and not _hidden(path, folder)]
    return Diagnosis(tuple(sequences), others, failures, followed, len(ignored))


def _examine_series(
    series: SeriesFiles, others: Iterable[SeriesFiles], models: dict[str, ModelConfig], name: str
) -> Examined:
    read = read_series_isolated(series.files, READ_TIMEOUT_S)
    modality, study = read.facts.modality, series.facts.study_instance_uid
    together = [one for one in others if one.facts.study_instance_uid == study]
    fits = {
        model: _misfit(read.image, modality, _of_one_series(config.input)) or _lacking(together, config)
        for model, config in models.items()
    }
    return _examined(read.image, name, modality, read.problems, fits, read.facts)


def _examine_file(path: Path, models: dict[str, ModelConfig], name: str) -> Examined:
    file = read_image_file(path)
    image = from_file(file, SequenceKind.STACK)
    fits = {model: _misfit(from_file(file, config.input.kind), "", config.input) for model, config in models.items()}
    suffix = next(s for s in IMAGE_SUFFIXES if path.name.lower().endswith(s))
    return _examined(image, name, suffix.lstrip("."), file.problems, fits, None)


def _of_one_series(config: InputConfig) -> InputConfig:
    """What a model wants of each series of a study."""
    return replace(config, channels=config.channels[:1], channel_patterns={}, reference="", required=())


def _misfit(image: Sequence | VolumeSeries, modality: str, config: InputConfig) -> str:
    """Why a model cannot, or should not, run on an image; "" when it can."""
    first = image.volumes[0] if isinstance(image, VolumeSeries) else image
    try:
        fitting(first, config, Path())
    except InputError as error:
        return str(error).partition(": ")[2]
    return "; ".join(misfit(modality, config))


def _lacking(study: Iterable[SeriesFiles], config: ModelConfig) -> str:
    missing = lacking(study, config.input)
    return without_channels(missing) if missing else ""


def _examined(
    image: Sequence | VolumeSeries,
    name: str,
    modality: str,
    problems: tuple[str, ...],
    fits: dict[str, str],
    facts: SeriesFacts | None,
) -> Examined:
    first = image.volumes[0] if isinstance(image, VolumeSeries) else image
    slices, _, height, width = first.frames.shape
    volumes = isinstance(image, VolumeSeries)
    in_time = volumes or image.kind is SequenceKind.CINE
    step_mm = affine_spacing_mm(first.affine_lps)[2] if first.kind is SequenceKind.STACK else None
    return Examined(
        name=name,
        modality=modality,
        kind=image.kind,
        frames=f"{len(image.positions)} x {slices}" if volumes else str(slices),
        size_px=(width, height),
        spacing_mm=(*first.spacing_mm, step_mm),
        duration_s=image.positions[-1] - image.positions[0] if in_time else None,
        problems=problems,
        models=fits,
        facts=facts,
    )


def _volume_files(folder: Path) -> list[Path]:
    """NIfTI and other volume files, and pictures; labels and hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(IMAGE_SUFFIXES) and path.is_file() and not _hidden(path, folder)
    )


def _hidden(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return parts[0] == "labels" or any(part.startswith(".") for part in parts)


def _name(series: SeriesFiles, folder: Path) -> str:
    """The folder of a series, or its only file; with its description where a folder holds several."""
    place = series.files[0] if len(series.files) == 1 else series.files[0].parent
    description = series.facts.series_description
    return f"{_relative(place, folder)} ({description})" if description else _relative(place, folder)


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else path.name
