# SPDX-License-Identifier: Apache-2.0
"""Options that several commands of the command line have."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .roots import APP_DIR, CONFIGS_DIR, PRETRAINED_DIR, lib_module

Settings = Annotated[list[str] | None, typer.Option("--set", help="setting, e.g. training.max_epochs=40; repeatable")]


def model_config(model: str, settings: list[str] | None = None) -> Any:
    """The configuration of a model, with the settings of the command line.

    Raises:
        InputError: If there is none of that name, or it has no such setting.
    """
    import yaml

    configs = lib_module("configs")
    known = configs.load_configs(CONFIGS_DIR)
    if model not in known:
        raise lib_module("types").InputError(f"there is no model '{model}'; known: {', '.join(known)}")
    changes = {key: yaml.safe_load(value) for key, value in key_values("--set", settings).items()}
    return configs.override(known[model], changes)


def lesion_source(config: Any) -> Any:
    """The lesion model that a report model is written from, with the weights in service (``LesionSource``)."""
    lesions = model_config(config.report.source)
    versions = lib_module("weights.versions").VersionStore(APP_DIR / "model", lesions, PRETRAINED_DIR)
    return lib_module("drafting.source").source_of(config, lesions, versions)


def use_threads(threads: int) -> None:
    """Threads of torch in this process; 0 leaves it to torch."""
    import torch

    if threads:
        torch.set_num_threads(threads)


def key_values(option: str, items: list[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` items as a dictionary."""
    if wrong := [item for item in items or [] if not item.partition("=")[0] or "=" not in item]:
        raise lib_module("types").InputError(f"{option} {wrong[0]}: expected KEY=VALUE")
    return dict(item.split("=", 1) for item in items or [])
