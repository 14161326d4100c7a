# SPDX-License-Identifier: Apache-2.0
"""``lesionloop train`` of report models: of those that write from a lesion model, and of those that read the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .cli_options import lesion_source
from .roots import lib_module


def train_reports(
    config: Any,
    output: Path,
    *,
    folders: list[Path],
    phantoms: int,
    notes: Path | None,
    reports: Path | None,
    start: Path | None,
    **shared: Any,
) -> Any:
    """Train a report model with what it is made for.

    Args:
        config: The model.
        output: Weights file to write.
        folders: Studies folders, for a model that writes from a lesion model.
        phantoms: Phantom patients, for the same.
        notes: Folder of radiographs with notes, for a model that reads the image itself.
        reports: Folder of reports without images, for the same.
        start: Weights to start from, for the former.
        **shared: Validation share, device and processor time.

    Returns:
        How the training went (``ReportFit``).

    Raises:
        InputError: If an option is not for this model, or what it needs is missing.
    """
    if config.report.source:
        _refuse(config.name, "writes from a lesion model", {"--notes": notes, "--reports": reports})
        train = lib_module("trainers.report_folders").train_reports_on_folders
        return train(config, folders, output, lesion_source(config), phantoms=phantoms, start=start, **shared)
    _refuse(config.name, "reads the image", {"--studies": folders, "--phantoms": phantoms, "--start": start})
    if notes is None:
        raise lib_module("types").InputError(
            f"'{config.name}' learns from radiographs with notes: name their folder with --notes"
        )
    train = lib_module("trainers.report_chest_notes").train_reports_on_notes
    return train(config, notes, output, reports=reports, **shared)


def _refuse(model: str, why: str, options: dict[str, Any]) -> None:
    if given := [name for name, value in options.items() if value]:
        raise lib_module("types").InputError(f"'{model}' {why}; it takes no {' or '.join(given)}")
