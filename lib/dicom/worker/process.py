# SPDX-License-Identifier: Apache-2.0
"""What runs in a worker process of worker.py."""

from __future__ import annotations

import io
import math
import os
import pickle
import resource
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...types import InputError
from ..series import read_series
from ..types import DicomSeries
from .messages import padded, receive, send

# A worker whose parent was killed while it read ends by itself that much after the time-out.
_GRACE_S = 2


def serve(descriptor: int) -> None:
    """Answer requests until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the connection
    with socket.socket(fileno=descriptor) as connection:
        send(connection, {"ready": True})
        while True:
            try:
                request, _ = receive(connection)
                if not _answer(connection, request):
                    return
            except (EOFError, ConnectionError):
                return


def _answer(connection: socket.socket, request: dict[str, Any]) -> bool:
    """Read and send what was found; False when this process should not be used again."""
    # No Python handler: the kernel ends the process even while a codec holds the interpreter.
    signal.alarm(math.ceil(request["timeout_s"]) + _GRACE_S)
    answer, descriptor = _read(request)
    signal.alarm(0)
    try:
        send(connection, answer, descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return not answer.get("leave", False)


def _read(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The answer to a request, and the file that holds the series."""
    try:
        os.chdir(os.fsdecode(bytes.fromhex(request["folder"])))
        _limit_memory(request["memory_bytes"])
        files = [Path(os.fsdecode(bytes.fromhex(file))) for file in request["files"]]
        series = read_series(files, part=request["part"])
        descriptor, sizes = _pack(series)
        return {"sizes": sizes}, descriptor
    except InputError as error:
        return {"error": str(error), "leave": False}, None
    except MemoryError:
        text = f"reading needs more than the {request['memory_bytes'] / 2**30:.3g} GiB of memory that it may use"
        return {"error": text, "leave": True}, None
    except Exception as error:
        text = f"reading failed unexpectedly: {type(error).__name__}: {error}"
        return {"error": text, "leave": False}, None


def _limit_memory(limit_bytes: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes if most < 0 else min(limit_bytes, most), most))


def _pack(series: DicomSeries) -> tuple[int, list[int]]:
    """Write the pickle of a series and its arrays into an unnamed file; its descriptor and the size of each part."""
    buffers: list[pickle.PickleBuffer] = []
    data = io.BytesIO()
    _Pickler(data, buffers).dump(series)
    parts = [data.getbuffer(), *(buffer.raw() for buffer in buffers)]
    descriptor = _unnamed_file()
    for part in parts:
        _write(descriptor, part)
        _write(descriptor, memoryview(bytes(padded(len(part)) - len(part))))
    return descriptor, [len(part) for part in parts]


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dicom-series")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(descriptor: int, part: memoryview) -> None:
    while part:
        part = part[os.write(descriptor, part) :]


class _Pickler(pickle.Pickler):
    """Arrays go out of band, and pydicom's kinds of str, int and float become plain ones."""

    def __init__(self, file: io.BytesIO, buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers.append)

    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.ndarray and not value.flags.forc:
            return np.ascontiguousarray(value).__reduce_ex__(5)
        if isinstance(value, np.generic):
            plain = value.item()
            return type(plain), (plain,)
        if type(value).__module__.startswith("pydicom."):
            for kind in (str, int, float):
                if isinstance(value, kind):
                    return kind, (str(value) if kind is str else kind(value),)
        return NotImplemented
