# SPDX-License-Identifier: Apache-2.0
"""Labelled studies on disk: which image has which mask, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .types import InputError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class CaseRef:
    """Where a labelled study lies: image id, patient, files."""

    image_id: str
    patient: str
    image: Path
    label: Path


def patient_of(image_id: str) -> str:
    """The patient in an image id: what stands before a double underscore (``P07__visit2``), or all of it."""
    return image_id.split("__", 1)[0]


def find_labelled(folder: Path) -> list[CaseRef]:
    """List the labelled studies of a MONAI Label studies folder (masks in ``labels/final``), by image id.

    Raises:
        InputError: If there are none.
    """
    labels = folder / "labels" / "final"
    refs = []
    for image in sorted(folder.iterdir() if folder.is_dir() else []):
        image_id = _stem(image)
        label = next((p for s in SUFFIXES if (p := labels / f"{image_id}{s}").is_file()), None)
        if image_id and label is not None:
            refs.append(CaseRef(image_id, patient_of(image_id), image, label))
    if not refs:
        raise InputError(f"{folder}: no image with a mask of the same name in {labels} was found")
    return refs


def _stem(path: Path) -> str:
    """The id of an image file or of a folder with a DICOM series; "" for anything else."""
    if path.is_dir():
        return "" if path.name == "labels" or path.name.startswith(".") else path.name
    return next((path.name.removesuffix(s) for s in SUFFIXES if path.name.endswith(s)), "")
