# SPDX-License-Identifier: Apache-2.0
"""Chest radiographs with case notes: what a model may read of a note, what it is to write, and folds by patient.

Cohen, Morrison, Dao. COVID-19 image data collection. arXiv:2003.11597. A note tells a history and, in some sentences,
what the image shows. Those sentences are what the model writes; the others, without names of diseases, it reads.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..losses.report import UNKNOWN_CLASS
from ..text import CHEST, label_sentence, mask_diseases, split_sentences
from ..transforms.radiograph import radiograph
from ..types import FloatArray, InputError
from ..volumes.read import read_image_file

CLASSES = ("covid", "bacterial", "fungal", "other")
"""``other``: viral, lipoid, nothing. Where only the syndrome is named (pneumonia, ARDS) the class is not known."""
CLASS_OF = {
    "COVID-19": "covid",
    "COVID-19, ARDS": "covid",
    "Streptococcus": "bacterial",
    "Klebsiella": "bacterial",
    "Legionella": "bacterial",
    "E.Coli": "bacterial",
    "Bacterial": "bacterial",
    "Mycoplasma Bacterial Pneumonia": "bacterial",
    "Pneumocystis": "fungal",
    "Varicella": "other",
    "Influenza": "other",
    "Lipoid": "other",
    "No Finding": "other",
}
COLUMNS = {"image", "patientid", "finding", "modality", "clinical_notes"}


@dataclass(frozen=True)
class ChestNote:
    """A radiograph and its note.

    Attributes:
        study_id: File name of the image.
        patient: Whose it is.
        image: The file.
        history: What the note tells but the image does not show, names of diseases masked.
        description: What the image shows, names of diseases masked; may be empty.
        study_class: Index in :data:`CLASSES`, or :data:`~lib.losses.report.UNKNOWN_CLASS`.
        note: The note as it is; equal notes never lie on both sides of a split.
    """

    study_id: str
    patient: str
    image: Path
    history: str
    description: str
    study_class: int
    note: str


def read_notes(folder: Path) -> list[ChestNote]:
    """The radiographs (no CT) that have a note.

    Args:
        folder: With ``pairs.csv`` and the images it names.

    Raises:
        InputError: If the table is not there or lacks a column.
    """
    table = folder / "pairs.csv"
    if not table.is_file():
        raise InputError(f"{table} is not there; expected the table of the chest images with notes")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(rows[0]) >= COLUMNS:
        raise InputError(f"{table}: expected the columns {sorted(COLUMNS)}")
    return [_note(row, folder) for row in rows if row["modality"] == "X-ray" and row["clinical_notes"].strip()]


def _note(row: dict[str, str], folder: Path) -> ChestNote:
    history, description = split_note(row["clinical_notes"])
    name = CLASS_OF.get(row["finding"])
    study_class = UNKNOWN_CLASS if name is None else CLASSES.index(name)
    image = folder / row["image"]
    return ChestNote(
        image.stem, row["patientid"], image, history, description, study_class, row["clinical_notes"].strip()
    )


def split_note(note: str) -> tuple[str, str]:
    """History and description of a note: a sentence describes if the lexicon of the chest finds a fact in it."""
    parts: tuple[list[str], list[str]] = ([], [])
    for sentence in split_sentences(note):
        masked = mask_diseases(sentence)
        parts[bool(label_sentence(masked, CHEST))].append(masked)
    return " ".join(parts[0]), " ".join(parts[1])


def told_findings(text: str, findings: Sequence[str]) -> FloatArray:
    """What a text says of each finding, (F,): 1 there, 0 not there, NaN where it says nothing or leaves it open.

    A finding that is there in one place and not in another is there.

    Args:
        text: Any.
        findings: Names of the chest's lexicon.
    """
    facts = [fact for sentence in split_sentences(text) for fact in label_sentence(sentence, CHEST)]
    said = [{fact.present for fact in facts if fact.finding == name} for name in findings]
    return np.array([1.0 if True in one else 0.0 if False in one else np.nan for one in said], np.float32)


def note_folds(notes: Sequence[ChestNote], n_folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Fold of each note; patients that share a note are one, and each class is spread over the folds.

    Args:
        notes: Any.
        n_folds: How many.
        seed: Changes the folds.
    """
    groups = _people(notes)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(groups))
    counts = np.zeros((n_folds, len(CLASSES) + 1), int)
    folds = np.zeros(len(notes), np.intp)
    for group in sorted((groups[i] for i in order), key=len, reverse=True):
        own = notes[group[0]].study_class
        fold = min(range(n_folds), key=lambda f: (counts[f, own], counts[f].sum()))
        counts[fold, own] += len(group)
        folds[group] = fold
    return folds


def _people(notes: Sequence[ChestNote]) -> list[list[int]]:
    """Indices that belong together: of one patient, or with the same note."""
    holders: dict[str, list[int]] = defaultdict(list)
    for i, one in enumerate(notes):
        holders["patient " + one.patient].append(i)
        holders["note " + " ".join(one.note.lower().split())].append(i)
    root = list(range(len(notes)))

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for indices in holders.values():
        for i in indices[1:]:
            root[find(i)] = find(indices[0])
    groups: dict[int, list[int]] = defaultdict(list)
    for i in range(len(notes)):
        groups[find(i)].append(i)
    return list(groups.values())


def load_image(path: Path, size_px: int) -> FloatArray:
    """A radiograph as :func:`lib.transforms.radiograph.radiograph` gives it.

    Raises:
        InputError: If the file cannot be read.
    """
    pixels = read_image_file(path).array[:, :, 0, 0, 0].T
    return radiograph(pixels.astype(np.float32), size_px)


def shifted(image: FloatArray, rng: np.random.Generator, most: float = 0.08) -> FloatArray:
    """The same radiograph a little moved and toned; never mirrored, since left and right are what reports are about."""
    size = image.shape[-1]
    reach = max(1, round(most * size))
    down, right = rng.integers(-reach, reach + 1, 2)
    moved = np.pad(image, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    cut = moved[:, :, reach + down : reach + down + size, reach + right : reach + right + size]
    changed: FloatArray = (cut * rng.uniform(0.85, 1.15) + rng.uniform(-0.15, 0.15)).astype(np.float32)
    return changed
