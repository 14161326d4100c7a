# SPDX-License-Identifier: Apache-2.0
"""The embedded PACS under damaged files, odd values and malformed identifiers."""

import json
import random
from contextlib import suppress
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from lib.pacs import NotInPacs, open_pacs
from lib.types import InputError

from .conftest import TEST_FILES, uids, write_mr


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
