# SPDX-License-Identifier: Apache-2.0
"""The command line: ``lesionloop COMMAND``. Each command reads its options, calls the library, prints the result."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from monailabel_app.roots import APP_DIR, CONFIGS_DIR, PRETRAINED_DIR, lib_module
from monailabel_app.serving.settings import ConfigurationError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line; wrong input ends with its message and exit code 2, without a stack trace."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        app()
    except (lib_module("types").InputError, ConfigurationError) as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise SystemExit(2) from error


Settings = Annotated[list[str] | None, typer.Option("--set", help="setting, e.g. training.max_epochs=40; repeatable")]


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="name of the model: a file in configs/")],
    output: Annotated[Path, typer.Option(help="safetensors file to write")],
    studies: Annotated[
        list[Path] | None, typer.Option(help="folder with masks in labels/final, or labels.csv; repeatable")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="weights to start from (default: random)")] = None,
    encoder: Annotated[Path | None, typer.Option(help="another model's weights, for its encoder")] = None,
    few_shot: Annotated[bool, typer.Option(help="classifiers: only set the head, from few studies")] = False,
    phantoms: Annotated[int, typer.Option(help="phantoms to train on, alone or with studies")] = 0,
    val_fraction: Annotated[float | None, typer.Option(help="share of patients held out; 0 for none")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 0,
    cpu_seconds: Annotated[float | None, typer.Option(help="end after this much processor time")] = None,
    set_: Settings = None,
) -> None:
    """Train a model on labelled studies folders and write its weights."""
    _use_threads(threads)
    config, folders = _config(model, set_), studies or []
    shared = {"val_fraction": val_fraction, "start": start, "encoder": encoder, "device": device}
    shared |= {"cpu_budget_s": cpu_seconds}
    if config.task == "classification":
        if phantoms:
            raise lib_module("types").InputError("--phantoms: there are no phantoms for classifiers")
        train_clips = lib_module("trainers.clip_folders").train_clips_on_folders
        result = train_clips(config, folders, output, few_shot=few_shot, **shared)
    else:
        if few_shot:
            raise lib_module("types").InputError("--few-shot is for classifiers")
        result = lib_module("trainers.folders").train_on_folders(config, folders, output, phantoms=phantoms, **shared)
    typer.echo(f"wrote {output}: {result.history[-1].line()}")


Host = Annotated[str, typer.Option(help="address to serve on; another than 127.0.0.1 needs access tokens")]
Port = Annotated[int, typer.Option(help="port to serve on", min=1, max=65535)]
Conf = Annotated[list[str] | None, typer.Option(help="setting of the app, KEY=VALUE, e.g. model_dir=DIR; repeatable")]
Model = Annotated[str, typer.Argument(help="name of the model: a file in configs/")]
ModelDir = Annotated[Path, typer.Option(help="folder with the versions: the app's setting model_dir")]


@app.command()
def demo(
    studies: Annotated[Path | None, typer.Option(help="your own studies folder (default: phantoms)")] = None,
    folder: Annotated[Path, typer.Option(help="where phantoms, pictures and the log go")] = Path("demo"),
    limit: Annotated[int, typer.Option(help="images of your own to run, labelled ones first", min=1)] = 3,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    conf: Conf = None,
    exit_: Annotated[bool, typer.Option("--exit", help="end after the tables and pictures")] = False,
) -> None:
    """Serve the models, run each one on a few patients, show what they found, and keep serving."""
    from monailabel_app.demo import Options, run_demo

    options = Options(folder.absolute(), studies, host, port, limit, _pairs("--conf", conf), exit_)
    raise typer.Exit(run_demo(options))


@app.command()
def serve(
    studies: Annotated[str, typer.Option(help="studies folder, or URL of a DICOMweb server")],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    conf: Conf = None,
    token_file: Annotated[Path | None, typer.Option(help="access tokens, a line NAME:TOKEN per user")] = None,
) -> None:
    """Serve the models on a studies folder or a DICOMweb server."""
    from monailabel_app.process import serve_here

    serve_here(studies, host, port, _pairs("--conf", conf), token_file)


@app.command()
def versions(model: Model, model_dir: ModelDir = APP_DIR / "model") -> None:
    """List the versions of a model's weights and which one is in service."""
    from rich.console import Console

    from monailabel_app.tables import versions_table

    store = _version_store(model, model_dir)
    try:
        in_service = store.current()[1]
    except lib_module("types").InputError as error:  # the list is what one needs to repair it
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        in_service = ""
    Console().print(versions_table(model, store.versions(), store.records(), in_service))


