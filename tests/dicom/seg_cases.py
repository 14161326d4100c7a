# SPDX-License-Identifier: Apache-2.0
"""Series that are made or found on disk, in the form the DICOM reader gives them, for the tests of SEG."""

import datetime
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from lib.dicom.types import DicomSeries, SeriesFacts
from lib.dicom.write import Subject, derived_uid, write_mr_series, write_us_multiframe
from lib.types import Sequence, SequenceKind, Source, VolumeSeries

SUBJECT = Subject("P1", datetime.date(2024, 1, 2))
MODEL = Source("mr_lesion_segmentation", "v0003", "ab" * 32)
READER = Source(author="Lovelace^Ada")


def stack_of(paths: list[Path]) -> DicomSeries:
    """Single-frame images with positions: sorted along the normal, true origins kept where they are uneven."""
    headers = sorted(((dcmread(p, stop_before_pixels=True), p) for p in paths), key=lambda pair: _place(pair[0]))
    first = headers[0][0]
    origins = np.array([header.ImagePositionPatient for header, _ in headers], float)
    places = np.array([_place(header) for header, _ in headers])
    steps = np.diff(origins, axis=0)
    even = len(headers) == 1 or np.allclose(steps, steps[0], atol=1e-3)
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    affine = np.eye(4)
    spacing = float(first.PixelSpacing[1]), float(first.PixelSpacing[0])
    affine[:3, 0], affine[:3, 1], affine[:3, 3] = row * spacing[0], column * spacing[1], origins[0]
    affine[:3, 2] = steps.mean(axis=0) if len(headers) > 1 else np.cross(row, column)
    uids = tuple(str(header.SOPInstanceUID) for header, _ in headers)
    image = Sequence(
        frames=np.zeros((len(headers), 1, first.Rows, first.Columns), np.float32),
        kind=SequenceKind.STACK,
        positions=tuple(places - places[0]),
        spacing_mm=spacing,
        affine_lps=affine,
        sop_instance_uids=uids,
        frame_numbers=(1,) * len(uids),
        origins_lps_mm=None if even else origins,
    )
    return DicomSeries(image, _facts(first), dict(zip(uids, (path for _, path in headers), strict=True)))


def _place(header: Dataset) -> float:
    row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    return float(np.cross(row, column) @ np.array(header.ImagePositionPatient, float))


def _facts(header: Dataset) -> SeriesFacts:
    return SeriesFacts(
        series_instance_uid=str(header.SeriesInstanceUID), frame_of_reference_uid=str(header.get("FrameOfReferenceUID"))
    )


def mr_stack(folder: Path, shape: tuple[int, int, int] = (5, 20, 24)) -> DicomSeries:
    volume = np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)
    paths = write_mr_series(volume, folder, SUBJECT, spacing_mm=(0.9, 0.8, 5), origin_lps_mm=(-100, -90.5, 10.25))
    return stack_of(paths)


def changed_stack(folder: Path, change: dict[str, object], positions: list[list[float]] | None = None) -> DicomSeries:
    """The MR stack with other header values, and other positions."""
    paths = list(mr_stack(folder).files.values())
    for index, path in enumerate(paths):
        dataset = dcmread(path)
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
        if positions is not None:
            dataset.ImagePositionPatient = positions[index]
        dataset.save_as(path)
    return stack_of(paths)


def cine_of(path: Path) -> DicomSeries:
    header = dcmread(path, stop_before_pixels=True)
    count, uid = int(header.NumberOfFrames), str(header.SOPInstanceUID)
    image = Sequence(
        frames=np.zeros((count, 1, header.Rows, header.Columns), np.float32),
        kind=SequenceKind.CINE,
        positions=tuple(0.033 * t for t in range(count)),
        spacing_mm=(0.3, 0.3),
        affine_lps=np.diag([0.3, 0.3, 1.0, 1.0]),
        sop_instance_uids=(uid,) * count,
        frame_numbers=tuple(range(1, count + 1)),
    )
    return DicomSeries(image, _facts(header), {uid: path})


def us_cine(folder: Path) -> DicomSeries:
    clip = np.random.default_rng(1).integers(0, 255, (7, 15, 17)).astype(np.uint8)
    path = folder / "us.dcm"
    return cine_of(write_us_multiframe(clip, path, SUBJECT, frame_time_ms=33, pixel_spacing_mm=(0.3, 0.3)))


def enhanced_mr(path: Path, times: int, slices: int = 4) -> DicomSeries:
    """One Enhanced MR file, its frames stored by slice, last slice first, and by time within a slice."""
    places = [(time, slice_) for slice_ in reversed(range(slices)) for time in range(times)]
    dataset = dcmread(next(iter(mr_stack(path.parent / "plain", (1, 10, 12)).files.values())))
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset.SliceThickness
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(places)
    dataset.PixelData = dataset.PixelData * len(places)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.9], 4
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], []
    for time, slice_ in places:
        group, plane, content = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = [-5.0 * slice_, 1, 2]  # the normal points to the right
        content.TemporalPositionIndex = time + 1
        group.PlanePositionSequence, group.FrameContentSequence = [plane], [content]
        dataset.PerFrameFunctionalGroupsSequence.append(group)
    dataset.save_as(path)
    affine = np.array([[0, 0, -5.0, 0], [0.9, 0, 0, 1], [0, -0.8, 0, 2], [0, 0, 0, 1]])
    uid = str(dataset.SOPInstanceUID)
    volumes = tuple(
        Sequence(
            frames=np.zeros((slices, 1, 10, 12), np.float32),
            kind=SequenceKind.STACK,
            positions=tuple(5.0 * s for s in range(slices)),
            spacing_mm=(0.9, 0.8),
            affine_lps=affine,
            sop_instance_uids=(uid,) * slices,
            frame_numbers=tuple(places.index((time, s)) + 1 for s in range(slices)),
        )
        for time in range(times)
    )
    image = VolumeSeries(SequenceKind.DYNAMIC, volumes, tuple(map(float, range(times)))) if times > 1 else volumes[0]
    return DicomSeries(image, _facts(dataset), {uid: path})


def dynamic_mr(folder: Path, times: int = 3, slices: int = 8) -> DicomSeries:
    """Single-frame images of the same slices at several times."""
    parts = []
    for time in range(times):
        part = mr_stack(folder / str(time), (slices, 9, 11))
        files = {}
        for number, path in enumerate(part.files.values()):
            dataset = dcmread(path)
            dataset.SOPInstanceUID = derived_uid("dynamic", time, number)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(path)
            files[str(dataset.SOPInstanceUID)] = path
        parts.append(stack_of(list(files.values())))
    image = VolumeSeries(SequenceKind.DYNAMIC, tuple(p.image for p in parts), tuple(map(float, range(times))))
    return DicomSeries(image, parts[0].facts, {uid: path for part in parts for uid, path in part.files.items()})


def random_mask(shape: tuple[int, int, int], values: tuple[int, ...], seed: int = 2) -> np.ndarray:
    """Blocks of each value on some frames, background on others."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for value in values:
        for t in rng.choice(shape[0], max(1, shape[0] // 2), replace=False):
            y, x = rng.integers(0, shape[1] - 3), rng.integers(0, shape[2] - 4)
            mask[t, y : y + 3, x : x + 4] = value
    return mask
