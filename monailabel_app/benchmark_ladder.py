# SPDX-License-Identifier: Apache-2.0
"""What recurrence buys on real studies: detectors of equal size, trained for equal time, judged on other patients."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .benchmark_detector import (
    OneRun,
    changed_cases,
    end_table,
    markdown_table,
    mean_and_interval,
    paired_cell,
    probe_table,
    scored_cases,
    workers,
)
from .roots import lib_module

if TYPE_CHECKING:
    from lib.configs import ModelConfig
    from lib.evaluation import CaseScores
    from lib.trainers.ladder import ArmDesign, SequenceScores

    Patient = Sequence[CaseScores]

logger = logging.getLogger(__name__)
AP_IOU = 0.3


@dataclass(frozen=True)
class StudiesSettings:
    """What is compared, and on what.

    Attributes:
        train: Studies folders to train on.
        val: Studies folder of other patients, to be judged on.
        output: Folder for the weights and results of every run; what is there already is not done again.
        cpu_seconds: Processor time of each training.
        parameters: That each network has, as nearly as it can; None for those of the model as configured.
        probes: Whether to test on the changed sequences of :mod:`lib.probes` too.
        resamples: Bootstrap resamples behind each interval.
    """

    train: tuple[Path, ...]
    val: Path
    output: Path
    cpu_seconds: float
    parameters: int | None = None
    probes: bool = False
    resamples: int = 500


@dataclass(frozen=True)
class StudiesRun(OneRun):
    """One training of one arm on real studies.

    Attributes:
        cases: The studies judged as ``lesionloop evaluate`` does.
    """

    cases: tuple[CaseScores, ...]


def benchmark_studies(
    config: ModelConfig,
    settings: StudiesSettings,
    seeds: Sequence[int],
    designs: Sequence[ArmDesign] | None = None,
    processes: int = 2,
) -> list[StudiesRun]:
    """Train and judge every arm with every seed.

    Args:
        config: Gives everything but the memory.
        settings: What is compared.
        seeds: One training of each arm each.
        designs: None for all of :data:`lib.trainers.ladder.ARMS`.
        processes: That work at the same time, on one thread each.

    Raises:
        InputError: If there is nothing to train or judge on, a patient is in both, or the output folder holds results
            of another comparison.
    """
    _check_patients(settings)
    jobs = [(arm, seed) for seed in seeds for arm in designs or lib_module("trainers.ladder").ARMS]
    runs: list[StudiesRun] = []
    with workers(processes) as over:
        for run in over(run_studies, [config] * len(jobs), [settings] * len(jobs), *zip(*jobs, strict=True)):
            runs.append(run)
            logger.info("%d of %d: %s, seed %d", len(runs), len(jobs), run.arm, run.seed)
    return runs


def _check_patients(settings: StudiesSettings) -> None:
    find = lib_module("studies").find_labelled
    train = {ref.patient for folder in settings.train for ref in find(folder)}
    if both := sorted(train & {ref.patient for ref in find(settings.val)}):
        raise lib_module("types").InputError(f"{settings.val}: the training studies have {', '.join(both)} too")


def run_studies(base: ModelConfig, settings: StudiesSettings, design: ArmDesign, seed: int) -> StudiesRun:
    """Train one arm with one seed and judge it, or read what an earlier run wrote.

    Args:
        base: Gives everything but the memory.
        settings: What is compared.
        design: The arm.
        seed: Of weights and training windows.

    Raises:
        InputError: As :func:`benchmark_studies`.
    """
    ladder = lib_module("trainers.ladder")
    seeded = dataclasses.replace(base, training=dataclasses.replace(base.training, seed=seed))
    config = ladder.arm_config(seeded, design, settings.parameters or ladder.parameter_count(base))
    file = settings.output / f"{slug(design.name)}_seed{seed}.json"
    facts = _facts(config, settings)
    if file.is_file():
        return _read(file, facts)
    weights = file.with_suffix(".safetensors")
    lib_module("trainers.folders").train_on_folders(
        config, list(settings.train), weights, val_fraction=0.0, cpu_budget_s=settings.cpu_seconds
    )
    run = _judged(config, weights, settings, (design.name, seed, ladder.parameter_count(config), settings.cpu_seconds))
    file.write_text(json.dumps({"facts": facts, **_plain(run)}), encoding="utf-8")
    return run


def _judged(
    config: ModelConfig, weights: Path, settings: StudiesSettings, who: tuple[str, int, int, float]
) -> StudiesRun:
    network = lib_module("registry").build_network(config)
    lib_module("weights").load_weights(network, weights)
    predictor = lib_module("predictor").Predictor(config, network)
    refs = lib_module("studies").find_labelled(settings.val)
    judged = tuple(lib_module("evaluation").evaluate_study(predictor, ref) for ref in refs)
    prepared = lib_module("trainers.cases").load_cases(refs, config)
    changed = {}
    if settings.probes:
        changed = {name: scored_cases(predictor, cases) for name, cases in changed_cases(prepared).items()}
    return StudiesRun(*who, scored_cases(predictor, prepared), changed, judged)


def slug(name: str) -> str:
    """A name of an arm as part of a file's name."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def _facts(config: ModelConfig, settings: StudiesSettings) -> dict[str, Any]:
    """What a result depends on, as JSON gives it back."""
    facts = {
        "config": dataclasses.asdict(config),
        "train": [str(folder) for folder in settings.train],
        "val": str(settings.val),
        "cpu_seconds": settings.cpu_seconds,
        "probes": settings.probes,
    }
    return json.loads(json.dumps(facts))  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Dataclasses, arrays, tuples and numpy's numbers as JSON values."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _read(file: Path, facts: dict[str, Any]) -> StudiesRun:
    error = lib_module("types").InputError
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise error(f"{file}: cannot be read as JSON ({problem}); delete it to have the run done again") from problem
    if data.pop("facts", None) != facts:
        raise error(f"{file}: is of a comparison with other settings; choose another output folder or delete it")
    logger.info("%s: done before", file)
    return StudiesRun(
        **{key: data[key] for key in ("arm", "seed", "parameters", "cpu_seconds")},
        cases=tuple(_case(one) for one in data["cases"]),
        scores=_sequences(data["scores"]),
        changed={name: _sequences(ones) for name, ones in data["changed"].items()},
    )


