# SPDX-License-Identifier: Apache-2.0
"""The index of the embedded PACS: files that appear, change, break and go."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from pydicom import dcmread

from lib.pacs import NotInPacs, open_pacs
from lib.types import InputError

from .conftest import INDEX, write_mr


def test_files_that_appear_change_and_go_are_noticed(folder, pacs):
    assert len(pacs.search_for_studies()) == 1
    new = write_mr(folder / "b", "P9", 5)
    pacs.refresh()
    assert len(pacs.search_for_studies()) == 2
    dataset = dcmread(new[0])
    dataset.PatientName = "Changed^Name"
    dataset.save_as(new[0])
    pacs.refresh()
    assert pacs.search_for_studies(search_filters={"PatientName": "Changed^Name"})
    shutil.rmtree(folder / "b")
    pacs.refresh()
    assert len(pacs.search_for_studies()) == 1
    with pytest.raises(NotInPacs) as caught:
        pacs.retrieve_series(str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID))
    assert caught.value.response.status_code == 404


def test_an_unchanged_file_is_not_read_again(folder, pacs, monkeypatch):
    monkeypatch.setattr("lib.pacs.index.read_header", lambda *_: pytest.fail("read again"))
    pacs.refresh()
    again = open_pacs(folder)
    assert len(again.search_for_instances()) == 3
    again.close()


def test_of_two_files_of_an_instance_the_newest_counts_and_the_other_steps_in(folder, pacs):
    first = sorted((folder / "a").iterdir())[0]
    twin = folder / "twin.dcm"
    dataset = dcmread(first)
    dataset.SeriesDescription = "newer"
    dataset.save_as(twin)
    os.utime(twin, (2_000_000_000, 2_000_000_000))
    pacs.refresh()
    own = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
    assert len(pacs.search_for_instances()) == 3
    assert pacs.instance_path(*own) == twin
    twin.unlink()
    pacs.refresh()
    assert pacs.instance_path(*own) == first


@pytest.mark.parametrize("damage", ["text", "empty", "half"])
def test_a_broken_file_does_not_stop_the_others(folder, damage, caplog):
    whole = sorted((folder / "a").iterdir())[0].read_bytes()
    (folder / "broken.dcm").write_bytes({"text": b"DICM? no", "empty": b"", "half": whole[:300]}[damage])
    pacs = open_pacs(folder)
    assert len(pacs.search_for_instances()) == 3
    assert list(pacs.problems()) == [folder / "broken.dcm"]
    assert "broken.dcm" in caplog.text


def test_a_damaged_index_is_made_again(folder):
    open_pacs(folder).close()
    (folder / INDEX / "dicom-index.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    pacs = open_pacs(folder)
    assert len(pacs.search_for_instances()) == 3
    pacs.close()
    with sqlite3.connect(folder / INDEX / "dicom-index.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    assert len(open_pacs(folder).search_for_instances()) == 3


def test_a_folder_that_cannot_be_written_to_keeps_its_index_elsewhere(folder, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only")

    open_pacs(folder, tmp_path / "index").close()
    assert (tmp_path / "index" / "dicom-index.sqlite").stat().st_mode & 0o077 == 0
    assert not (folder / INDEX).exists()
    monkeypatch.setattr(Path, "touch", refuse)
    pacs = open_pacs(folder)
    assert len(pacs.search_for_instances()) == 3
    assert not (folder / INDEX / "dicom-index.sqlite").exists()


def test_no_folder():
    with pytest.raises(InputError, match="not a folder"):
        open_pacs(Path("/no/such/folder"))


def test_hidden_files_and_links_to_folders_are_left_out(folder, tmp_path):
    write_mr(folder / ".hidden", "P8", 8)
    write_mr(tmp_path / "outside", "P7", 7)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    assert len(open_pacs(folder).search_for_studies()) == 1
