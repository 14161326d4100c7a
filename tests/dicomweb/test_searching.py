# SPDX-License-Identifier: Apache-2.0
"""DICOMweb over HTTP: searching (QIDO-RS, PS3.18 10.6)."""

import pytest
import requests

from .conftest import INSTANCE_TYPE, uids

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
