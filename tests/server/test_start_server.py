# SPDX-License-Identifier: Apache-2.0
"""`monailabel start_server` serves the same app, and by its default address too nobody else gets in."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]


def own_address() -> str | None:
    """An address of this machine that is not loopback, when it has one; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


@pytest.fixture
def stock_start(tmp_path, wait_for):
    app_dir, studies = tmp_path / "app", tmp_path / "studies"
    shutil.copytree(Path(__file__).parent / "sleepy_app", app_dir)
    studies.mkdir()
    (studies / "case_0.nii.gz").write_bytes(b"x")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MONAI_LABEL", "LESIONLOOP"))}
    env |= {"HOME": str(tmp_path), "SLEEPY_LOG": str(tmp_path / "infer.log"), "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "monailabel.main",
        "start_server",
        "--app",
        str(app_dir),
        "--studies",
        str(studies),
    ]
    command += ["--port", str(port), "--uvicorn_app", "monailabel_app.server:app"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT)
    yield wait_for(port, studies, tmp_path / "server.log", process)
    process.terminate()
    process.wait(10)


def test_stock_launcher_serves_our_app(stock_start):
    url = stock_start.url
    assert requests.get(f"{url}/info/", timeout=20).json()["name"] == ""
    assert requests.post(f"{url}/infer/sleep?image=/etc/passwd", timeout=20).status_code == 400
    assert requests.post(f"{url}/infer/sleep?image=case_0&output=json", timeout=20).json()["kind"] == "sleep"
    assert "case_0" in requests.get(f"{url}/logs/", timeout=20).text
    address = own_address()
    if address and not address.startswith("127."):  # start_server binds 0.0.0.0
        headers = {"host": "localhost"}
        answer = requests.get(f"http://{address}:{stock_start.port}/info/", headers=headers, timeout=20)
        assert answer.status_code == 403
