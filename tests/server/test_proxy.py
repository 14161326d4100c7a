# SPDX-License-Identifier: Apache-2.0
"""The DICOMweb proxy on a live server, in front of a recording stand-in for a PACS."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

UID = "1.2.840.113619.2"
SERIES = f"studies/{UID}/series/{UID}.1"
INSTANCE = f"{SERIES}/instances/{UID}.1.1"


class Pacs(BaseHTTPRequestHandler):
    """Answers everything with what it was asked, so that nothing is hidden by a refusal of its own."""

    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        asked = {"method": self.command, "path": self.path, "body": self.rfile.read(length).decode("latin-1")}
        asked["headers"] = {name.lower(): value for name, value in self.headers.items()}
        data = b"[]" if self.path.startswith("/dicom-web/series") else json.dumps(asked).encode()
        status = 302 if "redirect" in self.path else 200
        self.send_response(status)
        self.send_header("content-type", "application/dicom+json")
        self.send_header("content-length", str(len(data)))
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("set-cookie", "pacs=1")
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture(scope="module")
def gateway(serve):
    pacs = ThreadingHTTPServer(("127.0.0.1", 0), Pacs)
    threading.Thread(target=pacs.serve_forever, daemon=True).start()
    yield serve(studies=f"http://127.0.0.1:{pacs.server_port}/dicom-web")
    pacs.shutdown()


@pytest.mark.parametrize(
    "path",
    [
        "qido/studies?PatientID=p%201&limit=10",
        f"qido/studies/{UID}/series?includefield=all",
        f"wado/{SERIES}/metadata",
        f"qido/{SERIES}/metadata",
        f"wado/{INSTANCE}/frames/1,2",
        f"wado/{INSTANCE}/rendered?viewport=100,100",
        f"wado/{INSTANCE}/bulk/00420011",
        f"studies/{UID}",
        "instances?SeriesInstanceUID=1.2&SeriesInstanceUID=1.3",
    ],
)
def test_dicomweb_requests_pass_with_their_query(gateway, path):
    answer = requests.get(f"{gateway.url}/proxy/dicom/{path}", headers={"accept": "application/json"}, timeout=20)
    service = path.split("/")[0]
    expected = path.removeprefix(f"{service}/") if service in ("qido", "wado") else path
    assert answer.json()["path"] == f"/dicom-web/{expected}"
    assert answer.json()["headers"]["accept"] == "application/json"
    assert answer.headers["content-type"] == "application/dicom+json"
    assert "set-cookie" not in answer.headers


def test_storing_passes_the_body(gateway):
    headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=x', "cookie": "a=b"}
    data = b"--x\r\n\r\nDICM\r\n--x--"
    for path in ("wado/studies", "stow/studies", f"studies/{UID}"):
        answer = requests.post(f"{gateway.url}/proxy/dicom/{path}", data=data, headers=headers, timeout=20).json()
        assert answer["method"] == "POST"
        assert answer["body"].encode() == data
        assert answer["headers"]["content-type"] == headers["content-type"]
        assert "cookie" not in answer["headers"]


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/system",
        "../system",
        "..%2fsystem",
        "%252e%252e/system",
        "studies/..%2f..%2fsystem",
        "studies/%2e%2e/%2e%2e/system",
        "studies/../../system",
        "wado/../../system",
        "studies/..;/system",
        f"wado/{INSTANCE}/bulk/../../../system",
        "/system",
        "//127.0.0.1:1/x",
        "system",
        "tools/shutdown",
        "studies/1.2/../..",
        "studies\\..\\system",
        "studies/.",
        "studies/1..2",
        "wado?requestType=WADO",
        "studies%3Fx",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_rest_of_the_pacs_is_out_of_reach(gateway, path, method):
    request = f"{method} /proxy/dicom/{path} HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close\n\n"
    answer = gateway.raw(request)
    assert answer.split()[1] in ("400", "404")
    assert '"method"' not in answer


@pytest.mark.parametrize("path", ["qido/series", f"wado/{INSTANCE}", f"{SERIES}/metadata"])
def test_post_only_stores(gateway, path):
    assert requests.post(f"{gateway.url}/proxy/dicom/{path}", data=b"x", timeout=20).status_code == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_do_not_pass(gateway, method):
    assert requests.request(method, f"{gateway.url}/proxy/dicom/studies/{UID}", timeout=20).status_code == 405


def test_redirects_are_not_followed(gateway):
    answer = requests.get(f"{gateway.url}/proxy/dicom/studies?redirect=1", allow_redirects=False, timeout=20)
    assert answer.status_code == 502
    assert "location" not in answer.headers


@pytest.mark.parametrize("image", ["../x", "1.2/../3", "1..2", "/etc/passwd", "..\\x", "x\0y"])
def test_image_ids_that_try_to_leave_the_pacs_are_refused(gateway, image):
    answer = requests.post(f"{gateway.url}/infer/sleep", params={"image": image}, timeout=20)
    assert answer.status_code == 400
    assert "must be a plain name" in answer.json()["detail"]


def test_without_a_pacs_there_is_no_proxy(live):
    answer = requests.get(f"{live.url}/proxy/dicom/studies", timeout=20)
    assert answer.status_code == 404
    assert "no PACS" in answer.json()["detail"]
