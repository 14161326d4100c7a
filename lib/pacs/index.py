# SPDX-License-Identifier: Apache-2.0
"""A SQLite index of the DICOM files below a folder, brought up to date by the files' times and sizes."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.tag import Tag

from ..types import InputError
from .files import Uids, instance_uids
from .headers import Header, Json, read_header, to_json
from .query import READ_TAGS, Level

logger = logging.getLogger(__name__)

FILE_NAME = "dicom-index.sqlite"
_VERSION = 1
_BATCH = 200
_SCAN_SHARE = 0.1
"""Of the time: no more is spent looking for changed files, however often searches come."""
_TAGS = sorted({Tag(tag) for tags in READ_TAGS.values() for tag in tags} | {Tag(0x00020010)})
_SCHEMA = """
CREATE TABLE files (path TEXT PRIMARY KEY, mtime_ns INTEGER, size INTEGER, study TEXT, series TEXT, instance TEXT,
    problem TEXT NOT NULL);
CREATE TABLE studies (study TEXT PRIMARY KEY, attributes TEXT NOT NULL);
CREATE TABLE series (study TEXT, series TEXT, attributes TEXT NOT NULL, PRIMARY KEY (study, series));
CREATE TABLE instances (study TEXT, series TEXT, instance TEXT, path TEXT NOT NULL, attributes TEXT NOT NULL,
    PRIMARY KEY (study, series, instance));
