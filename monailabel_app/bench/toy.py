# SPDX-License-Identifier: Apache-2.0
"""What recurrence buys where only memory can help: detectors of equal size on toy sequences."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..roots import lib_module

if TYPE_CHECKING:
    from lib.configs import ModelConfig
    from lib.metrics import PairedDifference
    from lib.phantom.toy import ToySettings
    from lib.trainers.arms import MemoryArm
    from lib.trainers.cases import Case
    from lib.trainers.scoring import SequenceScores

logger = logging.getLogger(__name__)
TEST_SEED = 2_000_000
"""Of the first test sequence; every arm and seed is judged on the same ones."""
SEQUENCES_PER_SEED = 10_000
INNERMOST = 2
DISTANCES = {-2: "two outside", -1: "next to it", 0: "first or last", 1: "second", INNERMOST: "further inside"}


@dataclass(frozen=True)
class ToySize:
    """How much is trained and tested.

    Attributes:
        steps: Optimiser steps of each training.
        train: Sequences to train on, others for each seed.
        test: Sequences to test on.
        parameters: That each network has, as nearly as it can.
        resamples: Bootstrap resamples behind each interval.
        probes: Whether to test on the changed sequences of :mod:`lib.evaluation.probes` too.
    """

    steps: int = 120
    train: int = 400
    test: int = 60
    parameters: int = 60_000
    resamples: int = 200
    probes: bool = False


@dataclass(frozen=True)
class OneRun:
    """One training of one arm.

    Attributes:
        arm: Its name.
        seed: Of weights, training sequences and their order.
        parameters: Of the network.
        cpu_seconds: Training and test.
        scores: The boxes of each test sequence, on the network's grid.
        changed: As ``scores``, of the sequences changed; by what was done to them.
    """

    arm: str
    seed: int
    parameters: int
    cpu_seconds: float
    scores: tuple[SequenceScores, ...]
    changed: dict[str, tuple[SequenceScores, ...]]


def toy_model() -> ModelConfig:
    """A small detector; the arms replace its memory."""
    configs = lib_module("configs")
    toy = lib_module("phantom.toy").ToySettings()
    network = configs.NetworkConfig(
        channels=(12, 16, 24), norm_groups=4, map_recurrence=configs.MapRecurrenceConfig(level=1)
    )
    training = configs.TrainingConfig(
        max_epochs=1,
        batch_size=4,
        window=toy.frames,
        size_px=toy.size_px,
        learning_rate=1e-2,
        ema_decay=0.95,
        box_weight=1.0,
        augment=configs.AugmentConfig(affine=0, contrast=0, intensity=0, noise_std=0, blur=0),
    )
    return configs.ModelConfig(  # type: ignore[no-any-return]
        task="detection",
        description="Finds what stays over frames",
        labels={"lesion": 1},
        network=network,
        training=training,
        inference=configs.InferenceConfig(flip_tta=False),
        name="toy",
    )


def toy_cases(seeds: Iterable[int], settings: ToySettings | None = None) -> list[Case]:
    """Toy sequences as labelled studies, one of each seed."""
    case, toy = lib_module("trainers.cases").Case, lib_module("phantom.toy")
    made = ((f"toy{seed}", toy.toy_sequence(seed, settings)) for seed in seeds)
    return [
        case(name, name, one.image[:, None].astype(np.float16), one.lesion[:, None].astype(np.uint8))
        for name, one in made
    ]


def run_toy(design: MemoryArm, seed: int, size: ToySize) -> OneRun:
    """Train one arm with one seed and test it.

    Args:
        design: The arm.
        seed: Of weights, training sequences and their order.
        size: How much.
    """
    began = time.process_time()
    config = design.config(toy_model(), size.parameters)
    training = dataclasses.replace(config.training, steps_per_epoch=size.steps, seed=seed)
    config = dataclasses.replace(config, training=training)
    torch.manual_seed(seed)
    network = lib_module("registry").build_network(config)
    first = seed * SEQUENCES_PER_SEED
    train = toy_cases(range(first, first + size.train))
    result = lib_module("trainers.fit").fit(network, train, [], config, learning_rate=training.learning_rate)
    network.load_state_dict(result.state)
    predictor = lib_module("prediction.predictor").Predictor(config, network)
    test = toy_cases(range(TEST_SEED, TEST_SEED + size.test))
    changed = {}
    if size.probes:
        changed = {name: scored_cases(predictor, cases) for name, cases in changed_cases(test).items()}
    scores = scored_cases(predictor, test)
    used = time.process_time() - began
    return OneRun(design.name, seed, lib_module("trainers.arms").parameter_count(config), used, scores, changed)


def scored_cases(predictor: Any, cases: list[Case]) -> tuple[SequenceScores, ...]:
    """The boxes that a predictor finds in prepared studies, matched with the true ones."""
    return tuple(lib_module("trainers.scoring").score_sequence(predictor, case) for case in cases)


def changed_cases(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Each labelled study as :mod:`lib.evaluation.probes` changes it, by what was done; the same for every model."""
    changes = lib_module("evaluation.probes").CHANGES
    return {name: [_changed(case, change, i) for i, case in enumerate(cases)] for name, change in changes.items()}


