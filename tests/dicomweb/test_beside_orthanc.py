# SPDX-License-Identifier: Apache-2.0
"""DICOMweb over HTTP: the same answers as a real Orthanc over the same files."""

import pytest
import requests

from tests.orthanc import running_orthanc


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
