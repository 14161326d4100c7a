# SPDX-License-Identifier: Apache-2.0
"""Untrusted files: pydicom's own test set, whole and damaged. A series comes out, or an InputError that says why."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lib.dicom.types import DicomSeries
from lib.dicom.worker import WorkerPool
from lib.types import InputError, VolumeSeries

DATA = Path(pydicom.__file__).parent / "data"
FILES = sorted(
    path
    for folder in ("test_files", "charset_files", "palettes")
    for path in (DATA / folder).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)
# Files that hold a whole image; every other one must be refused.
IMAGES = [
    "693_J2KI",
    "CT_small",
    "ExplVR_BigEnd",
    "GDCMJ2K_TextGBR",
    "J2K_pixelrep_mismatch",
    "JPEG-lossy",
    "JPEG2000",
    "JPGExtended",
    "MR_small",
    "MR_small_RLE",
    "MR_small_bigendian",
    "MR_small_expb",
    "MR_small_implicit",
    "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless",
    "MR_small_padded",
    "SC_rgb_rle",
    "SC_rgb_rle_16bit_2frame",
    "SC_rgb_small_odd_jpeg",
    "SC_ybr_full_422_uncompressed",
    "image_dfl",
]
TIMEOUT_S = 30.0
MUTANTS = [
    "CT_small",
    "MR_small_RLE",
    "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless",
    "SC_rgb_jpeg_dcmtk",
    "rtdose",
]
MUTANTS_OF_EACH = 25


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(size=1)
    yield pool
    pool.close()


def outcome(pool: WorkerPool, path: Path) -> DicomSeries | str:
    """The series, or why there is none; pixels are finite, errors are foreseen and name the file."""
    try:
        series = pool.read([path], TIMEOUT_S)
    except InputError as error:
        text = str(error)
        for bad in ("unexpectedly", "crashed", "took longer"):
            assert bad not in text, text
        assert path.name in text, f"the error does not name the file: {text}"
        return text
    volumes = series.image.volumes if isinstance(series.image, VolumeSeries) else (series.image,)
    for volume in volumes:
        assert volume.frames.size
        assert np.isfinite(volume.frames).all()
        assert np.isfinite(volume.affine_lps).all()
        assert np.isfinite(volume.positions).all()
    return series


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DATA)))
def test_every_file_of_pydicom_is_read_or_refused_with_a_reason(pool: WorkerPool, path: Path) -> None:
    result = outcome(pool, path)
    if path.stem in IMAGES and path.suffix == ".dcm":
        assert isinstance(result, DicomSeries), result
    elif isinstance(result, DicomSeries):
        assert "PixelData" in pydicom.dcmread(path, force=True)


@pytest.mark.parametrize("name", MUTANTS)
def test_damaged_files_are_read_or_refused(pool: WorkerPool, name: str, tmp_path: Path) -> None:
    whole = (DATA / "test_files" / f"{name}.dcm").read_bytes()
    rng = np.random.default_rng(sum(name.encode()))
    refused = 0
    for k in range(MUTANTS_OF_EACH):
        data = bytearray(whole)
        if k % 5 == 0:
            del data[int(rng.integers(132, len(data))) :]
        # Half of the flips go to the header, where they do most.
        end = len(data) if k % 2 else min(len(data), 2000)
        for at in rng.integers(132, max(end, 133), rng.integers(1, 12)):
            if at < len(data):
                data[at] ^= int(rng.integers(1, 256))
        path = tmp_path / f"{name}_{k}.dcm"
        path.write_bytes(data)
        refused += isinstance(outcome(pool, path), str)
    assert 0 < refused < MUTANTS_OF_EACH