CREATE INDEX files_by_instance ON files (study, series, instance);
CREATE INDEX instances_by_path ON instances (path);
CREATE INDEX instances_by_uid ON instances (instance);
"""


@dataclass(frozen=True)
class FileState:
    """What tells that a file has changed."""

    mtime_ns: int
    size: int


class PacsIndex:
    """The index. All methods may be called from any thread.

    Args:
        folder: The folder of DICOM files. Hidden files and folders are left out, links to folders not followed.
        file: The database; None keeps it in memory.
    """

    def __init__(self, folder: Path, file: Path | None) -> None:
        """Open the index, or begin a new one where there is none, or an old or damaged one."""
        self.folder = folder
        self.lock = threading.RLock()
        self._next_scan_s = 0.0
        self._database = _open(file)

    def close(self) -> None:
        """Close the database."""
        with self.lock:
            self._database.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction of this thread, and among processes that share the file."""
        with self.lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.rollback()
                raise
            self._database.commit()

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self.lock:
            return self._database.execute(sql, tuple(values)).fetchall()

    # -- bringing up to date

    def refresh(self, at_once: bool = True) -> None:
        """Find files that appeared, changed or went.

        Args:
            at_once: False skips it when the last time was just before, measured by how long that took.
        """
        with self.lock:
            start_s = time.monotonic()
            if not at_once and start_s < self._next_scan_s:
                return
            seen = dict(self._scan(self.folder))
            known = {
                path: FileState(mtime, size)
                for path, mtime, size in self._rows("SELECT path, mtime_ns, size FROM files")
            }
            gone = known.keys() - seen.keys()
            self._update(gone, sorted(path for path, state in seen.items() if known.get(path) != state))
            end_s = time.monotonic()
            self._next_scan_s = end_s + (end_s - start_s) / _SCAN_SHARE

    def _scan(self, folder: Path | str) -> Iterator[tuple[str, FileState]]:
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            logger.warning("%s is left out: %s", folder, error)
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._scan(entry.path)
                continue
            try:
                if entry.is_file():
                    status = entry.stat()
                    yield os.path.relpath(entry.path, self.folder), FileState(status.st_mtime_ns, status.st_size)
            except OSError as error:
                logger.warning("%s is left out: %s", entry.path, error)

    def _update(self, gone: Iterable[str], changed: list[str]) -> None:
        if not (gone := list(gone)) and not changed:
            return
        twins = self._forget([*gone, *changed])
        todo = sorted({*changed, *twins})
        for start in range(0, len(todo), _BATCH):  # in batches: an interrupted first index goes on where it was
            with self._change() as database:
                for path in todo[start : start + _BATCH]:
                    self._add(database, path)
        self._prune()

    def _forget(self, paths: list[str]) -> set[str]:
        """Remove files from the index; returns other files that hold the same instances."""
        twins: set[str] = set()
        with self._change() as database:
            for path in paths:
                uids = database.execute(
                    "SELECT study, series, instance FROM instances WHERE path = ?", (path,)
                ).fetchone()
                database.execute("DELETE FROM files WHERE path = ?", (path,))
                if uids:
                    database.execute("DELETE FROM instances WHERE path = ?", (path,))
                    twins |= {row[0] for row in database.execute(_TWINS, uids)}
        return twins - set(paths)

    def _prune(self) -> None:
        with self._change() as database:
            database.execute(
                "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM instances i WHERE i.study = series.study AND"
                " i.series = series.series)"
            )
            database.execute(
                "DELETE FROM studies WHERE NOT EXISTS (SELECT 1 FROM series s WHERE s.study = studies.study)"
            )

    def _add(self, database: sqlite3.Connection, path: str) -> None:
        file = self.folder / path
        uids: tuple[str | None, ...] = (None, None, None)
        problem = ""
        try:
            status = file.stat()
            header = read_header(file, _TAGS)
            uids = instance_uids(header)
            self._insert(database, path, status.st_mtime_ns, header, uids)
        except InputError as error:
            problem = str(error)
            logger.warning("%s is not in the index: %s", file, problem)
        except OSError as error:
            logger.warning("%s is not in the index: %s", file, error)
            return
        except sqlite3.Error:
            raise
        except Exception as error:  # damaged elements raise anything when they are first looked at
            problem = f"it is damaged: {type(error).__name__}: {str(error)[:200]}"
            logger.warning("%s is not in the index: %s", file, problem)
        state = (status.st_mtime_ns, status.st_size)
        database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", (path, *state, *uids, problem))

    def _insert(self, database: sqlite3.Connection, path: str, mtime_ns: int, header: Header, uids: Uids) -> None:
        twin = database.execute(
            "SELECT i.path, f.mtime_ns FROM instances i LEFT JOIN files f ON f.path = i.path"
            " WHERE i.study = ? AND i.series = ? AND i.instance = ?",
            uids,
        ).fetchone()
        if twin and twin[0] != path:
            newest = path if (mtime_ns, path) > (twin[1] or 0, twin[0]) else twin[0]
            logger.warning("%s and %s hold the same instance %s; %s is used", twin[0], path, uids[2], newest)
            if newest != path:
                return
        levels = {level: to_json(header.dataset, None, READ_TAGS[level]) for level in Level}
        if "00080005" in levels[Level.STUDY]:
            levels[Level.SERIES]["00080005"] = levels[Level.INSTANCE]["00080005"] = levels[Level.STUDY]["00080005"]
        levels[Level.INSTANCE]["00083002"] = {"vr": "UI", "Value": [str(header.syntax)]}
        for table, key, level in (("studies", uids[:1], Level.STUDY), ("series", uids[:2], Level.SERIES)):
            where = " AND ".join(f"{name} = ?" for name in ("study", "series")[: len(key)])
            old = database.execute(f"SELECT attributes FROM {table} WHERE {where}", key).fetchone()
            text = _merged(old[0] if old else "{}", levels[level])
            database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({'?, ' * len(key)}?)", (*key, text))
        text = json.dumps(levels[Level.INSTANCE])
        database.execute("INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?)", (*uids, path, text))

    def add(self, file: Path) -> None:
        """Index one file that was just written."""
        with self.lock:
            self._update((), [os.path.relpath(file, self.folder)])

    def remove(self, files: Iterable[Path]) -> None:
        """Take files that were just deleted out of the index."""
        with self.lock:
            self._update([os.path.relpath(file, self.folder) for file in files], [])

    # -- asking

    def problems(self) -> dict[Path, str]:
        """Files that are not in the index, with the reason."""
        rows = self._rows("SELECT path, problem FROM files WHERE problem != '' ORDER BY path")
        return {self.folder / path: problem for path, problem in rows}

    def files(self, study: str, series: str | None = None, instance: str | None = None) -> list[Path]:
        """Every file of a study, series or instance, also those that repeat an instance."""
        where, values = _where(_one(study, series, instance))
        return [self.folder / row[0] for row in self._rows(f"SELECT path FROM files{where} ORDER BY path", values)]

    def instances(self, study: str, series: str | None = None, instance: str | None = None) -> list[tuple[Uids, Path]]:
        """The instances of a study or series, or one, each with its file; by series and instance number."""
        where, values = _where(_one(study, series, instance))
        rows = self._rows(f"SELECT study, series, instance, path, attributes FROM instances{where}", values)
        rows.sort(key=lambda row: (row[1], _number(json.loads(row[4]), "00200013"), row[2]))
        return [((row[0], row[1], row[2]), self.folder / row[3]) for row in rows]

    def entries(self, level: Level, uids: dict[str, list[str] | None]) -> list[Json]:
        """Everything that is known about each study, series or instance, with what is known of the levels above.

        Args:
            level: What to list.
            uids: Allowed UIDs by column: ``study``, ``series``, ``instance``; None for any.
        """
        names = ("study", "series", "instance")
        with self.lock:  # one state of the index for all that follows
            studies = self._studies(uids.get("study"))
            if level is Level.STUDY:
                return sorted(studies.values(), key=_newest_first)
            series = self._series({name: uids.get(name) for name in names[:2]}, studies)
            if level is Level.SERIES:
                return [
                    series[key]
                    for key in sorted(series, key=lambda key: (key[0], _number(series[key], "00200011"), key))
                ]
            where, values = _where({name: uids.get(name) for name in names})
            rows = self._rows(f"SELECT study, series, instance, attributes FROM instances{where}", values)
        found = [((row[0], row[1], row[2]), json.loads(row[3])) for row in rows]
        found.sort(key=lambda entry: (entry[0][:2], _number(entry[1], "00200013"), entry[0][2]))
        return [{**series[key[0], key[1]], **own, "00080056": _ONLINE} for key, own in found]

    def _studies(self, allowed: list[str] | None) -> dict[str, Json]:
        where, values = _where({"study": allowed})
        found = {
            row[0]: json.loads(row[1]) for row in self._rows(f"SELECT study, attributes FROM studies{where}", values)
        }
        instances = dict(self._rows(f"SELECT study, COUNT(*) FROM instances{where} GROUP BY study", values))
        modalities: dict[str, list[str]] = {}
        for study, attributes in self._rows(f"SELECT study, attributes FROM series{where}", values):
            modalities.setdefault(study, []).extend(json.loads(attributes).get("00080060", {}).get("Value", [None])[:1])
        for study, attributes in found.items():
            in_study = modalities.get(study, [])
            attributes["00080056"] = _ONLINE
            known = sorted({m for m in in_study if m})
            attributes["00080061"] = {"vr": "CS", "Value": known} if known else {"vr": "CS"}
            attributes["00201206"] = {"vr": "IS", "Value": [len(in_study)]}
            attributes["00201208"] = {"vr": "IS", "Value": [instances.get(study, 0)]}
        return found

    def _series(self, uids: dict[str, list[str] | None], studies: dict[str, Json]) -> dict[tuple[str, str], Json]:
        where, values = _where(uids)
        counts = {
            (study, series): count
            for study, series, count in self._rows(
                f"SELECT study, series, COUNT(*) FROM instances{where} GROUP BY study, series", values
            )
        }
        return {
            (study, series): {
                **studies.get(study, {}),
                **json.loads(attributes),
                "00201209": {"vr": "IS", "Value": [counts.get((study, series), 0)]},
            }
            for study, series, attributes in self._rows(f"SELECT study, series, attributes FROM series{where}", values)
        }


