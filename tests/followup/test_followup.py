# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lib.findings.measure import measure_mask
from lib.followup import Change, VisitFindings, compare_visits, findings_of_answer, findings_of_mask, shown_stack
from lib.followup.growth import Size, displacement_words, growth_of, sizes_of
from lib.phantom import PhantomStack, head_visits
from lib.transforms.frame_masks import mask_document
from lib.transforms.registration import register, resample_to
from lib.transforms.shown import shown_frames
from lib.types import Box, Finding, InputError, Sequence, SequenceKind, Source, VolumeSeries

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
DAYS, GROWTH = 90, 1.6
IDENTITY = np.eye(4)


def stack(frames: np.ndarray, affine_lps: np.ndarray) -> Sequence:
    steps = np.linalg.norm(affine_lps[:3, :3], axis=0)
    return Sequence(
        frames=frames[:, None].astype(np.float32),
        kind=SequenceKind.STACK,
        positions=tuple(float(t * steps[2]) for t in range(len(frames))),
        spacing_mm=(float(steps[0]), float(steps[1])),
        affine_lps=affine_lps,
    )


def visit(instances: np.ndarray, sequence: Sequence) -> VisitFindings:
    """Every lesion of an instance mask, as a perfect model would report it."""
    findings = []
    for value in np.unique(instances[instances > 0]).tolist():
        mask = instances == value
        boxes: dict[int, Box] = {}
        for t in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
            rows, columns = np.flatnonzero(mask[t].any(axis=1)), np.flatnonzero(mask[t].any(axis=0))
            boxes[t] = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        measured = measure_mask(mask, sequence.frames[:, 0], sequence.spacing_mm, sequence.voxel_volumes_ml)
        findings.append(Finding(value, "lesion", 1.0, boxes, (0.0,) * 6, (0.0,) * 3, measurements=measured))
    return VisitFindings(sequence, tuple(findings), instances)


def from_phantom(phantom: PhantomStack) -> VisitFindings:
    return visit(phantom.instances, stack(phantom.image, RAS_TO_LPS @ phantom.affine))


def boxes_only(found: VisitFindings) -> VisitFindings:
    findings = tuple(dataclasses.replace(finding, measurements={}) for finding in found.findings)
    return VisitFindings(found.sequence, findings)


