# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from lib.configs.report import PAD
from lib.losses.report import UNKNOWN_CLASS, class_loss, coverage_loss, findings_loss, mask_loss, token_loss

NAN = math.nan


def test_token_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [9.0, 9.0, 9.0]]])
    targets = torch.tensor([[2, 1, PAD]])
    first = math.log(1 + math.e + math.e**2) - 2
    second = math.log(math.e**3 + 2)
    assert token_loss(logits, targets, 0.0).item() == pytest.approx((first + second) / 2, rel=1e-5)
    spread = 0.9 * first + 0.1 * (math.log(1 + math.e + math.e**2) - 1)
    assert token_loss(logits[:, :1], targets[:, :1], 0.1).item() == pytest.approx(spread, rel=1e-5)


def test_padding_of_reports_never_counts() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 4, 9), torch.randint(1, 9, (2, 4))
    longer = torch.cat([logits, 1e3 * torch.randn(2, 3, 9)], dim=1)
    padded = torch.cat([targets, torch.full((2, 3), PAD)], dim=1)
    torch.testing.assert_close(token_loss(longer, padded), token_loss(logits, targets))
    attention = torch.rand(2, 7, 5).softmax(-1)
    torch.testing.assert_close(coverage_loss(attention, padded), coverage_loss(attention[:, :4], targets))
    assert token_loss(logits, torch.full((2, 4), PAD)).item() == 0


def test_coverage_is_paid_for_what_is_attended_again() -> None:
    targets = torch.ones(1, 3, dtype=torch.long)
    assert coverage_loss(torch.eye(3)[None], targets).item() == 0
    again = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    assert coverage_loss(again, targets).item() == pytest.approx(1 / 3)
    half = torch.tensor([[[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]])
    assert coverage_loss(half, targets).item() == pytest.approx((0 + 1 + 1) / 3)


def test_findings_that_are_not_known_never_count() -> None:
    logits = torch.tensor([[0.3, 50.0], [-1.2, 0.7]], requires_grad=True)
    targets = torch.tensor([[1.0, NAN], [0.0, 1.0]])
    terms = [math.log(1 + math.exp(-0.3)), math.log(1 + math.exp(-1.2)), math.log(1 + math.exp(-0.7))]
    loss = findings_loss(logits, targets)
    assert loss.item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 1] == 0
    weighed = findings_loss(logits, targets, torch.tensor([4.0, 1.0]))
    assert weighed.item() == pytest.approx((4 * terms[0] + terms[1] + terms[2]) / 3, rel=1e-5)
    assert findings_loss(logits, torch.full((2, 2), NAN)).item() == 0


def test_classes_that_are_not_known_never_count() -> None:
    logits, classes = torch.tensor([[2.0, 0.0], [0.0, 0.0], [7.0, -7.0]]), torch.tensor([0, 1, UNKNOWN_CLASS])
    first, second = math.log(1 + math.exp(-2)), math.log(2)
    assert class_loss(logits, classes).item() == pytest.approx((first + second) / 2, rel=1e-5)
    weighed = class_loss(logits, classes, torch.tensor([1.0, 3.0]))
    assert weighed.item() == pytest.approx((first + 3 * second) / 4, rel=1e-5)
    assert class_loss(logits, torch.full((3,), UNKNOWN_CLASS)).item() == 0


def test_masks_count_where_someone_outlined() -> None:
    target = torch.zeros(2, 2, 1, 8, 8)
    target[0, 0, :, 2:5, 2:5] = 1
    known = torch.tensor([[True, False], [True, False]])
    right, wrong = 20 * target - 10, 10 - 20 * target
    assert mask_loss(right, target, known).item() < 0.01
    assert mask_loss(wrong, target, known).item() > 1
    elsewhere = right.clone()
    elsewhere[:, 1] = 1e3
    torch.testing.assert_close(mask_loss(elsewhere, target, known), mask_loss(right, target, known))
    assert mask_loss(right, target, torch.zeros_like(known)).item() == 0
