# SPDX-License-Identifier: Apache-2.0
"""What the tests of explanations share: small networks, sequences with one bright place, shipped models on phantoms."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.configs import (
    FrameRecurrenceConfig,
    InferenceConfig,
    InputConfig,
    ModelConfig,
    NetworkConfig,
)
from lib.infers.lesion import LesionSegmentation
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.transforms.prepare import FrameGrid
from lib.types import Finding, Sequence, SequenceKind
from lib.weights.files import save_weights
from lib.weights.versions import VersionStore

SMALL = NetworkConfig(channels=(8, 8, 16, 16), norm_groups=2, frame_recurrence=FrameRecurrenceConfig(hidden=8))
WHOLE = FrameGrid((32, 40), (32, 40), (0, 32, 0, 40))


def model(network: NetworkConfig = SMALL, task: str = "segmentation", **inference: object) -> ModelConfig:
    channels = tuple(f"c{i}" for i in range(network.in_channels))
    return ModelConfig(
        task=task,
        description="test",
        labels={"a": 1, "b": 2},
        network=network,
        input=InputConfig(spacing_mm=1.5, channels=channels),
        inference=InferenceConfig(**inference),
        name="test",
    )


def predictor_of(config: ModelConfig, seed: int = 0) -> Predictor:
    """With random weights; also where a fresh network starts at zero, so that everything counts."""
    torch.manual_seed(seed)
    network = build_network(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return Predictor(config, network)


def sequence_of(frames: np.ndarray, spacing_mm: tuple[float, float] = (1.5, 1.5), **kwargs: object) -> Sequence:
    positions = tuple(5.0 * t for t in range(len(frames)))
    return Sequence(frames, SequenceKind.STACK, positions, spacing_mm, np.diag([*spacing_mm, 5.0, 1.0]), **kwargs)


def noise(t: int = 5, channels: int = 1, height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).uniform(50, 60, (t, channels, height, width)).astype(np.float32)


def finding(boxes: dict[int, tuple[float, float, float, float]], number: int = 1, label: str = "a") -> Finding:
    return Finding(number, label, 0.9, boxes, (0, 0, 0, 1, 1, 1), (0, 0, 0))


def decoded(data: dict, which: int = 0) -> np.ndarray:
    shape = (data["rows"], data["columns"])
    frames = data["maps"][which]["frames"]
    empty = np.zeros(shape, np.uint8)
    return np.stack(
        [empty if f is None else np.frombuffer(base64.b64decode(f), np.uint8).reshape(shape) for f in frames]
    )


@pytest.fixture
def task(tmp_path) -> LesionSegmentation:
    config = replace(model(), pretrained="w.safetensors")
    save_weights(predictor_of(config).network.state_dict(), tmp_path / "shipped" / "w.safetensors", {})
    return LesionSegmentation(config, VersionStore(tmp_path / "model", config, tmp_path / "shipped"))
