# SPDX-License-Identifier: Apache-2.0
"""Where in the brain a point is, by its place in the brain's box."""

import itertools

import pytest

from lib.text.facts import Side
from lib.text.lexicon_brain import BRAIN_MR
from lib.text.regions import region_of, side_of

BRAIN = (-70.0, -90.0, -60.0, 70.0, 90.0, 70.0)


@pytest.mark.parametrize(
    ("point", "region"),
    [
        ((-30, -70, 30), "frontal"),
        ((-60, -10, -30), "temporal"),
        ((30, 40, 50), "parietal"),
        ((20, 85, 10), "occipital"),
        ((20, 50, -50), "cerebellar"),
        ((5, 0, 0), "central"),
        ((45, 0, 5), "insular"),
    ],
)
def test_regions(point, region):
    assert region_of(point, BRAIN) == region
    assert region_of((-point[0], *point[1:]), BRAIN) == region


def test_left_is_where_x_is_greater():
    assert side_of((20, 0, 0), BRAIN) is Side.LEFT
    assert side_of((-20, 0, 0), BRAIN) is Side.RIGHT


def test_every_place_has_a_region_of_the_lexicon():
    steps = range(-100, 101, 20)
    regions = {region_of(point, BRAIN) for point in itertools.product(steps, steps, steps)}
    assert regions <= set(BRAIN_MR.locations)
    assert region_of((0, 0, 0), (0, 0, 0, 0, 0, 0)) in BRAIN_MR.locations
