# SPDX-License-Identifier: Apache-2.0
"""The embedded PACS: a folder of DICOM files behind the interface of dicomweb_client."""

import datetime
import json
import logging
import os
import random
import shutil
import sqlite3
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicomweb_client.protocol import DICOMClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lib.dicom.write import Subject, write_mr_series, write_us_multiframe
from lib.pacs import NotInPacs, open_pacs
from lib.pacs import worker as pacs_worker
from lib.types import InputError

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
UIDS = ("0020000D", "0020000E", "00080018")
EXPLICIT = (("application/dicom", ExplicitVRLittleEndian),)


def uids(entry):
    return tuple(entry[tag]["Value"][0] for tag in UIDS)


def subject(name="P1", day=1, **more):
    return Subject(name, datetime.date(2024, 3, day), **more)


def write_mr(folder, name="P1", day=1, slices=3, **more):
    volume = np.arange(slices * 20 * 16, dtype=np.uint16).reshape(slices, 20, 16)
    return write_mr_series(volume, folder, subject(name, day, **more), spacing_mm=(1, 1, 5), origin_lps_mm=(0, 0, 0))


@pytest.fixture
def folder(tmp_path):
    write_mr(tmp_path / "dicom" / "a")
    return tmp_path / "dicom"


@pytest.fixture
def pacs(folder):
    pacs = open_pacs(folder)
    yield pacs
    pacs.close()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Every file of pydicom's test set, each alone: many share their UIDs."""
    folder = tmp_path_factory.mktemp("zoo")
    for file in sorted(p for p in TEST_FILES.rglob("*") if p.is_file()):
        target = folder / "_".join(file.relative_to(TEST_FILES).parts)
        target.mkdir()
        shutil.copyfile(file, target / file.name)
    return folder


def test_it_is_a_client_like_those_of_the_library(pacs):
    assert isinstance(pacs, DICOMClient)
    assert pacs.is_embedded


def test_every_pydicom_test_file_is_served_or_named_with_a_reason(tmp_path, caplog):
    folder = shutil.copytree(TEST_FILES, tmp_path / "files")
    with caplog.at_level(logging.WARNING):
        pacs = open_pacs(folder)
    served = {path for entry in pacs.search_for_studies() for path in pacs.index.files(*uids_of_study(entry))}
    problems = pacs.problems()
    assert served | set(problems) == {p for p in folder.rglob("*") if p.is_file() and INDEX not in p.parts}
    assert not served & set(problems)
    assert len(served) >= 140
    assert all(str(path) in caplog.text for path in problems)
    assert all(len(reason) > 10 for reason in problems.values())


INDEX = ".lesionloop"


def uids_of_study(entry):
    return (entry["0020000D"]["Value"][0],)


def test_every_served_test_file_can_be_retrieved_in_every_way_or_says_why_not(zoo):
    seen, refused = dict.fromkeys(("served", "images"), 0), {}
    for folder in sorted(zoo.iterdir()):
        pacs = open_pacs(folder)
        for entry in pacs.search_for_instances():
            seen["served"] += 1
            found = pacs.retrieve_instance_metadata(*uids(entry))
            json.dumps(found, allow_nan=False)
            assert all(len(element["vr"]) == 2 for element in found.values()), folder
            assert pacs.retrieve_instance(*uids(entry)).SOPInstanceUID == uids(entry)[2]
            if "7FE00010" not in found:
                continue
            seen["images"] += 1
            try:
                stored = pacs.retrieve_instance_frames(*uids(entry), [1])
                raw = pacs.retrieve_instance_frames(*uids(entry), [1], ("application/octet-stream",))
                picture = Image.open(BytesIO(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",))))
            except (InputError, NotInPacs) as error:
                refused[folder.name] = str(error)
                continue
            assert stored[0]
            assert raw[0]
            assert picture.size == (found["00280011"]["Value"][0], found["00280010"]["Value"][0])
            assert pacs.retrieve_bulkdata(found["7FE00010"]["BulkDataURI"])
        pacs.close()
    assert seen["served"] >= 140
    assert seen["images"] >= 80
    assert all("cut off" in r or "decode" in r or "compressed as" in r for r in refused.values()), refused
    assert len(refused) <= 8, refused


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "image_dfl.dcm",
        "SC_rgb_rle_2frame.dcm",
        "693_J2KI.dcm",
        "SC_rgb_small_odd.dcm",
    ],
)
def test_raw_frames_are_what_pydicom_decodes(tmp_path, name):
    shutil.copyfile(TEST_FILES / name, tmp_path / name)
    pacs = open_pacs(tmp_path)
    entry = pacs.search_for_instances()[0]
    dataset = dcmread(TEST_FILES / name)
    count = int(dataset.get("NumberOfFrames") or 1)
    raw = pacs.retrieve_instance_frames(*uids(entry), range(1, count + 1), ("application/octet-stream",))
    expected = dataset.pixel_array.reshape(count, *dataset.pixel_array.shape[count > 1 :])
    if dataset.get("PlanarConfiguration") == 1:
        expected = np.moveaxis(expected, -1, 1)
    for frame, values in zip(raw, expected, strict=True):
        assert np.array_equal(np.frombuffer(frame, values.dtype.newbyteorder("<")), values.ravel())
    explicit = pacs.retrieve_instance(*uids(entry), EXPLICIT)
    assert explicit.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    out = BytesIO()
    dcmwrite(out, explicit, write_like_original=False)
    assert np.array_equal(dcmread(BytesIO(out.getvalue())).pixel_array, dataset.pixel_array)


