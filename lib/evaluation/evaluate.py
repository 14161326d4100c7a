# SPDX-License-Identifier: Apache-2.0
"""A model judged on labelled studies: per case, pooled, and with intervals over patients."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..classification.calibration import Calibration
from ..configs import ModelConfig
from ..findings.lesions import find_lesions
from ..metrics import (
    RESAMPLES,
    Interval,
    Matches,
    average_precision,
    bootstrap_ci,
    froc,
    match_boxes,
    mean_ci,
    slice_auc,
    volume_dice,
)
from ..prediction.predictor import Prediction, Predictor
from ..registry import build_network
from ..studies import CaseRef, find_labelled
from ..transforms.geometry import VolumeGeometry
from ..transforms.load import load_label, load_sequence
from ..types import Finding, InputError, MaskArray, Sequence, Source
from ..weights.files import file_sha256, load_weights, read_metadata
from .candidates import (
    finding_boxes,
    predicted_frame_boxes,
    predicted_lesions,
    predicted_mask,
    true_frame_boxes,
    true_lesions,
)
from .classes import CaseClasses, case_classes, class_summary

logger = logging.getLogger(__name__)
FRAME_IOUS = (0.1, 0.3, 0.5)
LESION_IOU = 0.1
DIGITS = 6

Progress = Callable[[int, int, str], None]
"""Called after each study with how many are done, how many there are, and the image id."""


@dataclass(frozen=True)
class CaseScores:
    """Everything of one study that the metrics need; pooled numbers and resamples are computed from these.

    Attributes:
        image: Image id.
        patient: Whose study it is.
        dice: Volume Dice on the original grid.
        presence: Predicted probability that a frame holds a lesion, (T,).
        holds_lesion: Whether it does, (T,).
        frame_matches: Boxes per frame, matched at :data:`FRAME_IOUS`.
        lesion_matches: All 3D lesions, matched at :data:`LESION_IOU`.
        lesions_true: Number of true 3D lesions.
        lesions_found: How many of them the model reports.
        false_positive_slices: Frames without a lesion on which the model reports one.
        volume_true_ml: Volume of the true mask; None where the frames are not slices of a volume.
        volume_pred_ml: Volume of the reported mask, or None.
        seconds: Reading the image, predicting and reading off the lesions.
        classes: What is said of the classes of the lesions; None with one class.
    """

    image: str
    patient: str
    dice: float
    presence: npt.NDArray[np.float32]
    holds_lesion: npt.NDArray[np.bool_]
    frame_matches: Matches
    lesion_matches: Matches
    lesions_true: int
    lesions_found: int
    false_positive_slices: int
    volume_true_ml: float | None
    volume_pred_ml: float | None
    seconds: float
    classes: CaseClasses | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``presence`` and ``lesion_frames`` let a comparison recompute the pooled slice AUC."""
        return {
            "image": self.image,
            "patient": self.patient,
            "dice": _rounded(self.dice),
            "slice_auc": _rounded(slice_auc(self.presence, self.holds_lesion)),
            "lesions_true": self.lesions_true,
            "lesions_found": self.lesions_found,
            "false_positive_slices": self.false_positive_slices,
            "volume_true_ml": _rounded(self.volume_true_ml),
            "volume_pred_ml": _rounded(self.volume_pred_ml),
            "seconds": round(self.seconds, 3),
            "presence": [round(float(p), DIGITS) for p in self.presence],
            "lesion_frames": np.flatnonzero(self.holds_lesion).tolist(),
            **({} if self.classes is None else {"lesion_classes": self.classes.to_json()}),
        }


