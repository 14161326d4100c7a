# SPDX-License-Identifier: Apache-2.0
"""``lesionloop doctor``: what a folder of studies holds, as tables for the terminal."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from .roots import CONFIGS_DIR, lib_module

if TYPE_CHECKING:
    from lib.doctor import Diagnosis, Examined

NO = "-"


def run_doctor(folder: Path, console: Console) -> int:
    """Examine a folder and print what it holds.

    Returns:
        0 when everything could be read, 1 when something could not.

    Raises:
        InputError: If there is no such folder.
    """
    models = lib_module("configs").load_configs(CONFIGS_DIR)
    logging.getLogger("pydicom").setLevel(logging.ERROR)  # its remarks on odd values; the table has what matters
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading headers", total=None)

        def tell(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(f"reading {name}"))

        diagnosis = lib_module("doctor").examine(folder, models, tell)
    for table in tables(diagnosis, folder, list(models)):
        console.print(table)
    console.print(summary(diagnosis))
    return 1 if diagnosis.failures else 0


def tables(diagnosis: Diagnosis, folder: Path, models: list[str]) -> list[Table]:
    """The tables that have a line to show: sequences, their problems, visits, other objects, failures."""
    made = [_sequences(diagnosis, folder, models)]
    noticed = [(s.name, problem) for s in diagnosis.sequences for problem in s.problems]
    made.append(_pairs("Noticed in the geometry and the pixels", ("sequence", "what"), noticed))
    made.append(_pairs("Why a model cannot, or should not, run", ("model", "why (sequences)"), _reasons(diagnosis)))
    visits = [(chain[0].patient_id, ", ".join(_visit(facts) for facts in chain)) for chain in diagnosis.visits]
    made.append(_pairs("Visits that can be followed over time", ("patient", "studies"), visits))
    made.append(_pairs("Other DICOM objects", ("where", "what"), list(diagnosis.others.items())))
    made.append(_pairs("Cannot be read", ("file or series", "why"), list(diagnosis.failures.items())))
    return [table for table in made if table.row_count]


def summary(diagnosis: Diagnosis) -> str:
    """One line that counts."""
    kinds: dict[str, int] = {}
    for sequence in diagnosis.sequences:
        kinds[sequence.kind.value] = kinds.get(sequence.kind.value, 0) + 1
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no image"
    text = f"{len(diagnosis.sequences)} sequence(s): {counted}; {len(diagnosis.failures)} cannot be read"
    if diagnosis.ignored:
        text += f"; {diagnosis.ignored} file(s) of no image format were left out"
    return text


def _sequences(diagnosis: Diagnosis, folder: Path, models: list[str]) -> Table:
    table = Table(title=f"Sequences in {escape(str(folder))}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("sequence", overflow="fold")
    for header in ("modality", "kind"):
        table.add_column(header)
    for header in ("frames", "pixels", "spacing mm", "time s", "noticed"):
        table.add_column(header, justify="right")
    table.add_column("models that could run", overflow="fold")
    for s in diagnosis.sequences:
        runs = ", ".join(model for model in models if not s.models[model]) or NO
        table.add_row(escape(s.name), escape(s.modality), s.kind.value, *_size(s), escape(runs))
    return table


def _size(s: Examined) -> list[str]:
    x, y, z = s.spacing_mm
    spacing = f"{x:.3g} x {y:.3g}" + ("" if z is None else f" x {z:.3g}")
    time = NO if s.duration_s is None else f"{s.duration_s:.3g}"
    return [s.frames, f"{s.size_px[0]} x {s.size_px[1]}", spacing, time, str(len(s.problems) or NO)]


def _reasons(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Each reason once, with how many sequences it concerns."""
    counts: dict[tuple[str, str], int] = {}
    for s in diagnosis.sequences:
        for model, reason in s.models.items():
            if reason:
                counts[model, reason] = counts.get((model, reason), 0) + 1
    return [(model, f"{reason} ({count})") for (model, reason), count in sorted(counts.items())]


def _visit(facts: Any) -> str:
    date = facts.study_date
    return f"{date[:4]}-{date[4:6]}-{date[6:]} {facts.series_description}".strip()


def _pairs(title: str, headers: tuple[str, str], rows: list[tuple[str, str]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    for first, second in rows:
        table.add_row(escape(first), escape(second))
    return table
