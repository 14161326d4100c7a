# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from lib.transforms.targets import build_targets, component_boxes, draw_gaussian


def masks(b: int = 1, t: int = 2, k: int = 1, size: int = 32) -> np.ndarray:
    return np.zeros((b, t, k, size, size), np.uint8)


def test_component_boxes_have_outer_pixel_edges() -> None:
    mask = masks()[0, 0, 0]
    mask[3:7, 10:12] = 1
    mask[20, 30] = 1
    assert sorted(component_boxes(mask)) == [(10, 3, 12, 7), (30, 20, 31, 21)]
    assert component_boxes(mask, min_px=4) == [(10, 3, 12, 7)]
    assert component_boxes(mask * 0) == []


def test_components_touch_by_corners() -> None:
    assert component_boxes(np.eye(3, dtype=np.uint8)) == [(0, 0, 3, 3)]


def test_a_small_component_inside_the_box_of_a_large_one_is_left_out() -> None:
    ring = np.ones((9, 9), np.uint8)
    ring[1:8, 1:8] = 0
    ring[4, 4] = 1
    assert component_boxes(ring, min_px=2) == [(0, 0, 9, 9)]


def test_targets_from_masks() -> None:
    array = masks(2, 3, 2)
    array[0, 1, 0, 8:16, 4:12] = 1
    array[0, 2, 1, 0:4, 0:8] = 1
    array[0, 2, 1, 28:32, 24:32] = 1
    targets = build_targets(array, stride=4)
    assert torch.equal(targets.mask, torch.from_numpy(array).float())
    assert targets.presence.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert targets.study.tolist() == [[1, 1], [0, 0]]
    assert targets.boxes.tolist() == [[0, 1, 0, 4, 8, 12, 16], [0, 2, 1, 0, 0, 8, 4], [0, 2, 1, 24, 28, 32, 32]]
    assert targets.heatmap.shape == (2, 3, 2, 8, 8)
    assert (targets.heatmap == 1).nonzero().tolist() == [[0, 1, 0, 3, 2], [0, 2, 1, 0, 1], [0, 2, 1, 7, 7]]
    assert targets.heatmap[1].sum() == 0
    assert (targets.to(torch.device("cpu")).boxes == targets.boxes).all()


def test_no_lesion_gives_empty_targets() -> None:
    targets = build_targets(masks(), stride=4)
    assert targets.boxes.shape == (0, 7)
    assert targets.heatmap.sum() == targets.presence.sum() == targets.study.sum() == 0


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (31, 31, 32, 32), (0, 10, 32, 11), (0, 0, 32, 32)])
def test_gaussian_has_one_peak_of_one_in_the_centre_cell(box) -> None:
    heatmap = np.zeros((8, 8), np.float32)
    draw_gaussian(heatmap, box, 4)
    x, y = int((box[0] + box[2]) / 8), int((box[1] + box[3]) / 8)
    assert np.argwhere(heatmap == 1).tolist() == [[y, x]]
    assert heatmap.max() == 1


def test_gaussians_keep_the_larger_value() -> None:
    one, two, both = (np.zeros((8, 8), np.float32) for _ in range(3))
    draw_gaussian(one, (0, 0, 16, 16), 4)
    draw_gaussian(two, (12, 12, 30, 30), 4)
    for box in ((0, 0, 16, 16), (12, 12, 30, 30)):
        draw_gaussian(both, box, 4)
    assert np.array_equal(both, np.maximum(one, two))
