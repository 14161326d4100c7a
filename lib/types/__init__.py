# SPDX-License-Identifier: Apache-2.0
"""The data contract: what a sequence, a finding and a report are. Shapes are named here once.

Shape letters: B batch, T frames, C channels, K lesion classes, H rows, W columns (pixels).
Coordinates: pixels are ``(x, y)`` = (column, row); millimetres are DICOM patient coordinates (LPS: x to the
patient's left, y to posterior, z to superior; DICOM PS3.3 C.7.6.2.1.1).
"""

from .errors import InputError
from .finding import Box, Box3d, Finding, Measurement, Source
from .report import Report, ReportStatus, Sentence
from .sequence import POSITION_UNITS, FloatArray, MaskArray, Sequence, SequenceKind, VolumeSeries, volumes_of

__all__ = [
    "POSITION_UNITS",
    "Box",
    "Box3d",
    "Finding",
    "FloatArray",
    "InputError",
    "MaskArray",
    "Measurement",
    "Report",
    "ReportStatus",
    "Sentence",
    "Sequence",
    "SequenceKind",
    "Source",
    "VolumeSeries",
    "volumes_of",
]
