# SPDX-License-Identifier: Apache-2.0
"""Does memory help where only memory can? Lesions stay over frames, distractors look the same on one frame only.

A network that sees single frames cannot tell them apart: about half of what it finds is a distractor.
"""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision, binary_precision

from lib.configs import (
    AugmentConfig,
    FrameRecurrenceConfig,
    InferenceConfig,
    MapRecurrenceConfig,
    ModelConfig,
    NetworkConfig,
    TrainingConfig,
)
from lib.networks.lesion_net import LesionNet
from lib.predictor import Predictor
from lib.trainers.cases import Case
from lib.trainers.fit import fit

FRAMES, SIZE, RADIUS, DISTRACTORS = 8, 32, 2.5, 5
STEPS = 120


def disc(y: float, x: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2


def toy(seed: int) -> Case:
    """One lesion that drifts through 4 to 6 frames, and single-frame distractors elsewhere; all equally bright."""
    rng = np.random.default_rng(seed)
    image, mask = np.zeros((FRAMES, SIZE, SIZE)), np.zeros((FRAMES, SIZE, SIZE), bool)
    place, length = rng.uniform(5, SIZE - 5, 2), int(rng.integers(4, 7))
    start, drift = int(rng.integers(0, FRAMES - length + 1)), rng.uniform(-0.5, 0.5, 2)
    for t in range(start, start + length):
        mask[t] |= disc(*(place + drift * (t - start)))
    image[mask] = 2
    for t in rng.permutation(FRAMES)[:DISTRACTORS]:
        spot = rng.uniform(5, SIZE - 5, 2)
        while np.abs(spot - place).max() < 9:
            spot = rng.uniform(5, SIZE - 5, 2)
        image[t][disc(*spot)] = 2
    image += rng.normal(0, 0.5, image.shape)
    return Case(f"toy{seed}", f"toy{seed}", image[:, None].astype(np.float16), mask[:, None].astype(np.uint8))


def model(maps: MapRecurrenceConfig) -> ModelConfig:
    return ModelConfig(
        task="segmentation",
        description="toy",
        labels={"lesion": 1},
        network=NetworkConfig(
            channels=(12, 16, 24),
            norm_groups=4,
            frame_recurrence=FrameRecurrenceConfig(cell="none"),
            map_recurrence=maps,
            boxes=False,
        ),
        training=TrainingConfig(
            max_epochs=1,
            steps_per_epoch=STEPS,
            batch_size=4,
            window=FRAMES,
            size_px=SIZE,
            learning_rate=1e-2,
            ema_decay=0.95,
            augment=AugmentConfig(affine=0, contrast=0, intensity=0, noise_std=0, blur=0),
        ),
        inference=InferenceConfig(flip_tta=False),
        name="toy",
    )


def train_and_test(maps: MapRecurrenceConfig) -> tuple[float, float]:
    """Pixel average precision and pixel precision at 0.5 on sequences that were not trained on."""
    config = model(maps)
    torch.manual_seed(0)
    network = LesionNet(config.network, 1)
    result = fit(network, [toy(i) for i in range(200)], [], config, learning_rate=config.training.learning_rate)
    network.load_state_dict(result.state)
    predictor, held_out = Predictor(config, network), [toy(10_000 + i) for i in range(40)]
    scores = torch.stack([predictor.maps(case.frames.astype(np.float32)).mask for case in held_out])
    truth = torch.from_numpy(np.stack([case.masks for case in held_out])).long()
    return binary_average_precision(scores, truth).item(), binary_precision(scores, truth).item()


@pytest.mark.slow
def test_memory_tells_lesions_from_single_frame_distractors_and_a_frame_only_network_does_not() -> None:
    frame_only, _ = train_and_test(MapRecurrenceConfig(cell="none"))
    recurrent, precision = train_and_test(MapRecurrenceConfig(cell="conv_gru", hidden=16, level=1))
    assert frame_only < 0.7
    assert recurrent > 0.85
    assert precision > 0.8
