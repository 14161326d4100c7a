# SPDX-License-Identifier: Apache-2.0
"""How fast DICOM is read, next to what MONAI and SimpleITK do with the same files in the same run."""

from __future__ import annotations

import datetime
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from monai.data import ITKReader
from monai.transforms import LoadImage
from pydicom import dcmread

from ..roots import lib_module

OURS = "lesionloop"
MONAI = "MONAI LoadImage(ITKReader)"
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class ReadingBenchmark:
    """Median times of reading one series.

    Attributes:
        n_slices: Slices in the series.
        size: Rows and columns of each.
        seconds: By reader, the median over the repeats.
    """

    n_slices: int
    size: int
    seconds: dict[str, float]

    @property
    def slices_per_s(self) -> dict[str, float]:
        """By reader."""
        return {reader: self.n_slices / seconds for reader, seconds in self.seconds.items()}

    @property
    def ratio(self) -> float:
        """How many times as fast as MONAI's reader ours is."""
        return self.seconds[MONAI] / self.seconds[OURS]


def benchmark_reading(n_slices: int = 200, size: int = 512, repeats: int = 5) -> ReadingBenchmark:
    """Time reading a series of uncompressed slices of 16 bits, from files to an array.

    The readers take turns, so that what else the machine does slows all of them. A first round, which also brings
    the files into memory and loads the libraries, does not count.

    Args:
        n_slices: Slices of the series; it is made in a temporary folder.
        size: Rows and columns of each.
        repeats: Rounds that count.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = _write_series(Path(folder), n_slices, size)
        readers = _readers(Path(folder), files)
        times: dict[str, list[float]] = {name: [] for name in readers}
        for round_ in range(repeats + 1):
            for name, read in readers.items():
                start = time.perf_counter()
                read()
                if round_:
                    times[name].append(time.perf_counter() - start)
    return ReadingBenchmark(n_slices, size, {name: statistics.median(values) for name, values in times.items()})


def _write_series(folder: Path, n_slices: int, size: int) -> list[Path]:
    """Slices of noise, 1 mm apart; all headers but the first are copies with their own place and UID."""
    writer = lib_module("dicom.write")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4096, (1, size, size), dtype=np.uint16)
    subject = writer.Subject("BENCHMARK", datetime.date(2024, 1, 1))
    (first,) = writer.write_mr_series(
        pixels, folder, subject, spacing_mm=(0.7, 0.7, 1.0), origin_lps_mm=(0.0, 0.0, 0.0)
    )
    dataset = dcmread(first)
    files = [first]
    for index in range(1, n_slices):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = writer.derived_uid("benchmark", index)
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [0, 0, index]
        dataset.PixelData = rng.integers(0, 4096, (size, size), dtype=np.uint16).tobytes()
        files.append(folder / f"IM{index + 1:04d}.dcm")
        dataset.save_as(files[-1])
    return files


def _readers(folder: Path, files: list[Path]) -> dict[str, Callable[[], object]]:
    read_series = lib_module("dicom.series").read_series
    read_isolated = lib_module("dicom.worker").read_series_isolated
    monai = LoadImage(reader=ITKReader(), image_only=True)
    return {
        OURS: lambda: read_series(files),
        f"{OURS}, isolated worker": lambda: read_isolated(files, _TIMEOUT_S),
        MONAI: lambda: monai(folder),
        "MONAI ITKReader without LoadImage": lambda: _itk_reader(folder),
        "SimpleITK": lambda: _simple_itk(folder),
        "pydicom alone, unsorted": lambda: [dcmread(file).pixel_array for file in files],
    }


def _itk_reader(folder: Path) -> object:
    reader = ITKReader()
    return reader.get_data(reader.read(folder))


def _simple_itk(folder: Path) -> object:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())
