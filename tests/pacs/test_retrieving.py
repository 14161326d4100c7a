# SPDX-License-Identifier: Apache-2.0
"""The embedded PACS as a client: what is retrieved is what pydicom reads."""

import json
import logging
import shutil
from io import BytesIO

import numpy as np
import pytest
from dicomweb_client.protocol import DICOMClient
from PIL import Image
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from lib.pacs import NotInPacs, open_pacs
from lib.types import InputError

from .conftest import EXPLICIT, INDEX, TEST_FILES, uids, uids_of_study


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
