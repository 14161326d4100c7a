# SPDX-License-Identifier: Apache-2.0
"""DICOMweb over HTTP from the embedded PACS: a live server, real clients, attacks, and a real Orthanc beside it."""

import datetime
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
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
from PIL import Image
from pydicom import dcmread

from lib.dicom.write import Subject, write_mr_series
from lib.pacs import open_pacs
from monailabel_app.serving import dicomweb, proxy
from tests.orthanc import running_orthanc

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
UIDS = ("0020000D", "0020000E", "00080018")
OHIF_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
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


def parts_of(answer):
    """(Content-Type, content) of each part, read with the standard library and by its own rules."""
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    pieces = answer.content.split(b"--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert content.endswith(b"\r\n")
        found.append((head.decode().removeprefix("Content-Type: "), content[:-2]))
    return found


# -- search


def test_the_client_finds_what_the_folder_holds(zoo):
    entries = zoo.client.search_for_instances()
    assert {uids(entry) for entry in entries} == {uids(entry) for entry in zoo.pacs.search_for_instances()}
    assert len(entries) == sum(study["00201208"]["Value"][0] for study in zoo.client.search_for_studies())
    for study in zoo.client.search_for_studies():
        series = zoo.client.search_for_series(study["0020000D"]["Value"][0])
        assert len(series) == study["00201206"]["Value"][0]
        assert {m for one in series for m in one["00080060"].get("Value", [])} == set(
            study["00080061"].get("Value", [])
        )


STUDY_KEYS = (
    "00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020 00100030 00100040 0020000D"
    " 00200010 00201206 00201208"
)
SERIES_KEYS = "00080060 00081190 0020000E 00200011 00201209"
INSTANCE_KEYS = "00080016 00080018 00080056 00081190 00200013"


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("studies", STUDY_KEYS),
        ("series", f"{STUDY_KEYS} {SERIES_KEYS}"),
        ("studies/{}/series", SERIES_KEYS),
        ("instances", f"{STUDY_KEYS} {SERIES_KEYS} {INSTANCE_KEYS}"),
        ("studies/{}/instances", f"{SERIES_KEYS} {INSTANCE_KEYS}"),
        ("studies/{}/series/{}/instances", INSTANCE_KEYS),
    ],
)
@pytest.mark.parametrize("root", ["/dicom-web", "/proxy/dicom", "/proxy/dicom/qido"])
def test_results_have_the_attributes_of_the_standard(zoo, root, path, keys):
    """PS3.18 tables 10.6.3-3 to 10.6.3-5; what is above the level of the path is not repeated."""
    for entry in zoo.pacs.search_for_instances():
        found = zoo.get(f"{root}/{path.format(*uids(entry))}", "application/dicom+json")
        assert found.status_code == 200
        assert found.headers["content-type"] == "application/dicom+json"
        for item in found.json():
            assert set(keys.split()) <= set(item)
            assert all(len(element["vr"]) == 2 for element in item.values())
            assert requests.get(item["00081190"]["Value"][0], headers={"accept": f"{INSTANCE_TYPE}"}, timeout=60).ok
        break
    if "instances" in path:
        image = next(e for e in zoo.pacs.search_for_instances() if "00280010" in e)
        item = zoo.get(f"{root}/{path.format(*uids(image))}").json()
        assert any({"00280010", "00280011", "00280100"} <= set(one) for one in item)


def test_nothing_found_is_an_empty_list(zoo):
    for path in ("studies", "series", "instances"):
        answer = zoo.get(f"/dicom-web/{path}", PatientID="nobody")
        assert (answer.status_code, answer.json()) == (200, [])


