# SPDX-License-Identifier: Apache-2.0
"""The only place where a configuration becomes an infer, train or strategy task."""

from __future__ import annotations

from pathlib import Path

from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from .activelearning.strategies import build_strategies
from .configs import ModelConfig, load_configs
from .drafting.source import LesionSource, check_features, source_of
from .infers.classification import Classification
from .infers.lesion import LesionDetection, LesionSegmentation
from .infers.report import ReportDrafting
from .trainers.classification import ClassificationTrainTask
from .trainers.lesion import LesionTrainTask
from .trainers.report_task import ReportTrainTask
from .types import InputError
from .weights.versions import VersionStore

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
        _check_sources(self.configs)
        self.versions = {name: VersionStore(model_dir, config, pretrained_dir) for name, config in self.configs.items()}

    def infers(self) -> dict[str, InferTask]:
        """An infer task per model."""
        return {name: self._infer(name, config) for name, config in self.configs.items()}

    def _infer(self, name: str, config: ModelConfig) -> InferTask:
        if config.task == "report":
            return ReportDrafting(config, self.versions[name], self._source(config))
        return INFER_TASKS[config.task](config, self.versions[name])

    def _source(self, config: ModelConfig) -> LesionSource | None:
        """The lesion model that a report model reads from; None where it reads the image itself."""
        name = config.report.source if config.report else ""
        return source_of(config, self.configs[name], self.versions[name]) if name else None

    def trainers(self) -> dict[str, TrainTask]:
        """A train task per model."""
        return {name: self._trainer(name, config) for name, config in self.configs.items()}

    def _trainer(self, name: str, config: ModelConfig) -> TrainTask:
        if config.task == "report":
            return ReportTrainTask(config, self.versions[name], self._source(config))
        return TRAIN_TASKS[config.task](config, self.versions[name])

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


def _check_sources(configs: dict[str, ModelConfig]) -> None:
    """Check that the lesion model of each report model is served, and gives what the report model reads."""
    for name, config in configs.items():
        if config.report is None or not config.report.source:
            continue
        source = configs.get(config.report.source)
        if source is None:
            raise InputError(
                f"model '{name}' writes from what '{config.report.source}' finds, which is not served: add it to conf "
                f"'models', or name another in report.source of configs/{name}.yaml"
            )
        check_features(config, source)
