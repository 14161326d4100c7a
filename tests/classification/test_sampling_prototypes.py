# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import nn

from lib.classification.prototypes import class_prototypes, prototype_logits, write_prototypes
from lib.classification.sampling import class_priors, sampling_weights
from lib.losses.lesion import class_focal_loss, logit_adjusted_loss
from lib.types import InputError

CLASSES = np.array([0] * 7 + [1] * 2 + [2])
PATIENTS = ["a", "a", "a", "a", "b", "c", "d", "e", "f", "a"]


def test_balanced_classes_are_drawn_alike_and_patients_within_them_too() -> None:
    weights = sampling_weights(CLASSES, PATIENTS, 1.0)
    assert class_priors(CLASSES, weights, 4) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert weights[:4].sum() == pytest.approx(weights[4]) == pytest.approx(1 / 12)


def test_unbalanced_classes_come_as_often_as_they_have_patients() -> None:
    weights = sampling_weights(CLASSES, PATIENTS, 0.0)
    assert class_priors(CLASSES, weights, 3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_nothing_to_draw_from() -> None:
    with pytest.raises(InputError, match="label some"):
        sampling_weights(np.zeros(0, int), [], 1.0)


def test_focal_loss_without_focus_is_cross_entropy_and_cares_less_for_easy_ones() -> None:
    torch.manual_seed(0)
    logits, classes = torch.randn(16, 4), torch.randint(4, (16,))
    plain = nn.functional.cross_entropy(logits, classes)
    assert torch.isclose(class_focal_loss(logits, classes, 0.0), plain)
    assert class_focal_loss(logits, classes, 2.0) < plain
    easy = torch.tensor([[9.0, 0, 0, 0]])
    assert class_focal_loss(easy, torch.tensor([0])) < 1e-6


def test_logit_adjustment_learns_what_equal_classes_would_teach() -> None:
    """Two overlapping classes, nine to one: plain cross-entropy calls the middle frequent, the adjusted one neither."""
    generator = torch.Generator().manual_seed(0)
    classes = (torch.rand(4000, generator=generator) < 0.1).long()
    x = torch.randn(4000, 1, generator=generator) + 2.0 * classes[:, None] - 1.0
    priors = torch.tensor([0.9, 0.1])
    biases = {}
    for name, weight in (("plain", 0.0), ("adjusted", 1.0)):
        layer = nn.Linear(1, 2)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100)

        def closure(layer: nn.Linear = layer, weight: float = weight, optimizer=optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            loss = logit_adjusted_loss(layer(x), classes, priors, weight)
            loss.backward()
            return loss

        optimizer.step(closure)
        biases[name] = float((layer.bias[1] - layer.bias[0]).detach())
    assert biases["adjusted"] == pytest.approx(0.0, abs=0.2)  # the middle lies at x = 0
    assert biases["plain"] == pytest.approx(float(np.log(1 / 9)), abs=0.2)


def test_a_class_that_is_never_drawn_has_a_finite_loss() -> None:
    loss = logit_adjusted_loss(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([0.5, 0.5, 0.0]))
    assert torch.isfinite(loss)


def test_a_head_written_from_prototypes_says_what_distances_say() -> None:
    torch.manual_seed(1)
    embeddings, classes = torch.randn(20, 6), torch.arange(20) % 3
    prototypes = class_prototypes(embeddings, classes, 3)
    assert torch.allclose(prototypes[1], embeddings[classes == 1].mean(0))
    head = nn.Linear(6, 3)
    write_prototypes(head, prototypes)
    new = torch.randn(5, 6)
    probabilities = [logits.softmax(1) for logits in (head(new), prototype_logits(new, prototypes))]
    assert torch.allclose(*probabilities, atol=1e-5)


def test_one_example_per_class_is_enough_and_none_is_not() -> None:
    assert torch.equal(class_prototypes(torch.eye(3), torch.arange(3), 3), torch.eye(3))
    with pytest.raises(InputError, match=r"classes \[2\]"):
        class_prototypes(torch.eye(3), torch.tensor([0, 1, 1]), 3)
    with pytest.raises(InputError, match="expected"):
        class_prototypes(torch.eye(3), torch.arange(2), 3)
    with pytest.raises(InputError, match="not a number"):
        class_prototypes(torch.full((1, 2), torch.nan), torch.tensor([0]), 1)
    with pytest.raises(InputError, match="do not fit"):
        write_prototypes(nn.Linear(4, 3), torch.eye(3))
