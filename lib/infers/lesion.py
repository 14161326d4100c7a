# SPDX-License-Identifier: Apache-2.0
"""Inference tasks for lesions: an image of the store in, a result file and JSON parameters out.

Several requests may run at the same time. Weights are looked up at each request, so that a newly published version
serves the next one, while requests under way finish with the network they started with.
"""

from __future__ import annotations

import logging
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from monailabel.interfaces.tasks.infer_v2 import InferType

from ..configs import ModelConfig
from ..findings.lesions import OutlinedLesion, labelmap_of, lesions_from_boxes, outlined_lesions
from ..networks.streaming import streaming_obstacles
from ..prediction.predictor import Prediction, Predictor
from ..prediction.streaming import FrameStream
from ..tracking.lesion_tracks import with_tracks
from ..transforms.channels import check_required
from ..transforms.geometry import VolumeGeometry, affine_spacing_mm
from ..transforms.load import load_study, misfit
from ..transforms.orient import off_in_files
from ..types import Finding, InputError, MaskArray, Sequence, Source
from .by_frames import params_by_frames, tracks_json
from .explained import explained
from .predictors import PredictorCache, Stopwatch, lesion_predictor
from .requests import Request, flag, requested_device, thresholds, whole_number
from .served import ServedModel, Weights
from .streams import open_stream
from .writers import FINDINGS_EXTENSION, LABELMAP_EXTENSIONS, results_dir, write_findings, write_labelmap, write_markups

logger = logging.getLogger(__name__)
T = TypeVar("T")

LABELMAP_TYPES = ("uint8", "uint16", "int16", "int32", "float32")


@dataclass(frozen=True)
class Found:
    """What was read off a prediction.

    Attributes:
        labelmap: (T, H, W), or None for boxes.
        findings: Best first.
        outlines: The voxels of each finding, or None for boxes.
    """

    labelmap: MaskArray | None
    findings: list[Finding]
    outlines: tuple[OutlinedLesion, ...] | None = None


@dataclass(frozen=True)
class Result:
    """One inference, before it is written.

    Attributes:
        labelmap: (T, H, W), or None for boxes.
        findings: Best first.
        geometry: Leads back to the image file's array.
    """

    labelmap: MaskArray | None
    findings: list[Finding]
    geometry: VolumeGeometry


