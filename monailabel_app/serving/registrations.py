# SPDX-License-Identifier: Apache-2.0
"""How visits come to lie on each other, found once for each pair of series."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ..roots import lib_module

REMEMBERED = 32


class Transforms:
    """The last registrations; one of two heads takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def of(self, folders: tuple[Path, Path], stacks: tuple[Any, Any]) -> Any:
        """How the second stack comes to lie on the first.

        Args:
            folders: With the files of the two; what is known of others is not used.
            stacks: As ``lib.followup.shown_stack`` gives them.
        """
        state_of = lib_module("datastore.dicom_grid").state_of
        key = tuple(state_of(sorted(folder.iterdir())) for folder in folders)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = lib_module("registration").register(*stacks)
        with self._lock:
            self._known[key] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found


TRANSFORMS = Transforms()


def registration_json(found: Any) -> dict[str, Any]:
    """Plain JSON values of a ``lib.registration.Registration``; ``to_baseline`` maps LPS mm."""
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
