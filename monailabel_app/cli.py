# SPDX-License-Identifier: Apache-2.0
"""The command line: ``lesionloop COMMAND``. Each command reads its options, calls the library, prints the result."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from monailabel_app.bench.cli import bench
from monailabel_app.cli_options import Settings, key_values, model_config, use_threads
from monailabel_app.report_training import train_reports
from monailabel_app.roots import APP_DIR, PRETRAINED_DIR, lib_module
from monailabel_app.serving.settings import ConfigurationError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(bench, name="bench")


def main() -> None:
    """Run the command line; wrong input ends with its message and exit code 2, without a stack trace."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        app()
    except (lib_module("types").InputError, ConfigurationError) as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise SystemExit(2) from error


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
    notes: Annotated[
        Path | None, typer.Option(help="chest reports: folder with pairs.csv and the radiographs it names")
    ] = None,
    reports: Annotated[
        Path | None, typer.Option(help="chest reports: folder with indiana_reports.csv, to learn to write first")
    ] = None,
    val_fraction: Annotated[float | None, typer.Option(help="share of patients held out; 0 for none")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 0,
    cpu_seconds: Annotated[float | None, typer.Option(help="end after this much processor time")] = None,
    set_: Settings = None,
) -> None:
    """Train a model on labelled studies folders and write its weights."""
    use_threads(threads)
    config, folders = model_config(model, set_), studies or []
    if config.task != "report" and (notes or reports):
        raise lib_module("types").InputError("--notes and --reports are for report models")
    shared: dict[str, Any] = {"val_fraction": val_fraction, "start": start, "encoder": encoder, "device": device}
    shared |= {"cpu_budget_s": cpu_seconds}
    if config.task == "classification":
        if phantoms:
            raise lib_module("types").InputError("--phantoms: there are no phantoms for classifiers")
        train_clips = lib_module("trainers.clip_folders").train_clips_on_folders
        result = train_clips(config, folders, output, few_shot=few_shot, **shared)
    elif config.task == "report":
        if few_shot or encoder:
            raise lib_module("types").InputError("--few-shot and --encoder are not for report models")
        del shared["encoder"]
        result = train_reports(
            config, output, folders=folders, phantoms=phantoms, notes=notes, reports=reports, **shared
        )
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

    options = Options(folder.absolute(), studies, host, port, limit, key_values("--conf", conf), exit_)
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

    serve_here(studies, host, port, key_values("--conf", conf), token_file)


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

    use_threads(threads)
    path, version = (weights, weights.stem) if weights else _version_store(model, model_dir).current()
    config = model_config(model, set_)
    if config.task in ("classification", "report"):
        raise lib_module("types").InputError(f"'{model}' is for {config.task}; `evaluate` judges masks and boxes")
    result = lib_module("evaluation.evaluate").evaluate_model(
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

    use_threads(threads)
    path, version = (weights, weights.stem) if weights else _version_store(model, model_dir).current()
    wanted = Wanted(image, output, method, volumes, device, time_point, part)
    for file in run_explain(model_config(model, set_), path, version, wanted):
        typer.echo(f"wrote {file}")


@app.command()
def compare(
    files: Annotated[list[Path] | None, typer.Argument(help="results of `evaluate`, a model each")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="NAME=PATTERN: a model trained with several seeds")] = None,
) -> None:
    """Compare models on the same studies as a Markdown table; differences are paired by patient."""
    comparison = lib_module("evaluation.comparison")
    typer.echo(comparison.comparison_table(comparison.find_arms(files or [], key_values("--arm", arm))), nl=False)


@app.command()
def doctor(studies: Annotated[Path, typer.Argument(help="folder of images: NIfTI, NRRD, MetaImage or DICOM")]) -> None:
    """Tell what a folder holds: its sequences, what is wrong with them, what each model could do with them."""
    from rich.console import Console

    from monailabel_app.doctor import run_doctor

    raise typer.Exit(run_doctor(studies, Console()))


def _tell_progress(done: int, total: int, image: str) -> None:
    logging.getLogger(__name__).info("%d of %d: %s", done, total, image)


def _version_store(model: str, model_dir: Path) -> Any:
    return lib_module("weights.versions").VersionStore(model_dir, model_config(model), PRETRAINED_DIR)
