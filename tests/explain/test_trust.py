# SPDX-License-Identifier: Apache-2.0
"""Whether an explanation can be trusted: shipped weights on phantoms whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import spearmanr

from lib.configs import (
    load_configs,
)
from lib.explain import explain
from lib.findings.lesions import find_lesions
from lib.phantom import head_stack
from lib.prediction.predictor import Predictor
from lib.registry import build_network
from lib.types import Sequence, Source
from lib.weights.files import load_weights
from monailabel_app.roots import CONFIGS_DIR, PRETRAINED_DIR

from .conftest import predictor_of, sequence_of


@pytest.fixture(scope="module")
def phantoms() -> list[tuple[Sequence, np.ndarray]]:
    stacks = [head_stack(seed, n_frames=12, size=96, spacing_mm=(2.0, 2.0, 6.0)) for seed in range(700, 708)]
    return [(sequence_of(s.image[:, None].astype(np.float32), s.spacing_mm[:2]), s.mask > 0) for s in stacks]


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    config = load_configs(CONFIGS_DIR)["mr_lesion_segmentation"]
    config = replace(config, inference=replace(config.inference, flip_tta=False))
    network = build_network(config)
    load_weights(network, PRETRAINED_DIR / "mr_lesion.safetensors")
    return Predictor(config, network)


def near(mask: np.ndarray) -> np.ndarray:
    """The lesions and what lies within 6 mm of them on the same frame."""
    return binary_dilation(mask, np.ones((1, 7, 7)))


def test_the_strongest_evidence_is_at_a_lesion(phantoms, shipped):
    """The pointing game (Zhang et al. Top-down neural attention by excitation backprop. ECCV 2016)."""
    hits, chance, mass = [], [], []
    for sequence, mask in phantoms:
        explanation = explain(shipped, sequence)
        heat, body = explanation.on_frames(explanation.heatmaps[0]), near(mask) | (sequence.frames[:, 0] > 20)
        hits.append(near(mask).flat[heat.argmax()])
        chance.append(near(mask)[body].mean())
        mass.append(heat[near(mask)].sum() / heat.sum())
    print(f"pointing game {np.mean(hits):.2f}, mass {np.mean(mass):.2f}, chance {np.mean(chance):.3f}")
    assert np.mean(hits) >= 0.6 > 5 * np.mean(chance)
    assert np.mean(mass) > 5 * np.mean(chance)


def test_other_weights_give_another_map(phantoms, shipped):
    """Adebayo et al. Sanity checks for saliency maps. NeurIPS 2018: a map must depend on what was learned."""
    likeness = []
    for sequence, _ in phantoms[:2]:
        trained = explain(shipped, sequence).heatmaps[0].cells
        again = explain(shipped, sequence).heatmaps[0].cells
        random = explain(predictor_of(shipped.config, seed=1), sequence).heatmaps[0].cells
        np.testing.assert_array_equal(trained, again)
        likeness.append(spearmanr(trained.ravel(), random.ravel()).statistic)
    assert np.mean(np.abs(likeness)) < 0.4


def test_a_lesion_that_is_there_is_its_own_evidence(phantoms, shipped):
    inside = []
    for sequence, _ in phantoms[:3]:
        prediction = shipped.predict(sequence)
        findings = find_lesions(prediction, sequence, shipped.config, Source())[1][:2]
        explanation = explain(shipped, sequence, findings)
        for heatmap, one in zip(explanation.heatmaps[1:], findings, strict=True):
            frame = int(heatmap.cells.max(axis=(1, 2)).argmax())
            inside.append(any(abs(frame - t) <= 1 for t in one.boxes))
        assert prediction.attention.sum() == pytest.approx(1, abs=1e-5)
    assert np.mean(inside) > 0.5
