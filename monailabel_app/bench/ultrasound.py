# SPDX-License-Identifier: Apache-2.0
"""Lung ultrasound clips of the public POCUS set: recurrence against the frame average, by patient, with calibration."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..roots import PRETRAINED_DIR, lib_module

logger = logging.getLogger(__name__)
CLASSES = {"COVID-19": "covid", "Bacterial pneumonia": "bacterial", "Viral pneumonia": "viral", "regular": "regular"}
LONGEST = 64
"""Clips with more frames than this are thinned evenly, every second frame, every third ..."""
N_FOLDS, FOLD_SEED = 5, 0
ERROR_RATES = [0.1, 0.2]
BASELINE, RECURRENT = "frame average", "GRU"
MR_WEIGHTS = "mr_lesion.safetensors"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the benchmark does.

    Attributes:
        folder: Holds ``videos.csv`` and ``videos/``.
        seeds: Of the models; the folds have a seed of their own.
        cpu_seconds: Processor time of each training.
        weights: Where to write weights trained on all clips; None for no such training.
        final_cpu_seconds: Processor time of that training.
        resamples: Of the patients, for the intervals.
    """

    folder: Path
    seeds: list[int]
    cpu_seconds: float
    weights: Path | None = None
    final_cpu_seconds: float = 60.0
    resamples: int = 2000


def run_benchmark(settings: Settings, config: Any) -> dict[str, Any]:
    """Cross-validate every arm.

    Args:
        settings: What to do.
        config: The model ``lung_ultrasound``.

    Returns:
        The results as plain values.

    Raises:
        InputError: If the videos cannot be read.
    """
    crossval, began = lib_module("trainers.crossval"), time.process_time()
    clips = load_videos(settings.folder, config)
    folds = crossval.patient_folds(clips, N_FOLDS, FOLD_SEED)
    arms = arms_of(crossval.Arm)
    runs = {a.name: crossval.run_arm(a, clips, folds, config, settings.seeds, settings.cpu_seconds) for a in arms}
    result = scored(settings, config, clips, folds, runs)
    if settings.weights is not None:
        arm = next(a for a in arms if a.name == RECURRENT)
        own = lib_module("configs").override(config, arm.settings)
        network, steps = crossval.train_arm(arm, clips, own, settings.final_cpu_seconds)
        result["shipped"] = {"steps": steps, **ship(settings, own, clips, network, runs[RECURRENT], result)}
    result["process_seconds"] = round(time.process_time() - began)
    return result


def scored(settings: Settings, config: Any, clips: list[Any], folds: Any, runs: dict[str, Any]) -> dict[str, Any]:
    """All numbers of all arms, by name.

    Args:
        settings: What was done.
        config: The model.
        clips: All of them.
        folds: Of each clip.
        runs: What each arm left.
    """
    scores = lib_module("trainers.crossval_scores")
    return {
        "clips": len(clips),
        "patients": len({clip.patient for clip in clips}),
        "classes": class_counts(clips, config.class_names),
        "folds": {clip.image_id: int(f) for clip, f in zip(clips, folds, strict=True)},
        "seeds": settings.seeds,
        "cpu_seconds": settings.cpu_seconds,
        "arms": {
            name: scores.score_arm(one, clips, folds, ERROR_RATES, settings.resamples) for name, one in runs.items()
        },
        "file_control": file_control(list_rows(settings.folder), clips, folds),
        "against_frame_average": {
            name: scores.f1_difference(one, runs[BASELINE], clips, settings.resamples)
            for name, one in runs.items()
            if name != BASELINE
        },
    }


def arms_of(make: Any) -> list[Any]:
    """The arms, ``make`` being :class:`lib.trainers.crossval.Arm`: hidden sizes chosen for about equal parameters."""
    cell, hidden = "network.frame_recurrence.cell", "network.frame_recurrence.hidden"
    return [
        make(BASELINE, {cell: "mlp", hidden: 72}),
        make(RECURRENT, {cell: "gru", hidden: 64}, calibrated=True),
        make("LSTM", {cell: "lstm", hidden: 60}),
        make("GRU, encoder of mr_lesion", {cell: "gru", hidden: 64}, encoder=PRETRAINED_DIR / MR_WEIGHTS),
    ]


