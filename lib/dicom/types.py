# SPDX-License-Identifier: Apache-2.0
"""What reading a DICOM series gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..types import FloatArray, Sequence, VolumeSeries


@dataclass(frozen=True)
class SeriesFacts:
    """Who, when and what of a series; "" where the files do not say.

    Attributes:
        patient_id: (0010,0020).
        study_instance_uid: (0020,000D).
        series_instance_uid: (0020,000E).
        sop_class_uid: (0008,0016) of its instances.
        modality: (0008,0060).
        study_date: (0008,0020), YYYYMMDD.
        study_time: (0008,0030), HHMMSS.
        series_description: (0008,103E).
        series_number: (0020,0011).
        frame_of_reference_uid: (0020,0052).
        manufacturer: (0008,0070).
    """

    patient_id: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_class_uid: str = ""
    modality: str = ""
    study_date: str = ""
    study_time: str = ""
    series_description: str = ""
    series_number: str = ""
    frame_of_reference_uid: str = ""
    manufacturer: str = ""


@dataclass(frozen=True)
class DicomSeries:
    """A series as it was read.

    Attributes:
        image: A stack or cine, or a dynamic series of stacks.
        facts: Who, when and what.
        files: The file of each SOP Instance UID that the image uses.
        problems: What the reader noticed and what it did about it, a sentence each (missing slices, gantry tilt ...).
        brightness: Of a radiograph, as :func:`lib.dicom.pixels.voi.brightness_of` gives it; None where the file does
            not say, and of other images.
    """

    image: Sequence | VolumeSeries
    facts: SeriesFacts
    files: dict[str, Path]
    problems: tuple[str, ...] = ()
    brightness: FloatArray | None = None
