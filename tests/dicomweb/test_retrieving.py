# SPDX-License-Identifier: Apache-2.0
"""DICOMweb over HTTP: instances, metadata, frames and pictures (WADO-RS, PS3.18 10.4)."""

from io import BytesIO

import pytest
import requests
from PIL import Image
from pydicom import dcmread

from .conftest import INSTANCE_TYPE, uids

OHIF_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"


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
