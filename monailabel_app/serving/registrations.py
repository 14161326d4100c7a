# SPDX-License-Identifier: Apache-2.0
"""How visits come to lie on each other, found once for each pair of series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..roots import lib_module
from .remembered import Remembered

_KNOWN: Remembered[Any] = Remembered(32)


def registration_of(folders: tuple[Path, Path], stacks: tuple[Any, Any]) -> Any:
    """How the second stack comes to lie on the first; found once as long as the files stay as they are.

    Args:
        folders: With the files of the two.
        stacks: As ``lib.followup.shown_stack`` gives them.
    """
    return _KNOWN.of(
        tuple(files_state(folder) for folder in folders),
        lambda: lib_module("transforms.registration").register(*stacks),
    )


def files_state(folder: Path) -> str:
    """Changes when a file of the folder does."""
    return str(lib_module("datastore.dicom_grid").state_of(sorted(folder.iterdir())))


def registration_json(found: Any) -> dict[str, Any]:
    """Plain JSON values of a ``lib.transforms.registration.Registration``; ``to_baseline`` maps LPS mm."""
    return {
        "method": found.method,
        "metric_before": round(found.metric_before, 4),
        "metric_after": round(found.metric_after, 4),
        "seconds": round(found.seconds, 2),
        "to_baseline": [[round(float(v), 6) for v in row] for row in found.to_fixed],
    }


def registration_failed(found: Any) -> bool:
    """Whether the visits lie as the scanners gave them because nothing better could be found."""
    return bool(found.method.startswith("identity") and "no better" not in found.method)
