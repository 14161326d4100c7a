# SPDX-License-Identifier: Apache-2.0
"""Models compared on the same studies, from the files that ``lesionloop evaluate`` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..metrics import RESAMPLES, Interval, bootstrap_ci, mean_ci, paired_bootstrap, slice_auc
from ..types import InputError

SCALARS = {
    "slice_auc": "slice AUC",
    "ap30": "AP30",
    "froc": "FROC",
    "false_positive_slices_per_volume": "FP slices / volume",
}
FloatValues = npt.NDArray[np.float64]
Frames = tuple[FloatValues, npt.NDArray[np.bool_]]
"""Presence and truth per frame."""


@dataclass(frozen=True)
class Arm:
    """One model: the results of its training runs (seeds) on the same studies."""

    name: str
    runs: tuple[dict[str, Any], ...]

    @property
    def patients(self) -> tuple[str, ...]:
        """Each patient once, sorted: the same order in every arm of the same studies."""
        return tuple(sorted({case["patient"] for case in self.runs[0]["cases"]}))

    def per_patient(self, key: str) -> FloatValues:
        """A number of the cases, averaged over the studies of a patient and over the runs; (P,)."""
        cases = [case for run in self.runs for case in run["cases"]]
        return np.array([np.mean([c[key] for c in cases if c["patient"] == p]) for p in self.patients], np.float64)

    def auc(self, patients: npt.NDArray[np.intp]) -> float | None:
        """Slice AUC over the pooled frames of some patients (indices, repeats count), the mean over the runs."""
        chosen = [[run[i] for i in patients] for run in self._frames]
        values = [slice_auc(*(np.concatenate(arrays) for arrays in zip(*run, strict=True))) for run in chosen]
        return None if None in values else float(np.mean(np.array(values, np.float64)))

    @cached_property
    def _frames(self) -> list[list[Frames]]:
        """Presence and truth of all frames, per run and patient."""
        return [[_frames(run, patient) for patient in self.patients] for run in self.runs]


def load_arm(name: str, paths: list[Path]) -> Arm:
    """Read the results of one model.

    Args:
        name: Shown in the table.
        paths: One file per training run.

    Raises:
        InputError: If there are none, one is no evaluation result, or they are of different studies.
    """
    if not paths:
        raise InputError(f"arm '{name}': no evaluation file was found")
    runs = [_read(path) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        _check_same(_studies(runs[0]), _studies(run), f"{paths[0]} and {path}")
    return Arm(name, tuple(runs))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    missing = sorted({"cases", *SCALARS} - set(data)) if isinstance(data, dict) else ["cases"]
    if missing or not data["cases"]:
        raise InputError(f"{path}: not a result of 'lesionloop evaluate' (no {', '.join(missing) or 'cases'})")
    return data  # type: ignore[no-any-return]


def _studies(run: dict[str, Any]) -> set[str]:
    return {case["image"] for case in run["cases"]}


def _check_same(first: set[str], second: set[str], which: str) -> None:
    if first != second:
        raise InputError(f"{which}: a paired comparison needs the same studies; only one has {sorted(first ^ second)}")


def _frames(run: dict[str, Any], patient: str) -> Frames:
    """Presence and truth of all frames of a patient."""
    cases = [case for case in run["cases"] if case["patient"] == patient]
    presence = [np.array(case["presence"], np.float64) for case in cases]
    truth = [np.isin(np.arange(len(case["presence"])), case["lesion_frames"]) for case in cases]
    return np.concatenate(presence), np.concatenate(truth)


def comparison_table(arms: list[Arm], resamples: int = RESAMPLES) -> str:
    """A Markdown table; the differences are of each arm minus the first, on the same patients.

    Args:
        arms: At least one.
        resamples: Bootstrap resamples behind each interval.

    Raises:
        InputError: If there is no arm or they are of different studies.
    """
    if not arms:
        raise InputError("name at least one evaluation file or arm to compare")
    reference = arms[0]
    for arm in arms:
        _check_same(_studies(reference.runs[0]), _studies(arm.runs[0]), f"arms '{reference.name}' and '{arm.name}'")
    header = ["model", "runs", "Dice", *SCALARS.values(), f"Dice - {reference.name}", f"AUC - {reference.name}"]
    rows = [header, ["---"] * len(header), *(_row(arm, reference, resamples) for arm in arms)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _row(arm: Arm, reference: Arm, resamples: int) -> list[str]:
    dice = arm.per_patient("dice")
    cells = [arm.name, str(len(arm.runs)), _with_interval(float(dice.mean()), mean_ci(dice, resamples))]
    cells += [_scalar(arm, key) for key in SCALARS]
    if arm is reference:
        return [*cells, "-", "-"]
    difference = paired_bootstrap(dice, reference.per_patient("dice"), resamples)
    return [*cells, _with_interval(difference.mean, difference.ci95, "+"), _auc_difference(arm, reference, resamples)]


def _scalar(arm: Arm, key: str) -> str:
    """Mean over the runs; the interval over patients for one run, the range over runs for several."""
    values = [run[key] for run in arm.runs]
    if None in values:
        return "-"
    if len(values) == 1:
        interval = arm.runs[0].get(f"{key}_ci95")
        return _with_interval(values[0], tuple(interval) if interval else None)
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _auc_difference(arm: Arm, reference: Arm, resamples: int) -> str:
    def difference(index: npt.NDArray[np.intp]) -> float | None:
        ours, theirs = arm.auc(index), reference.auc(index)
        return None if ours is None or theirs is None else ours - theirs

    n = len(arm.patients)
    everyone = difference(np.arange(n))
    return "-" if everyone is None else _with_interval(everyone, bootstrap_ci(n, difference, resamples), "+")


def _with_interval(value: float, interval: Interval | None, sign: str = "") -> str:
    shown = f"{value:{sign}.3f}"
    return shown if interval is None else f"{shown} [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


def find_arms(files: list[Path], named: Mapping[str, str]) -> list[Arm]:
    """Arms from single files (named by their stem) and from patterns that match one file per training run.

    Args:
        files: One arm each.
        named: Arm name -> pattern of paths, as :func:`glob.glob` reads it.

    Raises:
        InputError: As :func:`load_arm`.
    """
    singles = [load_arm(path.stem, [path]) for path in files]
    return singles + [load_arm(name, [Path(p) for p in sorted(glob(pattern))]) for name, pattern in named.items()]
