# SPDX-License-Identifier: Apache-2.0
"""Masks by frames: each pixel comes back where it was, in the pixels that files store; what does not fit is refused."""

import copy
import itertools
import time
from dataclasses import replace

import numpy as np
import pytest

from lib.transforms.frame_masks import Outline, mask_document, outlines_document, read_frame_mask
from lib.transforms.orient import oriented
from lib.transforms.shown import ShownFrames, boxes_on, findings_on, region_on, shown_frames
from lib.types import Finding, InputError, Sequence, SequenceKind

AXES = {"axial": (0, 1, 2), "sagittal": (1, 2, 0), "coronal": (0, 2, 1)}
SHAPE = (5, 6, 7)  # (T, H, W)
ANISOTROPIC_MM, ISOTROPIC_MM = (0.7, 0.9, 5.0), (1.0, 1.0, 1.0)
LABELS = {"lesion": 1, "cyst": 7}


def stored(plane="axial", signs=(1, 1, 1), spacing_mm=ANISOTROPIC_MM, dicom=True, tilt_mm=0.0, shape=SHAPE) -> Sequence:
    """A stack as its files store it, each pixel with a value of its own."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (axis, sign, mm) in enumerate(zip(AXES[plane], signs, spacing_mm, strict=True)):
        affine[axis, column] = sign * mm
    affine[AXES[plane][1], 2] += tilt_mm  # gantry tilt shears the stack
    affine[:3, 3] = (10, -20, 30)
    return Sequence(
        frames=np.arange(np.prod(shape), dtype=np.float32).reshape(shape[0], 1, *shape[1:]),
        kind=SequenceKind.STACK,
        positions=tuple(t * spacing_mm[2] for t in range(shape[0])),
        spacing_mm=spacing_mm[:2],
        affine_lps=affine,
        sop_instance_uids=tuple(f"1.2.{t}" for t in range(shape[0])) if dicom else (),
        frame_numbers=(1,) * shape[0] if dicom else (),
    )


def painted(document: dict, key: str = "label") -> dict[tuple[int, int, int], object]:
    """What a client paints: (frame, row, column) -> label (or finding), by the words of the reference page alone."""
    found = {}
    for part in document["parts"]:
        for frame, runs in part["frames"].items():
            for start, length in zip(runs[::2], runs[1::2], strict=True):
                for pixel in range(start, start + length):
                    place = (int(frame), pixel // document["columns"], pixel % document["columns"])
                    assert place not in found
                    found[place] = part[key]
    return found


def mask_of(seed: int = 0, shape=SHAPE) -> np.ndarray:
    """(T, H, W) with two labels, full rows, single pixels and empty frames."""
    mask = np.random.default_rng(seed).choice([0, 0, 1, 7], shape).astype(np.uint8)
    mask[1] = 0
    mask[2, 3:5] = 1
    return mask


def on_grid(mask: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(mask.transpose(2, 1, 0))


PLACES = {
    f"{plane} {signs} {mm}": stored(plane, signs, mm)
    for plane, signs, mm in itertools.product(
        AXES, itertools.product((1, -1), repeat=3), (ANISOTROPIC_MM, ISOTROPIC_MM)
    )
} | {"tilted": stored(tilt_mm=1.5), "tilted, from above": stored(signs=(1, 1, -1), tilt_mm=1.5)}


@pytest.mark.parametrize("name", PLACES)
def test_a_mask_is_on_the_stored_pixels_and_comes_back(name):
    sequence, mask = PLACES[name], mask_of()
    shown = shown_frames(sequence)
    document = mask_document(on_grid(mask), LABELS, shown)
    assert (document["rows"], document["columns"]) == SHAPE[1:]
    assert sorted(document["sop_instance_uids"]) == sorted(sequence.sop_instance_uids)
    stored_at = [sequence.sop_instance_uids.index(uid) for uid in document["sop_instance_uids"]]
    by_stored_frame = {(stored_at[t], y, x): LABELS[label] for (t, y, x), label in painted(document).items()}
    assert by_stored_frame == {tuple(place): mask[tuple(place)] for place in np.argwhere(mask).tolist()}
    back = read_frame_mask(document, (shown,), "m.json")
    assert np.array_equal(back.mask, on_grid(mask))
    assert (back.labels, back.time_point) == (LABELS, None)


@pytest.mark.parametrize("name", PLACES)
def test_frames_are_counted_as_models_count_them(name):
    turned, geometry = oriented(PLACES[name])
    shown = shown_frames(PLACES[name])
    if geometry.frames_are_slices:
        assert shown.sop_instance_uids == turned.sop_instance_uids
        assert shown.positions == pytest.approx(turned.positions)
        assert shown.same_order_as(geometry)
    else:
        assert shown.sop_instance_uids == PLACES[name].sop_instance_uids
        assert not shown.same_order_as(geometry)
    assert shown.shape == SHAPE
    assert shown.spacing_mm[:2] == pytest.approx(PLACES[name].spacing_mm)


@pytest.mark.parametrize("name", PLACES)
def test_a_lesion_and_its_box_move_to_the_stored_pixels_together(name):
    """A model sees the turned frames; what it outlines must be the same pixels of the same instance."""
    sequence = PLACES[name]
    turned, geometry = oriented(sequence)
    shown = shown_frames(sequence)
    mask = np.zeros((2, 3, 2), bool)
    mask[0, 0, 0] = mask[1, :, 1] = mask[0, 2, 1] = True
    corner = (1, 2, 3)
    document = outlines_document([Outline("lesion", 4, mask, corner)], {"lesion": 1}, shown, geometry)
    places = painted(document, "finding")
    assert set(places.values()) == {4}
    seen = turned.frames[1:3, 0, 2:5, 3:5][mask]
    uids = [sequence.sop_instance_uids.index(uid) for uid in shown.sop_instance_uids]
    assert sorted(sequence.frames[uids[t], 0, y, x] for t, y, x in places) == sorted(seen)
    boxes = {t: (3.0, 2.0, 5.0, 5.0) for t in (1, 2)}
    moved = boxes_on(boxes, geometry, shown.geometry)
    for t, y, x in places:
        x0, y0, x1, y1 = moved[t]
        assert x0 <= x < x1
        assert y0 <= y < y1
    assert boxes_on(moved, shown.geometry, geometry) == boxes


def test_the_usual_image_is_left_alone():
    """Axial, columns to the left, rows to the back, as nearly all are: boxes are the same objects."""
    sequence = stored()
    shown, geometry = shown_frames(sequence), oriented(sequence)[1]
    finding = Finding(1, "lesion", 0.5, {1: (0, 0, 2, 3)}, (0,) * 6, (0,) * 3, {1: 0.5})
    assert shown.same_as(geometry)
    assert findings_on([finding], geometry, shown.geometry)[0] is finding
    mask = np.ones((1, 1, 1), bool)
    assert region_on(mask, (1, 2, 3), geometry, shown.geometry) == (mask, (1, 2, 3))


def test_scores_of_frames_stay_where_the_planes_are_the_same():
    finding = Finding(1, "lesion", 0.5, {1: (0, 0, 2, 3)}, (0,) * 6, (0,) * 3, {1: 0.5})
    for signs, mm, expected in (((-1, 1, -1), ANISOTROPIC_MM, {1: 0.5}), ((1, 1, 1), ISOTROPIC_MM, {})):
        sequence = stored("sagittal", signs, mm)
        [moved] = findings_on([finding], oriented(sequence)[1], shown_frames(sequence).geometry)
        assert moved.frame_scores == expected


def test_a_clip_and_a_file_without_dicom():
    clip = replace(stored(), kind=SequenceKind.CINE, positions=tuple(0.04 * t for t in range(5)))
    shown = shown_frames(clip)
    assert (shown.position_unit, shown.spacing_mm[2]) == ("s", 0.0)
    assert shown.positions == clip.positions
    file = stored("sagittal", dicom=False)
    frames = shown_frames(file)
    assert (frames.sop_instance_uids, frames.frame_numbers) == ((), ())
    assert frames.same_as(oriented(file)[1])
    mask = on_grid(mask_of())
    assert np.array_equal(read_frame_mask(mask_document(mask, LABELS, frames), (frames,), "m").mask, mask)


def good() -> tuple[dict, tuple[ShownFrames, ...]]:
    shown = shown_frames(stored())
    return mask_document(on_grid(mask_of()), LABELS, shown), (shown,)


def changed(**values: object) -> dict:
    return {**copy.deepcopy(good()[0]), **values}


def part(frames: object, label: object = "lesion") -> dict:
    return changed(parts=[{"label": label, "finding": None, "frames": frames}])


PIXELS = SHAPE[1] * SHAPE[2]
WRONG = {
    "rows": (changed(rows=7), "7 rows and 7 columns, those of the image 6 and 7"),
    "columns missing": ({k: v for k, v in good()[0].items() if k != "columns"}, "None columns"),
    "labels missing": ({k: v for k, v in good()[0].items() if k != "labels"}, "labels"),
    "value 0": (changed(labels={"lesion": 0, "cyst": 7}), "1 to 255"),
    "value 256": (changed(labels={"lesion": 256, "cyst": 7}), "1 to 255"),
    "value true": (changed(labels={"lesion": True, "cyst": 7}), "1 to 255"),
    "value text": (changed(labels={"lesion": "1", "cyst": 7}), "1 to 255"),
    "same value": (changed(labels={"lesion": 7, "cyst": 7}), "different"),
    "no name": (changed(labels={" ": 7}), "labels"),
    "unknown label": (part({"0": [0, 1]}, "abscess"), "abscess"),
    "label not text": (part({"0": [0, 1]}, ["lesion"]), "not in labels"),
    "parts no list": (changed(parts={}), "parts"),
    "part no object": (changed(parts=[3]), "a part is"),
    "frames no object": (part([0, 1]), "a part is"),
    "frame beyond": (part({"5": [0, 1]}), "frame '5'; there are 0 to 4"),
    "frame negative": (part({"-1": [0, 1]}), "frame '-1'"),
    "frame no number": (part({"²": [0, 1]}), "frame '²'"),
    "frame huge": (part({"9" * 5000: [0, 1]}), "frame '9999"),
    "odd runs": (part({"0": [0, 1, 5]}), "pairs"),
    "runs no list": (part({"0": "0,1"}), "pairs"),
    "fraction": (part({"0": [0, 1.0]}), "pairs"),
    "negative start": (part({"0": [-1, 2]}), "pairs"),
    "empty run": (part({"0": [4, 0]}), "empty or too long"),
    "beyond the frame": (part({"0": [PIXELS - 1, 2]}), "empty or too long"),
    "far beyond": (part({"0": [10**30, 2]}), "pairs"),
    "meet in a part": (part({"0": [10, 5, 3, 8]}), "in two runs: part 'lesion', frame 0"),
    "meet in two parts": (
        changed(
            parts=[
                {"label": "lesion", "finding": 1, "frames": {"3": [0, 9]}},
                {"label": "cyst", "finding": 2, "frames": {"3": [8, 1]}},
            ]
        ),
        "frame 3",
    ),
    "foreign instance": (changed(sop_instance_uids=["9.9"] * 5), "9.9 is not in this image"),
    "foreign frame number": (changed(frame_numbers=[1, 1, 1, 1, 2]), "frame 2 of instance 1.2.4 is not"),
    "uids of another type": (changed(sop_instance_uids=[[1]] * 5), "texts"),
    "numbers of another type": (changed(frame_numbers=[True] * 5), "whole numbers"),
    "listed twice": (changed(sop_instance_uids=["1.2.0"] * 5), "listed twice"),
    "lists of two lengths": (changed(frame_numbers=[1]), "same length"),
    "no lists": (changed(sop_instance_uids=None), "two lists"),
    "frames not named": (changed(sop_instance_uids=[], frame_numbers=[]), "must name its frames"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_words(name):
    document, words = WRONG[name]
    with pytest.raises(InputError) as error:
        read_frame_mask(document, good()[1], "m.json")
    assert str(error.value).startswith("m.json: ")
    assert words in str(error.value)
    assert len(str(error.value)) < 300


def test_names_of_dicom_frames_do_not_fit_a_file():
    with pytest.raises(InputError, match="the image is not DICOM"):
        read_frame_mask(good()[0], (shown_frames(stored(dicom=False)),), "m.json")


def test_a_part_of_the_frames_in_another_order_and_an_empty_mask():
    document, volumes = good()
    whole = read_frame_mask(document, volumes, "m").mask
    some = {
        **document,
        "sop_instance_uids": ["1.2.3", "1.2.0"],
        "frame_numbers": [1, 1],
        "parts": [{"label": p["label"], "frames": {"0": p["frames"]["3"]}} for p in document["parts"]],
    }
    expected = np.zeros_like(whole)
    expected[..., 3] = whole[..., 3]
    assert np.array_equal(read_frame_mask(some, volumes, "m").mask, expected)
    for parts in ([], [{"label": "lesion", "finding": None, "frames": {}}], [{"label": "cyst", "frames": {"1": []}}]):
        empty = read_frame_mask({**document, "parts": parts}, volumes, "m")
        assert not empty.mask.any()


def test_the_volume_follows_from_the_instances():
    first = stored()
    second = replace(first, sop_instance_uids=tuple(f"3.4.{t}" for t in range(5)))
    volumes = (shown_frames(first), shown_frames(second))
    found = read_frame_mask(mask_document(on_grid(mask_of()), LABELS, volumes[1]), volumes, "m")
    assert found.time_point == 1
    assert np.array_equal(found.mask, on_grid(mask_of()))
    mixed = changed(sop_instance_uids=[*first.sop_instance_uids[:4], "3.4.4"])
    with pytest.raises(InputError, match="2 volumes"):
        read_frame_mask(mixed, volumes, "m")


def test_a_chest_is_written_and_read_in_a_moment():
    """200 slices of 512 x 512 with noise in every frame, and a document made to keep the server busy."""
    shape = (200, 512, 512)
    shown = shown_frames(stored(shape=shape))
    mask = np.zeros(shape[::-1], np.uint8)
    mask[100:400, 100:400] = np.random.default_rng(0).choice([0, 1], (300, 300, 200), p=[0.9, 0.1])
    start = time.perf_counter()
    document = mask_document(mask, {"lesion": 1}, shown)
    back = read_frame_mask(document, (shown,), "m").mask
    assert np.array_equal(back, mask)
    assert time.perf_counter() - start < 30
    tiny = {"label": "lesion", "finding": None, "frames": {str(t): [] for t in range(200)}}
    start = time.perf_counter()
    assert not read_frame_mask({**document, "parts": [tiny] * 5000}, (shown,), "m").mask.any()
    assert time.perf_counter() - start < 30