def class_counts(clips: Iterable[Any], names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Clips and patients of each class."""
    own = {name: [c for c in clips if c.class_index == i] for i, name in enumerate(names)}
    return {name: {"clips": len(of), "patients": len({c.patient for c in of})} for name, of in own.items()}


def ship(
    settings: Settings, config: Any, clips: list[Any], network: Any, runs: Any, result: dict[str, Any]
) -> dict[str, Any]:
    """Write weights that were trained on all clips.

    Temperature and threshold come from the folds, each clip by the model that was trained without its fold.

    Args:
        settings: Where to write.
        config: The model as it was trained.
        clips: All of them.
        network: With its weights.
        runs: What the arm left in the cross-validation.
        result: What was measured.

    Returns:
        The calibration.
    """
    fitted = lib_module("classification.calibration").calibrate(
        runs.held_out[0],
        lib_module("trainers.clips").true_classes(clips),
        [clip.patient for clip in clips],
        config.classification.error_rate,
        scores_of="folds",
    )
    facts = lib_module("trainers.clip_folders").training_facts(config, clips, [])
    facts |= {"calibration": fitted.to_json(), "cpu_seconds": settings.final_cpu_seconds}
    facts["macro_f1_of_folds"] = result["arms"][RECURRENT]["macro_f1"]
    lib_module("weights.files").save_weights(network.state_dict(), settings.weights, facts)
    return {"calibration": fitted.to_json()}


def list_rows(folder: Path) -> list[dict[str, str]]:
    """The lines of ``videos.csv``.

    Raises:
        InputError: If it is missing.
    """
    path = folder / "videos.csv"
    if not path.is_file():
        raise lib_module("types").InputError(f"{path} is missing; --videos is the folder that holds it and videos/")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def file_control(rows: list[dict[str, str]], clips: list[Any], folds: Any) -> dict[str, float]:
    """What the files give away without a look at the lung: the class of the file with the most similar shape.

    Nearest neighbour in log width, log height and log number of frames, among the clips of the other folds.
    """
    scores, truth = lib_module("trainers.crossval_scores"), lib_module("trainers.clips").true_classes(clips)
    columns = ("width", "height", "n_frames_decoded")
    by_file = {row["file"]: np.log([float(row[column]) for column in columns]) for row in rows}
    shapes = np.stack([by_file[clip.image_id] for clip in clips])
    distances = np.linalg.norm(shapes[:, None] - shapes, axis=-1)
    distances[folds[:, None] == folds] = np.inf
    predicted = truth[distances.argmin(1)]
    macro_f1 = float(scores.f1_of(predicted, truth, len(CLASSES)))
    return {"macro_f1": macro_f1, "accuracy": float((predicted == truth).mean())}


def load_videos(folder: Path, config: Any) -> list[Any]:
    """All videos of ``videos.csv`` as prepared clips.

    Raises:
        InputError: If the list or a video is missing or cannot be read.
    """
    rows = list_rows(folder)
    patients = same_patient([patient_keys(row) for row in rows])
    return [
        _clip(folder / "videos" / row["file"], row["Label"], patient, config)
        for row, patient in zip(rows, patients, strict=True)
    ]


def _clip(path: Path, label: str, patient: str, config: Any) -> Any:
    frames, frames_per_s = read_video(path)
    step = -(-len(frames) // LONGEST)
    kept = frames[::step]
    types = lib_module("types")
    sequence = types.Sequence(
        frames=kept[:, None],
        kind=types.SequenceKind.CINE,
        positions=tuple(i * step / frames_per_s for i in range(len(kept))),
        spacing_mm=(1.0, 1.0),
        affine_lps=np.eye(4),
        channels=config.input.channels,
    )
    prepared, _ = lib_module("transforms.prepare").prepare(sequence, config.input)
    index = config.labels[CLASSES[label]] - 1
    return lib_module("trainers.clips").Clip(path.name, patient, prepared.astype(np.float16), index)


def read_video(path: Path) -> tuple[npt.NDArray[np.float32], float]:
    """Grey frames (T, H, W) of a video or GIF, and frames per second.

    Raises:
        InputError: If it cannot be read, or PyAV is not installed.
    """
    input_error = lib_module("types").InputError
    try:
        import av
    except ImportError as error:
        raise input_error("reading videos needs PyAV: pip install 'lesionloop[bench]'") from error
    try:
        with av.open(str(path)) as container:
            rate = float(container.streams.video[0].average_rate or 25)
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    except (OSError, ValueError, IndexError) as error:
        raise input_error(f"{path}: cannot be read as a video ({error})") from error
    if not frames:
        raise input_error(f"{path}: holds no frame")
    return np.stack(frames).astype(np.float32), rate


def patient_keys(row: dict[str, str]) -> set[str]:
    """What a clip may share with others of the same patient.

    Patient number; web page (several clips of one article are taken for one patient); and, for clips that name both,
    source with gender and age. Columns that are shifted in the list give other words, which match nothing.
    """
    keys = set()
    number, age = (_number(row[column]) for column in ("Patient ID / Name", "Age"))
    if number:
        keys.add(f"patient {number}")
    page = row["URL (Video Name)"].split()[0].partition("#")[0].rstrip("/") if row["URL (Video Name)"] else ""
    if page.startswith("http"):
        keys.add(page)
    if age and row["Gender"] in ("m", "w"):
        keys.add(f"source {_number(row['Source ID'])}, {row['Gender']}, {age}")
    return keys or {row["file"]}


def _number(text: str) -> str:
    try:
        return str(int(float(text)))
    except ValueError:
        return ""


def same_patient(keys: list[set[str]]) -> list[str]:
    """A name for the patient of each clip; clips that share a key, directly or through others, have the same."""
    groups: list[set[str]] = []
    for own in keys:
        joined = set(own).union(*(group for group in groups if group & own))
        groups = [group for group in groups if not group & own] + [joined]
    return [min(next(group for group in groups if group & own)) for own in keys]


def write_results(result: dict[str, Any], path: Path) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")


def markdown(result: dict[str, Any]) -> str:
    """The results as Markdown tables."""
    names, arms, control = list(result["classes"]), result["arms"], result["file_control"]
    files = [
        "shape of the file, no image",
        "0",
        "-",
        f"{control['macro_f1']:.3f}",
        "-",
        "-",
        f"{control['accuracy']:.3f}",
    ]
    heads = ["model", "parameters", "steps", "macro-F1", "by seed", "against frame average", "accuracy"]
    against = result["against_frame_average"]
    tables = [
        _table(heads, [*(_score_row(name, arm, against.get(name)) for name, arm in arms.items()), files]),
        _table(["F1 by class", *names], [[n, *(f"{v:.2f}" for v in a["f1_by_class"])] for n, a in arms.items()]),
        _table(
            ["model", "ECE before", "ECE after", "log loss before", "log loss after", "temperatures"],
            [_calibration_row(name, arm["calibration"]) for name, arm in arms.items() if "calibration" in arm],
        ),
        _table(
            [
                "model",
                "error rate",
                "coverage, clips",
                "coverage, patients",
                "by class",
                "set size",
                "sure",
                "right then",
            ],
            [_set_row(n, rate, s) for n, a in arms.items() for rate, s in a.get("conformal", {}).items()],
        ),
    ]
    return "\n".join(tables)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _score_row(name: str, arm: dict[str, Any], difference: dict[str, Any] | None) -> list[str]:
    return [
        name,
        f"{arm['parameters']:,}",
        f"{arm['steps'][0]}-{arm['steps'][1]}",
        f"{arm['macro_f1']:.3f} {_interval(arm['macro_f1_ci95'])}",
        ", ".join(f"{value:.3f}" for value in arm["macro_f1_by_seed"]),
        "-" if difference is None else f"{difference['mean']:+.3f} {_interval(difference['ci95'], '+')}",
        f"{arm['accuracy']:.3f}",
    ]


def _calibration_row(name: str, values: dict[str, Any]) -> list[str]:
    return [
        name,
        *(f"{values[f'ece_{when}']:.3f} {_interval(values[f'ece_{when}_ci95'])}" for when in ("before", "after")),
        *(f"{values[f'nll_{when}']:.2f}" for when in ("before", "after")),
        ", ".join(f"{value:.2f}" for value in values["temperatures"]),
    ]


def _set_row(name: str, error_rate: str, values: dict[str, Any]) -> list[str]:
    right = values["right_where_sure"]
    numbers = (values[key] for key in ("coverage_clips", "coverage_patients"))
    return [
        name,
        error_rate,
        *(f"{value:.2f}" for value in numbers),
        ", ".join(f"{value:.2f}" for value in values["coverage_by_class"]),
        f"{values['mean_size']:.2f}",
        f"{values['sure']:.2f}",
        "-" if right is None else f"{right:.2f}",
    ]


def _interval(interval: tuple[float, float] | None, sign: str = "") -> str:
    return "" if interval is None else f"[{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"
