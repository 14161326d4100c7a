# SPDX-License-Identifier: Apache-2.0
"""Unpacking an uploaded archive without leaving the target folder: no links, no devices, no bombs."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import HTTPException

from .checks import bad_request

MAX_MEMBERS = 20_000
CHUNK_BYTES = 1 << 20


def unpack(archive: Path, target: Path, max_bytes: int) -> None:
    """Unpack a ZIP or TAR (plain or compressed) file.

    Args:
        archive: The file.
        target: An empty folder; it is removed again when the archive is refused.
        max_bytes: Largest total size of what comes out.

    Raises:
        HTTPException: 400 for another format or a member that is a link or leads out of the folder, 413 when there
            are too many members or they are too large.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                _write_all(_zip_members(bundle), target, max_bytes)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _write_all(_tar_members(tar), target, max_bytes)
        else:
            raise bad_request("The file is not a ZIP or TAR archive; send it without uncompress=true.")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise bad_request("The archive is damaged, encrypted or cannot be unpacked.") from error
    except HTTPException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _zip_members(bundle: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in bundle.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(member.filename)
        if not member.is_dir():
            with bundle.open(member) as source:
                yield member.filename, source


def _tar_members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        if not (member.isreg() or member.isdir()):
            raise _refused(member.name)
        source = tar.extractfile(member) if member.isreg() else None
        if source:
            yield member.name, source


def _refused(name: str) -> HTTPException:
    return bad_request(f"The archive holds '{name[:80]}', a link or a path outside it; it was not unpacked.")


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
        raise _refused(name)
    return path


def _write_all(members: Iterator[tuple[str, IO[bytes]]], target: Path, max_bytes: int) -> None:
    left = max_bytes
    for number, (name, source) in enumerate(members):
        if number >= MAX_MEMBERS:
            raise HTTPException(413, f"The archive holds more than {MAX_MEMBERS} files.")
        file = target / _inside(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as out:
            while chunk := source.read(CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise HTTPException(413, f"The archive unpacks to more than {max_bytes // CHUNK_BYTES} MiB.")
                out.write(chunk)
