# SPDX-License-Identifier: Apache-2.0
"""The embedded PACS: searching (QIDO-RS, PS3.18 10.6)."""

import numpy as np
import pytest

from lib.dicom.write import write_us_multiframe
from lib.pacs import open_pacs
from lib.types import InputError

from .conftest import subject, uids, uids_of_study, write_mr


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Three patients; the second has two studies, the third an ultrasound cine."""
    folder = tmp_path_factory.mktemp("library")
    write_mr(folder / "1", "P1", 1, study_description="Head")
    write_mr(folder / "2a", "P2", 2, study_description="Head follow-up")
    write_mr(folder / "2b", "P2", 9, study_description="Knee")
    cine = np.zeros((5, 16, 16), np.uint8)
    write_us_multiframe(cine, folder / "3" / "us.dcm", subject("Q3", 20), frame_time_ms=40, pixel_spacing_mm=(1, 1))
    pacs = open_pacs(folder)
    yield pacs
    pacs.close()


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 4),
        ({"PatientID": ""}, 4),
        ({"PatientID": "P2"}, 2),
        ({"00100020": "P2"}, 2),
        ({"PatientID": "p2"}, 0),
        ({"PatientID": "P*"}, 3),
        ({"PatientID": "?3"}, 1),
        ({"PatientID": "[PQ]*"}, 0),
        ({"PatientID": "%"}, 0),
        ({"PatientName": "phantom^p2"}, 2),
        ({"PatientName": "*hantom^q*"}, 1),
        ({"StudyDescription": "Head"}, 1),
        ({"StudyDescription": "Head*"}, 2),
        ({"StudyDescription": "*e*e*e*e*e*e*e*e*e*e*e*e*e*e*e*x"}, 0),
        ({"StudyDate": "20240302"}, 1),
        ({"StudyDate": "20240302-20240309"}, 2),
        ({"StudyDate": "20240309-"}, 2),
        ({"StudyDate": "-20240301"}, 1),
        ({"StudyDate": "20250101-20251231"}, 0),
        ({"StudyTime": "1200"}, 4),
        ({"StudyTime": "110000-115959"}, 0),
        ({"ModalitiesInStudy": "US"}, 1),
        ({"ModalitiesInStudy": "US\\MR"}, 4),
        ({"ModalitiesInStudy": ["CT", "US"]}, 1),
        ({"ModalitiesInStudy": "CT"}, 0),
        ({"StudyInstanceUID": "1.2,1.3"}, 0),
        ({"PatientID": "P2", "StudyDescription": "Knee"}, 1),
    ],
)
def test_searching_for_studies(library, filters, count):
    assert len(library.search_for_studies(search_filters=filters)) == count


def test_a_list_of_uids_finds_each(library):
    found = [uids_of_study(entry)[0] for entry in library.search_for_studies()]
    for text in (f"{found[0]},{found[2]}", f"{found[0]}\\{found[2]}"):
        listed = library.search_for_studies(search_filters={"StudyInstanceUID": text})
        assert {uids_of_study(entry)[0] for entry in listed} == {found[0], found[2]}


def test_fuzzy_names(library):
    assert len(library.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "p2 phan"})) == 2
    assert not library.search_for_studies(fuzzymatching=False, search_filters={"PatientName": "p2 phan"})
    assert not library.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "hantom"})


def test_limit_and_offset_page_through_a_stable_order(library):
    everything = library.search_for_instances()
    pages = [entry for at in range(0, 12, 4) for entry in library.search_for_instances(limit=4, offset=at)]
    assert [uids(entry) for entry in pages] == [uids(entry) for entry in everything]
    assert len(everything) == 10
    assert library.search_for_instances(limit=0) == []
    dates = [entry["00080020"]["Value"][0] for entry in library.search_for_studies()]
    assert dates == sorted(dates, reverse=True)


@pytest.mark.parametrize(
    "filters",
    [
        {"NoSuchThing": "x"},
        {"0010002": "x"},
        {"SeriesDescription": "x"},
        {"PixelData": "x"},
        {"NumberOfStudyRelatedSeries": "1"},
        {"StudyDate": "yesterday"},
        {"StudyDate": "-"},
        {"StudyTime": "12:00-13:00-14:00"},
    ],
)
def test_a_condition_that_is_not_understood_is_an_error_not_everything(library, filters):
    with pytest.raises(InputError):
        library.search_for_studies(search_filters=filters)


def test_series_and_instances_know_their_study(library):
    series = library.search_for_series(search_filters={"PatientID": "P2", "Modality": "MR"})
    assert len(series) == 2
    assert all(entry["00201209"]["Value"] == [3] for entry in series)
    study, one = series[0]["0020000D"]["Value"][0], series[0]["0020000E"]["Value"][0]
    within = library.search_for_instances(study, one)
    assert len(within) == 3
    assert "00100020" not in within[0]
    assert [entry["00200013"]["Value"][0] for entry in within] == [1, 2, 3]
    assert "00100020" in library.search_for_instances(search_filters={"SeriesInstanceUID": one})[0]
    assert "00180015" not in series[0]
    assert "00080070" in library.search_for_series(study, fields=["Manufacturer"])[0]


# -- files that come and go
