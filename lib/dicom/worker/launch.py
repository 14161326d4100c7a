# SPDX-License-Identifier: Apache-2.0
"""Start a worker process and a socket to it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# `lib` is imported as a top-level package whatever it is called here: inside it all imports are relative.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from {module} import serve; "
    "sys.path.remove(sys.argv[1]); serve(int(sys.argv[2]))"
)


def launch(module: str, environment: Mapping[str, str] | None = None) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start Python with ``serve(descriptor)`` of a module; nothing of this process but the socket is passed on.

    Args:
        module: Full name, beginning with ``lib``.
        environment: Of the process; None for this process's own.
    """
    connection, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-c", _BOOT.format(module=module), str(ROOT), str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # codecs write there what the answer says better
            env=environment,
        )
    return connection, process
