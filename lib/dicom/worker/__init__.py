# SPDX-License-Identifier: Apache-2.0
"""Read untrusted DICOM files in a process of their own, which can be killed.

A codec may hang, crash or eat all memory on a damaged file; the server must not. A few worker processes stay alive
between calls, so that a call costs a message, not an interpreter. Pixels come back as memory that the worker hands
over (a memfd, or an unlinked temporary file): no pipe, no copy here. Needs a Unix system.

The answer is a pickle that may name only the classes of the data contract, so a worker that a file has taken over
can send wrong pixels but cannot run code here.
"""

from __future__ import annotations

import atexit
import io
import mmap
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...types import InputError, Sequence, SequenceKind, VolumeSeries
from ..types import DicomSeries, SeriesFacts
from .launch import ROOT, launch
from .messages import padded, receive, send

GIB = 1 << 30
POOL_SIZE = 2
MEMORY_LIMIT_BYTES = 16 * GIB
START_TIMEOUT_S = 120.0
# Smaller answers are copied: a mapping would hold a file descriptor for as long as the arrays live.
_MAP_FROM_BYTES = 1 << 22
_THREAD_SETTINGS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def read_series_isolated(files: Iterable[Path], timeout_s: float = 60.0, *, part: str | None = None) -> DicomSeries:
    """Read a series as :func:`lib.dicom.series.read_series` does, in a worker process.

    Several threads may call at once; at most :data:`POOL_SIZE` read, the others wait their turn.

    Args:
        files: The files of one series.
        timeout_s: For the reading, not for the waiting.
        part: As for ``read_series``.

    Raises:
        InputError: If the files cannot be read, or reading them took too long, too much memory, or crashed.
        RuntimeError: If no worker can be started: the installation is broken.
    """
    return _default_pool().read(files, timeout_s, part=part)


class WorkerPool:
    """Worker processes that read series; made when first needed, kept for the next call, killed with this process.

    Args:
        size: How many may read at the same time.
        memory_limit_bytes: Address space of a worker.
    """

    def __init__(self, size: int = POOL_SIZE, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive, busy or not."""
        with self._lock:
            return [worker.process.pid for worker in (*self._idle, *self._busy)]

    def read(self, files: Iterable[Path], timeout_s: float = 60.0, *, part: str | None = None) -> DicomSeries:
        """Read a series; see :func:`read_series_isolated`."""
        paths = [Path(file) for file in files]
        if not paths:
            raise InputError("a series needs at least one file; got none")
        with self._slots:
            worker = self._take()
            keep = False
            try:
                series, keep = worker.read(paths, part, timeout_s, self._memory_limit_bytes)
            finally:
                self._give_back(worker, keep)
        if isinstance(series, InputError):
            raise series
        return series

    def close(self) -> None:
        """End the workers; those that are reading are killed."""
        with self._lock:
            workers = [*self._idle, *self._busy]
            self._idle.clear()
        for worker in workers:
            worker.kill()

    def forget(self) -> None:
        """Let go of the workers without ending them: after a fork they belong to the parent."""
        for worker in (*self._idle, *self._busy):
            worker.connection.close()
        self._idle, self._busy, self._lock = [], set(), threading.Lock()

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    self._busy.add(worker)
                    return worker
                worker.kill()
        worker = _Worker()
        with self._lock:
            self._busy.add(worker)
        return worker

    def _give_back(self, worker: _Worker, keep: bool) -> None:
        if not keep:
            worker.kill()
        with self._lock:
            self._busy.discard(worker)
            if keep:
                self._idle.append(worker)


class _Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        self.connection, self.process = launch("lib.dicom.worker.process", {**os.environ, **_THREAD_SETTINGS})
        try:
            receive(self.connection, time.monotonic() + START_TIMEOUT_S)
        except (EOFError, OSError) as error:
            self.kill()
            code = self.process.returncode
            raise RuntimeError(
                f"the process that reads DICOM files did not start (exit status {code}); to see why, run: "
                f"{sys.executable} -c 'import lib.dicom.series' in {ROOT}"
            ) from error

    def read(
        self, paths: list[Path], part: str | None, timeout_s: float, memory_bytes: int
    ) -> tuple[DicomSeries | InputError, bool]:
        """Let the process read; returns what it found, and whether it can be used again."""
        request = {
            "files": [os.fsencode(path).hex() for path in paths],
            "folder": os.fsencode(os.getcwd()).hex(),
            "part": part,
            "timeout_s": timeout_s,
            "memory_bytes": memory_bytes,
        }
        name = _name(paths)
        try:
            send(self.connection, request)
            answer, descriptor = receive(self.connection, time.monotonic() + timeout_s)
        except TimeoutError:
            return InputError(f"{name}: reading took longer than {timeout_s:g} s and was stopped"), False
        except (EOFError, ConnectionError):
            return InputError(f"{name}: reading crashed ({self._last_words()}); a file is damaged"), False
        if descriptor is None:
            named = any(path.name in answer["error"] for path in paths)
            return InputError(answer["error"] if named else f"{name}: {answer['error']}"), not answer["leave"]
        try:
            return _unpacked(descriptor, answer["sizes"]), True
        except (pickle.UnpicklingError, TypeError, ValueError) as error:
            return InputError(f"{name}: reading gave no series ({error}); a file is damaged"), False
        finally:
            os.close(descriptor)

    def kill(self) -> None:
        """End the process, whatever it is doing, and wait until it is gone."""
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def _last_words(self) -> str:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "no exit status"
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _name(paths: list[Path]) -> str:
    if len(paths) == 1:
        return str(paths[0])
    folders = sorted({str(path.parent) for path in paths})
    return f"{len(paths)} files in {folders[0]}" + (f" and {len(folders) - 1} other folders" if folders[1:] else "")


def _unpacked(descriptor: int, sizes: list[int]) -> DicomSeries:
    """Rebuild the series over the memory that the worker handed over: a pickle, then its buffers."""
    total = sum(map(padded, sizes))
    small = total < _MAP_FROM_BYTES
    memory: mmap.mmap | bytearray = bytearray(os.pread(descriptor, total, 0)) if small else mmap.mmap(descriptor, total)
    view, parts, at = memoryview(memory), [], 0
    for size in sizes:
        parts.append(view[at : at + size])
        at += padded(size)
    return _Unpickler(parts[0], parts[1:]).load()  # type: ignore[no-any-return]


def _array(buffer: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    """What numpy's own function of this pickle name does."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_ALLOWED: dict[tuple[str, str], Any] = {
    **{("lib.types.sequence", kind.__name__): kind for kind in (Sequence, SequenceKind, VolumeSeries)},
    **{("lib.dicom.types", kind.__name__): kind for kind in (DicomSeries, SeriesFacts)},
    **{("builtins", kind.__name__): kind for kind in (str, int, float)},
    ("pathlib", "PosixPath"): Path,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.numeric", "_frombuffer"): _array,
}


class _Unpickler(pickle.Unpickler):
    """Knows the classes of the data contract, under the names that they have in the worker."""

    def __init__(self, data: memoryview, buffers: list[memoryview]) -> None:

        super().__init__(io.BytesIO(data), buffers=buffers)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a DICOM series") from None


_pool: WorkerPool | None = None
_pool_lock = threading.Lock()


def _default_pool() -> WorkerPool:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = WorkerPool()
            atexit.register(_pool.close)
        return _pool


def _forget_after_fork() -> None:
    global _pool, _pool_lock
    if _pool is not None:
        _pool.forget()
    _pool, _pool_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
