# SPDX-License-Identifier: Apache-2.0
"""The embedded PACS: storing, replacing and deleting (STOW-RS, PS3.18 10.5)."""

import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lib.pacs import NotInPacs, open_pacs

from .conftest import uids, write_mr


def test_what_is_stored_is_listed_at_once_and_equal_byte_for_byte(pacs, tmp_path):
    file = write_mr(tmp_path / "new", "P5", 5)[0]
    status, answer = pacs.store_files([file], "http://pacs")
    assert status == 200
    item = answer.ReferencedSOPSequence[0]
    assert item.RetrieveURL.startswith("http://pacs/studies/")
    entry = pacs.search_for_instances(search_filters={"PatientID": "P5"})[0]
    stored = pacs.instance_path(*uids(entry))
    assert stored == pacs.folder / uids(entry)[0] / uids(entry)[1] / f"{uids(entry)[2]}.dcm"
    assert stored.read_bytes() == file.read_bytes()
    assert item.ReferencedSOPInstanceUID == uids(entry)[2]


def test_datasets_are_stored(pacs, tmp_path):
    datasets = [dcmread(file) for file in write_mr(tmp_path / "new", "P5", 5)]
    answer = pacs.store_instances(datasets, str(datasets[0].StudyInstanceUID))
    assert len(answer.ReferencedSOPSequence) == 3
    assert "FailedSOPSequence" not in answer
    answer = pacs.store_instances(datasets[:1], "1.2.3")
    assert answer.FailedSOPSequence[0].FailureReason == 0x0106
    assert "another study" in answer.FailedSOPSequence[0].ErrorComment


def failure(pacs, file):
    status, answer = pacs.store_files([file], "http://pacs")
    assert status == 409
    return (answer.get("FailedSOPSequence") or answer.OtherFailuresSequence)[0]


def test_an_instance_is_replaced_by_an_equal_or_newer_one_only(pacs, tmp_path):
    original = pacs.instance_path(*uids(pacs.search_for_instances()[0]))
    dataset = dcmread(original)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = "20240310", "100000"
    file = tmp_path / "new.dcm"
    dataset.save_as(file)
    assert pacs.store_files([file], "http://pacs")[0] == 200
    assert original.read_bytes() == file.read_bytes()
    dataset.InstanceCreationTime = "090000"
    dataset.save_as(file)
    assert "newer" in failure(pacs, file).ErrorComment
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.InstanceCreationTime = "110000"
    dataset.save_as(file)
    assert "SOP class" in failure(pacs, file).ErrorComment
    assert dcmread(original).InstanceCreationTime == "100000"
    assert len(pacs.search_for_instances()) == 3


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_a_truncated_file_is_never_stored(pacs, tmp_path, syntax):
    source = dcmread(write_mr(tmp_path / "new", "P5", 5)[0])
    if syntax == RLELossless:
        source.compress(RLELossless)
    else:
        source.file_meta.TransferSyntaxUID = syntax
        source.is_little_endian, source.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    if syntax == ExplicitVRBigEndian:
        source.PixelData = np.frombuffer(source.PixelData, "<u2").astype(">u2").tobytes()
    file = tmp_path / "whole.dcm"
    source.save_as(file, write_like_original=False)
    data = file.read_bytes()
    part = tmp_path / "part.dcm"
    last = 3 if syntax == DeflatedExplicitVRLittleEndian else 1  # it may end in a byte of padding
    for length in [*range(0, len(data) - last, 37), len(data) - last]:
        part.write_bytes(data[:length])
        failure(pacs, part)
    assert len(pacs.search_for_instances()) == 3
    assert pacs.store_files([file], "http://pacs")[0] == 200


def test_a_file_that_inflates_without_end_is_refused(pacs, tmp_path, monkeypatch):
    monkeypatch.setattr("lib.pacs.files.MAX_INFLATED_BYTES", 1 << 20)
    source = dcmread(write_mr(tmp_path / "new", "P5", 5)[0])
    source.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    out = BytesIO()
    source.save_as(out, write_like_original=False)
    start = 144 + int(source.file_meta.FileMetaInformationGroupLength)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(b"\0" * (8 << 20)) + packer.flush()
    file = tmp_path / "bomb.dcm"
    file.write_bytes(out.getvalue()[:start] + bomb)
    assert "larger than" in failure(pacs, file).ErrorComment


def change_uid(dataset):
    dataset.SOPInstanceUID = "1.2.3.4"


def drop_series(dataset):
    del dataset.SeriesInstanceUID


def climb(dataset):
    dataset.StudyInstanceUID = "../../../etc"


@pytest.mark.parametrize("change", [change_uid, drop_series, climb])
def test_wrong_uids_are_not_stored(pacs, tmp_path, change):
    dataset = dcmread(write_mr(tmp_path / "new", "P5", 5)[0])
    change(dataset)
    file = tmp_path / "bad.dcm"
    dataset.save_as(file)
    before = {path for path in tmp_path.rglob("*")}
    failure(pacs, file)
    assert {path for path in tmp_path.rglob("*")} == before


def test_deleting_removes_every_file_of_an_instance_and_empty_folders(folder, pacs):
    entry = pacs.search_for_instances()[0]
    shutil.copyfile(pacs.instance_path(*uids(entry)), folder / "twin.dcm")
    pacs.refresh()
    pacs.delete_instance(*uids(entry))
    assert len(pacs.search_for_instances()) == 2
    assert not (folder / "twin.dcm").exists()
    with pytest.raises(NotInPacs):
        pacs.delete_instance(*uids(entry))
    pacs.delete_series(*uids(entry)[:2])
    assert pacs.search_for_studies() == []
    assert not (folder / "a").exists()
    assert folder.is_dir()


def test_many_threads_search_and_store(pacs, tmp_path):
    files = [write_mr(tmp_path / f"new{n}", f"T{n}", 1 + n, slices=4) for n in range(8)]

    def work(n):
        for file in files[n]:
            assert pacs.store_files([file], "http://pacs")[0] == 200
            found = pacs.search_for_instances(search_filters={"PatientID": f"T{n}"})
            assert uids(found[-1])
            pacs.retrieve_series_metadata(*uids(found[-1])[:2])
        return len(pacs.search_for_instances(search_filters={"PatientID": f"T{n}"}))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [4] * 8
    assert len(pacs.search_for_studies()) == 9
    assert pacs.search_for_studies(search_filters={"PatientID": "T3"})[0]["00201208"]["Value"] == [4]


def test_two_of_them_over_one_folder(folder, pacs, tmp_path):
    other = open_pacs(folder)
    pacs.store_files(write_mr(tmp_path / "new", "P5", 5), "http://pacs")
    other.refresh()
    assert len(other.search_for_studies()) == 2
    other.delete_study(str(dcmread(tmp_path / "new" / "IM0001.dcm").StudyInstanceUID))
    pacs.refresh()
    assert len(pacs.search_for_studies()) == 1


# -- pictures
