# SPDX-License-Identifier: Apache-2.0
"""YAML -> frozen dataclasses. One file per served model; the file's stem is the model's name in the viewers.

An unknown or mistyped key is an error that names the file and the key (pydantic checks the types).
"""

from .model import (
    ClassificationConfig,
    InferenceConfig,
    InputConfig,
    ModelConfig,
    ReportConfig,
    load_config,
    load_configs,
    override,
)
from .network import (
    AttentionName,
    FrameCell,
    FrameRecurrenceConfig,
    FusionConfig,
    MapCell,
    MapRecurrenceConfig,
    NetworkConfig,
)
from .training import (
    AugmentConfig,
    TrainingConfig,
)

__all__ = [
    "AttentionName",
    "AugmentConfig",
    "ClassificationConfig",
    "FrameCell",
    "FrameRecurrenceConfig",
    "FusionConfig",
    "InferenceConfig",
    "InputConfig",
    "MapCell",
    "MapRecurrenceConfig",
    "ModelConfig",
    "NetworkConfig",
    "ReportConfig",
    "TrainingConfig",
    "load_config",
    "load_configs",
    "override",
]
