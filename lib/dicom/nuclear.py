# SPDX-License-Identifier: Apache-2.0
"""Reconstructed nuclear medicine tomography: slices in one multi-frame object without functional groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset

from .headers import decimals_of, frame_count, raw_of, text_of
from .planes import Plane, normal_of, plane_of


def is_tomographic(dataset: Dataset) -> bool:
    """Whether the frames are reconstructed slices (PS3.3 C.8.4.9: Image Type value 3) with a place in the patient."""
    if frame_count(dataset) < 2 or "RECON" not in text_of(dataset, "ImageType"):
        return False
    return decimals_of(_detector(dataset), "ImagePositionPatient", 3) is not None


def slices_of(dataset: Dataset) -> list[Plane]:
    """The planes of a reconstruction.

    The detector has the place of the first slice (C.8.4.11), the others follow at Spacing Between Slices, which is
    negative where they go against the normal (C.8.4.15). Gated ones repeat at each position.
    """
    detector = _detector(dataset)
    placed = Dataset()
    for source in (dataset, detector):
        placed.update(source)
    first = replace(plane_of(placed), dataset=dataset)
    step = decimals_of(dataset, "SpacingBetweenSlices", 1) or decimals_of(dataset, "SliceThickness", 1) or (1.0,)
    number = dataset.get("SliceVector") or range(1, frame_count(dataset) + 1)
    origin = np.array(first.position)
    return [
        replace(
            first,
            frame=frame,
            number=str(frame + 1),
            position=tuple(map(float, origin + normal_of(first) * step[0] * (int(index) - 1))),
        )
        for frame, index in enumerate(number)
    ]


def _detector(dataset: Dataset) -> Dataset:
    if not raw_of(dataset, "DetectorInformationSequence"):
        return Dataset()
    return dataset.DetectorInformationSequence[0]