def motion(degrees: float, shift_mm: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0.64, 0.48])).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def ball(shape: tuple[int, int, int], center: tuple[float, float, float], radius: float) -> np.ndarray:
    t, y, x = np.indices(shape)
    return (t - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 <= radius**2


@pytest.fixture(scope="module")
def phantoms() -> list[PhantomStack]:
    return head_visits(
        5, (0, DAYS), (1.0, GROWTH), n_frames=26, size=128, spacing_mm=(1.8, 1.8, 5.0), n_lesions=3, new_lesion=True
    )


@pytest.fixture(scope="module")
def visits(phantoms: list[PhantomStack]) -> tuple[VisitFindings, VisitFindings]:
    return from_phantom(phantoms[0]), from_phantom(phantoms[1])


@pytest.fixture(scope="module")
def moved(phantoms: list[PhantomStack]) -> tuple[VisitFindings, np.ndarray]:
    """The second visit with the patient lying otherwise, on slices of its own; and where that is at the first visit."""
    truth = motion(9, (12.0, -9.0, 20.0))
    second = from_phantom(phantoms[1])
    lower = np.eye(4)
    lower[2, 3] = -6  # frames: the grid reaches further, so that no lesion is cut off
    target = stack(np.zeros((38, 128, 128)), RAS_TO_LPS @ phantoms[0].affine @ lower)
    image = resample_to(target, second.sequence, truth)[:, 0]
    labels = dataclasses.replace(second.sequence, frames=phantoms[1].instances[:, None])
    instances = resample_to(target, labels, truth, labels=True)[:, 0]
    return visit(instances, stack(image, target.affine_lps)), np.linalg.inv(truth)


def pairs_of(comparison: object) -> list[tuple[int | None, int | None]]:
    return [(pair.baseline, pair.followup) for pair in comparison.pairs]  # type: ignore[attr-defined]


def test_phantom_s_lesions_are_paired_and_their_growth_is_the_true_one(
    phantoms: list[PhantomStack], visits: tuple[VisitFindings, VisitFindings]
) -> None:
    result = compare_visits(*visits, IDENTITY, DAYS)
    assert pairs_of(result) == [(1, 1), (2, 2), (3, 3), (None, 4)]
    assert result.warnings == ()
    for pair, before, after in zip(result.pairs[:3], phantoms[0].lesions, phantoms[1].lesions, strict=False):
        assert pair.growth.basis == "volume"
        assert pair.growth.unit == "ml"
        assert pair.growth.before == pytest.approx(before.volume_mm3 / 1000)
        assert pair.growth.after == pytest.approx(after.volume_mm3 / 1000)
        assert pair.growth.percent == pytest.approx(100 * (after.volume_mm3 / before.volume_mm3 - 1))
        assert pair.growth.percent == pytest.approx(60, abs=10)
        assert pair.displacement_mm == pytest.approx(np.subtract(after.center_lps_mm, before.center_lps_mm), abs=0.01)
    new = result.pairs[3].growth
    assert (new.change, new.before, new.percent, new.doubling_time_days) == (Change.NEW, None, None, None)
    assert new.after == pytest.approx(phantoms[1].lesions[3].volume_mm3 / 1000)


def test_backwards_in_time_the_new_lesion_is_gone_and_the_others_have_shrunk(
    visits: tuple[VisitFindings, VisitFindings],
) -> None:
    result = compare_visits(visits[1], visits[0], IDENTITY, -DAYS)
    assert pairs_of(result) == [(1, 1), (2, 2), (3, 3), (4, None)]
    assert result.pairs[3].growth.change is Change.GONE
    assert result.pairs[3].growth.after is None
    for pair in result.pairs[:3]:
        assert pair.growth.percent == pytest.approx(100 / GROWTH - 100, abs=3)
        assert pair.growth.doubling_time_days is None


def test_a_patient_who_lies_otherwise_needs_registration(
    visits: tuple[VisitFindings, VisitFindings], moved: tuple[VisitFindings, np.ndarray]
) -> None:
    second, back = moved
    blind = compare_visits(visits[0], second, IDENTITY, DAYS)
    assert sum(pair.baseline == pair.followup for pair in blind.pairs) < 3
    registered = register(visits[0].sequence, second.sequence)
    result = compare_visits(visits[0], second, registered.to_fixed, DAYS)
    assert pairs_of(result) == [(1, 1), (2, 2), (3, 3), (None, 4)]
    exact = compare_visits(visits[0], second, back, DAYS)
    for pair, true in zip(result.pairs[:3], exact.pairs[:3], strict=True):
        assert pair.growth.percent == pytest.approx(60, abs=10)
        assert pair.displacement_mm == pytest.approx(true.displacement_mm, abs=2.0)


def test_boxes_alone_give_the_pairs_and_the_diameter(
    phantoms: list[PhantomStack], moved: tuple[VisitFindings, np.ndarray]
) -> None:
    first = boxes_only(from_phantom(phantoms[0]))
    result = compare_visits(first, boxes_only(moved[0]), moved[1], DAYS)
    assert pairs_of(result) == [(1, 1), (2, 2), (3, 3), (None, 4)]
    for pair in result.pairs[:3]:
        assert (pair.growth.basis, pair.growth.unit) == ("diameter", "mm")
    same = compare_visits(first, from_phantom(phantoms[1]), IDENTITY, DAYS).pairs[0].growth
    boxes = [max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in p.lesions[0].frame_boxes.values()) for p in phantoms]
    assert same.before == pytest.approx(1.8 * boxes[0])
    assert same.after == pytest.approx(1.8 * boxes[1])


def test_neighbours_are_not_mixed_up_and_a_far_lesion_is_new() -> None:
    shape = (12, 60, 60)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    first, second = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    first[ball(shape, (5, 20, 20), 3)], first[ball(shape, (5, 20, 29), 3)] = 1, 2
    second[ball(shape, (5, 20, 23), 3)], second[ball(shape, (5, 20, 32), 3)] = 2, 1
    second[ball(shape, (5, 50, 50), 3)] = 3
    result = compare_visits(visit(first, stack(first, affine)), visit(second, stack(second, affine)), IDENTITY, 30)
    assert pairs_of(result) == [(2, 1), (1, 2), (None, 3)]
    assert result.pairs[0].displacement_mm == pytest.approx((3, 0, 0), abs=0.01)
    assert result.pairs[0].displacement == "3.0 mm left"
    assert result.pairs[0].growth.change is Change.STABLE


