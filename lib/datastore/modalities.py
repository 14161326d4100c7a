# SPDX-License-Identifier: Apache-2.0
"""Which DICOM modalities are images."""

from __future__ import annotations

# Defined terms of (0008,0060) for objects without pixels of a patient (PS3.3 C.7.3.1.1.1), and derived objects.
NO_IMAGES = frozenset(
    {
        *("SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "RTSEGANN", "REG", "FID", "AU", "ANN"),
        *("ASMT", "DOC", "ECG", "EPS", "HD", "KER", "LEN", "LS", "M3D", "PLAN", "POS", "RESP", "RWV", "SMR", "SRF"),
        *("STAIN", "VA", "VF"),
    }
)


def is_image(modality: str) -> bool:
    """Whether series of a modality are image sequences; one that is missing or unknown is given a try."""
    return modality.upper() not in NO_IMAGES
