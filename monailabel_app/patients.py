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

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd")
"""What MONAI Label's folder store lists as volumes."""
FORMAT = 1
"""Raised when the phantoms change, so that a demo folder of an earlier release is made anew."""
VISIT_DAYS, GROWTH = (0, 120), (1.0, 1.6)
SEEDS = {"phantom-a": 12, "phantom-b": 3, "phantom-healthy": 5}


@dataclass(frozen=True)
class Patient:
    """One image of the demo: id in the store, its file, and the file with its true lesions or None."""

    image_id: str
    image: Path
    truth: Path | None


def phantom_patients(folder: Path, tell: Callable[[int, int], None]) -> list[Patient]:
    """Make the phantoms in ``folder/studies`` and their masks in ``folder/truth``, or find them there.

    The masks stay outside of the store, so that the studies count as unlabelled and "next sample" offers them.

    Args:
        folder: The demo's folder.
        tell: Told (phantoms done, phantoms to make).
    """
    studies, truth, manifest = folder / "studies", folder / "truth", folder / "phantoms.json"
    names = [*(f"phantom-a__visit{i + 1}" for i in range(len(VISIT_DAYS))), "phantom-b", "phantom-healthy"]
    patients = [Patient(n, studies / f"{n}.nii.gz", truth / f"{n}.nii.gz") for n in names]
    wanted = {"format": FORMAT, "seeds": SEEDS, "days": list(VISIT_DAYS), "growth": list(GROWTH)}
    complete = all(p.image.is_file() and p.truth and p.truth.is_file() for p in patients)
    if complete and _read(manifest) == wanted:
        return patients
    manifest.unlink(missing_ok=True)
    _set_aside(studies)
    for i, (patient, stack) in enumerate(zip(patients, _stacks(), strict=True)):
        tell(i, len(patients))
        lib_module("phantom").write_nifti(stack, patient.image, patient.truth)
    manifest.write_text(json.dumps(wanted, indent=2))
    return patients


def _stacks() -> Any:
    """The phantoms in order of name; made one by one."""
    phantom = lib_module("phantom")
    yield from phantom.head_visits(SEEDS["phantom-a"], VISIT_DAYS, GROWTH, n_lesions=2)
    yield phantom.head_stack(SEEDS["phantom-b"])
    yield phantom.head_stack(SEEDS["phantom-healthy"], n_lesions=0)


def _read(manifest: Path) -> Any:
    try:
        return json.loads(manifest.read_text())
    except (OSError, ValueError):
        return None


def _set_aside(studies: Path) -> None:
    """Keep corrections that were drawn on phantoms of an earlier release under another name."""
    if any((studies / "labels").glob("*/*")):
        number = 1
        while (kept := studies.with_name(f"{studies.name}-{number}")).exists():
            number += 1
        studies.rename(kept)


def own_patients(folder: Path, limit: int) -> list[Patient]:
    """Choose images of the user's folder: labelled ones first, each in order of name.

    Args:
        folder: Images in the folder itself, masks of the same name in ``labels/final``.
        limit: At most this many.

    Raises:
        InputError: If the folder is missing, not writable or holds no image.
    """
    check_folder(folder)
    labels = folder / "labels" / "final"
    patients = [
        Patient(image_id, image, next((p for s in IMAGE_SUFFIXES if (p := labels / f"{image_id}{s}").is_file()), None))
        for image in sorted(folder.iterdir())
        if (image_id := _image_id(image))
    ]
    if not patients:
        raise _input_error(f"{folder}: no image found. {_expected(folder)}")
    return sorted(patients, key=lambda p: p.truth is None)[:limit]


def check_folder(folder: Path) -> None:
    """Check that a folder can be a MONAI Label store.

    Raises:
        InputError: If it is missing, not a folder, or not writable.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise _input_error(f"{folder}: {what}. {_expected(folder)}")
    places = [folder, *(p for p in (folder / "labels", folder / "labels" / "final") if p.exists())]
    if closed := next((p for p in places if not os.access(p, os.R_OK | os.W_OK | os.X_OK)), None):
        raise _input_error(
            f"{closed}: cannot be written to, but MONAI Label keeps its list of studies (datastore_v2.json) and the "
            "labels in the studies folder; give this user write permission, or use a copy"
        )


def _image_id(path: Path) -> str:
    """The id that the store gives an image; empty for another file."""
    suffix = next((s for s in IMAGE_SUFFIXES if path.name.endswith(s)), "")
    return path.name.removesuffix(suffix) if suffix and path.is_file() and not path.name.startswith(".") else ""


def _expected(folder: Path) -> str:
    text = f"Expected image volumes ({', '.join(IMAGE_SUFFIXES)}) in the folder itself, masks in labels/final"
    if folder.is_dir() and any(p.suffix.lower() == ".dcm" for p in folder.rglob("*")):
        text += "; for DICOM convert the series to NIfTI (dcm2niix) or serve a DICOMweb server"
    return text


def _input_error(message: str) -> Exception:
    error: Exception = lib_module("types").InputError(message)
    return error
