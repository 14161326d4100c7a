# SPDX-License-Identifier: Apache-2.0
"""Write image arrays as valid DICOM: an MR (PS3.3 A.4) or CT (A.3) series and an ultrasound clip (A.7).

Everything written follows from the arguments: the same pixels for the same patient give the same UIDs
and the same bytes.
"""

import datetime
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    UltrasoundMultiFrameImageStorage,
)

IMPLEMENTATION_UID = UID("2.25.168391740237489315214390713519023461")
MANUFACTURER = "LesionLoop"
LOWEST_HU = -1024
LUNG_WINDOW_HU = (-600, 1500)
"""Centre and width."""


@dataclass(frozen=True)
class Subject:
    """Who and when; dates are written as given, nothing comes from the clock.

    Attributes:
        patient_id: also the seed of the frame of reference UID, so a patient's studies share one.
        study_date: of the study, the series and the acquisition.
        study_description: (0008,1030).
        series_description: (0008,103E).
    """

    patient_id: str
    study_date: datetime.date
    study_description: str = "Phantom"
    series_description: str = "Phantom"


def derived_uid(*parts: object) -> UID:
    """A UUID-derived UID (PS3.5 B.2, root 2.25) that depends on nothing but ``parts``."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big') | 1 << 127}")


def write_mr_series(
    volume: NDArray[np.uint16],
    folder: Path,
    subject: Subject,
    *,
    spacing_mm: tuple[float, float, float],
    origin_lps_mm: tuple[float, float, float],
) -> list[Path]:
    """One MR Image Storage file per axial frame.

    Args:
        volume: ``(T, H, W)`` uint16, x index to Left, y to Posterior, frames to Superior.
        folder: made if missing; the files are ``IM0001.dcm`` and on.
        subject: who and when.
        spacing_mm: (x, y, z) between voxel centres.
        origin_lps_mm: LPS centre of voxel (0, 0, 0).

    Returns:
        The files in frame order.

    Raises:
        ValueError: if the volume is not ``(T, H, W)`` uint16.
    """
    if volume.ndim != 3 or volume.dtype != np.uint16:
        raise ValueError(f"an MR series needs a (T, H, W) uint16 array, got {volume.dtype} of shape {volume.shape}")
    low, high = np.percentile(volume, (1, 99.5))
    window = round(float(low + high) / 2, 1), round(max(float(high - low), 1.0), 1)
    grid = spacing_mm, origin_lps_mm
    return _write_series(volume, Path(folder), subject, MRImageStorage, "MR", grid, window, _add_mr)


def write_ct_series(
    hu: NDArray[np.int16],
    folder: Path,
    subject: Subject,
    *,
    spacing_mm: tuple[float, float, float],
    origin_lps_mm: tuple[float, float, float],
) -> list[Path]:
    """One CT Image Storage file per axial frame; arguments as :func:`write_mr_series`.

    Args:
        hu: ``(T, H, W)`` int16 in Hounsfield units, not below -1024.
        folder: made if missing; the files are ``IM0001.dcm`` and on.
        subject: who and when.
        spacing_mm: (x, y, z) between voxel centres.
        origin_lps_mm: LPS centre of voxel (0, 0, 0).

    Raises:
        ValueError: if the volume is not such an array.
    """
    if hu.ndim != 3 or hu.dtype != np.int16 or hu.min(initial=0) < LOWEST_HU:
        raise ValueError(f"a CT series needs (T, H, W) int16 HU from {LOWEST_HU}, got {hu.dtype} of shape {hu.shape}")
    stored = (hu.astype(np.int32) - LOWEST_HU).astype(np.uint16)
    grid = spacing_mm, origin_lps_mm
    return _write_series(stored, Path(folder), subject, CTImageStorage, "CT", grid, LUNG_WINDOW_HU, _add_ct)


def _write_series(
    volume: NDArray[np.uint16],
    folder: Path,
    subject: Subject,
    storage: UID,
    modality: str,
    grid: tuple[tuple[float, float, float], tuple[float, float, float]],
    window: tuple[float, float],
    add_modality: Callable[[Dataset], None],
) -> list[Path]:
    """A file per axial frame of stored values; ``grid`` is spacing and origin, ``window`` centre and width."""
    folder.mkdir(parents=True, exist_ok=True)
    content = _digest(volume, *grid)
    paths = []
    for frame, pixels in enumerate(volume):
        dataset = _new_file(storage, derived_uid(subject.patient_id, subject.study_date, content, frame))
        _add_subject(dataset, subject, modality, content)
        dataset.InstanceNumber = frame + 1
        dataset.FrameOfReferenceUID = derived_uid(subject.patient_id, "frame of reference")
        dataset.PositionReferenceIndicator = ""
        _add_plane(dataset, frame, *grid)
        add_modality(dataset)
        _add_pixels(dataset, pixels, bits=16)
        dataset.WindowCenter, dataset.WindowWidth = window
        paths.append(_save(dataset, folder / f"IM{frame + 1:04d}.dcm"))
    return paths


def write_us_multiframe(
    frames: NDArray[np.uint8],
    path: Path,
    subject: Subject,
    *,
    frame_time_ms: float,
    pixel_spacing_mm: tuple[float, float],
) -> Path:
    """One Ultrasound Multi-frame Image Storage file with its frame time and region calibration.

    Args:
        frames: ``(T, H, W)`` uint8.
        path: the file; its folder is made if missing.
        subject: who and when.
        frame_time_ms: nominal time between frames, (0018,1063).
        pixel_spacing_mm: (x, y), written as the calibrated region (PS3.3 C.8.5.5), in cm there.

    Raises:
        ValueError: if the clip is not ``(T, H, W)`` uint8.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8:
        raise ValueError(f"an ultrasound clip needs a (T, H, W) uint8 array, got {frames.dtype} of {frames.shape}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _digest(frames, frame_time_ms, pixel_spacing_mm)
    uid = derived_uid(subject.patient_id, subject.study_date, content, "cine")
    dataset = _new_file(UltrasoundMultiFrameImageStorage, uid)
    _add_subject(dataset, subject, "US", content)
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    dataset.LossyImageCompression = "00"
    _add_region(dataset, frames.shape, pixel_spacing_mm)
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = _number(frame_time_ms)
    dataset.NumberOfFrames = len(frames)
    dataset.CineRate = max(1, round(1000 / frame_time_ms))
    dataset.EffectiveDuration = _number(frame_time_ms * len(frames) / 1000)
    _add_pixels(dataset, frames, bits=8)
    return _save(dataset, path)


def _digest(pixels: NDArray[np.generic], *geometry: object) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes())
    digest.update(repr((pixels.shape, geometry)).encode())
    return digest.hexdigest()