def evaluate_model(
    config: ModelConfig,
    weights_path: Path | None,
    version: str,
    studies: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Run a model on every labelled study of a folder and judge it; docs/reference/metrics.md defines each number.

    Args:
        config: The model.
        weights_path: Its weights.
        version: Their version, as it goes into the result.
        studies: MONAI Label studies folder with masks in ``labels/final``.
        device: Where the network runs.
        progress: Told after each study.
        resamples: Bootstrap resamples behind each interval.

    Returns:
        Plain JSON values; a number that is undefined on these studies is None.

    Raises:
        InputError: If there are no weights, no labelled studies, or one of them cannot be read.
    """
    if weights_path is None:
        raise InputError(f"model '{config.name}' has no weights in service yet; train it or name a weights file")
    refs = find_labelled(studies)
    network = build_network(config)
    load_weights(network, weights_path)
    calibration = Calibration.from_json(read_metadata(weights_path).get("calibration"))
    predictor = Predictor(config, network, device, calibration)
    cases = []
    for i, ref in enumerate(refs, start=1):
        cases.append(evaluate_study(predictor, ref))
        if progress is not None:
            progress(i, len(refs), ref.image_id)
    facts = {"model": config.name, "version": version, "weights_sha256": file_sha256(weights_path)}
    return {**facts, **summarise(cases, resamples)}


def evaluate_study(predictor: Predictor, ref: CaseRef, channels: Collection[str] | None = None) -> CaseScores:
    """Predict one study and compare it with its mask.

    Args:
        predictor: The model.
        ref: The study.
        channels: Names of the image channels that the model may see; None for all.

    Raises:
        InputError: If the image or its mask cannot be read, or it has none of the channels.
    """
    config = predictor.config
    began = time.perf_counter()
    sequence, geometry = load_sequence(ref.image, config.input)
    if channels is not None:
        present = zip(sequence.channel_present, config.input.channels, strict=True)
        sequence = replace(sequence, channel_present=tuple(there and name in channels for there, name in present))
        if not any(sequence.channel_present):
            raise InputError(f"{ref.image_id}: it has none of the channels {', '.join(channels)}")
    prediction = predictor.predict(sequence)
    labelmap, findings = find_lesions(prediction, sequence, config, Source())
    seconds = time.perf_counter() - began
    truth = _true_masks(ref, geometry, len(config.labels))
    return score_case(ref, sequence, prediction, (labelmap, findings), truth, config, seconds)


def score_case(
    ref: CaseRef,
    sequence: Sequence,
    prediction: Prediction,
    reported: tuple[MaskArray | None, list[Finding]],
    truth: npt.NDArray[np.bool_],
    config: ModelConfig,
    seconds: float,
) -> CaseScores:
    """Compare a prediction and what was reported from it with the true masks.

    Args:
        ref: Which study.
        sequence: What was predicted.
        prediction: In original pixels.
        reported: Labelmap and findings, as :func:`lib.findings.lesions.find_lesions` returns them.
        truth: (T, K, H, W).
        config: The model.
        seconds: What the prediction took.
    """
    labelmap, findings = reported
    mask = _reported_masks(labelmap, prediction, config)
    holds_lesion = truth.any(axis=(1, 2, 3))
    lesions = true_lesions(truth)
    boxes, candidates = finding_boxes(findings, config), predicted_lesions(prediction, findings, sequence, config)
    found = match_boxes([boxes], [lesions], [LESION_IOU])
    marked = np.zeros(len(truth), bool)
    marked[[t for finding in findings for t in finding.boxes]] = True
    voxel_ml = sequence.voxel_volume_ml
    return CaseScores(
        image=ref.image_id,
        patient=ref.patient,
        dice=volume_dice(mask, truth),
        presence=np.asarray(prediction.presence, np.float32),
        holds_lesion=holds_lesion,
        frame_matches=match_boxes(predicted_frame_boxes(prediction, config), true_frame_boxes(truth), FRAME_IOUS),
        lesion_matches=match_boxes([candidates], [lesions], [LESION_IOU]),
        lesions_true=len(lesions.scores),
        lesions_found=int(sum(part["dtMatches"].sum() for part in found.values())),
        false_positive_slices=int((marked & ~holds_lesion).sum()),
        volume_true_ml=float(truth.any(axis=1).sum()) * voxel_ml if voxel_ml is not None else None,
        volume_pred_ml=float(mask.any(axis=1).sum()) * voxel_ml if voxel_ml is not None else None,
        seconds=seconds,
        classes=case_classes(findings, boxes, candidates, lesions, (mask, truth), config.class_names, LESION_IOU),
    )


def _true_masks(ref: CaseRef, geometry: VolumeGeometry, n_classes: int) -> npt.NDArray[np.bool_]:
    """(T, K, H, W); values that are no class of the model are background, and the log says so."""
    label = load_label(ref.label, geometry)
    if label.max(initial=0) > n_classes:
        logger.warning("%s: values above %d are no class of the model and count as background", ref.label, n_classes)
    return np.stack([label == value for value in range(1, n_classes + 1)], axis=1)


def _reported_masks(labelmap: MaskArray | None, prediction: Prediction, config: ModelConfig) -> npt.NDArray[np.bool_]:
    """The labelmap by class, (T, K, H, W); of a detection model, which reports none, its mask head's."""
    if labelmap is None:
        return predicted_mask(prediction.mask, config.inference)
    return np.stack([labelmap == value for value in range(1, len(config.labels) + 1)], axis=1)


def summarise(cases: list[CaseScores], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Pool cases into the numbers of a model, with 95 % intervals over patients.

    Args:
        cases: At least one.
        resamples: Bootstrap resamples behind each interval.
    """
    patients = list(dict.fromkeys(case.patient for case in cases))
    groups = [[case for case in cases if case.patient == patient] for patient in patients]
    dices = np.array([np.mean([case.dice for case in group]) for group in groups])
    return {
        "n": len(patients),
        "n_studies": len(cases),
        "dice": _rounded(dices.mean()),
        "dice_ci95": _interval(mean_ci(dices, resamples)),
        "slice_auc": _rounded(_pooled_auc(cases)),
        "slice_auc_ci95": _pooled_ci(groups, _pooled_auc, resamples),
        **{f"ap{iou * 100:.0f}": _rounded(_pooled_ap(cases, i)) for i, iou in enumerate(FRAME_IOUS)},
        "ap30_ci95": _pooled_ci(groups, lambda sample: _pooled_ap(sample, FRAME_IOUS.index(0.3)), resamples),
        "froc": _rounded(_pooled_froc(cases)),
        "froc_ci95": _pooled_ci(groups, _pooled_froc, resamples),
        "false_positive_slices_per_volume": _rounded(np.mean([case.false_positive_slices for case in cases])),
        **class_summary([[case.classes for case in group] for group in groups], resamples),
        "seconds_per_case": round(float(np.mean([case.seconds for case in cases])), 3),
        "cases": [case.to_json() for case in cases],
    }


def _pooled_auc(cases: list[CaseScores]) -> float | None:
    presence = np.concatenate([case.presence for case in cases])
    return slice_auc(presence, np.concatenate([case.holds_lesion for case in cases]))


def _pooled_ap(cases: list[CaseScores], threshold: int) -> float | None:
    return average_precision([case.frame_matches for case in cases], threshold)


def _pooled_froc(cases: list[CaseScores]) -> float | None:
    return froc([case.lesion_matches for case in cases])


def _pooled_ci(
    groups: list[list[CaseScores]], statistic: Callable[[list[CaseScores]], float | None], resamples: int
) -> list[float] | None:
    """Interval of a pooled number; a patient drawn twice comes in twice with all studies."""

    def resampled(index: npt.NDArray[np.intp]) -> float | None:
        return statistic([case for i in index for case in groups[i]])

    return _interval(bootstrap_ci(len(groups), resampled, resamples))


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(value, DIGITS) for value in interval]


def _rounded(value: float | np.floating[Any] | None) -> float | None:
    return None if value is None else round(float(value), DIGITS)