_TWINS = "SELECT path FROM files WHERE study = ? AND series = ? AND instance = ?"
_ONLINE = {"vr": "CS", "Value": ["ONLINE"]}


def _open(file: Path | None) -> sqlite3.Connection:
    """Open a database of this version; another one, or a damaged one, is begun anew: it can be read from the files."""
    if file is None:
        return _begun(_connect(":memory:"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)  # it holds names of patients
    try:
        database = _connect(str(file))
        if database.execute("PRAGMA user_version").fetchone() == (_VERSION,):
            return database
        database.close()
    except sqlite3.DatabaseError as error:
        logger.warning("the index %s is damaged (%s) and is made again", file, error)
    file.unlink()
    file.touch(mode=0o600)
    return _begun(_connect(str(file)))


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=60, isolation_level=None, check_same_thread=False)


def _begun(database: sqlite3.Connection) -> sqlite3.Connection:
    database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    return database


def _where(allowed: dict[str, list[str] | None]) -> tuple[str, list[str]]:
    parts = {name: uids for name, uids in allowed.items() if uids is not None}
    text = " AND ".join(f"{name} IN ({', '.join('?' * len(uids))})" for name, uids in parts.items())
    return (f" WHERE {text}" if text else ""), [uid for uids in parts.values() for uid in uids]


def _one(study: str, series: str | None, instance: str | None) -> dict[str, list[str] | None]:
    return {"study": [study], "series": [series] if series else None, "instance": [instance] if instance else None}


def _merged(old: str, new: Json) -> str:
    """Attributes of a study or series from another of its files: what it knows counts, what it lacks stays."""
    known: Json = json.loads(old)
    known.update({tag: element for tag, element in new.items() if len(element) > 1 or tag not in known})
    return json.dumps(known)


def _number(attributes: Json, tag: str) -> float:
    try:
        return float(attributes[tag]["Value"][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return float("inf")


def _newest_first(study: Json) -> tuple[Any, ...]:
    date = (study.get("00080020", {}).get("Value") or [""])[0] or ""
    return (tuple(-ord(letter) for letter in str(date)), study.get("0020000D", {}).get("Value"))