@pytest.mark.parametrize("swapped", [False, True])
def test_merged_and_split_lesions_are_told_in_words(swapped: bool) -> None:
    shape = (9, 60, 60)
    two, one = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    two[ball(shape, (4, 30, 18), 4)], two[ball(shape, (4, 30, 38), 3)] = 1, 2  # the small one is all inside
    one[ball(shape, (4, 30, 30), 14)] = 1
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    both = [visit(mask, stack(mask, affine)) for mask in (two, one)]
    result = compare_visits(*(reversed(both) if swapped else both), IDENTITY, 30)
    where = ("baseline", "follow-up", "it may have split") if swapped else ("follow-up", "baseline", "they may have")
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(f"Lesion 1 of the {where[0]} lies where lesions 1 and 2 of the {where[1]} are")
    assert where[2] in result.warnings[0]
    volumes = [(two > 0).sum() * 2 / 1000, (one > 0).sum() * 2 / 1000]
    assert f"Together these have {volumes[0]:.2f} ml, it has {volumes[1]:.2f} ml." in result.warnings[0]
    assert [(p.baseline, p.followup) for p in result.pairs if p.baseline and p.followup] == [(1, 1)]


def test_a_lesion_outside_the_other_visit_s_images_is_not_called_new_without_a_word() -> None:
    shape = (10, 40, 40)
    mask = np.zeros(shape, np.uint8)
    mask[ball(shape, (8, 20, 20), 2)] = 1
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    empty = np.zeros((5, 40, 40), np.uint8)
    result = compare_visits(visit(empty, stack(empty, affine)), visit(mask, stack(mask, affine)), IDENTITY, 30)
    assert pairs_of(result) == [(None, 1)]
    assert result.warnings == ("Lesion 1 lies outside the images of the baseline: whether it is new is not known.",)


def test_another_label_at_the_other_visit_is_told(visits: tuple[VisitFindings, VisitFindings]) -> None:
    first = visits[0].findings[0]
    other = dataclasses.replace(visits[0], findings=(dataclasses.replace(first, label="cyst"),))
    result = compare_visits(other, visits[1], IDENTITY, DAYS)
    assert result.warnings == (
        "Lesion 1 of the baseline is called 'cyst', the same one of the follow-up (lesion 1) 'lesion'.",
    )


def test_visits_without_lesions_have_no_pairs(visits: tuple[VisitFindings, VisitFindings]) -> None:
    nothing = VisitFindings(visits[0].sequence, ())
    assert compare_visits(nothing, nothing, IDENTITY, None).pairs == ()
    assert [p.growth.change for p in compare_visits(visits[0], nothing, IDENTITY, None).pairs] == [Change.GONE] * 3


def test_a_lesion_of_one_visit_has_its_frame_at_the_other(visits: tuple[VisitFindings, VisitFindings]) -> None:
    findings, nothing = visits[0].findings, VisitFindings(visits[0].sequence, ())
    for pairs in (
        compare_visits(visits[0], nothing, IDENTITY, None).pairs,
        compare_visits(nothing, visits[0], IDENTITY, None).pairs,
    ):
        assert all(min(f.boxes) <= p.elsewhere_frame <= max(f.boxes) for p, f in zip(pairs, findings, strict=True))
    far = np.eye(4)
    far[2, 3] = 1000.0
    assert [p.elsewhere_frame for p in compare_visits(nothing, visits[0], far, None).pairs] == [None] * 3
    assert all(p.elsewhere_frame is None for p in compare_visits(*visits, IDENTITY, None).pairs if p.baseline)


@pytest.mark.parametrize(("power", "key"), [(1, "volume"), (3, "box")])
def test_doubling_time_is_schwartz_s(power: int, key: str) -> None:
    growth = growth_of({key: Size(8.0, 0.1)}, {key: Size(16.0, 0.1)}, 60)
    assert growth.change is Change.GROWN
    assert growth.doubling_time_days == pytest.approx(60 / power)
    assert growth_of({key: Size(8.0, 0.1)}, {key: Size(16.0, 0.1)}, None).doubling_time_days is None
    assert growth.percent == 100


