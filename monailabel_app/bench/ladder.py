# SPDX-License-Identifier: Apache-2.0
"""Detectors side by side on real studies: of equal size, trained for equal time, judged on other patients."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..roots import lib_module
from .ladder_runs import StudiesRun, read_run, write_run
from .ladder_tables import missing_table, studies_tables
from .toy import changed_cases, end_table, probe_table, scored_cases, workers

if TYPE_CHECKING:
    from lib.configs import ModelConfig
    from lib.evaluation.evaluate import CaseScores
    from lib.prediction.predictor import Predictor
    from lib.studies import CaseRef
    from lib.trainers.arms import Arm
    from lib.trainers.cases import Case

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudiesSettings:
    """What is compared, and on what.

    Attributes:
        train: Studies folders to train on.
        val: Studies folder of other patients, to be judged on.
        output: Folder for the weights and results of every run; what is there already is not done again.
        cpu_seconds: Processor time of each training.
        parameters: That each network has, as nearly as it can; None for those of the model as configured.
        probes: Whether to test on the changed sequences of :mod:`lib.evaluation.probes` too.
        missing: Whether to test with each channel taken away in turn too. Only studies that have every channel count
            then, in training too: with those that lack one, an arm would be judged by what is missing.
        resamples: Bootstrap resamples behind each interval.
    """

    train: tuple[Path, ...]
    val: Path
    output: Path
    cpu_seconds: float
    parameters: int | None = None
    probes: bool = False
    missing: bool = False
    resamples: int = 500


def benchmark_studies(
    config: ModelConfig,
    settings: StudiesSettings,
    seeds: Sequence[int],
    arms: Sequence[Arm],
    processes: int = 2,
) -> list[StudiesRun]:
    """Train and judge every arm with every seed.

    Args:
        config: Gives everything but what is special about an arm.
        settings: What is compared.
        seeds: One training of each arm each.
        arms: The detectors.
        processes: That work at the same time, on one thread each.

    Raises:
        InputError: If there is nothing to train or judge on, a patient is in both, or the output folder holds results
            of another comparison.
    """
    _check_patients(settings)
    settings.output.mkdir(parents=True, exist_ok=True)
    jobs = [(arm, seed) for seed in seeds for arm in arms]
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


def run_studies(base: ModelConfig, settings: StudiesSettings, arm: Arm, seed: int) -> StudiesRun:
    """Train one arm with one seed and judge it, or read what an earlier run wrote.

    Args:
        base: Gives everything but what is special about the arm.
        settings: What is compared.
        arm: The detector.
        seed: Of weights and training windows.

    Raises:
        InputError: As :func:`benchmark_studies`.
    """
    arms = lib_module("trainers.arms")
    seeded = dataclasses.replace(base, training=dataclasses.replace(base.training, seed=seed))
    config = arm.config(seeded, settings.parameters or arms.parameter_count(base))
    file = settings.output / f"{slug(arm.name)}_seed{seed}.json"
    facts = _facts(config, settings)
    if file.is_file():
        return read_run(file, facts)
    predictor = _trained(config, settings, arm.only, file.with_suffix(".safetensors"))
    who = (arm.name, seed, arms.parameter_count(config), settings.cpu_seconds)
    run = _judged(predictor, settings, arm.only, who)
    write_run(run, facts, file)
    return run


def _trained(config: ModelConfig, settings: StudiesSettings, only: str, weights: Path) -> Predictor:
    """Train a network from random weights and keep them."""
    import torch

    arms = lib_module("trainers.arms")
    torch.manual_seed(config.training.seed)
    network = arms.arm_network(config)
    refs = [ref for folder in settings.train for ref in lib_module("studies").find_labelled(folder)]
    cases = [_seeing(case, only, config) for case in _counting(refs, config, settings)]
    if config.network.name == arms.RETINANET:
        peer = lib_module("trainers.retinanet")
        network = peer.fit_retinanet(network, cases, config, settings.cpu_seconds)
        return peer.RetinaNetPredictor(config, network)  # type: ignore[no-any-return]
    rate = config.training.learning_rate
    result = lib_module("trainers.fit").fit(
        network, cases, [], config, learning_rate=rate, cpu_budget_s=settings.cpu_seconds
    )
    network.load_state_dict(result.state)
    lib_module("weights.files").save_weights(result.state, weights, {"training": dataclasses.asdict(config.training)})
    return lib_module("prediction.predictor").Predictor(config, network)  # type: ignore[no-any-return]


def _seeing(case: Case, only: str, config: ModelConfig) -> Case:
    """A case of which one channel is seen, or as it is."""
    if not only:
        return case
    present = tuple(channel == only for channel in config.input.channels)
    frames = case.frames.copy()
    frames[:, [c for c, there in enumerate(present) if not there]] = 0
    return dataclasses.replace(case, frames=frames, channel_present=present)


def _judged(predictor: Predictor, settings: StudiesSettings, only: str, who: tuple[str, int, int, float]) -> StudiesRun:
    config = predictor.config
    channels = config.input.channels
    known = lib_module("studies").find_labelled(settings.val)
    cases = _counting(known, config, settings)
    ids = {case.image_id for case in cases}
    refs = [ref for ref in known if ref.image_id in ids]
    prepared = [_seeing(case, only, config) for case in cases]
    changed, without = {}, {}
    if settings.probes:
        changed = {name: scored_cases(predictor, cases) for name, cases in changed_cases(prepared).items()}
    if settings.missing and not only:
        without = {c: _evaluated(predictor, refs, [one for one in channels if one != c]) for c in channels}
    seen = [only] if only else channels
    return StudiesRun(*who, scored_cases(predictor, prepared), changed, _evaluated(predictor, refs, seen), without)


def _counting(refs: Sequence[CaseRef], config: ModelConfig, settings: StudiesSettings) -> list[Case]:
    """The studies that count, prepared."""
    cases: list[Case] = lib_module("trainers.cases").load_cases(refs, config)
    counting = [case for case in cases if case.has_channel.all() or not settings.missing]
    if not counting:
        raise lib_module("types").InputError(
            f"none of {len(cases)} studies has every channel, and only such count here"
        )
    if len(counting) < len(cases):
        logger.info("%d of %d studies count: the others lack a channel", len(counting), len(cases))
    return counting


def _evaluated(predictor: Predictor, refs: Sequence[CaseRef], channels: Sequence[str]) -> tuple[CaseScores, ...]:
    """Studies seen through some channels."""
    evaluation = lib_module("evaluation.evaluate")
    return tuple(evaluation.evaluate_study(predictor, ref, channels) for ref in refs)


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
        "missing": settings.missing,
    }
    return json.loads(json.dumps(facts))  # type: ignore[no-any-return]


def ladder_on_studies(
    config: ModelConfig, settings: StudiesSettings, seeds: int, arms: Sequence[Arm], processes: int
) -> str:
    """All tables of ``lesionloop bench detector --studies``; Markdown. Arguments as :func:`benchmark_studies`."""
    return "\n".join(_tables(benchmark_studies(config, settings, range(seeds), arms, processes), settings))


def _tables(runs: Sequence[StudiesRun], settings: StudiesSettings) -> Iterator[str]:
    yield studies_tables(runs, settings.resamples)
    yield end_table(runs)
    yield probe_table(runs)
    if settings.missing:
        yield missing_table(runs)
