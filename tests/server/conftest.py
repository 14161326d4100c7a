# SPDX-License-Identifier: Apache-2.0
"""Live servers for the tests: uvicorn in a process of its own, on a free port of 127.0.0.1."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOKEN = "a-token-for-tests-0123456789"
START_S = 60


@dataclass
class Live:
    """A running server: its address, its studies folder and the log of its sleepy app."""

    url: str
    port: int
    studies: Path
    infer_log: Path
    output: Path
    process: subprocess.Popen[bytes]

    def raw(self, text: str, body: bytes = b"", timeout_s: float = 10) -> str:
        """Send bytes as they are, as no client library would, and return the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(text.replace("\n", "\r\n").encode() + body)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode("utf-8", "replace")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    folder: Path,
    studies: str | None = None,
    app: str = "monailabel_app.server:app",
    label_app: str = "sleepy_app",
    **extra: str,
) -> Live:
    from monailabel_app.serving.settings import environment

    app_dir, store, port = folder / "app", folder / "studies", free_port()
    shutil.copytree(HERE / label_app, app_dir)
    store.mkdir()
    for name in ("case_0", "case_1"):
        (store / f"{name}.nii.gz").write_bytes(name.encode())
    base = {**os.environ, "HOME": str(folder), "SLEEPY_LOG": str(folder / "infer.log"), "OMP_NUM_THREADS": "1"}
    base.update(extra)
    base.update(environment(app_dir, studies or store, {}, "127.0.0.1", port, env=base))
    base["PYTHONPATH"] = os.pathsep.join([str(ROOT), base["PYTHONPATH"]])
    base["MONAI_LABEL_SESSION_PATH"] = str(folder / "sessions")
    (folder / "infer.log").touch()
    output = folder / "server.log"
    command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=base, stdout=log, stderr=subprocess.STDOUT)
    live = Live(f"http://127.0.0.1:{port}", port, store, folder / "infer.log", output, process)
    wait_healthy(live)
    return live


def wait_healthy(live: Live) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if live.process.poll() is not None:
            break
        try:
            if requests.get(f"{live.url}/health", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    live.process.kill()
    pytest.fail(f"the server did not start:\n{live.output.read_text()[-3000:]}")


def stop_server(live: Live) -> None:
    live.process.terminate()
    try:
        live.process.wait(10)
    except subprocess.TimeoutExpired:
        live.process.kill()
        live.process.wait(10)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Live]]:
    """Start servers with settings of one's own; all are stopped at the end."""
    started: list[Live] = []

    def start(**settings: str) -> Live:
        started.append(start_server(tmp_path_factory.mktemp("server"), **settings))
        return started[-1]

    yield start
    for live in started:
        stop_server(live)


@pytest.fixture(scope="session")
def live(serve: Callable[..., Live]) -> Live:
    """A server without authentication, with a small upload limit and queue."""
    return serve(LESIONLOOP_MAX_UPLOAD_MB="4", LESIONLOOP_INFER_QUEUE="2")


@pytest.fixture(scope="session")
def locked(serve: Callable[..., Live], tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A server with authentication: the users anna and ben, and one allowed foreign origin."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.write_text(f"# who: token\nanna:{TOKEN}\nben:{TOKEN}-of-ben\n")
    return serve(
        app="tests.server.ws_app:app",
        LESIONLOOP_TOKENS_FILE=str(tokens),
        MONAI_LABEL_CORS_ORIGINS='["https://viewer.example"]',
    )


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture(scope="session")
def wait_for() -> Callable[[int, Path, Path, subprocess.Popen[bytes]], Live]:
    """Wait until a server started in another way is healthy."""

    def wait(port: int, studies: Path, output: Path, process: subprocess.Popen[bytes]) -> Live:
        started = Live(f"http://127.0.0.1:{port}", port, studies, studies.parent / "infer.log", output, process)
        wait_healthy(started)
        return started

    return wait
