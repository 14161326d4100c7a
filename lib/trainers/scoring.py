# SPDX-License-Identifier: Apache-2.0
"""How well a lesion network does on prepared cases: what chooses its epoch and decides whether it is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..configs import ModelConfig
from ..evaluation.candidates import predicted_frame_boxes, true_frame_boxes
from ..evaluation.probes import distance_from_end, lesion_areas
from ..metrics import Matches, average_precision, match_boxes
from ..prediction.predictor import Prediction, Predictor
from .cases import Case

BOX_IOU = 0.5
DICE, BOX_AP = "Dice", "box AP50"


def score_name(config: ModelConfig) -> str:
    """What :func:`validation_score` of a lesion model is: what the model is there for."""
    return BOX_AP if config.task == "detection" else DICE


def validation_score(
    network: nn.Module, cases: list[Case], config: ModelConfig, device: torch.device | str = "cpu"
) -> float | None:
    """The mean volume Dice of a model that outlines, the box AP at :data:`BOX_IOU` of one that boxes, in [0, 1].

    Args:
        network: A lesion net; afterwards in the mode that it was in.
        cases: Of validation patients.
        config: The model.
        device: Where to compute.

    Returns:
        None without cases, and for a model that boxes without any true box.
    """
    if not cases:
        return None
    if config.task == "segmentation":
        return float(np.mean(case_dices(network, cases, config, device)))
    training = network.training
    predictor = Predictor(config, network, device)
    scores = [score_sequence(predictor, case) for case in cases]
    network.train(training)
    return box_ap(scores)


def case_dices(
    network: nn.Module, cases: list[Case], config: ModelConfig, device: torch.device | str = "cpu"
) -> list[float]:
    """Volume Dice per case on the network's grid, all classes together; 1 when mask and prediction are both empty."""
    training = network.training
    predictor = Predictor(config, network, device)
    dices = []
    for case in cases:
        maps = predictor.maps(case.frames.astype(np.float32), channel_present=case.channel_present)
        predicted = (maps.mask >= config.inference.mask_threshold).cpu().numpy()
        truth = case.masks.astype(bool)
        total = int(predicted.sum()) + int(truth.sum())
        dices.append(1.0 if total == 0 else 2.0 * int((predicted & truth).sum()) / total)
    network.train(training)
    return dices


@dataclass(frozen=True)
class SequenceScores:
    """What the metrics need of one sequence, on the network's grid.

    Attributes:
        patient: Whose it is.
        frames: Boxes of each frame, matched at :data:`BOX_IOU`.
        distance: From the end of a lesion, (T,); see :func:`lib.evaluation.probes.distance_from_end`.
        area_px: Lesion pixels of each frame, (T,).
    """

    patient: str
    frames: tuple[Matches, ...]
    distance: npt.NDArray[np.intp]
    area_px: npt.NDArray[np.intp]

    @cached_property
    def matches(self) -> Matches:
        """Of all frames in one."""
        return joined_matches(self.frames)


def joined_matches(frames: Sequence[Matches]) -> Matches:
    """The matches of several frames in one, by class."""
    together: Matches = {}
    for c in sorted({c for frame in frames for c in frame}):
        parts = [frame[c] for frame in frames if c in frame]
        together[c] = {key: np.concatenate([part[key] for part in parts], axis=-1) for key in parts[0]}
    return together


def score_sequence(predictor: Predictor, case: Case) -> SequenceScores:
    """Predict a prepared sequence and match what is found with its masks, frame by frame.

    Args:
        predictor: The model.
        case: Frames and masks on the network's grid.
    """
    maps = predictor.maps(case.frames.astype(np.float32), channel_present=case.channel_present)
    mask = maps.mask.cpu().numpy()
    presence = mask.max(axis=(1, 2, 3)) if maps.presence is None else maps.presence.cpu().numpy()
    boxes = tuple(tuple(frame) for frame in predictor.decode_boxes(maps))
    found = predicted_frame_boxes(Prediction(mask, boxes, presence, None, None), predictor.config)
    truth = true_frame_boxes(case.masks.astype(bool))
    frames = tuple(match_boxes([f], [t], [BOX_IOU]) for f, t in zip(found, truth, strict=True))
    holds = case.masks.any(axis=(1, 2, 3))
    return SequenceScores(case.patient, frames, distance_from_end(holds), lesion_areas(case.masks))


def box_ap(sequences: Sequence[SequenceScores]) -> float | None:
    """Average precision of all boxes of all frames at :data:`BOX_IOU`; None without a true box."""
    return average_precision([sequence.matches for sequence in sequences], 0)
