# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}-.+")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside ``path`` to write to; the file takes the place of ``path`` if the block succeeds.

    The content reaches the disk before the name changes, so after a crash there is the old file or the new one.
    The name ends like that of ``path``, for writers that go by it.

    Raises:
        OSError: If the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, older_than_s: float = 3600.0) -> list[Path]:
    """Remove what :func:`atomic_write` had begun below a folder when its process was killed.

    Args:
        folder: Links in it are not followed.
        older_than_s: Younger ones may be another process's work.

    Returns:
        What was removed.
    """
    removed = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names if _TEMPORARY.fullmatch(name)):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime > older_than_s:
                    path.unlink()
                    removed.append(path)
    return removed


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