def test_a_change_within_half_a_voxel_of_the_border_is_stable() -> None:
    """A cube of 10 voxels a side: half of 100 voxels on each of six sides, uniform, twice in quadrature."""
    mask = np.ones((10, 10, 10), bool)
    cube = stack(np.zeros((10, 10, 10)), np.diag([1.0, 1.0, 1.0, 1.0]))
    finding = Finding(1, "x", 1.0, {0: (0.0, 0.0, 10.0, 10.0)}, (0.0,) * 6, (0.0,) * 3)
    sizes = sizes_of(finding, cube, mask)
    size = sizes["volume"]
    assert size.value == pytest.approx(1.0)
    assert size.uncertainty == pytest.approx(0.05 * math.sqrt(6) / math.sqrt(3))
    assert sizes["box"].value == pytest.approx(10.0)
    assert sizes["box"].uncertainty == pytest.approx(0.5 * math.sqrt(2) / math.sqrt(3))
    tolerance = growth_of({"volume": size}, {"volume": size}, 30).tolerance
    assert tolerance == pytest.approx(0.1)
    for factor, change in ((0.99, Change.STABLE), (-0.99, Change.STABLE), (1.01, Change.GROWN), (-1.01, Change.SHRUNK)):
        other = Size(1.0 + factor * tolerance, size.uncertainty)
        assert growth_of({"volume": size}, {"volume": other}, 30).change is change


def test_shifts_are_named_in_the_patient() -> None:
    assert displacement_words(np.array([-3.0, 4.0, -0.1]), 2.0) == "3.0 mm right, 4.0 mm posterior"
    assert displacement_words(np.array([0.0, -2.0, 6.04]), 2.0) == "2.0 mm anterior, 6.0 mm superior"
    assert displacement_words(np.array([1.0, 0.0, -1.0]), 2.0) == "1.4 mm (within the error of registration)"


def test_a_stored_mask_is_measured_as_a_model_s_answer_is(phantoms: list[PhantomStack]) -> None:
    image = dataclasses.replace(
        stack(phantoms[0].image, RAS_TO_LPS @ phantoms[0].affine),
        sop_instance_uids=tuple(f"1.2.{t}" for t in range(26)),
        frame_numbers=(1,) * 26,
    )
    backwards = dataclasses.replace(
        image,
        frames=image.frames[::-1],
        affine_lps=image.affine_lps @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 25], [0, 0, 0, 1.0]]),
        sop_instance_uids=image.sop_instance_uids[::-1],
    )
    for stored, mask in ((image, phantoms[0].mask), (backwards, phantoms[0].mask[::-1])):
        sequence = shown_stack(stored, "x")
        assert sequence.sop_instance_uids == image.sop_instance_uids
        np.testing.assert_allclose(sequence.affine_lps, image.affine_lps, atol=1e-9)
        assert np.array_equal(sequence.frames, image.frames)
        document = mask_document(mask.transpose(2, 1, 0), {"tumour": 1}, shown_frames(stored))
        found = findings_of_mask(document, sequence, Source(author="Dr. A"))
        assert {f.label for f in found.findings} == {"tumour"}
        assert {f.source.author for f in found.findings} == {"Dr. A"}
        volumes = sorted(f.measurements["volume"].value for f in found.findings)
        assert volumes == pytest.approx(sorted(x.volume_mm3 / 1000 for x in phantoms[0].lesions), abs=1e-3)
        centers = [tuple(np.round(f.center_lps_mm, 2)) for f in found.findings]
        assert set(centers) == {tuple(np.round(x.center_lps_mm, 2)) for x in phantoms[0].lesions}
        parts = [{**document["parts"][0], "finding": 1}]
        answer = findings_of_answer([f.to_json() for f in found.findings[:1]], {**document, "parts": parts}, sequence)
        assert answer.instances is not None
        assert np.array_equal(answer.instances > 0, phantoms[0].mask > 0)


def test_only_stacks_are_compared() -> None:
    still = stack(np.zeros((4, 8, 8)), np.eye(4))
    series = VolumeSeries(SequenceKind.DYNAMIC, (still, still), (0.0, 1.0))
    with pytest.raises(InputError, match="image 'x' is a dynamic, not a stack"):
        shown_stack(series, "x")