def test_what_ohif_asks_for_its_study_list(zoo):
    query = {
        "PatientName": "",
        "00100020": "*CT*",
        "AccessionNumber": "",
        "StudyDescription": "",
        "ModalitiesInStudy": "CT",
        "limit": "101",
        "offset": "0",
        "fuzzymatching": "true",
        "includefield": "00081030,00080060",
        "StudyDate": "19900101-20301231",
    }
    found = zoo.get("/proxy/dicom/qido/studies", "application/dicom+json", **query).json()
    assert found
    assert all("CT" in study["00080061"]["Value"] and "CT" in study["00100020"]["Value"][0] for study in found)
    uid = found[0]["0020000D"]["Value"][0]
    series = zoo.get(f"/proxy/dicom/qido/studies/{uid}/series", includefield="0008103E,00080021").json()
    assert {"00080060", "00081190", "0020000E"} <= set(series[0])


def test_pages(zoo):
    everything = [uids(entry) for entry in zoo.get("/dicom-web/instances").json()]
    pages = [uids(e) for at in range(0, 60, 5) for e in zoo.get("/dicom-web/instances", limit=5, offset=at).json()]
    assert pages == everything
    assert [uids(e) for e in zoo.client.search_for_instances(get_remaining=True, limit=4)] == everything


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "offset=1e3",
        "limit=99999999999999",
        "fuzzymatching=maybe",
        "NoSuch=1",
        "StudyDate=soon",
        "includefield=NoSuch",
        "7FE00010=x",
        "PatientName.PatientID=1",
    ],
)
def test_queries_that_are_not_understood(zoo, query):
    answer = requests.get(f"{zoo.url}/dicom-web/studies?{query}", timeout=20)
    assert answer.status_code == 400 or answer.json() == []
    assert "Traceback" not in answer.text


def test_includefield_all(zoo):
    plain, more = (zoo.get("/dicom-web/instances", **q).json() for q in ({}, {"includefield": "all"}))
    assert sum(map(len, more)) > sum(map(len, plain))


# -- retrieve


def test_an_instance_comes_back_byte_for_byte(zoo):
    for entry in zoo.client.search_for_instances():
        stored = zoo.pacs.instance_path(*uids(entry)).read_bytes()
        ((kind, content),) = parts_of(zoo.get(zoo.instance(entry), f"{INSTANCE_TYPE}; transfer-syntax=*"))
        assert content == stored
        assert kind == f"application/dicom; transfer-syntax={entry['00083002']['Value'][0]}"
        single = zoo.get(zoo.instance(entry), "application/dicom; transfer-syntax=*")
        assert single.content == stored
        assert single.headers["content-type"].startswith("application/dicom;")
        assert zoo.client.retrieve_instance(*uids(entry)).SOPInstanceUID == uids(entry)[2]


def test_without_a_transfer_syntax_an_instance_is_explicit_little_endian(zoo):
    """PS3.18 8.7.3.5.2: the default; lossy images as they are."""
    lossy = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 93)}
    seen = set()
    for entry in zoo.client.search_for_instances():
        stored = entry["00083002"]["Value"][0]
        ((_, content),) = parts_of(zoo.get(zoo.instance(entry), INSTANCE_TYPE))
        got = str(dcmread(BytesIO(content)).file_meta.TransferSyntaxUID)
        assert got == (stored if stored in lossy else "1.2.840.10008.1.2.1")
        seen.add(stored)
    assert len(seen) >= 5


def test_a_series_and_a_study_come_in_parts(service):
    entry = service.client.search_for_series()[0]
    study, series = entry["0020000D"]["Value"][0], entry["0020000E"]["Value"][0]
    for path in (f"/dicom-web/studies/{study}", f"/dicom-web/studies/{study}/series/{series}"):
        parts = parts_of(service.get(path, f"{INSTANCE_TYPE}; transfer-syntax=*"))
        numbers = [int(dcmread(BytesIO(content)).InstanceNumber) for _, content in parts]
        assert numbers == [1, 2, 3]
        assert service.get(path, "application/dicom").status_code == 406
    assert len(service.client.retrieve_series(study, series)) == 3