@app.command()
def rollback(
    model: Model,
    to: Annotated[str | None, typer.Option(help="version to put into service (default: the one before)")] = None,
    model_dir: ModelDir = APP_DIR / "model",
) -> None:
    """Put an earlier version of a model into service; a running server uses it from its next inference on."""
    version = _version_store(model, model_dir).rollback(to)
    typer.echo(f"{model}: version {version} is in service")


@app.command()
def evaluate(
    model: Model,
    studies: Annotated[Path, typer.Option(help="studies folder with masks in labels/final")],
    output: Annotated[Path, typer.Option(help="JSON file to write")],
    weights: Annotated[Path | None, typer.Option(help="weights file (default: the version in service)")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 0,
    model_dir: ModelDir = APP_DIR / "model",
    set_: Settings = None,
) -> None:
    """Judge a model on labelled studies: Dice, slice AUC, AP, FROC, with intervals over patients."""
    import json

    from rich.console import Console

    from monailabel_app.tables import evaluation_table

    _use_threads(threads)
    path, version = (weights, weights.stem) if weights else _version_store(model, model_dir).current()
    config = _config(model, set_)
    if config.task == "classification":
        raise lib_module("types").InputError(f"'{model}' classifies studies; `evaluate` judges masks and boxes")
    result = lib_module("evaluation").evaluate_model(
        config, path, version, studies, device=device, progress=_tell_progress
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    Console().print(evaluation_table(result))
    typer.echo(f"wrote {output}")


@app.command()
def explain(
    model: Model,
    image: Annotated[Path, typer.Argument(help="image file, or folder with a DICOM series")],
    output: Annotated[Path, typer.Option(help="folder for picture, volumes and JSON")] = Path("explanation"),
    weights: Annotated[Path | None, typer.Option(help="weights file (default: the version in service)")] = None,
    method: Annotated[str, typer.Option(help="hirescam or gradcam")] = "hirescam",
    volumes: Annotated[str, typer.Option(help="format of the heatmaps: .nrrd or .nii.gz")] = ".nrrd",
    time_point: Annotated[int | None, typer.Option(help="which volume of an image that has several, from 0")] = None,
    part: Annotated[str | None, typer.Option(help="which images of a DICOM series that holds several")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 0,
    model_dir: ModelDir = APP_DIR / "model",
    set_: Settings = None,
) -> None:
    """Show why a model says what it says of an image: heatmaps, presence, attention, weights of the channels."""
    from monailabel_app.explain import Wanted, run_explain

    _use_threads(threads)
    path, version = (weights, weights.stem) if weights else _version_store(model, model_dir).current()
    wanted = Wanted(image, output, method, volumes, device, time_point, part)
    for file in run_explain(_config(model, set_), path, version, wanted):
        typer.echo(f"wrote {file}")


@app.command()
def compare(
    files: Annotated[list[Path] | None, typer.Argument(help="results of `evaluate`, a model each")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="NAME=PATTERN: a model trained with several seeds")] = None,
) -> None:
    """Compare models on the same studies as a Markdown table; differences are paired by patient."""
    comparison = lib_module("comparison")
    typer.echo(comparison.comparison_table(comparison.find_arms(files or [], _pairs("--arm", arm))), nl=False)


@app.command()
def doctor(studies: Annotated[Path, typer.Argument(help="folder of images: NIfTI, NRRD, MetaImage or DICOM")]) -> None:
    """Tell what a folder holds: its sequences, what is wrong with them, what each model could do with them."""
    from rich.console import Console

    from monailabel_app.doctor import run_doctor

    raise typer.Exit(run_doctor(studies, Console()))


bench = typer.Typer(no_args_is_help=True, help="Measure how fast and how good things are, on this machine.")
app.add_typer(bench, name="bench")


@bench.command("read")
def bench_read(
    slices: Annotated[int, typer.Option(help="slices of the series", min=2)] = 200,
    size: Annotated[int, typer.Option(help="rows and columns of each", min=16)] = 512,
    repeats: Annotated[int, typer.Option(help="rounds that count", min=1)] = 5,
) -> None:
    """Read a series of uncompressed slices with our reader and, in the same run, with MONAI's and SimpleITK's."""
    from rich.console import Console

    from monailabel_app.benchmarks import benchmark_reading
    from monailabel_app.tables import reading_table

    Console().print(reading_table(benchmark_reading(slices, size, repeats)))


@bench.command("stream")
def bench_stream(
    size: Annotated[int, typer.Option(help="rows and columns of a frame; a multiple of 32", min=64)] = 192,
    frames: Annotated[int, typer.Option(help="number of the last frame measured", min=20)] = 1000,
    window: Annotated[int, typer.Option(help="frames that a model without memory would run again", min=1)] = 16,
) -> None:
    """Run a forward-only network frame by frame: what frame 10, 100 and the last cost, and the window of before."""
    from rich.console import Console

    from monailabel_app.benchmark_stream import benchmark_stream

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
    from monailabel_app import ultrasound

    _use_threads(threads)
    settings = ultrasound.Settings(videos, list(range(seeds)), cpu_seconds, weights, final_cpu_seconds)
    result = ultrasound.run_benchmark(settings, _config("lung_ultrasound", set_))
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

    from monailabel_app.benchmark_tracking import benchmark_tracking, tracking_table

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
        from monailabel_app.benchmark_longitudinal import benchmark_longitudinal, longitudinal_table

        typer.echo(longitudinal_table(benchmark_longitudinal(longitudinal, _config(model))))
        return
    from monailabel_app.benchmark_growth import benchmark_growth, growth_table

    Console(width=140).print(growth_table(benchmark_growth(range(seeds))))


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
    from monailabel_app.benchmark_detector import ladder_on_toy
    from monailabel_app.benchmark_ladder import StudiesSettings, ladder_on_studies

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
    config = _config(model, set_)
    known = arms.channel_arms(config.input.channels) if channels else (*arms.MEMORY_ARMS, *arms.PEER_ARMS)
    chosen = arms.chosen_arms(arm or [], known)
    settings = StudiesSettings(tuple(studies), val, output, cpu_seconds, parameters, probes, missing=channels)
    typer.echo(ladder_on_studies(config, settings, seeds, chosen, processes))


def _tell_progress(done: int, total: int, image: str) -> None:
    logging.getLogger(__name__).info("%d of %d: %s", done, total, image)


def _config(model: str, settings: list[str] | None = None) -> Any:
    """The configuration of a model, with the settings of the command line.

    Raises:
        InputError: If there is none of that name, or it has no such setting.
    """
    import yaml

    configs = lib_module("configs")
    known = configs.load_configs(CONFIGS_DIR)
    if model not in known:
        raise lib_module("types").InputError(f"there is no model '{model}'; known: {', '.join(known)}")
    changes = {key: yaml.safe_load(value) for key, value in _pairs("--set", settings).items()}
    return configs.override(known[model], changes)


def _use_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


def _version_store(model: str, model_dir: Path) -> Any:
    return lib_module("versions").VersionStore(model_dir, _config(model), PRETRAINED_DIR)


def _pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` items as a dictionary."""
    if wrong := [item for item in items or [] if not item.partition("=")[0] or "=" not in item]:
        raise lib_module("types").InputError(f"{option} {wrong[0]}: expected KEY=VALUE")
    return dict(item.split("=", 1) for item in items or [])
