# SPDX-License-Identifier: Apache-2.0
"""Decode compressed frames of untrusted files in a process of its own, which can be killed.

A codec may hang, crash or eat all memory on a damaged code stream; the server must not. One process stays alive
between calls. What comes back is bytes of a picture or of samples, never objects. Needs a Unix system.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..dicom.worker.launch import launch
from ..dicom.worker.messages import receive, send
from ..types import InputError
from .frames import is_compressed, raw_frame, raw_frames, stored_frames
from .headers import Header, read_header, value_of
from .rendered import Look, render

TIMEOUT_S = 30.0
START_TIMEOUT_S = 120.0
MEMORY_LIMIT_BYTES = 8 << 30
_GRACE_S = 5


def isolated_raw_frames(header: Header, numbers: Sequence[int]) -> Iterator[tuple[bytes, str]]:
    """Frames as raw little-endian samples, with their photometric interpretation; see :func:`raw_frames`.

    Raises:
        InputError: If a frame cannot be decoded, or that took too long, too much memory, or crashed.
    """
    photometric = str(value_of(header.dataset, "PhotometricInterpretation", ""))
    if not is_compressed(header.syntax):
        yield from ((frame, photometric) for frame in raw_frames(header, numbers))
        return
    for number in numbers:
        yield _ask({"path": str(header.path), "number": number})


def isolated_render(header: Header, number: int | None, look: Look, media_type: str) -> bytes:
    """Render one frame; see :func:`render`. Raises as :func:`isolated_raw_frames`."""
    if not is_compressed(header.syntax):
        try:
            return render(header, number, look, media_type)
        except InputError:
            raise
        except Exception as error:  # damaged elements raise anything when they are first looked at
            raise InputError(f"the header is damaged: {type(error).__name__}: {error}") from error
    request = {"path": str(header.path), "number": number, "media_type": media_type, "look": vars(look)}
    return _ask(request)[0]


class _Worker:
    """The process and the socket to it."""

    def __init__(self) -> None:
        self.connection, self.process = launch("lib.pacs.worker")
        try:
            receive(self.connection, time.monotonic() + START_TIMEOUT_S)
        except OSError as error:
            self.kill()
            raise RuntimeError("the process that decodes DICOM frames did not start") from error

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for the answer and its data."""
        send(self.connection, request)
        answer, descriptor = receive(self.connection, time.monotonic() + TIMEOUT_S)
        if descriptor is None:
            return answer, b""
        with os.fdopen(descriptor, "rb") as memory:
            memory.seek(0)
            return answer, memory.read()

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


_lock = threading.Lock()
_worker: _Worker | None = None


def _ask(request: dict[str, Any]) -> tuple[bytes, str]:
    """Let the process decode; one request at a time. A process that failed is replaced for the next request."""
    global _worker
    with _lock:
        if _worker is None or _worker.process.poll() is not None:
            _end()
            _worker = _Worker()
        try:
            answer, data = _worker.ask(request)
        except TimeoutError:
            _end()
            raise InputError(f"decoding took longer than {TIMEOUT_S:g} s and was stopped") from None
        except (EOFError, OSError):
            _end()
            raise InputError("decoding crashed: the file is damaged") from None
    if "error" in answer:
        raise InputError(answer["error"])
    return data, str(answer["photometric"])


@atexit.register
def _end() -> None:
    global _worker
    if _worker is not None:
        _worker.kill()
        _worker = None


def _forget_after_fork() -> None:
    """The process belongs to the parent; the child starts its own."""
    global _worker, _lock
    if _worker is not None:
        _worker.connection.close()
    _worker, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


def serve(descriptor: int) -> None:
    """Answer requests until the other side is gone; runs in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the connection
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES if most < 0 else min(MEMORY_LIMIT_BYTES, most), most))
    with socket.socket(fileno=descriptor) as connection:
        send(connection, {"ready": True})
        while True:
            try:
                request, _ = receive(connection)
            except (EOFError, ConnectionError):
                return
            # No Python handler: the kernel ends the process even while a codec holds the interpreter.
            signal.alarm(int(TIMEOUT_S) + _GRACE_S)
            _reply(connection, request)
            signal.alarm(0)


def _reply(connection: socket.socket, request: dict[str, Any]) -> None:
    try:
        data, photometric = _decode(request)
    except MemoryError:
        send(connection, {"error": "decoding needs more memory than it may use"})
        return
    except Exception as error:
        send(connection, {"error": str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"})
        return
    memory = os.memfd_create("frame")
    with os.fdopen(memory, "wb") as file:
        file.write(data)
        file.flush()
        send(connection, {"photometric": photometric}, memory)


def _decode(request: dict[str, Any]) -> tuple[bytes, str]:
    header = read_header(Path(request["path"]))
    if "look" not in request:
        return raw_frame(header, next(stored_frames(header, [request["number"]])))
    look: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in request["look"].items()
    }
    return render(header, request["number"], Look(**look), request["media_type"]), ""
