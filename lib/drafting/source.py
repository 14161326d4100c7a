# SPDX-License-Identifier: Apache-2.0
"""What a report is written from: the lesion model's features of every frame, and the lesions that it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..configs import ModelConfig
from ..findings.lesions import OutlinedLesion, lesions_from_boxes, outlined_lesions
from ..followup.lesions import VisitFindings
from ..networks.lesion_net import POOLED_LEVELS, LesionNet, embed_frames
from ..prediction.predictor import Prediction, Predictor, frame_windows
from ..transforms.prepare import prepare
from ..types import Box3d, FloatArray, InputError, Sequence, Source
from ..weights.files import file_sha256
from .measured import brain_box


class Weights(Protocol):
    """Knows which weights are in service; see :class:`lib.weights.versions.VersionStore`."""

    def current(self) -> tuple[Path | None, str]:
        """Path of the safetensors file and its version; (None, "") when there are none yet."""


@dataclass(frozen=True)
class LesionSource:
    """The lesion model that reports are written from.

    Attributes:
        config: The model.
        weights: Says which weights are in service.
    """

    config: ModelConfig
    weights: Weights

    def current(self) -> tuple[Path, Source]:
        """The weights in service and what they are called.

        Raises:
            InputError: If there are none.
        """
        path, version = self.weights.current()
        name = self.config.name
        if path is None:
            raise InputError(f"reports are written from what model '{name}' finds, and it has no weights yet: train it")
        return path, Source(model=name, version=version, weights_sha256=file_sha256(path))


def source_of(config: ModelConfig, lesions: ModelConfig, weights: Weights) -> LesionSource:
    """The lesion model as a report model uses it.

    Args:
        config: The report model; its ``inference`` says from which score and volume a lesion is told.
        lesions: The lesion model.
        weights: Says which weights of the lesion model are in service.
    """
    score, volume_ml = config.inference.score_threshold, config.inference.min_volume_ml
    inference = replace(lesions.inference, score_threshold=score, min_volume_ml=volume_ml)
    return LesionSource(replace(lesions, inference=inference), weights)


def check_features(config: ModelConfig, source: ModelConfig) -> None:
    """Check that a lesion model gives what a report model reads.

    Raises:
        InputError: If it does not.
    """
    assert config.report is not None
    needed = config.report.network.image.features
    given = 2 * sum(source.network.channels[-POOLED_LEVELS:]) if source.network.name == "lesion_net" else 0
    if given != needed:
        raise InputError(
            f"model '{config.name}' reads {needed} features of each frame (report.network.image.features); "
            f"'{source.name}' ({source.network.name}) gives {given or 'none'}"
        )


@dataclass(frozen=True)
class SourceView:
    """A study as the lesion model sees it.

    Attributes:
        features: Of each frame, (T, F).
        found: The lesions, best first, on the study's frames, with their voxels where the model outlines them.
        prediction: What they were read off.
        brain_lps_mm: Box of the brain.
    """

    features: FloatArray
    found: VisitFindings
    prediction: Prediction
    brain_lps_mm: Box3d


def view_study(predictor: Predictor, sequence: Sequence, source: Source | None = None) -> SourceView:
    """Run the lesion model on a study.

    Args:
        predictor: Of the lesion model, with the thresholds that count.
        sequence: The study.
        source: What the findings say of where they come from; None for nothing.

    Raises:
        InputError: If the model is no lesion net, and so has no features of frames.
    """
    frames, grid = prepare(sequence, predictor.config.input)
    features = frame_features(predictor, frames, sequence.channel_present)
    prediction = predictor.restore(predictor.maps(frames, None, sequence.channel_present), grid)
    found = _found(predictor, prediction, sequence, source or Source())
    return SourceView(features, found, prediction, brain_box(sequence))


@torch.inference_mode()
def frame_features(predictor: Predictor, frames: FloatArray, channel_present: tuple[bool, ...] = ()) -> FloatArray:
    """Pooled maps of the lesion net's encoder, (T, F); see :func:`lib.networks.lesion_net.embed_frames`.

    Args:
        predictor: Of the lesion model.
        frames: Prepared for it, (T, C, h, w).
        channel_present: False for a channel that is missing, (C,); empty means that all are there.

    Raises:
        InputError: If the model is no lesion net.
    """
    network = predictor.network
    if not isinstance(network, LesionNet):
        raise InputError(
            f"model '{predictor.config.name}' has no features of frames to write a report from: "
            f"network.name is '{predictor.config.network.name}', needed is 'lesion_net'"
        )
    padded, parts = predictor.padded(frames), []
    for window in frame_windows(len(frames), predictor.config.inference.max_frames):
        x = padded[window].contiguous(memory_format=torch.channels_last)
        missing = None if all(channel_present) else torch.tensor([channel_present] * len(x), device=x.device)
        parts.append((window, embed_frames(network.encoder.encode(x, missing)[0]).float().cpu().numpy()))
    features = np.zeros((len(frames), parts[0][1].shape[1]), np.float32)
    for window, part in parts:
        features[window] = part
    return features


def _found(predictor: Predictor, prediction: Prediction, sequence: Sequence, source: Source) -> VisitFindings:
    if predictor.config.task == "detection":
        findings = lesions_from_boxes(prediction, sequence, predictor.config, source)
        return VisitFindings(sequence, tuple(findings))
    lesions = outlined_lesions(prediction, sequence, predictor.config, source)
    return VisitFindings(sequence, tuple(one.finding for one in lesions), instances_of(lesions, sequence))


def instances_of(lesions: Iterable[OutlinedLesion], sequence: Sequence) -> npt.NDArray[np.integer[Any]]:
    """The voxels of lesions, each with its finding's id, (T, H, W)."""
    instances = np.zeros((len(sequence.frames), *sequence.frames.shape[2:]), np.uint16)
    for lesion in lesions:
        instances[lesion.region][lesion.mask] = lesion.finding.id
    return instances
