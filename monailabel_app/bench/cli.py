# SPDX-License-Identifier: Apache-2.0
"""The commands of ``lesionloop bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_options import Settings, lesion_source, model_config, use_threads
from ..roots import lib_module

bench = typer.Typer(no_args_is_help=True, help="Measure how fast and how good things are, on this machine.")


@bench.command("read")
def bench_read(
    slices: Annotated[int, typer.Option(help="slices of the series", min=2)] = 200,
    size: Annotated[int, typer.Option(help="rows and columns of each", min=16)] = 512,
    repeats: Annotated[int, typer.Option(help="rounds that count", min=1)] = 5,
) -> None:
    """Read a series of uncompressed slices with our reader and, in the same run, with MONAI's and SimpleITK's."""
    from rich.console import Console

    from ..tables import reading_table
    from .reading import benchmark_reading

    Console().print(reading_table(benchmark_reading(slices, size, repeats)))


@bench.command("stream")
def bench_stream(
    size: Annotated[int, typer.Option(help="rows and columns of a frame; a multiple of 32", min=64)] = 192,
    frames: Annotated[int, typer.Option(help="number of the last frame measured", min=20)] = 1000,
    window: Annotated[int, typer.Option(help="frames that a model without memory would run again", min=1)] = 16,
) -> None:
    """Run a forward-only network frame by frame: what frame 10, 100 and the last cost, and the window of before."""
    from rich.console import Console

    from .streaming import benchmark_stream

    measured = (*(number for number in (10, 100) if number < frames), frames)
    Console().print(benchmark_stream(size, measured, window).table())


@bench.command("ultrasound")
def bench_ultrasound(
    videos: Annotated[Path, typer.Option(help="folder with videos.csv and videos/ of the public lung ultrasound set")],
    output: Annotated[Path, typer.Option(help="JSON file to write")],
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ... of each model", min=1)] = 2,
    cpu_seconds: Annotated[float, typer.Option(help="processor time of each training")] = 24.0,
    weights: Annotated[Path | None, typer.Option(help="safetensors file: also train on all clips")] = None,
    final_cpu_seconds: Annotated[float, typer.Option(help="processor time of that training")] = 60.0,
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 1,
    set_: Settings = None,
) -> None:
    """Cross-validate clip classifiers by patient: recurrence against the frame average, calibration, conformal sets."""
    from . import ultrasound

    use_threads(threads)
    settings = ultrasound.Settings(videos, list(range(seeds)), cpu_seconds, weights, final_cpu_seconds)
    result = ultrasound.run_benchmark(settings, model_config("lung_ultrasound", set_))
    ultrasound.write_results(result, output)
    typer.echo(ultrasound.markdown(result))


@bench.command("tracking")
def bench_tracking(
    seeds: Annotated[int, typer.Option(help="phantom clips, seeds 0, 1, ...", min=1)] = 5,
    lesions: Annotated[int, typer.Option(help="lesions in each clip", min=1)] = 3,
    frames: Annotated[int, typer.Option(help="frames of each clip", min=5)] = 96,
) -> None:
    """Link noisy boxes of phantom clips into lesions: HOTA and IDF1 (needs the extra `bench`)."""
    from rich.console import Console

    from .tracking import benchmark_tracking, tracking_table

    scores = benchmark_tracking(range(seeds), lesions, frames)
    Console().print(tracking_table(scores, f"{lesions} lesions in {seeds} clips of {frames} frames"))


@bench.command("growth")
def bench_growth(
    seeds: Annotated[int, typer.Option(help="phantom heads, seeds 0, 1, ...", min=1)] = 5,
    longitudinal: Annotated[Path | None, typer.Option(help="look for change in these real patients instead")] = None,
    model: Annotated[str, typer.Option(help="real patients: what finds the lesions")] = "mr_lesion_segmentation",
) -> None:
    """Measure growth and direction of spread of phantom lesions whose change is known, or change in real patients."""
    from rich.console import Console

    if longitudinal is not None:
        from .longitudinal import benchmark_longitudinal, longitudinal_table

        typer.echo(longitudinal_table(benchmark_longitudinal(longitudinal, model_config(model))))
        return
    from .growth import benchmark_growth, growth_table

    Console(width=140).print(growth_table(benchmark_growth(range(seeds))))


@bench.command("report-brain")
def bench_report_brain(
    studies: Annotated[Path, typer.Option(help="studies folder with masks in labels/final")],
    weights: Annotated[Path, typer.Option(help="weights file of the report model")],
    output: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
    model: Annotated[str, typer.Option(help="the report model")] = "report_brain_mr",
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 1,
    set_: Settings = None,
) -> None:
    """Score the facts of drafts against the true masks: checked, unchecked, with images swapped, and baselines."""
    from rich.console import Console

    from .report_brain import run_brain

    use_threads(threads)
    config = model_config(model, set_)
    Console(width=120).print(run_brain(studies, weights, config, lesion_source(config), output))


@bench.command("report-text")
def bench_report_text(
    reports: Annotated[Path, typer.Option(help="folder with indiana_reports.csv")],
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ... of the weights and of the split", min=1)] = 3,
    cpu_seconds: Annotated[float, typer.Option(help="processor time of each training", min=1)] = 80.0,
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 1,
) -> None:
    """Read problems off chest reports: text encoder, TF-IDF with regression, rules (needs the extra `bench`)."""
    from .report_text import benchmark_text

    use_threads(threads)
    typer.echo(benchmark_text(reports, range(seeds), cpu_seconds))


@bench.command("report-chest")
def bench_report_chest(
    notes: Annotated[Path, typer.Option(help="folder with pairs.csv and the radiographs it names")],
    reports: Annotated[
        Path | None, typer.Option(help="folder with indiana_reports.csv, to learn to write first")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the weights")] = 0,
    cpu_seconds: Annotated[
        float | None, typer.Option(help="processor time of each arm in each fold (default: the model's epochs)", min=1)
    ] = None,
    reports_cpu_seconds: Annotated[float, typer.Option(help="processor time on the reports", min=1)] = 900.0,
    output: Annotated[Path | None, typer.Option(help="JSON file for what each arm said")] = None,
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 1,
) -> None:
    """Cross-validate CNN, BiLSTM, attention and all of them on radiographs with notes (needs the extra `bench`)."""
    from .report_chest import ChestSettings, benchmark_chest

    use_threads(threads)
    settings = ChestSettings(notes, reports, seed, cpu_seconds, reports_cpu_seconds, output)
    typer.echo(benchmark_chest(settings))


@bench.command("detector")
def bench_detector(
    seeds: Annotated[int, typer.Option(help="trainings of each network, seeds 0, 1, ...", min=1)] = 5,
    arm: Annotated[list[str] | None, typer.Option(help="name of a network (default: all); repeatable")] = None,
    probes: Annotated[bool, typer.Option(help="also test with noise, missing frames, gaps and thick slices")] = False,
    processes: Annotated[int, typer.Option(help="that train at the same time, a thread each", min=1)] = 2,
    steps: Annotated[int | None, typer.Option(help="toy: optimiser steps of each training", min=1)] = None,
    studies: Annotated[list[Path] | None, typer.Option(help="train on these studies, not the toy; repeatable")] = None,
    val: Annotated[Path | None, typer.Option(help="studies of other patients to judge on")] = None,
    output: Annotated[Path, typer.Option(help="studies: folder for weights and results")] = Path("ladder"),
    cpu_seconds: Annotated[float, typer.Option(help="studies: processor time of each training", min=1)] = 600.0,
    parameters: Annotated[int | None, typer.Option(help="parameters of each network", min=1000)] = None,
    model: Annotated[str, typer.Option(help="studies: what to make the networks from")] = "mr_lesion_segmentation",
    channels: Annotated[bool, typer.Option(help="studies: networks that differ in the channels they see")] = False,
    set_: Settings = None,
) -> None:
    """Train networks of equal size side by side: what recurrence buys, on a toy or on real studies."""
    from .ladder import StudiesSettings, ladder_on_studies
    from .toy import ladder_on_toy

    error = lib_module("types").InputError
    arms = lib_module("trainers.arms")
    if (studies is None) != (val is None):
        raise error("--studies and --val go together: the networks are trained on one and judged on the other")
    if studies is None or val is None:
        if set_ or channels:
            raise error("--set and --channels are for a benchmark on studies")
        chosen = arms.chosen_arms(arm or [], arms.MEMORY_ARMS)
        typer.echo(ladder_on_toy(seeds, chosen, steps, parameters, probes, processes))
        return
    config = model_config(model, set_)
    known = arms.channel_arms(config.input.channels) if channels else (*arms.MEMORY_ARMS, *arms.PEER_ARMS)
    chosen = arms.chosen_arms(arm or [], known)
    settings = StudiesSettings(tuple(studies), val, output, cpu_seconds, parameters, probes, missing=channels)
    typer.echo(ladder_on_studies(config, settings, seeds, chosen, processes))