def _changed(case: Case, change: Any, seed: int) -> Case:
    frames, masks = change(case.frames, case.masks, np.random.default_rng(seed))
    return dataclasses.replace(case, frames=frames, masks=masks)


@contextmanager
def workers(processes: int) -> Iterator[Any]:
    """A ``map`` over processes of one thread each; over this process for one."""
    if processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # a forked process would hang in torch's threads
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        yield pool.map


def benchmark_toy(
    seeds: Sequence[int], designs: Sequence[MemoryArm] | None = None, size: ToySize | None = None, processes: int = 2
) -> list[OneRun]:
    """Train and test every arm with every seed.

    Args:
        seeds: One training of each arm each.
        designs: None for all of :data:`lib.trainers.arms.MEMORY_ARMS`.
        size: None for the default.
        processes: That work at the same time, on one thread each.

    Returns:
        Seed by seed, the arms in their order.
    """
    arms = designs or lib_module("trainers.arms").MEMORY_ARMS
    jobs = [(arm, seed) for seed in seeds for arm in arms]
    runs = []
    with workers(processes) as over:
        for run in over(run_toy, *zip(*jobs, strict=True), [size or ToySize()] * len(jobs)):
            runs.append(run)
            logger.info("%d of %d: %s, seed %d, %.1f s", len(runs), len(jobs), run.arm, run.seed, run.cpu_seconds)
    return runs


def ladder_on_toy(
    seeds: int, designs: Sequence[MemoryArm], steps: int | None, parameters: int | None, probes: bool, processes: int
) -> str:
    """All tables of ``lesionloop bench detector``; Markdown.

    Args:
        seeds: Trainings of each arm.
        designs: The arms.
        steps: Optimiser steps of each training; None for those of :class:`ToySize`.
        parameters: Of each network; None for those of :class:`ToySize`.
        probes: Whether to test on changed sequences too.
        processes: That work at the same time.
    """
    began, default = time.perf_counter(), ToySize()
    size = ToySize(steps=steps or default.steps, parameters=parameters or default.parameters, probes=probes)
    runs = benchmark_toy(range(seeds), designs, size, processes)
    tables = [toy_table(runs, size.resamples), end_table(runs), *([probe_table(runs)] if probes else [])]
    return "\n".join([*tables, f"{seeds} seeds, {time.perf_counter() - began:.0f} s on {processes} processes"])


def arm_runs(runs: Sequence[OneRun], changed: str = "") -> list[Any]:
    """The runs as :class:`lib.trainers.ladder.ArmRuns`; with ``changed``, on those changed sequences."""
    make = lib_module("trainers.ladder").ArmRuns
    names = dict.fromkeys(run.arm for run in runs)
    return [
        make(name, tuple(run.changed[changed] if changed else run.scores for run in runs if run.arm == name))
        for name in names
    ]


