# SPDX-License-Identifier: Apache-2.0
"""A served model opened as a stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..configs import ModelConfig
from ..prediction.predictor import Predictor
from ..prediction.stream_input import stream_input
from ..prediction.streaming import FrameStream, require_streaming
from ..types import Source
from .predictors import PredictorCache
from .requests import Request, requested_device, thresholds

MODEL_KEYS = ("device", "mask_threshold", "score_threshold")


def open_stream(
    model: ModelConfig, predictors: PredictorCache[Predictor], weights: tuple[Path, Source], request: Request
) -> FrameStream:
    """Open a stream; weights that are published later do not change it.

    Args:
        model: The model.
        predictors: Its networks.
        weights: The weights in service.
        request: What :class:`lib.prediction.stream_input.StreamInput` names, and :data:`MODEL_KEYS`.

    Raises:
        InputError: If the model is not forward-only, or a value of the request cannot be used.
    """
    require_streaming(model)
    chosen = {key: request[key] for key in MODEL_KEYS if key in request}
    given = stream_input({key: value for key, value in request.items() if key not in chosen})
    config = replace(model, inference=thresholds(chosen, model.inference))
    path, source = weights
    return FrameStream(predictors.get(requested_device(chosen), path), config, given, source)