def test_metadata_and_the_bulk_data_it_names(zoo):
    images = 0
    for study in zoo.client.search_for_studies():
        for found in zoo.client.retrieve_study_metadata(study["0020000D"]["Value"][0]):
            for element in found.values():
                if "BulkDataURI" in element:
                    answer = requests.get(element["BulkDataURI"], timeout=20)
                    assert answer.status_code == 200
                    assert answer.content
            if "7FE00010" in found:
                images += 1
                assert zoo.client.retrieve_bulkdata(found["7FE00010"]["BulkDataURI"])[0]
    assert images >= 8


def test_frames_as_ohif_asks_for_them(zoo):
    kinds = set()
    for entry in zoo.client.search_for_instances():
        if "00280010" not in entry:
            continue
        answer = zoo.get(f"{zoo.instance(entry, '/proxy/dicom/wado')}/frames/1", OHIF_FRAMES)
        assert answer.status_code == 200, answer.text
        ((kind, content),) = parts_of(answer)
        stored = entry["00083002"]["Value"][0]
        kinds.add(kind.split(";")[0])
        if kind.startswith("image/"):
            assert kind.endswith(f"transfer-syntax={stored}")
            alone = zoo.get(f"{zoo.instance(entry)}/frames/1", kind.split(";")[0])
            assert alone.content == content
        else:
            assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        assert zoo.client.retrieve_instance_frames(*uids(entry), [1])[0]
        raw = zoo.client.retrieve_instance_frames(*uids(entry), [1], media_types=("application/octet-stream",))
        pixels = int(entry["00280010"]["Value"][0]) * int(entry["00280011"]["Value"][0])
        assert len(raw[0]) in (-(-pixels // 8), *(pixels * n for n in (1, 2, 3, 4)))
    assert {"application/octet-stream", "image/jpeg", "image/jp2"} <= kinds


def test_several_frames_in_the_order_asked_for(zoo):
    entry = next(e for e in zoo.client.search_for_instances() if int(e.get("00280008", {}).get("Value", [1])[0]) > 2)
    first, second = (zoo.client.retrieve_instance_frames(*uids(entry), [n])[0] for n in (1, 3))
    assert zoo.client.retrieve_instance_frames(*uids(entry), [3, 1, 3]) == [second, first, second]
    for number in ("0", "9999", "999999999"):
        assert zoo.get(f"{zoo.instance(entry)}/frames/{number}").status_code == 404
    assert zoo.get(f"{zoo.instance(entry)}/frames/1,2", "application/octet-stream").status_code == 406


@pytest.mark.parametrize(
    "accept",
    ["text/html", "image/gif", "application/dicom+xml", 'multipart/related; type="x/y"', "*/*;q=0", "application/json"],
)
@pytest.mark.parametrize("what", ["", "/frames/1", "/rendered"])
def test_types_that_cannot_be_given(service, accept, what):
    entry = service.pacs.search_for_instances()[0]
    answer = service.get(service.instance(entry) + what, accept)
    assert answer.status_code == 406
    assert "there is" in answer.json()["detail"]


def test_metadata_as_xml_cannot_be_given(service):
    entry = service.pacs.search_for_instances()[0]
    accept = 'multipart/related; type="application/dicom+xml"'
    assert service.get(f"{service.instance(entry)}/metadata", accept).status_code == 406
    both = f"{accept}, application/dicom+json;q=0.5"
    assert service.get(f"{service.instance(entry)}/metadata", both).status_code == 200


def test_pictures(zoo):
    shown = 0
    for entry in zoo.client.search_for_instances():
        place = zoo.instance(entry)
        if "00280010" not in entry:
            assert zoo.get(f"{place}/rendered").status_code == 406
            continue
        shown += 1
        picture = Image.open(BytesIO(zoo.client.retrieve_instance_rendered(*uids(entry), media_types=("image/png",))))
        assert picture.size == (entry["00280011"]["Value"][0], entry["00280010"]["Value"][0])
        assert zoo.get(f"{place}/rendered", "image/*").headers["content-type"] == "image/jpeg"
        assert zoo.get(f"{place}/rendered", accept="image/jpeg,image/png").ok
        assert zoo.get(f"{place}/frames/1/rendered").ok
        for path in (
            f"{place}/thumbnail",
            f"{place}/frames/1/thumbnail",
            place.partition("/series/")[0] + "/thumbnail",
        ):
            small = Image.open(BytesIO(zoo.get(path).content))
            assert max(small.size) == 128
    assert shown >= 8


@pytest.mark.parametrize(
    "query",
    [
        "window=a,b",
        "window=1,0,linear",
        "window=1",
        "viewport=0,0",
        "viewport=1e9,1",
        "quality=1000",
        "window=1,2,cubic",
        "window=nan,1,linear",
    ],
)
def test_pictures_that_cannot_be_made(service, query):
    entry = service.pacs.search_for_instances()[0]
    answer = requests.get(f"{service.url}{service.instance(entry)}/rendered?{query}", timeout=20)
    assert answer.status_code == 400
    assert "window=centre" in answer.text or "quality" in answer.text


def test_what_is_not_there(service):
    study, series, instance = uids(service.pacs.search_for_instances()[0])
    for path in (
        "studies/1.2.3",
        "studies/1.2.3/metadata",
        "studies/1.2.3/rendered",
        f"studies/{study}/series/1.2.3",
        f"studies/{study}/series/{series}/instances/1.2.3/frames/1",
        f"studies/{study}/series/{series}/instances/{instance}/bulkdata/00420011",
        f"studies/1.2.3/series/{series}/instances/{instance}",
    ):
        answer = service.get(f"/dicom-web/{path}")
        assert answer.status_code == 404, path
        assert answer.json()["detail"]


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


def everything(service):
    root = service.pacs.folder
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*.dcm")}


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


@pytest.fixture(scope="module")
def orthanc(zoo, tmp_path_factory):
    """An Orthanc with the same files."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        for file in zoo.pacs.folder.glob("*.dcm"):
            requests.post(f"{server.url}/instances", data=file.read_bytes(), timeout=30).raise_for_status()
        yield server


@pytest.mark.parametrize(
    "query",
    [
        "studies",
        "series",
        "instances",
        "studies?PatientID=*",
        "studies?PatientName=*o*",
        "studies?ModalitiesInStudy=CT",
        "studies?StudyDate=20040101-20041231",
        "studies?StudyDate=20040826",
        "series?Modality=MR",
        "series?Modality=US",
        "series?StudyDate=19000101-20050101",
        "instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.2",
        "studies?PatientID=nobody",
    ],
)
def test_searches_find_as_much_as_orthanc(zoo, orthanc, query):
    headers = {"accept": "application/dicom+json"}
    ours, theirs = (
        requests.get(f"{url}/{query}", headers=headers, timeout=30).json()
        for url in (f"{zoo.url}/dicom-web", orthanc.dicom_web)
    )
    tag = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}[query.split("?")[0]]
    assert sorted(e[tag]["Value"][0] for e in ours) == sorted(e[tag]["Value"][0] for e in theirs)


def stripped(values):
    """Without the padding that one server keeps and the other does not."""
    return [value.strip() if isinstance(value, str) else value for value in values]


def test_metadata_is_that_of_orthanc(zoo, orthanc):
    for entry in zoo.client.search_for_instances():
        place = zoo.instance(entry, "").lstrip("/")
        ours, theirs = (
            requests.get(f"{url}/{place}/metadata", timeout=30).json()[0]
            for url in (f"{zoo.url}/dicom-web", orthanc.dicom_web)
        )
        public = {tag for tag in theirs if int(tag[3], 16) % 2 == 0 and theirs[tag] != {"vr": theirs[tag]["vr"]}}
        missing = {tag for tag in public - set(ours) if tag not in ("00083002", "00081190", "FFFCFFFC")}
        assert not missing, entry
        for tag in (public & set(ours)) - {"00080005"}:  # ours are in UTF-8 and say so
            if "Value" in theirs[tag] and theirs[tag]["vr"] in ("UI", "CS", "US", "SH", "LO", "DA"):
                assert stripped(ours[tag].get("Value", [])) == stripped(theirs[tag]["Value"]), (tag, entry)