def test_single_bit_frames_begin_at_a_byte(tmp_path):
    shutil.copyfile(TEST_FILES / "liver_1frame.dcm", tmp_path / "liver.dcm")
    dataset = dcmread(TEST_FILES / "liver_1frame.dcm")
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 3, 5, 4
    bits = np.random.default_rng(0).integers(0, 2, 60).astype(np.uint8)
    dataset.PixelData = np.packbits(bits, bitorder="little").tobytes()
    dataset.save_as(tmp_path / "liver.dcm")
    pacs = open_pacs(tmp_path)
    entry = pacs.search_for_instances()[0]
    for number, frame in enumerate(pacs.retrieve_instance_frames(*uids(entry), [1, 2, 3, 4])):
        unpacked = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:15]
        assert np.array_equal(unpacked, bits[15 * number : 15 * number + 15])


# -- searching


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


def test_mutated_files_are_served_or_refused_and_nothing_else(tmp_path):
    """What a codec or a converter of pydicom raises never comes through."""
    chance = random.Random(2)
    sources = [file for file in sorted(TEST_FILES.glob("*.dcm")) if file.stat().st_size < 40_000]
    for number in range(150):
        data = bytearray(chance.choice(sources).read_bytes())
        for _ in range(chance.choice((1, 5, 40))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file.dcm").write_bytes(data)
    pacs = open_pacs(tmp_path)
    served = 0
    for entry in pacs.search_for_instances(fields=["all"]):
        json.dumps(pacs.retrieve_instance_metadata(*uids(entry)), allow_nan=False)
        served += 1
        for attempt in (
            lambda own: pacs.retrieve_instance_frames(*own, [1], ("application/octet-stream",)),
            lambda own: pacs.retrieve_instance_rendered(*own),
            lambda own: pacs.explicit_little(pacs.instance_path(*own)),
        ):
            with suppress(InputError, NotInPacs):
                attempt(uids(entry))
    assert served >= 20  # many of the sources share their UIDs


# -- metadata


def test_metadata_of_odd_values(tmp_path):
    file = write_mr(tmp_path / "in", slices=1)[0]
    dataset = dcmread(file)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Müller^Jörg"
    dataset.ReferringPhysicianName = ""
    dataset.add_new(0x00189087, "FD", float("nan"))
    dataset.add_new(0x00091001, "UN", b"\x01\x02")
    dataset.add_new(0x00090010, "LO", "SOMEONE")
    item = Dataset()
    item.add_new(0x54001010, "OW", b"\x01\x00" * 3000)
    item.add_new(0x00080104, "LO", "inner")
    dataset.WaveformSequence = DicomSequence([Dataset(), item])
    data = BytesIO()
    dataset.save_as(data)
    raw = data.getvalue().replace(b"DS\x04\x001.5 ", b"DS\x04\x00abc ").replace(b"DS\x02\x001 ", b"DS\x02\x00x ")
    file.write_bytes(raw)
    pacs = open_pacs(tmp_path)
    own = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
    found = pacs.retrieve_instance_metadata(*own)
    text = json.dumps(found, allow_nan=False)
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    assert found["00080090"] == {"vr": "PN"}
    assert found["00189087"]["Value"] == ["NaN"]
    assert found["00091001"]["InlineBinary"] == "AQI="
    uri = found["54000100"]["Value"][1]["54001010"]["BulkDataURI"]
    assert uri.endswith("/bulkdata/54000100/2/54001010")
    assert pacs.retrieve_bulkdata(uri) == [b"\x01\x00" * 3000]
    assert pacs.retrieve_bulkdata(uri, byte_range=(0, 3)) == [b"\x01\x00\x01\x00"]
    assert len(text) < 20_000
    assert pacs.search_for_studies(search_filters={"PatientName": "müller*"})


def test_bad_addresses_of_bulk_data(pacs):
    base = pacs.search_for_instances()[0]
    place = f"{pacs.base_url}/studies/{uids(base)[0]}/series/{uids(base)[1]}/instances/{uids(base)[2]}/bulkdata"
    for element in ("00420011", "00100010", "7FE00010/1", "00081140/0/00081150", "zz", ""):
        with pytest.raises(NotInPacs):
            pacs.retrieve_bulkdata(f"{place}/{element}")
    pixels = b"".join(pacs.retrieve_bulkdata(f"{place}/7FE00010"))
    assert pixels == dcmread(pacs.instance_path(*uids(base))).PixelData


@pytest.mark.parametrize("uid", ["../x", "1.2/../3", "/etc", "1..2", "1.2\0", "", "1." * 40, "1.2\n", "٣.٤"])
def test_malformed_uids_are_refused(pacs, uid):
    good = uids(pacs.search_for_instances()[0])
    for asked in ((uid, *good[1:]), (good[0], uid, good[2]), (*good[:2], uid)):
        with pytest.raises(InputError):
            pacs.retrieve_instance(*asked)
        with pytest.raises(InputError):
            pacs.delete_instance(*asked)


# -- storing and deleting


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


def picture(data):
    return np.asarray(Image.open(BytesIO(data)))


def test_windows(pacs):
    entry = pacs.search_for_instances()[0]
    values = dcmread(pacs.instance_path(*uids(entry))).pixel_array.astype(float)

    def shown(window):
        return picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), {"window": window}))

    assert np.abs(shown("160,101,linear") - np.clip((values - 159.5) / 100 + 0.5, 0, 1) * 255).max() <= 0.5
    assert np.abs(shown("160,100,linear-exact") - np.clip((values - 160) / 100 + 0.5, 0, 1) * 255).max() <= 0.5
    assert np.abs(shown("160,100,sigmoid") - 255 / (1 + np.exp(-4 * (values - 160) / 100))).max() <= 0.5


