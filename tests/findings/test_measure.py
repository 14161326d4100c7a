# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from lib.findings.measure import axes_mm, measure_boxes, measure_mask
from lib.types import Measurement


def ellipse(shape, center, half_axes, angle_deg=0.0, spacing=(1.0, 1.0)):
    """Pixels whose centre lies in an ellipse given in mm; (H, W)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    dx, dy = x * spacing[0] - center[0], y * spacing[1] - center[1]
    a = np.deg2rad(angle_deg)
    u, v = np.cos(a) * dx + np.sin(a) * dy, np.cos(a) * dy - np.sin(a) * dx
    return (u / half_axes[0]) ** 2 + (v / half_axes[1]) ** 2 <= 1


def test_a_single_pixel_is_as_long_as_its_longer_side():
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    assert axes_mm(mask, (1.0, 1.0)) == pytest.approx((1.0, 1.0))
    assert axes_mm(mask, (0.5, 2.0)) == pytest.approx((2.0, 0.5))


def test_a_row_of_pixels_has_its_length_and_height():
    mask = np.zeros((5, 12), bool)
    mask[2, 1:11] = True
    assert axes_mm(mask, (0.7, 1.3)) == pytest.approx((7.0, 1.3))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.9), (1.2, 0.4)])
@pytest.mark.parametrize("angle", [0, 20, 45, 75, 90])
def test_axes_of_an_ellipse_at_any_angle_and_pixel_shape(angle, spacing):
    shape = (int(80 / spacing[1]), int(80 / spacing[0]))
    mask = ellipse(shape, (40, 40), (25, 12), angle, spacing)
    long_axis, short_axis = axes_mm(mask, spacing)
    assert long_axis == pytest.approx(50, abs=max(spacing))
    assert short_axis == pytest.approx(24, abs=1.5 * max(spacing))


def test_a_hole_does_not_change_the_axes():
    disc = ellipse((60, 60), (30, 30), (20, 20))
    ring = disc & ~ellipse((60, 60), (30, 30), (8, 8))
    assert axes_mm(ring, (1.0, 1.0)) == pytest.approx(axes_mm(disc, (1.0, 1.0)))


def test_axes_come_from_the_frame_with_the_largest_area():
    mask = np.zeros((3, 40, 40), bool)
    mask[0, 5, 2:38] = True  # longest, but small
    mask[1] = ellipse((40, 40), (20, 20), (10, 8))
    measured = measure_mask(mask, np.ones(mask.shape), (1.0, 1.0), None)
    assert measured["long_axis"].value == pytest.approx(20, abs=1)
    assert measured["short_axis"].value == pytest.approx(16, abs=1)


def test_volume_and_intensity_with_units():
    mask = np.zeros((4, 6, 6), np.uint8)
    mask[1:3, 2:4, 1:5] = 1
    image = np.where(mask, 7.0, 100.0)
    image[1, 2, 1] = 23.0
    measured = measure_mask(mask, image, (1.0, 1.0), np.full(len(mask), 0.02))
    assert measured["volume"] == Measurement(0.32, "ml")
    assert measured["mean_intensity"] == Measurement(8.0, "a.u.")
    assert measured["long_axis"].unit == "mm"


def test_frames_that_are_no_slices_have_no_volume_and_no_depth():
    mask = np.ones((2, 3, 3), bool)
    assert "volume" not in measure_mask(mask, np.zeros(mask.shape), (1.0, 1.0), None)
    assert "depth" not in measure_boxes({0: (0, 0, 2, 2)}, (1.0, 1.0), None)


def test_boxes_are_measured_over_all_their_frames():
    boxes = {3: (10.0, 20.0, 15.0, 22.0), 5: (8.0, 21.0, 14.0, 26.0)}
    measured = measure_boxes(boxes, (0.5, 0.8), 12.0)
    assert measured == {
        "width": Measurement(3.5, "mm"),
        "height": Measurement(4.8, "mm"),
        "depth": Measurement(12.0, "mm"),
    }
