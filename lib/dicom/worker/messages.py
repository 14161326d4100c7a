# SPDX-License-Identifier: Apache-2.0
"""Messages between this process and its workers: a length, JSON, and now and then an open file."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct("!I")
_ALIGNMENT = 64


def padded(size: int) -> int:
    """Bytes that a part of this size takes where several lie in one memory: arrays must start where their type may."""
    return size + -size % _ALIGNMENT


def send(connection: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send a message, with an open file of which the other side gets its own descriptor."""
    body = json.dumps(message).encode()
    head = _LENGTH.pack(len(body))
    connection.settimeout(None)
    if descriptor is None:
        connection.sendall(head)
    else:
        socket.send_fds(connection, [head], [descriptor])
    connection.sendall(body)


def receive(connection: socket.socket, deadline_s: float | None = None) -> tuple[dict[str, Any], int | None]:
    """Wait for a message.

    Args:
        connection: A stream socket.
        deadline_s: On the clock of :func:`time.monotonic`; None waits for ever.

    Returns:
        The message, and the descriptor that came with it.

    Raises:
        TimeoutError: If it is not there in time.
        EOFError: If the other side is gone.
    """
    _set_deadline(connection, deadline_s)
    head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    try:
        head += _exactly(connection, _LENGTH.size - len(head), deadline_s) if head else b""
        if not head:
            raise EOFError("the other process is gone")
        message: dict[str, Any] = json.loads(_exactly(connection, _LENGTH.unpack(head)[0], deadline_s))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return message, descriptors[0] if descriptors else None


def _exactly(connection: socket.socket, count: int, deadline_s: float | None) -> bytes:
    parts = []
    while count:
        _set_deadline(connection, deadline_s)
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError("the other process is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _set_deadline(connection: socket.socket, deadline_s: float | None) -> None:
    # 0 would mean "do not wait" and raise another error.
    connection.settimeout(None if deadline_s is None else max(deadline_s - time.monotonic(), 1e-3))