def toy_table(runs: Sequence[OneRun], resamples: int) -> str:
    """AP50 of every arm with intervals over seeds and sequences, and against the arms without memory; Markdown.

    Args:
        runs: From :func:`benchmark_toy`.
        resamples: Bootstrap resamples behind each interval.
    """
    box_ap, arms = lib_module("trainers.scoring").box_ap, arm_runs(runs)
    bootstrap = lib_module("trainers.ladder").LadderBootstrap(arms, box_ap, resamples)
    known = lib_module("trainers.arms")
    references = [arm.name for arm in (known.CNN_ONLY, known.CONTROL) if arm.name in bootstrap.means]
    rows = [["network", "parameters", "s", "AP50", "lowest seed", *(f"less {name}" for name in references)]]
    for arm in arms:
        own = [run for run in runs if run.arm == arm.name]
        values = arm.values(box_ap)
        cells = [arm.name, str(own[0].parameters), f"{np.mean([run.cpu_seconds for run in own]):.1f}"]
        cells += [mean_and_interval(bootstrap, arm.name), f"{min(values):.3f}"]
        rows.append([*cells, *(paired_cell(bootstrap, arm.name, reference) for reference in references)])
    return markdown_table(rows)


def mean_and_interval(bootstrap: Any, name: str) -> str:
    """Of an arm, from a :class:`lib.trainers.ladder.LadderBootstrap`."""
    return _with_interval(bootstrap.means[name], bootstrap.interval(name))


def paired_cell(bootstrap: Any, name: str, reference: str) -> str:
    """An arm less another, with the interval of the difference; a dash for an arm less itself."""
    if name == reference:
        return "-"
    difference: PairedDifference = bootstrap.difference(name, reference)
    return _with_interval(difference.mean, difference.ci95, "+")


def _with_interval(value: float, interval: tuple[float, float] | None, sign: str = "") -> str:
    shown = f"{value:{sign}.3f}"
    return shown if interval is None else f"{shown} [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


def end_table(runs: Sequence[OneRun]) -> str:
    """Share of wrong frames by their place in the lesion, at each run's best score threshold; Markdown."""
    rows = [["wrong frames", *DISTANCES.values()]]
    for name in dict.fromkeys(run.arm for run in runs):
        shares = [errors_by_distance(run.scores) for run in runs if run.arm == name]
        cells = [np.mean([share.get(d, np.nan) for share in shares]) for d in DISTANCES]
        rows.append([name, *(f"{value:.2f}" for value in cells)])
    return markdown_table(rows)


def errors_by_distance(sequences: Sequence[SequenceScores]) -> dict[int, float]:
    """Share of wrong frames by distance from the end of the lesion; keys as in :data:`DISTANCES`."""
    ladder = lib_module("trainers.ladder")
    threshold = ladder.best_threshold(sequences)
    wrong = np.concatenate([ladder.wrong_frames(one, threshold) for one in sequences])
    distances = np.concatenate([one.distance for one in sequences])
    means = lib_module("evaluation.probes").mean_by_distance(wrong, distances, innermost=INNERMOST)
    return {distance: mean for distance, (mean, _) in means.items()}


def probe_table(runs: Sequence[OneRun]) -> str:
    """AP50 where it is harder: sequences changed in each way, and the frames with the smallest lesions; Markdown."""
    box_ap, small_lesion_ap = lib_module("trainers.scoring").box_ap, lib_module("trainers.ladder").small_lesion_ap
    names = list(runs[0].changed)
    arms = {name: {arm.name: arm for arm in arm_runs(runs, name)} for name in names}
    rows = [["AP50", "unchanged", *names, "smallest third"]]
    for arm in arm_runs(runs):
        values = [arm.values(box_ap), *(arms[name][arm.name].values(box_ap) for name in names)]
        values.append(arm.values(small_lesion_ap))
        rows.append([arm.name, *(f"{np.mean(value):.3f}" for value in values)])
    return markdown_table(rows)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
