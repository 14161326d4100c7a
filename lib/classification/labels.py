# SPDX-License-Identifier: Apache-2.0
"""Where the class of a study is written down.

In a store it is the image's information, key ``study_class`` (``PUT /datastore/image/info``); every store keeps that, a
PACS store beside its cache. In a folder it is ``labels.csv``: columns ``image`` and ``class``, and ``patient`` if the
image's name does not begin with it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ..studies import SUFFIXES, patient_of
from ..types import InputError

CLASS_KEY = "study_class"
LABELS_FILE = "labels.csv"


@dataclass(frozen=True)
class ClassedStudy:
    """A study with its class: image id, patient, file or folder, class name."""

    image_id: str
    patient: str
    image: Path
    class_name: str


def class_index(name: str, labels: dict[str, int], where: str) -> int:
    """Index from 0 of a class name.

    Raises:
        InputError: If the model has no such class.
    """
    if name not in labels:
        raise InputError(f"{where}: class '{name}' is unknown to the model; it has {', '.join(labels)}")
    return labels[name] - 1


def find_classed(folder: Path) -> list[ClassedStudy]:
    """The studies that a folder's ``labels.csv`` names, in its order.

    Raises:
        InputError: If the file is missing or empty, lacks a column, or names an image twice or one that is not there.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        raise InputError(f"{path} is missing: a CSV file with the columns image, class and, if wanted, patient")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"image", "class"} <= set(rows.fieldnames or ()):
            raise InputError(f"{path}: the first line must name the columns image and class, and may name patient")
        studies = [_study(folder, row, f"{path}, line {rows.line_num}") for row in rows]
    names = [study.image_id for study in studies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: {', '.join(twice)} stand there twice")
    if not studies:
        raise InputError(f"{path} names no study")
    return studies


def _study(folder: Path, row: dict[str, str], where: str) -> ClassedStudy:
    image_id, class_name = (row["image"] or "").strip(), (row["class"] or "").strip()
    if not image_id or not class_name or "/" in image_id or "\\" in image_id:
        raise InputError(f"{where}: needs the name of an image in {folder} and a class")
    found = next((p for s in ("", *SUFFIXES) if (p := folder / f"{image_id}{s}").exists()), None)
    if found is None:
        raise InputError(f"{where}: there is no image '{image_id}' in {folder}")
    stem = next((image_id.removesuffix(s) for s in SUFFIXES if image_id.endswith(s)), image_id)
    patient = (row.get("patient") or "").strip() or patient_of(stem)
    return ClassedStudy(stem, patient, found, class_name)
