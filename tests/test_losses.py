# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import Tensor

from lib.losses.lesion import center_focal_loss, masked_bce, pair_giou_loss, sequence_dice_loss
from lib.networks.heads import BoxHead, BoxMaps, MaskHead, PresenceHead, StudyHead

HALF = torch.tensor([[True, True, False]])


def bce(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def test_masked_bce_by_hand() -> None:
    logits, target = torch.tensor([[0.3, -1.2, 50.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    expected = (bce(0.3, 1) + bce(-1.2, 0)) / 2
    assert masked_bce(logits, target, HALF).item() == pytest.approx(expected, rel=1e-6)


def test_masked_bce_weighs_frames_alike_whatever_their_size() -> None:
    logits, target = torch.randn(1, 3, 2, 4, 5), torch.zeros(1, 3, 2, 4, 5)
    frames = [masked_bce(logits[:, i : i + 1], target[:, i : i + 1], HALF[:, :1]) for i in range(2)]
    torch.testing.assert_close(masked_bce(logits, target, HALF), sum(frames) / 2)


def test_dice_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3.0), 9.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 1, 1, 2)
    target = torch.tensor([0.0, 1.0, 1.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 1, 1, 2)
    # probabilities .5 .5 | .75 .75; the third frame is padding
    expected = 1 - (2 * 1.5 + 4) / (2.5 + 2 + 4)
    assert sequence_dice_loss(logits, target, HALF, smooth=4.0).item() == pytest.approx(expected, rel=1e-6)


def test_dice_is_per_sequence_and_class() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 2, 4, 4), (torch.rand(2, 3, 2, 4, 4) > 0.5).float()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    parts = [
        sequence_dice_loss(logits[b : b + 1, :, k : k + 1], target[b : b + 1, :, k : k + 1], mask[b : b + 1])
        for b in range(2)
        for k in range(2)
    ]
    torch.testing.assert_close(sequence_dice_loss(logits, target, mask), torch.stack(parts).mean())


def test_dice_ends() -> None:
    target = torch.zeros(1, 3, 1, 8, 8)
    target[:, :2, :, 2:6, 2:6] = 1
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert sequence_dice_loss(40 * target - 20, target, mask).item() == pytest.approx(0, abs=1e-5)
    empty = torch.zeros_like(target)
    assert sequence_dice_loss(empty - 20, empty, mask).item() == pytest.approx(0, abs=1e-5)
    assert sequence_dice_loss(empty + 20, empty, mask).item() > 0.8


def test_focal_by_hand() -> None:
    logits = torch.tensor([0.4, -1.0, 2.0]).reshape(1, 1, 1, 1, 3)
    heatmap = torch.tensor([1.0, 0.5, 0.0]).reshape(1, 1, 1, 1, 3)
    p = [1 / (1 + math.exp(-x)) for x in (0.4, -1.0, 2.0)]
    expected = -((1 - p[0]) ** 2) * math.log(p[0])
    expected -= 0.5**4 * p[1] ** 2 * math.log(1 - p[1]) + p[2] ** 2 * math.log(1 - p[2])
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert center_focal_loss(logits, heatmap, mask).item() == pytest.approx(expected, rel=1e-5)
    twice = center_focal_loss(logits.expand(1, 2, 1, 1, 3), heatmap.expand(1, 2, 1, 1, 3), mask.expand(1, 2))
    assert twice.item() == pytest.approx(expected, rel=1e-5)  # two centres, twice the sum


@pytest.mark.parametrize(
    ("a", "b", "loss"),
    [
        ((0.0, 0.0, 2.0, 2.0), (0.0, 0.0, 2.0, 2.0), 0.0),
        ((0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 3.0, 2.0), 1 - 1 / 3),
        ((0.0, 0.0, 1.0, 1.0), (2.0, 0.0, 3.0, 1.0), 1 + 1 / 3),  # apart: a third of the hull is empty
    ],
)
def test_giou_by_hand(a, b, loss: float) -> None:
    assert pair_giou_loss(torch.tensor([a]), torch.tensor([b])).item() == pytest.approx(loss, abs=1e-5)


LOSSES = [
    pytest.param(masked_bce, (1, 3), id="presence"),
    pytest.param(masked_bce, (1, 3, 2, 4, 4), id="bce"),
    pytest.param(sequence_dice_loss, (1, 3, 2, 4, 4), id="dice"),
    pytest.param(center_focal_loss, (1, 3, 2, 4, 4), id="focal"),
    pytest.param(MaskHead.compute_loss, (1, 3, 2, 4, 4), id="mask head"),
    pytest.param(PresenceHead.compute_loss, (1, 3), id="presence head"),
]


@pytest.mark.parametrize(("loss", "shape"), LOSSES)
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("empty", [False, True])
def test_gradients_are_finite_and_padding_has_none(loss, shape: tuple[int, ...], scale: float, empty: bool) -> None:
    torch.manual_seed(0)
    logits = (scale * torch.randn(shape)).requires_grad_()
    target = torch.zeros(shape) if empty else (torch.rand(shape) > 0.5).float()
    value = loss(logits, target, HALF)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[:, 2] == 0).all()
    assert (logits.grad[:, :2] != 0).any()
    changed = logits.detach().clone()
    changed[:, 2] = 7
    torch.testing.assert_close(loss(changed, target, HALF), value.detach())


@pytest.mark.parametrize(("loss", "shape"), LOSSES)
def test_no_real_frame_gives_a_finite_loss(loss, shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape, requires_grad=True)
    value = loss(logits, torch.ones(shape), torch.zeros(1, 3, dtype=torch.bool))
    value.backward()
    assert torch.isfinite(value)
    assert (logits.grad == 0).all()


def box_maps(**values: Tensor) -> BoxMaps:
    zeros = {"heatmap_logits": torch.zeros(1, 2, 1, 4, 4), "log_size": torch.zeros(1, 2, 2, 4, 4)}
    return BoxMaps(**{**zeros, "offset": torch.full((1, 2, 2, 4, 4), 0.5), **values}, stride=4)


def test_box_loss_is_the_focal_part_alone_for_exact_boxes_and_for_none() -> None:
    mask, heatmap = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, 1, 4, 4)
    heatmap[0, 1, 0, 2, 1] = 1
    # 8 wide, 4 high around (5, 11): cell (1, 2), offset (.25, .75), log size (log 2, log 1)
    boxes = torch.tensor([[0, 1, 0, 1.0, 9.0, 9.0, 13.0]])
    log_size, offset = torch.zeros(1, 2, 2, 4, 4), torch.full((1, 2, 2, 4, 4), 0.5)
    log_size[0, 1, :, 2, 1] = torch.tensor([math.log(2), 0.0])
    offset[0, 1, :, 2, 1] = torch.tensor([0.25, 0.75])
    exact = box_maps(log_size=log_size, offset=offset)
    focal = center_focal_loss(exact.heatmap_logits, heatmap, mask)
    torch.testing.assert_close(BoxHead.compute_loss(exact, heatmap, boxes, mask), focal)
    torch.testing.assert_close(BoxHead.compute_loss(exact, heatmap, boxes[:0], mask), focal)
    wrong = BoxHead.compute_loss(box_maps(), heatmap, boxes, mask)
    # L1: log 2 and 0 halved, .25 and .25 halved; boxes of 2x1 and 1x1 cells, the centres .25 apart both ways
    inter, hull = 1 * 0.75, 2 * 1.25
    union = 2 + 1 - inter
    giou = inter / union - (hull - union) / hull
    assert (wrong - focal).item() == pytest.approx(math.log(2) / 2 + 0.25 + 1 - giou, abs=1e-5)


def test_study_loss_by_hand() -> None:
    value = StudyHead.compute_loss(torch.tensor([[0.5, -0.5]]), torch.tensor([[1.0, 0.0]]))
    assert value.item() == pytest.approx(bce(0.5, 1), rel=1e-6)


def test_a_lesion_of_a_few_pixels_pulls_harder_with_the_focal_loss() -> None:
    """At the start every pixel says "probably nothing"; the lesion's pixels have to weigh against all the others."""
    target, mask = torch.zeros(1, 4, 1, 64, 64), torch.ones(1, 4, dtype=torch.bool)
    target[0, 1:3, 0, 30:33, 30:33] = 1

    def pull(*, focal: bool) -> float:
        logits = torch.full_like(target, -4.0, requires_grad=True)
        MaskHead.compute_loss(logits, target, mask, focal=focal).backward()
        assert logits.grad is not None
        return float(-logits.grad[target > 0].sum() / logits.grad[target == 0].abs().sum())

    assert pull(focal=True) > 1 > 10 * pull(focal=False)
