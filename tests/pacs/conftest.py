# SPDX-License-Identifier: Apache-2.0
"""What the tests of the embedded PACS share: folders of phantoms, and all of pydicom's test files."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from lib.dicom.write import Subject, write_mr_series
from lib.pacs import open_pacs

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
INDEX = ".lesionloop"
UIDS = ("0020000D", "0020000E", "00080018")
EXPLICIT = (("application/dicom", ExplicitVRLittleEndian),)


def uids(entry):
    return tuple(entry[tag]["Value"][0] for tag in UIDS)


def uids_of_study(entry):
    return (entry["0020000D"]["Value"][0],)


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
