# SPDX-License-Identifier: Apache-2.0
"""DICOMweb over HTTP: storing (STOW-RS, PS3.18 10.5), broken messages, and paths that lead elsewhere."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from types import SimpleNamespace

import pytest
import requests
from pydicom import dcmread

from .conftest import INSTANCE_TYPE, everything, serve, write_mr

# -- store


def message(files, boundary="frontier", kind="application/dicom"):
    """A multipart message that holds files or bytes."""
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
        + (file if isinstance(file, bytes) else file.read_bytes())
        + b"\r\n"
        for file in files
    )
    return body + f"--{boundary}--\r\n".encode()


def post(service, body, path="/dicom-web/studies", kind=f"{INSTANCE_TYPE}; boundary=frontier"):
    return requests.post(f"{service.url}{path}", data=body, headers={"content-type": kind}, timeout=60)


@pytest.mark.parametrize("root", ["/dicom-web", "/proxy/dicom", "/proxy/dicom/stow", "/proxy/dicom/wado"])
def test_stored_instances_come_back_byte_for_byte(service, tmp_path, root):
    files = write_mr(tmp_path / "new", "P5", slices=2)
    sent = [file.read_bytes() for file in files]
    answer = post(service, message(files), f"{root}/studies")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    items = answer.json()["00081199"]["Value"]
    assert [item["00081155"]["Value"][0] for item in items] == [str(dcmread(f).SOPInstanceUID) for f in files]
    got = [
        requests.get(item["00081190"]["Value"][0], headers={"accept": "application/dicom"}, timeout=20).content
        for item in items
    ]
    assert got == sent
    assert len(service.client.search_for_instances(search_filters={"PatientID": "P5"})) == 2


def test_the_client_stores(service, tmp_path):
    dataset = dcmread(write_mr(tmp_path / "new", "P5")[0])
    answer = service.client.store_instances([dataset], str(dataset.StudyInstanceUID))
    assert len(answer.ReferencedSOPSequence) == 1
    own = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
    assert service.client.retrieve_instance(*own) == dataset


def test_bad_instances_are_named_and_good_ones_stored(service, tmp_path):
    good, other = write_mr(tmp_path / "new", "P5", slices=2)
    cut = other.read_bytes()[:-100]
    answer = post(service, message([good, cut, b"no DICOM"]))
    assert answer.status_code == 202
    found = answer.json()
    assert len(found["00081199"]["Value"]) == 1
    assert len(found["0008119A"]["Value"]) == 2
    assert all(item["00081197"]["Value"] == [0xC000] for item in found["0008119A"]["Value"])
    answer = post(service, message([other]), "/dicom-web/studies/1.2.3")
    assert answer.status_code == 409
    item = answer.json()["00081198"]["Value"][0]
    assert item["00081155"]["Value"] == [str(dcmread(other).SOPInstanceUID)]
    assert "another study" in item["00000902"]["Value"][0]
    assert len(service.pacs.search_for_instances(search_filters={"PatientID": "P5"})) == 1


def broken_messages(data):
    whole = message([data])
    yield whole[:-10]
    yield whole[: len(whole) // 2]
    yield whole[:20]
    yield b""
    yield b"--frontier--\r\n"
    yield message([data], boundary="other")
    yield whole.replace(b"Content-Type", b"Content Type\0")
    yield whole.replace(b"Content-Type: ", b"X-Long: " + b"a" * 100_000 + b"\r\nContent-Type: ")
    yield whole.replace(b"Content-Type: ", b"".join(b"X-%d: 1\r\n" % n for n in range(5000)) + b"Content-Type: ")
    yield b"\r\n" * 1000 + data


def test_broken_messages_are_refused_and_nothing_is_stored(service, tmp_path):
    before = everything(service)
    for body in broken_messages(write_mr(tmp_path / "new", "P5")[0].read_bytes()):
        answer = post(service, body)
        assert answer.status_code == 400, body[:200]
        assert "multipart" in answer.json()["detail"]
    assert everything(service) == before
    assert service.get("/dicom-web/studies").ok


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/dicom", 415),
        ("multipart/form-data; boundary=frontier", 415),
        ('multipart/related; type="application/dicom+json"; boundary=frontier', 415),
        ('multipart/related; type="application/dicom"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"x" * 500}', 400),
        ("", 415),
    ],
)
def test_other_kinds_of_messages(service, tmp_path, kind, status):
    assert post(service, message(write_mr(tmp_path / "new", "P5")), kind=kind).status_code == status
    assert len(service.pacs.search_for_studies()) == 1


def test_parts_that_are_not_dicom(service):
    assert post(service, message([b"{}"], kind="application/dicom+json")).status_code == 415


def test_a_connection_that_breaks_off_stores_nothing(service, tmp_path):
    before = everything(service)
    body = message(write_mr(tmp_path / "new", "P5"))
    head = (
        f"POST /dicom-web/studies HTTP/1.1\nHost: localhost\nContent-Type: {INSTANCE_TYPE}; boundary=frontier\n"
        f"Content-Length: {len(body) + 500}\n\n"
    )
    service.raw(head, body, broken_off=True)
    assert everything(service) == before
    assert service.get("/dicom-web/studies").ok


# -- attacks


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "%2e%2e/x",
        "studies/../../etc/passwd",
        "studies/..%2f..%2fetc%2fpasswd",
        "studies/%2e%2e/%2e%2e/etc",
        "studies//etc/passwd",
        "/etc/passwd",
        "studies/1.2%00",
        "studies/1.2%0a",
        "studies/1..2",
        "studies/.",
        "studies/1.2/series/../..",
        "studies/1.2/series/1.3/instances/1.4/bulkdata/../../x",
        "studies/1.2/series/1.3/instances/1.4/frames/1;2",
        "studies/1.2/series/1.3/instances/1.4/frames/-1",
        "studies/1.2/series/1.3/instances/1.4/frames/99999999999999999999",
        "studies/" + "1." * 40 + "1",
        "studies/abc",
        "studies/%D9%A3.4",
        "system",
        "",
    ],
)
@pytest.mark.parametrize("root", ["/dicom-web", "/proxy/dicom", "/proxy/dicom/wado"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_paths_that_lead_elsewhere(zoo, root, path, method):
    request = f"{method} {root}/{path} HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close\n\n"
    answer = zoo.raw(request)
    assert answer.split()[1] == "400"
    assert "root:" not in answer


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_nothing_can_be_deleted_or_changed(service, method):
    place = service.instance(service.pacs.search_for_instances()[0])
    for root in ("", "/proxy/dicom"):
        path = place if not root else place.replace("/dicom-web", root)
        assert requests.request(method, f"{service.url}{path}", timeout=20).status_code == 405
    assert len(service.pacs.search_for_instances()) == 3


def test_an_instance_whose_uids_climb_is_not_stored(service, tmp_path):
    dataset = dcmread(write_mr(tmp_path / "new", "P5")[0])
    dataset.SeriesInstanceUID = "../../../../tmp/x"
    out = BytesIO()
    dataset.save_as(out)
    before = sorted(tmp_path.rglob("*"))
    answer = post(service, message([out.getvalue()]))
    assert answer.status_code == 409
    assert sorted(tmp_path.rglob("*")) == before


def test_eight_clients_search_and_store_at_once(service, tmp_path):
    files = [write_mr(tmp_path / f"new{n}", f"T{n}", slices=3) for n in range(8)]

    def work(n):
        statuses = [post(service, message([file])).status_code for file in files[n]]
        found = service.get("/dicom-web/instances", PatientID=f"T{n}").json()
        statuses += [service.get(f"{service.instance(entry)}/rendered").status_code for entry in found]
        return statuses

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [[200] * 6] * 8
    assert len(service.get("/dicom-web/instances").json()) == 27


# -- other stores, and another server


def test_without_dicom_the_answer_says_what_to_do():
    server, thread, port = serve(SimpleNamespace())
    answer = requests.get(f"http://127.0.0.1:{port}/dicom-web/studies", timeout=20)
    server.should_exit = True
    thread.join(10)
    assert answer.status_code == 404
    assert "folder of DICOM files" in answer.json()["detail"]
