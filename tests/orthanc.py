# SPDX-License-Identifier: Apache-2.0
"""A real Orthanc for the tests: the Debian packages, on a free port, with its storage in a temporary folder."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

PLUGINS = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/lib/orthanc/plugins/libOrthancDicomWeb.so"),
)
START_S = 30


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: its own interface at ``url``, DICOMweb at ``dicom_web``."""

    url: str
    dicom_web: str
    process: subprocess.Popen[bytes]

    def count(self, modality: str) -> int:
        """How many instances of a modality it holds, as its own interface says."""
        query = {"Level": "Instance", "Query": {"Modality": modality}}
        return len(requests.post(f"{self.url}/tools/find", json=query, timeout=10).json())

    def clear(self) -> None:
        """Remove everything."""
        for patient in requests.get(f"{self.url}/patients", timeout=10).json():
            requests.delete(f"{self.url}/patients/{patient}", timeout=10).raise_for_status()


def find_orthanc() -> tuple[str, Path]:
    """The program and its DICOMweb plug-in; skips the test where they are not installed."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    plugin = next((path for path in PLUGINS if path.is_file()), None)
    if program is None or plugin is None:
        pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
    return program, plugin


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start Orthanc, wait until it answers, and end it at the end."""
    program, plugin = find_orthanc()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT)
    server = Orthanc(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/dicom-web", process)
    try:
        _wait(server, folder / "orthanc.log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait(server: Orthanc, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.process.poll() is None:
        try:
            if requests.get(f"{server.dicom_web}/series", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail(f"Orthanc did not start:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for all tests of a run; each test clears what it stored or keeps to its own images."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server
