# SPDX-License-Identifier: Apache-2.0
"""What the tests of DICOMweb share: a live server over a folder of pydicom's files."""

import datetime
import shutil
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
import uvicorn
from dicomweb_client import DICOMwebClient
from fastapi import FastAPI

from lib.dicom.write import Subject, write_mr_series
from lib.pacs import open_pacs
from monailabel_app.serving import dicomweb, proxy

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
UIDS = ("0020000D", "0020000E", "00080018")
INSTANCE_TYPE = 'multipart/related; type="application/dicom"'
# One file of each: different UIDs, so that all can be in one PACS.
FILES = [
    *("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "JPEG-LL.dcm", "JPEG-lossy.dcm", "rtdose_rle.dcm", "rtplan.dcm"),
    *(
        "test-SR.dcm",
        "liver_1frame.dcm",
        "693_J2KI.dcm",
        "color3d_jpeg_baseline.dcm",
        "US1_UNCR.dcm",
        "waveform_ecg.dcm",
    ),
    *("SC_rgb_jpeg_gdcm.dcm", "examples_palette.dcm", "image_dfl.dcm", "emri_small_jpeg_ls_lossless.dcm", "chrH31.dcm"),
]


def uids(entry):
    return tuple(entry[tag]["Value"][0] for tag in UIDS)


def write_mr(folder, name, slices=1):
    volume = np.arange(slices * 20 * 16, dtype=np.uint16).reshape(slices, 20, 16)
    who = Subject(name, datetime.date(2024, 3, 1))
    return write_mr_series(volume, folder, who, spacing_mm=(1, 1, 5), origin_lps_mm=(0, 0, 0))


@dataclass
class Service:
    """A server over an embedded PACS, and the standard's Python client for it."""

    url: str
    port: int
    pacs: Any
    client: DICOMwebClient

    def get(self, path, accept=None, **params):
        headers = {"accept": accept} if accept else {}
        return requests.get(f"{self.url}{path}", headers=headers, params=params, timeout=60)

    def instance(self, entry, root="/dicom-web"):
        study, series, instance = uids(entry)
        return f"{root}/studies/{study}/series/{series}/instances/{instance}"

    def raw(self, request, body=b"", broken_off=False):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request.replace("\n", "\r\n").encode("latin-1") + body)
            if broken_off:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode("latin-1")


def serve(store):
    app = FastAPI()
    app.include_router(dicomweb.router)
    app.include_router(proxy.router)
    app.dependency_overrides[dicomweb.pacs_client] = lambda: getattr(store, "client", None)
    app.dependency_overrides[dicomweb.store_refresh] = lambda: lambda: None
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    return server, thread, listener.getsockname()[1]


def service_over(folder):
    pacs = open_pacs(folder)
    server, thread, port = serve(SimpleNamespace(client=pacs))
    url = f"http://127.0.0.1:{port}"
    yield Service(url, port, pacs, DICOMwebClient(f"{url}/dicom-web"))
    server.should_exit = True
    thread.join(10)
    pacs.close()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Files of pydicom's test set of many kinds."""
    folder = tmp_path_factory.mktemp("zoo")
    present = [TEST_FILES / name for name in FILES if (TEST_FILES / name).is_file()]
    assert len(present) >= 10
    for file in present:
        shutil.copyfile(file, folder / file.name)
    yield from service_over(folder)


@pytest.fixture
def service(tmp_path):
    write_mr(tmp_path / "dicom", "P1", slices=3)
    yield from service_over(tmp_path / "dicom")


def everything(service):
    root = service.pacs.folder
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*.dcm")}
