# SPDX-License-Identifier: Apache-2.0
"""The demo's patients: phantoms made once, or images of the user's own folder, each with its truth if there is one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .roots import lib_module

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""What the folder store lists as volumes."""
FORMAT = 3
"""Raised when the phantoms change, so that a demo folder of an earlier release is made anew."""
EXPECTED = (
    f"Expected image files ({', '.join(IMAGE_SUFFIXES)}) in the folder itself with masks in labels/final, or DICOM "
    "files in folders of any depth; `lesionloop doctor FOLDER` tells what a folder holds"
)
VISIT_DAYS, GROWTH = (0, 120, 300), (1.0, 1.5, 2.4)
SEEDS = {"phantom-a": 1, "phantom-b": 3, "phantom-healthy": 5}


@dataclass(frozen=True)
class Patient:
    """One image of the demo.

    Attributes:
        image_id: In the store; of DICOM the Series Instance UID.
        image: Its file, or a folder with its series.
        truth: The file with its true lesions, or None.
        name: What people call it.
    """

    image_id: str
    image: Path
    truth: Path | None
    name: str


def phantom_patients(folder: Path, tell: Callable[[int, int], None]) -> list[Patient]:
    """Make the phantoms' DICOM series in ``folder/studies`` and their masks in ``folder/truth``, or find them there.

    The masks stay outside of the store, so that the studies count as unlabelled and "next sample" offers them.

    Args:
        folder: The demo's folder.
        tell: Told (phantoms done, phantoms to make).
    """
    studies, truth, manifest = folder / "studies", folder / "truth", folder / "phantoms.json"
    names = [*(f"phantom-a__visit{i + 1}" for i in range(len(VISIT_DAYS))), "phantom-b", "phantom-healthy"]
    wanted = {"format": FORMAT, "seeds": SEEDS, "days": list(VISIT_DAYS), "growth": list(GROWTH)}
    complete = all(any((studies / name).glob("*.dcm")) and (truth / f"{name}.nii.gz").is_file() for name in names)
    if not complete or _read(manifest) != wanted:
        manifest.unlink(missing_ok=True)
        _set_aside(studies)
        phantom = lib_module("phantom")
        for i, (name, stack) in enumerate(zip(names, _stacks(), strict=True)):
            tell(i, len(names))
            phantom.write_dicom(stack, studies / name, patient_id=name.partition("__")[0])
            phantom.write_mask(stack, truth / f"{name}.nii.gz")
        manifest.write_text(json.dumps(wanted, indent=2))
    return [Patient(_series_uid(studies / name), studies / name, truth / f"{name}.nii.gz", name) for name in names]


def _series_uid(folder: Path) -> str:
    (series,) = lib_module("dicom.series").find_series(folder).series
    return str(series.uid)


def _stacks() -> Any:
    """The phantoms in order of name; made one by one."""
    phantom = lib_module("phantom")
    yield from phantom.head_visits(SEEDS["phantom-a"], VISIT_DAYS, GROWTH, n_lesions=2, new_lesion=True)
    yield phantom.head_stack(SEEDS["phantom-b"])
    yield phantom.head_stack(SEEDS["phantom-healthy"], n_lesions=0)


def _read(manifest: Path) -> Any:
    try:
        return json.loads(manifest.read_text())
    except (OSError, ValueError):
        return None


def _set_aside(studies: Path) -> None:
    """Keep phantoms of an earlier release, on which corrections may have been drawn, under another name."""
    if studies.is_dir() and any(studies.iterdir()):
        number = 1
        while (kept := studies.with_name(f"{studies.name}-{number}")).exists():
            number += 1
        studies.rename(kept)


def own_patients(folder: Path, limit: int, links: Path) -> list[Patient]:
    """Choose images of the user's folder: labelled ones first, each in order of name.

    Args:
        folder: Image files in the folder itself and masks of the same name in ``labels/final``, or DICOM anywhere.
        limit: At most this many.
        links: Where to gather the files of DICOM series that share a folder.

    Raises:
        InputError: If the folder is missing, not writable or holds no image.
    """
    check_folder(folder)
    labels = folder / "labels" / "final"
    patients = [
        Patient(image_id, image, _mask(labels, image_id), image_id)
        for image in sorted(folder.iterdir())
        if (image_id := _image_id(image))
    ]
    patients = patients or _dicom_patients(folder, links)
    if not patients:
        raise _input_error(f"{folder}: no image found. {EXPECTED}")
    return sorted(patients, key=lambda p: p.truth is None)[:limit]


def _mask(labels: Path, image_id: str) -> Path | None:
    return next((path for suffix in IMAGE_SUFFIXES if (path := labels / f"{image_id}{suffix}").is_file()), None)


def _dicom_patients(folder: Path, links: Path) -> list[Patient]:
    """The image series below a folder, by patient, date and description."""
    gather = lib_module("datastore.dicom_grid").linked_folder
    patients = []
    for series in lib_module("dicom.series").find_series(folder).series:
        facts = series.facts
        said = (facts.patient_id, facts.study_date, facts.modality, facts.series_description or facts.series_number)
        name = " ".join(" ".join(part for part in said if part).split())
        patients.append(Patient(series.uid, gather(series.files, links / series.uid), None, name or series.uid))
    return sorted(patients, key=lambda patient: patient.name)


def check_folder(folder: Path) -> None:
    """Check that a folder can be a MONAI Label store.

    Raises:
        InputError: If it is missing, not a folder, or not writable.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise _input_error(f"{folder}: {what}. {EXPECTED}")
    places = [folder, *(p for p in (folder / "labels", folder / "labels" / "final") if p.exists())]
    if closed := next((p for p in places if not os.access(p, os.R_OK | os.W_OK | os.X_OK)), None):
        raise _input_error(
            f"{closed}: cannot be written to, but the labels and the list of the studies are kept in the studies "
            "folder; give this user write permission, or use a copy"
        )


def is_volume(path: Path) -> bool:
    """Whether a path is an image file that the folder store lists."""
    return bool(_image_id(path))


def _image_id(path: Path) -> str:
    """The id that the store gives an image; empty for another file."""
    suffix = next((s for s in IMAGE_SUFFIXES if path.name.endswith(s)), "")
    return path.name.removesuffix(suffix) if suffix and path.is_file() and not path.name.startswith(".") else ""


def _input_error(message: str) -> Exception:
    error: Exception = lib_module("types").InputError(message)
    return error
