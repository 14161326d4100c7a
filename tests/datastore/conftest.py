# SPDX-License-Identifier: Apache-2.0
"""Stores of each kind that hold the same phantom."""

import datetime
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from lib.datastore.dicom import DicomStore
from lib.datastore.local import LocalStore
from lib.dicom.write import Subject, write_mr_series, write_us_multiframe
from lib.pacs import open_pacs
from lib.types import Finding, Measurement, Report, ReportStatus, Sentence, Source
from lib.types.report import Support
from tests.orthanc import Orthanc, orthanc

__all__ = ["orthanc"]

SHAPE = (24, 20, 6)  # (X, Y, Z)
SPACING_MM = (1.5, 1.5, 5.0)
ORIGIN_LPS_MM = (-10.0, -20.0, 30.0)
SUBJECT = Subject("P07", datetime.date(2024, 3, 1))


@dataclass
class Filled:
    """A store that holds one stack.

    Attributes:
        store: The store.
        image: Id of the stack.
        affine_ras: Of its array, (X, Y, Z) with x to the left, y to the back, z upwards.
        reopen: A second store of the same data that has nothing in its cache.
    """

    store: Any
    image: str
    affine_ras: np.ndarray
    reopen: Callable[[], Any]


def volume(seed: int = 0) -> np.ndarray:
    """(T, H, W) uint16."""
    return np.random.default_rng(seed).integers(0, 1000, SHAPE[::-1]).astype(np.uint16)


def stack_affine_ras() -> np.ndarray:
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = ORIGIN_LPS_MM
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_stack(folder: Path, seed: int = 0, subject: Subject = SUBJECT) -> list[Path]:
    return write_mr_series(volume(seed), folder, subject, spacing_mm=SPACING_MM, origin_lps_mm=ORIGIN_LPS_MM)


def series_uid(files: list[Path]) -> str:
    return str(dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


def write_clip(path: Path, n_frames: int = 5) -> Path:
    frames = np.random.default_rng(3).integers(0, 255, (n_frames, 32, 40)).astype(np.uint8)
    return write_us_multiframe(frames, path, SUBJECT, frame_time_ms=40, pixel_spacing_mm=(0.5, 0.5))


@pytest.fixture
def embedded(tmp_path: Path) -> Filled:
    files = write_stack(tmp_path / "pacs" / "study")
    number = iter(range(100))

    def reopen() -> DicomStore:
        return DicomStore(open_pacs(tmp_path / "pacs"), tmp_path / f"cache{next(number)}", kind="embedded")

    return Filled(reopen(), series_uid(files), stack_affine_ras(), reopen)


@pytest.fixture
def dicomweb(tmp_path: Path, orthanc: Orthanc) -> Iterator[Filled]:
    files = write_stack(tmp_path / "stack")
    client = DICOMwebClient(orthanc.dicom_web)
    client.store_instances([dcmread(path) for path in files])
    number = iter(range(100))

    def reopen() -> DicomStore:
        return DicomStore(DICOMwebClient(orthanc.dicom_web), tmp_path / f"cache{next(number)}")

    yield Filled(reopen(), series_uid(files), stack_affine_ras(), reopen)
    orthanc.clear()


@pytest.fixture
def local(tmp_path: Path) -> Filled:
    image = nib.Nifti1Image(volume().transpose(2, 1, 0).astype(np.int16), stack_affine_ras())
    (tmp_path / "studies").mkdir()
    nib.save(image, tmp_path / "studies" / "P07__visit1.nii.gz")

    def reopen() -> LocalStore:
        return LocalStore(tmp_path / "studies")

    return Filled(reopen(), "P07__visit1", stack_affine_ras(), reopen)


@pytest.fixture
def local_folder(tmp_path: Path) -> Filled:
    write_stack(tmp_path / "studies" / "patient")

    def reopen() -> LocalStore:
        return LocalStore(tmp_path / "studies")

    return Filled(reopen(), "patient", stack_affine_ras(), reopen)


@pytest.fixture(params=["local", "local_folder", "embedded", "dicomweb"])
def filled(request: pytest.FixtureRequest) -> Filled:
    """Every kind of store."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["embedded", "dicomweb"])
def pacs(request: pytest.FixtureRequest) -> Filled:
    """A folder of DICOM, and a real Orthanc."""
    return request.getfixturevalue(request.param)


def mask_array() -> np.ndarray:
    """(X, Y, Z) with two classes, not symmetric along any axis."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:9, 2:5, 1:4] = 1
    mask[15:20, 10:17, 4] = 2
    mask[0, 0, 0] = 1
    return mask


def write_mask(path: Path, mask: np.ndarray, affine_ras: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(mask, affine_ras), path)
    return path


def findings() -> dict[str, Any]:
    """Two lesions with everything that a finding can hold."""
    first = Finding(
        id=1,
        label="lesion",
        score=0.87,
        boxes={1: (3.0, 2.0, 9.0, 5.0), 2: (3.5, 2.25, 8.0, 5.0), 3: (4.0, 2.0, 9.0, 6.0)},
        box_lps_mm=(-6.25, -17.75, 32.5, 2.75, -11.75, 47.5),
        center_lps_mm=(-1.75, -14.75, 40.0),
        frame_scores={1: 0.5, 2: 0.87, 3: 0.61},
        measurements={"long_axis": Measurement(12.4, "mm"), "volume": Measurement(1.25, "ml")},
        source=Source("mr_lesion_detection", "v0003", "ab" * 32, ""),
        score_std=0.05,
        track_id=4,
    )
    second = Finding(
        id=2,
        label="cyst of unusual name",
        score=1.0,
        boxes={4: (10.0, 10.0, 17.0, 15.5)},
        box_lps_mm=(4.25, -5.75, 47.5, 14.75, 2.5, 52.5),
        center_lps_mm=(9.5, -1.625, 50.0),
        source=Source(author="Anna Ärztin"),
    )
    return {"findings": [first.to_json(), second.to_json()]}


def report() -> dict[str, Any]:
    sections = {
        "indication": (Sentence("Suspected lesion."),),
        "findings": (
            Sentence("There is a lesion of 12.4 mm.", (1,), 0.83),
            Sentence("Größe unverändert.", (), 0.4, Support.UNSUPPORTED),
        ),
        "impression": (Sentence("One lesion, one cyst.", (1, 2), 0.9),),
    }
    return Report(sections, ReportStatus.CORRECTED, "Anna Ärztin", "2024-03-02T10:11:12").to_json()


def write_json(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def same_mask(path: str, mask: np.ndarray, affine_ras: np.ndarray) -> bool:
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    return bool(np.array_equal(values, mask) and np.allclose(image.affine, affine_ras, atol=1e-4))