def _case(data: dict[str, Any]) -> CaseScores:
    arrays = {
        "presence": np.array(data["presence"], np.float32),
        "holds_lesion": np.array(data["holds_lesion"], bool),
        "frame_matches": _matches(data["frame_matches"]),
        "lesion_matches": _matches(data["lesion_matches"]),
    }
    return lib_module("evaluation").CaseScores(**{**data, **arrays})  # type: ignore[no-any-return]


def _sequences(data: Iterable[dict[str, Any]]) -> tuple[SequenceScores, ...]:
    make = lib_module("trainers.ladder").SequenceScores
    return tuple(
        make(
            one["patient"],
            tuple(_matches(frame) for frame in one["frames"]),
            np.array(one["distance"], np.intp),
            np.array(one["area_px"], np.intp),
        )
        for one in data
    )


def _matches(data: dict[str, dict[str, list[Any]]]) -> dict[int, dict[str, Any]]:
    return {int(c): {key: np.array(values) for key, values in part.items()} for c, part in data.items()}


def _dice(patients: Sequence[Patient]) -> float | None:
    return float(np.mean([np.mean([case.dice for case in patient]) for patient in patients]))


def _slice_auc(patients: Sequence[Patient]) -> float | None:
    cases = [case for patient in patients for case in patient]
    presence, truth = (np.concatenate([getattr(case, key) for case in cases]) for key in ("presence", "holds_lesion"))
    return lib_module("metrics").slice_auc(presence, truth)  # type: ignore[no-any-return]


def _box_ap(patients: Sequence[Patient]) -> float | None:
    index = lib_module("evaluation").FRAME_IOUS.index(AP_IOU)
    matches = [case.frame_matches for patient in patients for case in patient]
    return lib_module("metrics").average_precision(matches, index)  # type: ignore[no-any-return]


def _froc(patients: Sequence[Patient]) -> float | None:
    matches = [case.lesion_matches for patient in patients for case in patient]
    return lib_module("metrics").froc(matches)  # type: ignore[no-any-return]


def _false_slices(patients: Sequence[Patient]) -> float | None:
    return float(np.mean([case.false_positive_slices for patient in patients for case in patient]))


STATISTICS: dict[str, Callable[[Sequence[Patient]], float | None]] = {
    "Dice": _dice,
    "slice AUC": _slice_auc,
    "AP30": _box_ap,
    "FROC": _froc,
    "false slices": _false_slices,
}
"""As docs/reference/metrics.md defines them, of some patients with all of their studies."""


def ladder_on_studies(
    config: ModelConfig, settings: StudiesSettings, seeds: int, designs: Sequence[ArmDesign], processes: int
) -> str:
    """All tables of ``lesionloop bench detector --studies``; Markdown. Arguments as :func:`benchmark_studies`."""
    runs = benchmark_studies(config, settings, range(seeds), designs, processes)
    return "\n".join([studies_tables(runs, settings.resamples), end_table(runs), probe_table(runs)])


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
    rows += [[name, size[name], *(mean_and_interval(one, name) for one in found.values())] for name in names]
    tables = [markdown_table(rows)]
    for reference in (ladder.CNN_ONLY.name, ladder.CONTROL.name):
        if reference in names and len(names) > 1:
            rows = [[f"less {reference}", *STATISTICS]]
            rows += [[n, *(paired_cell(o, n, reference) for o in found.values())] for n in names if n != reference]
            tables.append(markdown_table(rows))
    return "\n".join(tables)


def _by_patient(cases: Sequence[CaseScores]) -> tuple[Patient, ...]:
    """The studies of each patient, patients in order of their names."""
    patients = sorted({case.patient for case in cases})
    return tuple([case for case in cases if case.patient == patient] for patient in patients)
