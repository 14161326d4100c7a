# SPDX-License-Identifier: Apache-2.0
"""``lesionloop explain``: why a model says what it says of an image, as a picture, as volumes and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .roots import lib_module

FORMATS = (".nrrd", ".nii.gz")


@dataclass(frozen=True)
class Wanted:
    """What to explain, and how.

    Attributes:
        image: A file, or a folder with a DICOM series.
        output: Folder for the results; made if missing.
        method: Key in ``lib.explain.METHODS``.
        volume_format: One of :data:`FORMATS`.
        device: Where the network runs.
        time_point: Which volume of an image that has several.
        part: Which images of a DICOM series that holds several of the same slices.
    """

    image: Path
    output: Path
    method: str
    volume_format: str = ".nrrd"
    device: str = "cpu"
    time_point: int | None = None
    part: str | None = None


@dataclass(frozen=True)
class Explained:
    """An image, what a model says of it, and why.

    Attributes:
        model: Its name.
        version: Of its weights.
        study: ``lib.transforms.load.Study``.
        classes: Probability of each class of the study, by name; empty where the network has no head for them.
        findings: Best first; empty for a classification.
        presence: Probability that a frame holds a lesion, (T,); None for a classification.
        attention: Weight of each frame, (T,), or None.
        modality_weights: Weight of each image channel on each frame, (T, C), or None.
        explanation: ``lib.explain.Explanation``.
    """

    model: str
    version: str
    study: Any
    classes: dict[str, float]
    findings: list[Any]
    presence: Any
    attention: Any
    modality_weights: Any
    explanation: Any


def run_explain(config: Any, weights: Path | None, version: str, wanted: Wanted) -> list[Path]:
    """Run a model on an image and write why it says what it says.

    Args:
        config: The model.
        weights: Its weights file.
        version: Of the weights.
        wanted: What to explain, and how.

    Returns:
        The files written: ``explanation.png``, ``explanation.json``, a heatmap of the study and one of each lesion.

    Raises:
        InputError: If there are no weights, the image cannot be read or lacks a channel that the model needs, or the
            network cannot be explained.
    """
    from .explain_pictures import draw_explanation

    if wanted.volume_format not in FORMATS:
        raise lib_module("types").InputError(f"--volumes {wanted.volume_format}: known are {', '.join(FORMATS)}")
    explained = explain_image(config, weights, version, wanted)
    wanted.output.mkdir(parents=True, exist_ok=True)
    picture, document = wanted.output / "explanation.png", wanted.output / "explanation.json"
    draw_explanation(explained, picture)
    document.write_text(json.dumps(as_json(explained), indent=1), encoding="utf-8")
    return [picture, document, *_write_volumes(explained, wanted)]


def explain_image(config: Any, weights: Path | None, version: str, wanted: Wanted) -> Explained:
    """Run a model on an image and see why; arguments as :func:`run_explain`."""
    if config.task == "report":
        raise lib_module("types").InputError(
            f"model '{config.name}' writes reports: each of its sentences brings its lesions, slices and words"
        )
    if weights is None:
        raise lib_module("types").InputError(
            f"model '{config.name}' has no weights in service yet; train it or name a weights file"
        )
    network = lib_module("registry").build_network(config)
    lib_module("weights.files").load_weights(network, weights)
    study = lib_module("transforms.load").load_study(wanted.image, config.input, wanted.time_point, wanted.part)
    lib_module("transforms.channels").check_required(study.sequence, config.input)
    answer = _class_answer if config.task == "classification" else _lesion_answer
    parts = answer(config, network, weights, version, study, wanted)
    return Explained(config.name, version, study, **parts)


def _lesion_answer(
    config: Any, network: Any, weights: Path, version: str, study: Any, wanted: Wanted
) -> dict[str, Any]:
    predictor = lib_module("prediction.predictor").Predictor(config, network, wanted.device)
    prediction = predictor.predict(study.sequence)
    source = lib_module("types").Source(config.name, version, lib_module("weights.files").file_sha256(weights))
    _, findings = lib_module("findings.lesions").find_lesions(prediction, study.sequence, config, source)
    classes = () if prediction.study is None else zip(config.class_names, prediction.study, strict=True)
    return {
        "classes": {name: float(p) for name, p in classes},
        "findings": findings,
        "presence": prediction.presence,
        "attention": prediction.attention,
        "modality_weights": prediction.modality_weights,
        "explanation": lib_module("explain").explain(predictor, study.sequence, findings, wanted.method),
    }


def _class_answer(config: Any, network: Any, weights: Path, version: str, study: Any, wanted: Wanted) -> dict[str, Any]:
    calibration = lib_module("classification.calibration").Calibration.from_json(
        lib_module("weights.files").read_metadata(weights).get("calibration")
    )
    predictor = lib_module("prediction.clip_predictor").ClipPredictor(config, network, wanted.device, calibration)
    prediction = predictor.predict(study.sequence)
    label = config.class_names[int(prediction.probabilities.argmax())]
    explanation = lib_module("explain").explain(predictor, study.sequence, (), wanted.method, label)
    return {
        "classes": {name: float(p) for name, p in zip(config.class_names, prediction.probabilities, strict=True)},
        "findings": [],
        "presence": None,
        "attention": prediction.attention,
        "modality_weights": prediction.modality_weights,
        "explanation": explanation,
    }


def as_json(explained: Explained) -> dict[str, Any]:
    """Findings, curves, weights of the channels and heatmaps as plain values, named as ``/infer/`` names them."""
    sequence, shares = explained.study.sequence, explained.modality_weights
    means = [None] * len(sequence.channels) if shares is None else _rounded(shares.mean(0))
    return {
        "model": explained.model,
        "version": explained.version,
        "study": {name: round(p, 4) for name, p in explained.classes.items()},
        "findings": [finding.to_json() for finding in explained.findings],
        "presence": None if explained.presence is None else _rounded(explained.presence),
        "attention": None if explained.attention is None else _rounded(explained.attention),
        "modalities": [
            {"channel": name, "present": there, "weight": weight}
            for name, there, weight in zip(sequence.channels, sequence.channel_present, means, strict=True)
        ],
        "modality_weights": None if shares is None else [_rounded(frame) for frame in shares],
        "explain": explained.explanation.to_json(),
        "warnings": list(explained.study.problems),
    }


def _write_volumes(explained: Explained, wanted: Wanted) -> list[Path]:
    paths = []
    for heatmap in explained.explanation.heatmaps:
        name = "study" if heatmap.finding is None else f"lesion-{heatmap.finding}"
        path = wanted.output / f"heatmap-{name}{wanted.volume_format}"
        lib_module("explain").write_heatmap(explained.explanation.on_frames(heatmap), explained.study.geometry, path)
        paths.append(path)
    return paths


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 4) for v in values]