def _number(value: float) -> str:
    """A Decimal String of at most 16 bytes (PS3.5 6.2)."""
    return f"{value:.9g}"


def _numbers(values: Sequence[float]) -> list[str]:
    return [_number(value) for value in values]


def _new_file(sop_class: UID, sop_instance: UID) -> FileDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, sop_instance
    return dataset


def _add_subject(dataset: Dataset, subject: Subject, modality: str, content: str) -> None:
    """Patient, study, series and equipment modules (PS3.3 C.7.1 to C.7.5)."""
    date = subject.study_date.strftime("%Y%m%d")
    dataset.PatientName = f"Phantom^{subject.patient_id}"
    dataset.PatientID = subject.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyInstanceUID = derived_uid(subject.patient_id, date, "study")
    dataset.StudyID = date
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = date
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.StudyDescription, dataset.SeriesDescription = subject.study_description, subject.series_description
    dataset.Modality = modality
    dataset.SeriesInstanceUID = derived_uid(subject.patient_id, date, content, "series")
    dataset.SeriesNumber = 1
    dataset.Manufacturer = MANUFACTURER


def _add_plane(
    dataset: Dataset, frame: int, spacing_mm: tuple[float, float, float], origin_lps_mm: tuple[float, float, float]
) -> None:
    """Image plane (PS3.3 C.7.6.2): axial, rows to Left, columns to Posterior."""
    x, y, z = origin_lps_mm
    sx, sy, sz = spacing_mm
    dataset.PatientPosition, dataset.PatientOrientation = "HFS", ["L", "P"]
    dataset.PixelSpacing = _numbers((sy, sx))
    dataset.ImageOrientationPatient = _numbers((1, 0, 0, 0, 1, 0))
    dataset.ImagePositionPatient = _numbers((x, y, z + frame * sz))
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _number(sz)
    dataset.SliceLocation = _number(z + frame * sz)


def _add_mr(dataset: Dataset) -> None:
    """MR image (PS3.3 C.8.3.1): the values of a FLAIR at 1.5 T."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.AcquisitionNumber = 1
    dataset.ScanningSequence, dataset.SequenceVariant = ["SE", "IR"], "SK"
    dataset.ScanOptions, dataset.MRAcquisitionType = "", "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.InversionTime = "9000", "120", "2500"
    dataset.EchoTrainLength, dataset.MagneticFieldStrength = 16, "1.5"
    dataset.BodyPartExamined, dataset.LossyImageCompression = "HEAD", "00"


def _add_ct(dataset: Dataset) -> None:
    """CT image (PS3.3 C.8.2.1): stored values become HU by the rescale intercept."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber, dataset.KVP, dataset.ConvolutionKernel = 1, "120", "PHANTOM"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(LOWEST_HU), "1", "HU"
    dataset.BodyPartExamined, dataset.LossyImageCompression = "CHEST", "00"


def _add_region(dataset: Dataset, shape: tuple[int, ...], pixel_spacing_mm: tuple[float, float]) -> None:
    """US region calibration (PS3.3 C.8.5.5): one 2D tissue region over the whole frame, in cm per pixel."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = shape[2] - 1, shape[1] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = (spacing / 10 for spacing in pixel_spacing_mm)
    dataset.SequenceOfUltrasoundRegions = [region]


def _add_pixels(dataset: Dataset, pixels: NDArray[np.generic], bits: int) -> None:
    """Image pixel (PS3.3 C.7.6.3): one unsigned grey channel, little endian."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    data = pixels.astype(f"<u{bits // 8}").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"


def _save(dataset: FileDataset, path: Path) -> Path:
    dataset.save_as(path, write_like_original=False)
    return path
