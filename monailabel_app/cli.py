# SPDX-License-Identifier: Apache-2.0
"""The command line: ``lesionloop COMMAND``. Each command reads its options, calls the library, prints the result."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from monailabel_app.roots import CONFIGS_DIR, lib_module

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line; wrong input ends with its message and exit code 2, without a stack trace."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    input_error = lib_module("types").InputError
    try:
        app()
    except input_error as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise SystemExit(2) from error


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="name of the model: a file in configs/")],
    studies: Annotated[list[Path], typer.Option(help="studies folder with masks in labels/final; may be repeated")],
    output: Annotated[Path, typer.Option(help="safetensors file to write")],
    start: Annotated[Path | None, typer.Option(help="weights to start from (default: random)")] = None,
    phantoms: Annotated[int, typer.Option(help="phantoms to add to the training studies")] = 0,
    val_fraction: Annotated[float | None, typer.Option(help="share of patients held out; 0 for none")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(help="processor threads; 0 leaves it to torch")] = 0,
    cpu_seconds: Annotated[float | None, typer.Option(help="end after this much processor time")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="setting, e.g. training.max_epochs=40")] = None,
) -> None:
    """Train a model on labelled studies folders and write its weights."""
    import torch
    import yaml

    if threads:
        torch.set_num_threads(threads)
    configs = lib_module("configs")
    changes = dict(item.split("=", 1) for item in set_ or [])
    config = configs.override(
        configs.load_config(CONFIGS_DIR / f"{model}.yaml"), {k: yaml.safe_load(v) for k, v in changes.items()}
    )
    result = lib_module("trainers.folders").train_on_folders(
        config,
        studies,
        output,
        phantoms=phantoms,
        val_fraction=val_fraction,
        start=start,
        device=device,
        cpu_budget_s=cpu_seconds,
    )
    typer.echo(f"wrote {output}: {result.history[-1].line()}")
