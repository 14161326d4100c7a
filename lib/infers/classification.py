# SPDX-License-Identifier: Apache-2.0
"""Inference task for the class of a study: an image of the store in, JSON parameters out, no file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monailabel.interfaces.tasks.infer_v2 import InferType
from torch import nn

from ..classification.calibration import Calibration
from ..configs import ModelConfig
from ..networks.clip_net import ClipNet
from ..prediction.clip_predictor import ClipPrediction, ClipPredictor
from ..transforms.channels import check_required
from ..transforms.load import load_study, misfit
from ..transforms.orient import off_in_files
from ..types import FloatArray, InputError, Sequence, Source
from ..weights.files import read_metadata
from .explained import explained
from .predictors import PredictorCache, Stopwatch
from .requests import Request, flag, requested_device, whole_number
from .served import ServedModel, Weights

logger = logging.getLogger(__name__)


class Classification(ServedModel):
    """Says which class a study is of, how sure that is, and when it is not.

    Args:
        config: The model.
        weights: Says which weights are in service.
    """

    infer_type = InferType.CLASSIFICATION

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        super().__init__(config, weights)
        self._predictors = PredictorCache(config, calibrated_predictor)

    def __call__(self, request: Request) -> tuple[str | None, dict[str, Any]]:
        """Classify an image.

        Args:
            request: ``image`` (path of a file or a DICOM folder); optional ``time_point`` and ``part`` (which volume or
                images of one that has several), ``device``, ``explain`` (say why, with a heatmap:
                :func:`lib.infers.explained.explained`), and ``logging`` (``WARNING`` keeps the request out of the log).

        Returns:
            No file, and the parameters: ``study`` (probability by class, calibrated), ``possible`` (the classes that
            cannot be left out), ``sure`` (there is one such class and no more), ``answer`` (its name; "" when not
            sure), ``prediction`` (MONAI Label's form of ``study``), ``frame_study`` (probability by class on each
            frame), attention per frame, calibration, model, version, weights_sha256, n_frames, kind, positions,
            position_unit, sop_instance_uids, frame_numbers, time_point and part as asked for, warnings about the image,
            latencies in s.

        Raises:
            InputError: If the image or a parameter cannot be used, or the model has no weights yet.
        """
        clock = Stopwatch()
        device = requested_device(request)
        image = request.get("image")
        if not isinstance(image, str) or not image:
            raise InputError("request key 'image' must be the path of an image")
        time_point, part = whole_number(request, "time_point"), request.get("part") or None
        why = flag(request, "explain", False)
        path, source = self.current()
        with clock.lap("read"):
            study = load_study(Path(image), self._model.input, time_point, part)
            check_required(study.sequence, self._model.input)
        with clock.lap("infer"):
            predictor = self._predictors.get(device, path)
            prediction = predictor.predict(study.sequence)
        params = self._params(prediction, predictor.calibration, study.sequence, source)
        params |= {"time_point": time_point, "part": part}
        unusual = (*misfit(study.modality, self._model.input), *off_in_files(study.sequence))
        params["warnings"] = [*study.problems, *unusual]
        if why:
            with clock.lap("explain"):
                label = self._model.class_names[int(prediction.probabilities.argmax())]
                params["explain"] = explained(predictor, study, [], label=label)
        params["latencies"] = clock.latencies()
        if str(request.get("logging", "INFO")).upper() in ("INFO", "DEBUG"):
            answer = params["answer"] or f"not sure between {params['possible']}"
            logger.info("%s: %s, latencies in s %s", self._model.name, answer, params["latencies"])
        return None, params

    def _params(
        self, prediction: ClipPrediction, calibration: Calibration, sequence: Sequence, source: Source
    ) -> dict[str, Any]:
        names = self._model.class_names
        possible = [name for name, there in zip(names, prediction.possible, strict=True) if there]
        scores = _rounded(prediction.probabilities)
        return {
            "label_names": dict(self._model.labels),
            "study": dict(zip(names, scores, strict=True)),
            "prediction": [{"idx": i, "label": name, "score": scores[i]} for i, name in enumerate(names)],
            "possible": possible,
            "sure": prediction.sure,
            "answer": possible[0] if prediction.sure else "",
            "frame_study": {name: _rounded(prediction.frame_probabilities[:, i]) for i, name in enumerate(names)},
            "attention": _rounded(prediction.attention),
            "calibration": calibration.to_json(),
            "findings": [],
            "model": source.model,
            "version": source.version,
            "weights_sha256": source.weights_sha256,
            "n_frames": len(sequence.frames),
            "kind": sequence.kind.value,
            "positions": _rounded(np.asarray(sequence.positions)),
            "position_unit": sequence.position_unit,
            "sop_instance_uids": list(sequence.sop_instance_uids),
            "frame_numbers": list(sequence.frame_numbers),
        }


def calibrated_predictor(config: ModelConfig, network: nn.Module, device: torch.device, path: Path) -> ClipPredictor:
    """A predictor with the calibration that its weights' header holds.

    Raises:
        InputError: If the calibration cannot be used.
    """
    calibration = Calibration.from_json(read_metadata(path).get("calibration"))
    return ClipPredictor(config, cast(ClipNet, network), device, calibration)


def _rounded(values: FloatArray) -> list[float]:
    return [round(float(v), 4) for v in values]
