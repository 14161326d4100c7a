# SPDX-License-Identifier: Apache-2.0
"""The tables of the ladder on real studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..roots import lib_module
from .ladder_runs import StudiesRun
from .toy import markdown_table, mean_and_interval, paired_cell

if TYPE_CHECKING:
    from lib.evaluation.evaluate import CaseScores

    Patient = Sequence[CaseScores]
    Statistic = Callable[[Sequence[Patient]], float | None]

AP_IOU = 0.3


def _dice(patients: Sequence[Patient]) -> float | None:
    return float(np.mean([np.mean([case.dice for case in patient]) for patient in patients]))


def _slice_auc(patients: Sequence[Patient]) -> float | None:
    cases = [case for patient in patients for case in patient]
    presence, truth = (np.concatenate([getattr(case, key) for case in cases]) for key in ("presence", "holds_lesion"))
    return lib_module("metrics").slice_auc(presence, truth)  # type: ignore[no-any-return]


def _box_ap(patients: Sequence[Patient]) -> float | None:
    index = lib_module("evaluation.evaluate").FRAME_IOUS.index(AP_IOU)
    matches = [case.frame_matches for patient in patients for case in patient]
    return lib_module("metrics").average_precision(matches, index)  # type: ignore[no-any-return]


def _froc(patients: Sequence[Patient]) -> float | None:
    matches = [case.lesion_matches for patient in patients for case in patient]
    return lib_module("metrics").froc(matches)  # type: ignore[no-any-return]


def _false_slices(patients: Sequence[Patient]) -> float | None:
    return float(np.mean([case.false_positive_slices for patient in patients for case in patient]))


STATISTICS: dict[str, Statistic] = {
    "Dice": _dice,
    "slice AUC": _slice_auc,
    "AP30": _box_ap,
    "FROC": _froc,
    "false slices": _false_slices,
}
"""As docs/reference/metrics.md defines them, of some patients with all of their studies."""


def studies_tables(runs: Sequence[StudiesRun], resamples: int) -> str:
    """The numbers of every arm, and its differences to the arms without memory; Markdown.

    Args:
        runs: From :func:`benchmark_studies`.
        resamples: Of patients and seeds, behind each interval.
    """
    ladder = lib_module("trainers.ladder")
    names = list(dict.fromkeys(run.arm for run in runs))
    arms = [ladder.ArmRuns(name, tuple(_by_patient(run.cases) for run in runs if run.arm == name)) for name in names]
    found = {key: ladder.LadderBootstrap(arms, statistic, resamples) for key, statistic in STATISTICS.items()}
    size = {run.arm: str(run.parameters) for run in runs}
    rows = [["network", "parameters", *STATISTICS]]
    rows += [[name, size[name], *_cells(name, found, mean_and_interval, name)] for name in names]
    tables = [markdown_table(rows)]
    for reference in _references(names):
        rows = [[f"less {reference}", *STATISTICS]]
        rows += [[name, *_cells(name, found, paired_cell, name, reference)] for name in names if name != reference]
        tables.append(markdown_table(rows))
    return "\n".join(tables)


def _cells(name: str, found: dict[str, Any], cell: Callable[..., str], *compared: str) -> list[str]:
    """One for each statistic; a dash for the Dice of a network that outlines nothing."""
    arms = lib_module("trainers.arms")
    boxes_only = any(arm.name == name and arm.network == arms.RETINANET for arm in arms.PEER_ARMS)
    return ["-" if boxes_only and key == "Dice" else cell(one, *compared) for key, one in found.items()]


def _references(names: Sequence[str]) -> list[str]:
    """What the others are compared with: the arms without memory, or the first one where there is neither."""
    arms = lib_module("trainers.arms")
    without_memory = [arm.name for arm in (arms.CNN_ONLY, arms.CONTROL) if arm.name in names]
    return (without_memory or list(names[:1])) if len(names) > 1 else []


def missing_table(runs: Sequence[StudiesRun]) -> str:
    """Dice and slice AUC with all channels and with each of them taken away; Markdown.

    Args:
        runs: From :func:`monailabel_app.bench.ladder.benchmark_studies`, with ``missing``.
    """
    whole = [run for run in runs if run.without]
    channels = list(dict.fromkeys(channel for run in whole for channel in run.without))
    rows = [["Dice, slice AUC", "all channels", *(f"without {channel}" for channel in channels)]]
    for name in dict.fromkeys(run.arm for run in whole):
        own = [run for run in whole if run.arm == name]
        parts = [[run.cases for run in own], *([run.without[channel] for run in own] for channel in channels)]
        rows.append([name, *(f"{_mean_of(_dice, part):.3f}, {_mean_of(_slice_auc, part):.3f}" for part in parts)])
    return markdown_table(rows)


def _mean_of(statistic: Statistic, runs: Sequence[Sequence[CaseScores]]) -> float:
    values = [statistic(_by_patient(cases)) for cases in runs]
    return float(np.mean([np.nan if value is None else value for value in values]))


def _by_patient(cases: Sequence[CaseScores]) -> tuple[Patient, ...]:
    """The studies of each patient, patients in order of their names."""
    patients = sorted({case.patient for case in cases})
    return tuple([case for case in cases if case.patient == patient] for patient in patients)
