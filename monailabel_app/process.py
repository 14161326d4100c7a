# SPDX-License-Identifier: Apache-2.0
"""The server as a process of its own: start it, wait until it answers, end it with everything it started."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import requests

from .patients import check_folder
from .roots import APP_DIR, lib_module
from .serving.settings import environment, load_tokens

START_LIMIT_S = 180.0
STOP_LIMIT_S = 10.0
LOG_LINES = 15
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Server:
    """A server process.

    Attributes:
        url: Where it answers, without a slash at the end.
        process: The leader of its process group; training runs in the same group.
        log: What it writes.
        session: HTTP session that carries the access token, if one is set, and ignores proxies.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    session: requests.Session

    def wait_until_healthy(self, limit_s: float = START_LIMIT_S) -> None:
        """Wait until the app is loaded and tells what it serves.

        Raises:
            InputError: If the server ends or takes too long; the message holds the last lines of its log.
        """
        end = time.monotonic() + limit_s
        while not (self._answers("/health") and self._answers("/info/")):
            code = self.process.poll()
            if code is not None:
                raise _input_error(f"the server ended with exit code {code} while starting{self._log_end()}")
            if time.monotonic() > end:
                raise _input_error(f"the server did not answer within {limit_s:.0f} s{self._log_end()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and what it started: politely first, after :data:`STOP_LIMIT_S` for certain."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_LIMIT_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.session.close()

    def _answers(self, path: str) -> bool:
        try:
            return self.session.get(f"{self.url}{path}", timeout=30).ok and self.process.poll() is None
        except requests.RequestException:
            return False

    def _log_end(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return f"; the end of its log, {self.log}:\n" + "\n".join(f"  {line}" for line in lines)


def server_command(host: str, port: int) -> list[str]:
    """The command that serves the app; ``-P`` keeps a module of the working folder from getting in the way."""
    folder = str(Path(__file__).resolve().parents[1])
    app = ["monailabel_app.server:app", "--app-dir", folder]
    return [sys.executable, "-P", "-m", "uvicorn", *app, "--host", host, "--port", str(port)]


def serve_here(studies: str, host: str, port: int, conf: Mapping[str, str], token_file: Path | None) -> NoReturn:
    """Become the server: this process is replaced by it, so that signals and exit code are the server's own.

    Args:
        studies: Studies folder, or the URL of a DICOMweb server.
        host: Address to bind.
        port: Port to bind.
        conf: The app's configuration.
        token_file: Access tokens, a line ``name:token`` per user; None for what the environment says.

    Raises:
        InputError: If the folder, the address or the port cannot be used.
        ConfigurationError: If the tokens cannot be used, or ``host`` can be reached from elsewhere without any.
    """
    if not studies.startswith(("http://", "https://")):
        check_folder(Path(studies))
    env = dict(os.environ)
    if token_file is not None:
        env["LESIONLOOP_TOKENS_FILE"] = str(token_file.absolute())
    load_tokens(env)
    env.update(environment(APP_DIR, studies, conf, host, port, env))
    check_port(host, port)
    print(f"LesionLoop on {address(host, port)}/ until Ctrl-C; studies: {studies}", flush=True)
    command = server_command(host, port)
    os.execve(command[0], command, env)


@contextmanager
def launch_server(
    app_dir: Path, studies: Path | str, conf: Mapping[str, Any], *, host: str = "127.0.0.1", port: int = 8000, log: Path
) -> Iterator[Server]:
    """Start a server and end it when the block is left, however that happens; does not wait for it.

    Args:
        app_dir: The MONAI Label app.
        studies: Studies folder.
        conf: The app's configuration.
        host: Address to bind.
        port: Port to bind.
        log: File for what it writes.

    Raises:
        InputError: If the port is taken or the address cannot be bound.
        ConfigurationError: If ``host`` can be reached from elsewhere and no access token is set.
    """
    env = {**os.environ, **environment(app_dir, studies, conf, host, port)}
    check_port(host, port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_command(host, port),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(address(host, port), process, log, http_session())
    try:
        yield server
    finally:
        with uninterrupted():
            server.stop()


@contextmanager
def start_server(
    app_dir: Path, studies: Path | str, conf: Mapping[str, Any], *, host: str = "127.0.0.1", port: int = 8000, log: Path
) -> Iterator[Server]:
    """As :func:`launch_server`, but enter the block when the server is healthy."""
    with launch_server(app_dir, studies, conf, host=host, port=port, log=log) as server:
        server.wait_until_healthy()
        yield server


def address(host: str, port: int) -> str:
    """URL at which this machine reaches a server bound to ``host``."""
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def http_session() -> requests.Session:
    """A session with the access token of the environment; proxies do not apply to one's own machine."""
    session = requests.Session()
    session.trust_env = False
    token = next(iter(load_tokens(os.environ)), "")
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Check that a server can listen there.

    Raises:
        InputError: If the port is taken, needs rights, or the address is not of this machine.
    """
    try:
        family, kind, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise _input_error(
                f"port {port} on {host} is taken by another program, perhaps a LesionLoop that still runs; "
                f"end that, or choose another port: --port {port + 1} (with make: PORT={port + 1})"
            ) from error
        raise _input_error(f"cannot serve on {host}, port {port}: {error}; choose others: --host, --port") from error


@contextmanager
def signals_end_the_block() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt, also in a process started in the background."""
    with _handler(signal.default_int_handler):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore further signals while the server is being ended, so that an impatient Ctrl-C leaves no orphans."""
    with _handler(signal.SIG_IGN):
        yield


@contextmanager
def _handler(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may change handlers
        yield
        return
    before = {name: signal.signal(name, handler) for name in END_SIGNALS}
    try:
        yield
    finally:
        for name, earlier in before.items():
            signal.signal(name, signal.SIG_DFL if earlier is None else earlier)


def _input_error(message: str) -> Exception:
    error: Exception = lib_module("types").InputError(message)
    return error
