# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label app with small models of random weights, to test streams: forward-only ones, and one that is not."""

from pathlib import Path

import torch
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask
from torch import nn

from lib.configs import (
    FrameRecurrenceConfig,
    InferenceConfig,
    InputConfig,
    MapRecurrenceConfig,
    ModelConfig,
    NetworkConfig,
    override,
)
from lib.infers.lesion import LesionDetection, LesionSegmentation
from lib.registry import build_network
from lib.types import SequenceKind
from lib.weights.versions import VersionStore

OUTLINES = ModelConfig(
    task="segmentation",
    description="forward-only",
    labels={"lesion": 1},
    pretrained="random.safetensors",
    network=NetworkConfig(
        channels=(8, 8, 12),
        norm_groups=4,
        frame_recurrence=FrameRecurrenceConfig("gru", 8, False),
        map_recurrence=MapRecurrenceConfig("conv_gru", 8, False, level=1),
    ),
    input=InputConfig(kind=SequenceKind.CINE, channels=("image",), max_size_px=48),
    inference=InferenceConfig(flip_tta=False, score_threshold=0.1),
    name="outlines",
)
BOXES = override(OUTLINES, {"task": "detection", "name": "boxes"})
BOTH_WAYS = override(OUTLINES, {"name": "both_ways", "network.frame_recurrence.bidirectional": True})
SLOW = override(OUTLINES, {"name": "slow", "input.max_size_px": 512, "input.spacing_mm": 0.1})


class Elsewhere(InferTask):
    """A task of another maker."""

    def __init__(self):
        super().__init__("segmentation", ["lesion"], 3, "knows no streams")

    def is_valid(self):
        return True

    def __call__(self, request):
        return None, {}


def weights(config: ModelConfig, folder: Path) -> VersionStore:
    """A first version, random in every weight."""
    torch.manual_seed(0)
    network = build_network(config)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.25)
    store = VersionStore(folder, config, folder)
    store.add(network.state_dict(), publish=True, reason="test", parent="", details={})
    return store


class StreamApp(MONAILabelApp):
    """Wires the tasks."""

    def init_infers(self):
        folder = Path(self.app_dir) / "model"
        tasks = {"elsewhere": Elsewhere()}
        for config in (OUTLINES, BOXES, BOTH_WAYS, SLOW):
            kind = LesionDetection if config.task == "detection" else LesionSegmentation
            tasks[config.name] = kind(config, weights(config, folder))
        return tasks