def test_monochrome1_is_shown_inverted(folder, pacs):
    entry = pacs.search_for_instances()[0]
    params = {"window": "160,300,linear"}
    before = picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), params))
    file = pacs.instance_path(*uids(entry))
    dataset = dcmread(file)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(file)
    after = picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), params))
    assert np.abs(before.astype(int) + after - 255).max() <= 1


def test_viewports_scale_crop_and_mirror(pacs):
    entry = pacs.search_for_instances()[0]  # 20 rows x 16 columns

    def shown(viewport):
        return picture(pacs.retrieve_instance_rendered(*uids(entry), ("image/png",), {"viewport": viewport}))

    whole = shown("")
    assert whole.shape == (20, 16)
    assert shown("160,160").shape == (160, 128)
    part = shown("4,5,2,3,4,5")
    assert np.array_equal(part, whole[3:8, 2:6])
    assert np.array_equal(shown("4,5,2,3,-4,5"), part[:, ::-1])
    assert np.array_equal(shown("4,5,2,3,4,-5"), part[::-1])
    for bad in ("0,5", "5", "99999,5", "a,b", "4,5,50,3,4,5"):
        with pytest.raises((InputError, NotInPacs)):
            shown(bad)


def test_series_are_shown_by_their_middle_and_reports_not_at_all(pacs, tmp_path):
    entries = pacs.search_for_instances()
    middle = pacs.retrieve_instance_rendered(*uids(entries[1]))
    assert pacs.retrieve_series_rendered(*uids(entries[1])[:2]) == middle
    shutil.copyfile(TEST_FILES / "test-SR.dcm", tmp_path / "sr.dcm")
    other = open_pacs(tmp_path, tmp_path / "index")
    report = next(e for e in other.search_for_instances(fields=["all"]) if e["00080060"]["Value"] == ["SR"])
    with pytest.raises(NotInPacs) as caught:
        other.retrieve_instance_rendered(*uids(report))
    assert caught.value.response.status_code == 406


def test_a_decoder_that_hangs_or_crashes_costs_the_picture_only(tmp_path, monkeypatch):
    shutil.copyfile(TEST_FILES / "MR_small_jp2klossless.dcm", tmp_path / "mr.dcm")
    pacs = open_pacs(tmp_path)
    entry = pacs.search_for_instances()[0]
    assert pacs.retrieve_instance_rendered(*uids(entry))
    worker = pacs_worker._worker
    timer = threading.Timer(0.3, worker.process.kill)
    os.kill(worker.process.pid, 19)  # stopped: as good as a decoder that hangs
    timer.start()
    with pytest.raises(NotInPacs, match="crashed"):
        pacs.retrieve_instance_rendered(*uids(entry))
    assert pacs.retrieve_instance_rendered(*uids(entry))
    monkeypatch.setattr(pacs_worker, "TIMEOUT_S", 0.2)
    os.kill(pacs_worker._worker.process.pid, 19)
    with pytest.raises(NotInPacs, match="took longer"):
        pacs.retrieve_instance_rendered(*uids(entry))
    monkeypatch.undo()
    assert pacs.retrieve_instance_rendered(*uids(entry))
