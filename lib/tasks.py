# SPDX-License-Identifier: Apache-2.0
"""The only place where a configuration becomes an infer, train or strategy task."""

from __future__ import annotations

from pathlib import Path

from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from .activelearning.strategies import build_strategies
from .configs import ModelConfig, load_configs
from .infers.classification import Classification
from .infers.lesion import LesionDetection, LesionSegmentation
from .trainers.classification import ClassificationTrainTask
from .trainers.lesion import LesionTrainTask
from .types import InputError
from .versions import VersionStore

INFER_TASKS: dict[str, type[InferTask]] = {
    "segmentation": LesionSegmentation,
    "detection": LesionDetection,
    "classification": Classification,
}
TRAIN_TASKS: dict[str, type[TrainTask]] = {
    "segmentation": LesionTrainTask,
    "detection": LesionTrainTask,
    "classification": ClassificationTrainTask,
}


class Tasks:
    """All tasks of an app.

    Args:
        configs_dir: Folder with one YAML file per model.
        model_dir: Where versions of the weights are kept.
        pretrained_dir: Where the shipped weights lie.
        models: Comma-separated names, or ``all``.

    Raises:
        InputError: If a configuration is wrong or a name is unknown.
    """

    def __init__(self, configs_dir: Path, model_dir: Path, pretrained_dir: Path, models: str = "all") -> None:
        self.configs = _chosen(load_configs(configs_dir), models)
        self.versions = {name: VersionStore(model_dir, config, pretrained_dir) for name, config in self.configs.items()}

    def infers(self) -> dict[str, InferTask]:
        """An infer task per model."""
        return {name: INFER_TASKS[c.task](c, self.versions[name]) for name, c in self.configs.items()}

    def trainers(self) -> dict[str, TrainTask]:
        """A train task per model."""
        return {name: TRAIN_TASKS[c.task](c, self.versions[name]) for name, c in self.configs.items()}

    def strategies(self) -> dict[str, Strategy]:
        """The strategies, which serve all models."""
        return build_strategies()


def _chosen(configs: dict[str, ModelConfig], models: str) -> dict[str, ModelConfig]:
    if models in ("", "all"):
        return configs
    names = [name.strip() for name in models.split(",")]
    if unknown := [name for name in names if name not in configs]:
        raise InputError(f"conf 'models': unknown {unknown}; configs/ holds {sorted(configs)}")
    return {name: configs[name] for name in names}
