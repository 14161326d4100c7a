# SPDX-License-Identifier: Apache-2.0
"""The ZIP archive of labelled images that a client can download."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ..types import InputError


def write_archive(pairs: list[dict[str, Any]], metadata: Any, limit_cases: int | None) -> str:
    """Write images, their final labels and what is known about them.

    Args:
        pairs: ``{"image": file or folder, "label": file}`` each.
        metadata: JSON values for ``metadata.json``.
        limit_cases: Take this many pairs at most; None for all.

    Returns:
        Path of a temporary file, which the caller removes.

    Raises:
        InputError: If there are no pairs.
    """
    if not pairs:
        raise InputError("no image has a final label yet, so there is nothing to put into an archive")
    with tempfile.NamedTemporaryFile(prefix="lesionloop-", suffix=".zip", delete=False) as file:
        target = Path(file.name)
    try:
        with zipfile.ZipFile(target, mode="w") as archive:  # images are mostly compressed already
            for pair in pairs[:limit_cases]:
                for kind, path in pair.items():
                    _add(archive, kind, Path(path))
            archive.writestr("metadata.json", json.dumps(metadata, default=str))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return str(target)


def _add(archive: zipfile.ZipFile, kind: str, path: Path) -> None:
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    for file in files:
        archive.write(file, f"{kind}/{path.name}/{file.name}" if path.is_dir() else f"{kind}/{file.name}")