class LesionInfer(ServedModel):
    """What the lesion tasks share.

    A request has the path of a file or a DICOM folder as ``image``, and may have

    - ``time_point``, ``part``: which volume, or which images, of one that has several,
    - ``device``: where the network runs,
    - ``mask_threshold``, ``score_threshold``, ``min_volume_ml``: in place of the model's own,
    - ``frame_mask``: answer on the frames that viewers show, with the mask (:mod:`lib.infers.by_frames`),
    - ``explain``: say why, with heatmaps (:mod:`lib.infers.explained`),
    - ``result_extension``, ``result_dtype``, ``result_compress``, ``result_write_to_file``: the file,
    - ``logging``: ``WARNING`` keeps the request out of the log.

    An answer's parameters are

    - ``findings``, and ``tracks``: which of them are one lesion, and what becomes of it over the frames,
    - ``presence``, ``attention``, ``modality_weights`` per frame, and ``study`` per class,
    - ``modalities``: each image channel, whether it was there, its mean weight,
    - ``label_names``, ``model``, ``version``, ``weights_sha256``,
    - ``kind``, ``n_frames``, ``spacing_mm``, ``positions``, ``position_unit``, ``affine_lps``: where the frames are;
      ``sop_instance_uids`` and ``frame_numbers`` where they are DICOM images,
    - ``time_point``, ``part`` as asked for, ``warnings`` about the image, ``latencies`` in s.

    Args:
        config: The model.
        weights: Says which weights are in service.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        super().__init__(config, weights)
        self._predictors = PredictorCache(config, lesion_predictor)

    def info(self) -> dict[str, Any]:
        """What ``/info/`` says of the model, and if it streams."""
        return {**super().info(), "streams": not streaming_obstacles(self._model.network)}

    def open_stream(self, request: Request) -> FrameStream:
        """A run of this model that takes frames one at a time; see :func:`lib.infers.streams.open_stream`."""
        return open_stream(self._model, self._predictors, self.current(), request)

    def __call__(self, request: Request) -> tuple[str | None, dict[str, Any]]:
        """Find the lesions of an image.

        Args:
            request: As the class says.

        Returns:
            Path of the result file (None with ``result_write_to_file`` false), and the parameters.

        Raises:
            InputError: If the image or a parameter cannot be used, or the model has no weights yet.
        """
        clock = Stopwatch()
        config = replace(self._model, inference=thresholds(request, self._model.inference))
        device = requested_device(request)
        extension = self.extension(request)
        image = request.get("image")
        if not isinstance(image, str) or not image:
            raise InputError("request key 'image' must be the path of an image")
        by_frames, why = flag(request, "frame_mask", False), flag(request, "explain", False)
        time_point, part = whole_number(request, "time_point"), request.get("part") or None
        path, source = self.current()
        with clock.lap("read"):
            study = load_study(Path(image), config.input, time_point, part)
            check_required(study.sequence, config.input)
        with clock.lap("infer"):
            prediction = self._on(device, path, lambda model: model.predict(study.sequence))
        with clock.lap("post"):
            found = self.find(prediction, study.sequence, config, source)
            tracked = with_tracks(found.findings, study.sequence.kind, len(study.sequence.frames))
            found = replace(found, findings=tracked)
            params = self._params(prediction, study.sequence, found, source)
            params |= {"time_point": time_point, "part": part}
            params["warnings"] = [*study.problems, *misfit(study.modality, config.input), *off_in_files(study.sequence)]
            if by_frames:
                params |= params_by_frames(study, found.findings, found.outlines, self._model.labels)
        if why:
            with clock.lap("explain"):
                params["explain"] = self._on(device, path, lambda m: explained(m, study, found.findings, by_frames))
        with clock.lap("write"):
            file = self._file(Result(found.labelmap, found.findings, study.geometry), request, extension)
        params["latencies"] = clock.latencies()
        if str(request.get("logging", "INFO")).upper() in ("INFO", "DEBUG"):
            count = len(found.findings)
            logger.info("%s: %d lesion(s), latencies in s %s", self._model.name, count, params["latencies"])
        return file, params

    @abstractmethod
    def find(self, prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source) -> Found:
        """Read the lesions off a prediction."""

    @abstractmethod
    def extension(self, request: Request) -> str:
        """How the result file's name ends.

        Raises:
            InputError: If the request asks for a format that this task cannot write.
        """

    @abstractmethod
    def write(self, result: Result, request: Request, path: Path) -> None:
        """Write the result file.

        Raises:
            InputError: If the request asks for something that cannot be written.
        """

    def _on(self, device: torch.device, path: Path, run: Callable[[Predictor], T]) -> T:
        """Run something on the model; on the CPU when the GPU's memory does not suffice."""
        try:
            return run(self._predictors.get(device, path))
        except torch.OutOfMemoryError as error:
            logger.warning("model '%s': out of GPU memory, this request runs on the CPU (%s)", self._model.name, error)
        torch.cuda.empty_cache()  # after the handler, whose traceback holds the tensors
        return run(self._predictors.get(torch.device("cpu"), path))

    def _params(self, prediction: Prediction, sequence: Sequence, found: Found, source: Source) -> dict[str, Any]:
        study = {} if prediction.study is None else dict(zip(self._model.class_names, prediction.study, strict=True))
        per_channel = prediction.modality_weights
        return {
            "label_names": dict(self._model.labels),
            "findings": [finding.to_json() for finding in found.findings],
            "tracks": tracks_json(found.findings, len(sequence.frames), found.outlines),
            "modalities": modalities(prediction, sequence),
            "modality_weights": None if per_channel is None else [_rounded(frame) for frame in per_channel],
            "presence": _rounded(prediction.presence),
            "attention": None if prediction.attention is None else _rounded(prediction.attention),
            "study": {name: round(float(value), 4) for name, value in study.items()},
            "model": source.model,
            "version": source.version,
            "weights_sha256": source.weights_sha256,
            "spacing_mm": [round(v, 4) for v in affine_spacing_mm(sequence.affine_lps)],
            "n_frames": len(sequence.frames),
            "kind": sequence.kind.value,
            "positions": _rounded(sequence.positions),
            "position_unit": sequence.position_unit,
            "affine_lps": [[round(float(v), 6) for v in row] for row in sequence.affine_lps],
            "sop_instance_uids": list(sequence.sop_instance_uids),
            "frame_numbers": list(sequence.frame_numbers),
        }

    def _file(self, result: Result, request: Request, extension: str) -> str | None:
        if not flag(request, "result_write_to_file", True):
            return None
        with tempfile.NamedTemporaryFile(prefix="lesion-", suffix=extension, delete=False, dir=results_dir()) as file:
            path = Path(file.name)
        try:
            if extension == FINDINGS_EXTENSION:
                write_findings([finding.to_json() for finding in result.findings], path)
            else:
                self.write(result, request, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return str(path)


class LesionSegmentation(LesionInfer):
    """Outlines lesions; the result file is a labelmap in the geometry of the image."""

    infer_type = InferType.SEGMENTATION

    def find(self, prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source) -> Found:
        """Connected components of the mask."""
        lesions = outlined_lesions(prediction, sequence, config, source)
        findings = [lesion.finding for lesion in lesions]
        return Found(labelmap_of(lesions, prediction, config), findings, tuple(lesions))

    def extension(self, request: Request) -> str:
        """``.nii.gz`` unless the request says otherwise."""
        extension = request.get("result_extension") or ".nii.gz"
        known = (*LABELMAP_EXTENSIONS, FINDINGS_EXTENSION)
        if extension not in known:
            raise InputError(f"request key 'result_extension' is {extension!r}; this model writes {', '.join(known)}")
        return str(extension)

    def write(self, result: Result, request: Request, path: Path) -> None:
        """Write the labelmap."""
        dtype = request.get("result_dtype") or "uint8"
        if dtype not in LABELMAP_TYPES:
            raise InputError(f"request key 'result_dtype' is {dtype!r}; known: {', '.join(LABELMAP_TYPES)}")
        assert result.labelmap is not None  # `find` of this class returns one
        compress = flag(request, "result_compress", False)
        write_labelmap(result.labelmap, result.geometry, self._model.labels, path, dtype, compress)


class LesionDetection(LesionInfer):
    """Boxes lesions; the result file is 3D Slicer Markups JSON with an ROI per lesion."""

    infer_type = InferType.DETECTION

    def find(self, prediction: Prediction, sequence: Sequence, config: ModelConfig, source: Source) -> Found:
        """Boxes linked over frames."""
        return Found(None, lesions_from_boxes(prediction, sequence, config, source))

    def extension(self, request: Request) -> str:
        """``.json``, whatever the request says: Slicer's module asks for ``.nrrd`` from every model."""
        wanted = request.get("result_extension")
        return FINDINGS_EXTENSION if wanted == FINDINGS_EXTENSION else ".json"

    def write(self, result: Result, request: Request, path: Path) -> None:
        """Write the ROIs."""
        write_markups(result.findings, path)


def modalities(prediction: Prediction, sequence: Sequence) -> list[dict[str, Any]]:
    """Each image channel: its name, whether the image has it, and its mean weight over the frames.

    The weight is None from a network that does not weigh its channels.
    """
    weights = prediction.modality_weights
    means = [None] * len(sequence.channels) if weights is None else _rounded(weights.mean(0))
    return [
        {"channel": channel, "present": present, "weight": weight}
        for channel, present, weight in zip(sequence.channels, sequence.channel_present, means, strict=True)
    ]


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(v), 4) for v in values]
