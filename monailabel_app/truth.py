# SPDX-License-Identifier: Apache-2.0
"""What a model said about an image, set against what is truly there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .patients import Patient
from .roots import lib_module

if TYPE_CHECKING:
    from lib.configs import ModelConfig
    from lib.transforms.geometry import VolumeGeometry
    from lib.types import Box, Box3d

HIT_IOU = 0.1
"""3D overlap from which a found lesion counts as a true one; the FROC of the model card uses the same."""
NEIGHBOURS_26 = np.ones((3, 3, 3))
Volume = npt.NDArray[Any]


@dataclass(frozen=True)
class View:
    """An image as the models see it, with its truth.

    Attributes:
        patient: Whose image it is.
        frames: (T, H, W); of several channels the first that is there.
        geometry: Of the image file.
        truth: (T, H, W), non-zero in a lesion, or None.
        kind: What the frames are (``lib.types.SequenceKind``).
        modality: DICOM's; empty where the file does not say.
    """

    patient: Patient
    frames: Volume
    geometry: VolumeGeometry
    truth: Volume | None
    kind: str = "stack"
    modality: str = ""

    def suits(self, config: ModelConfig) -> bool:
        """Whether a model was made for such an image; where the file does not say its modality, that does not count.

        One that needs several images of a study was not: this is one of them.
        """
        misfit, needs = lib_module("transforms.load").misfit, config.input.required
        return bool(config.input.kind == self.kind and len(needs) < 2 and not misfit(self.modality, config.input))


@dataclass(frozen=True)
class Answer:
    """A model's answer about an image.

    Attributes:
        model: Its name.
        kind: Its type in ``/info/``.
        view: The image.
        params: The JSON parameters.
        mask: (T, H, W), or None when the model makes none.
        seconds: From the request to the answer, over HTTP.
        error: The server's message when it gave no result.
    """

    model: str
    kind: str
    view: View
    params: dict[str, Any]
    mask: Volume | None
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Score:
    """Lesions found, truly there, hit and false; volumes in ml and Dice for a mask. None: cannot be said."""

    found: int
    there: int | None = None
    hit: int | None = None
    false: int | None = None
    found_ml: float | None = None
    there_ml: float | None = None
    dice: float | None = None


def load_view(patient: Patient, config: ModelConfig) -> View:
    """Read an image and its truth.

    Raises:
        InputError: If one of them cannot be read, or the image is of another kind than the model's.
    """
    load = lib_module("transforms.load")
    study = load.load_study(patient.image, config.input)
    kind = study.sequence.kind
    truth = None if patient.truth is None else load.load_label(patient.truth, study.geometry, kind)
    shown = study.sequence.channel_present.index(True)
    return View(patient, study.sequence.frames[:, shown], study.geometry, truth, kind, study.modality)


def score(answer: Answer, min_volume_ml: float) -> Score:
    """Compare an answer with the truth.

    Args:
        answer: Without an error.
        min_volume_ml: True lesions smaller than this do not count, as the model does not report them either.
    """
    view = answer.view
    found = [tuple(f["box_lps_mm"]) for f in answer.params.get("findings", [])]
    voxel_ml = view.geometry.voxel_volume_ml
    found_ml = None if answer.mask is None else float((answer.mask > 0).sum()) * voxel_ml
    if view.truth is None:
        return Score(len(found), found_ml=found_ml)
    there = true_lesions(view, min_volume_ml)
    overlaps = box_overlaps(found, there) >= HIT_IOU
    return Score(
        found=len(found),
        there=len(there),
        hit=int(overlaps.any(axis=0).sum()),
        false=int((~overlaps.any(axis=1)).sum()),
        found_ml=found_ml,
        there_ml=float((view.truth > 0).sum()) * voxel_ml,
        dice=None if answer.mask is None else _dice(answer.mask > 0, view.truth > 0),
    )


def true_lesions(view: View, min_volume_ml: float) -> list[Box3d]:
    """LPS boxes of the truth's connected parts (26 neighbours)."""
    assert view.truth is not None  # the caller has looked
    parts, _ = ndimage.label(view.truth > 0, NEIGHBOURS_26)
    boxes = []
    for number, region in enumerate(ndimage.find_objects(parts), start=1):
        if (parts[region] == number).sum() * view.geometry.voxel_volume_ml >= min_volume_ml:
            boxes.append(_box_lps(region, view))
    return boxes


def _box_lps(region: tuple[slice, slice, slice], view: View) -> Box3d:
    frames, rows, columns = region
    outline: Box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    by_frame = {t: outline for t in range(frames.start, frames.stop)}
    box: Box3d = lib_module("transforms.geometry").box_lps(view.geometry.affine_lps, by_frame)
    return box


def box_overlaps(found: list[Box3d], there: list[Box3d]) -> npt.NDArray[np.floating[Any]]:
    """3D IoU of each found box with each true one, (found, there)."""
    from monai.data.box_utils import box_iou

    if not found or not there:
        return np.zeros((len(found), len(there)))
    return np.asarray(box_iou(np.asarray(found, float), np.asarray(there, float)))


def _dice(pred: Volume, truth: Volume) -> float | None:
    """Volume Dice; None when both are empty."""
    total = int(pred.sum()) + int(truth.sum())
    return 2.0 * float((pred & truth).sum()) / total if total else None
