# SPDX-License-Identifier: Apache-2.0
"""What models find becomes lesions, and pixels stay with the lesion that they belong to."""

import json

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.browser.answers import (
    BOX_SIZE,
    LEFT,
    LEFT_PIXELS,
    OUTLINE,
    RIGHT,
    apply,
    detected,
    finding,
    mask,
    outlined,
    pixels,
    run,
    runs,
)

pytestmark = pytest.mark.e2e


def test_boxes_and_outline_of_one_lesion_are_one_line(module_page: Page) -> None:
    boxes = detected(finding(1, LEFT, 0.6, measurements=BOX_SIZE), finding(2, RIGHT, 0.4))
    outlines = outlined(finding(1, LEFT_PIXELS, 0.9, measurements=OUTLINE))
    for order in ([boxes, outlines], [outlines, boxes]):
        lesions = run(module_page, apply(*order) + "return session.order().map(key => session.lesion(key));")
        assert [lesion["score"] for lesion in lesions] == [0.6, 0.4]
        first, second = lesions
        assert first["boxes"] == {str(t): box for t, box in LEFT.items()}
        assert first["measurements"] == {**BOX_SIZE, **OUTLINE}
        assert set(first["part"]["frames"]) == {"1", "2", "3"}
        assert first["source"]["model"] == "det"
        assert (second["part"], second["status"], second["origin"]) == (None, "proposed", "model")


def test_each_outline_joins_one_box_and_the_rest_stay_by_themselves(module_page: Page) -> None:
    whole, crumb = finding(1, LEFT_PIXELS, 0.9), finding(2, {2: [4.0, 4.0, 5.0, 5.0]}, 0.95)
    far = finding(3, {0: [4.0, 4.0, 10.0, 10.0]}, 0.7)
    steps = apply(detected(finding(1, LEFT, 0.6)), outlined(whole, crumb, far))
    lesions = run(module_page, steps + "return session.lesions;")
    joined = [lesion for lesion in lesions if lesion["finding"]["id"] == 1 and lesion["score"] == 0.6]
    assert len(lesions) == 3
    assert joined[0]["outline"]["id"] == 1, "the piece with the greater overlap belongs to the box"
    labelled = finding(1, LEFT_PIXELS, 0.9, label="oedema")
    named = run(module_page, apply(detected(finding(1, LEFT, 0.6)), outlined(labelled)) + "return session.lesions;")
    assert len(named) == 2, "lesions of two classes are two lesions"


def test_a_second_run_keeps_what_a_person_did(module_page: Page) -> None:
    first = outlined(finding(1, LEFT_PIXELS, 0.9), finding(2, RIGHT, 0.8), finding(3, {0: [1.0, 1.0, 4.0, 4.0]}, 0.7))
    second = outlined(
        finding(1, LEFT_PIXELS, 0.99), finding(2, RIGHT, 0.98), finding(3, {5: [2.0, 2.0, 6.0, 6.0]}, 0.5)
    )
    steps = (
        apply(first)
        + """
      const [left, right] = session.order();
      session.setBox(left, 1, [3, 3, 11, 11]);
      session.reject(right);
      const drawn = session.addDrawn(4, [1, 1, 5, 5], 'lesion');
    """
        + apply(second)
        + "return { lesions: session.order().map(key => session.lesion(key)), mask: session.mask, drawn };"
    )
    result = run(module_page, steps)
    found = [(lesion["status"], lesion["score"], sorted(lesion["boxes"])) for lesion in result["lesions"]]
    assert found == [
        ("accepted", None, ["4"]),
        ("accepted", 0.9, ["1", "2", "3"]),
        ("proposed", 0.5, ["5"]),
        ("deleted", 0.8, ["4"]),
    ], "untouched proposals are replaced, the edited, deleted and drawn ones are not proposed again"
    assert result["lesions"][1]["boxes"]["1"] == [3, 3, 11, 11]
    shown = pixels(result["mask"])
    assert shown[1, 5:9, 5:9].all()
    assert shown[5, 2:6, 2:6].all()
    assert not shown[0].any(), "the pixels of a proposal that is gone go too"
    assert not shown[4].any(), "a deleted lesion is not painted again"


def test_an_accepted_box_takes_an_outline_that_comes_later(module_page: Page) -> None:
    steps = (
        apply(detected(finding(1, LEFT, 0.6)))
        + "session.accept('lesion-1');"
        + apply(outlined(finding(1, LEFT_PIXELS, 0.9, measurements=OUTLINE)))
        + "return { lesions: session.lesions, mask: session.mask, size: session.sizeText(session.lesions[0]) };"
    )
    result = run(module_page, steps)
    assert [lesion["status"] for lesion in result["lesions"]] == ["accepted"]
    assert result["lesions"][0]["boxes"]["1"] == LEFT[1]
    assert result["size"] == "5.3 x 2.2 mm, 12.3 ml"
    assert pixels(result["mask"])[1].sum() == 16


def test_deleting_takes_the_pixels_away_and_restoring_brings_them_back(module_page: Page) -> None:
    steps = (
        apply(outlined(finding(1, LEFT_PIXELS, 0.9), finding(2, RIGHT, 0.8)))
        + """
      const [key] = session.order();
      const gone = session.reject(key), without = session.mask, last = session.order().at(-1) === key;
      const back = session.restore(key), status = session.lesion(key).status;
      session.accept(key); session.reject(key); session.restore(key);
      const again = session.lesion(key).status;
      session.restore(key);
      return { gone, without, back, with: session.mask, status, again, taken: session.lesion(key).status, last };
    """
    )
    result = run(module_page, steps)
    assert not pixels(result["without"])[1:4].any()
    assert pixels(result["without"])[4].any()
    assert pixels(result["with"])[1].sum() == 16
    assert (result["gone"]["from"], result["gone"]["to"]) == ([1], 0)
    assert (result["back"]["from"], result["back"]["to"]) == ([0], 1)
    assert result["last"], "deleted lesions stand at the end of the list"
    assert (result["status"], result["again"], result["taken"]) == ("proposed", "accepted", "proposed")


def test_relabelling_repaints_and_gives_new_labels_a_value(module_page: Page) -> None:
    steps = (
        apply(outlined(finding(1, LEFT_PIXELS, 0.9)))
        + """
      const paint = session.relabel('lesion-1', 'necrosis');
      return { paint, labels: session.labels, mask: session.mask, lesion: session.lesion('lesion-1') };
    """
    )
    result = run(module_page, steps)
    assert result["labels"] == {"lesion": 1, "necrosis": 2}
    assert (result["paint"]["from"], result["paint"]["to"]) == ([1], 2)
    assert np.unique(pixels(result["mask"])).tolist() == [0, 2]
    assert (result["lesion"]["status"], result["lesion"]["edited"]) == ("accepted", True)


def test_painting_moves_the_lesion_with_its_pixels(module_page: Page) -> None:
    painted = [{"label": "lesion", "finding": None, "frames": {"1": runs([5, 5, 12, 9]), "2": runs([5, 5, 9, 9])}}]
    right = {"label": "lesion", "finding": None, "frames": {"4": runs(RIGHT[4])}}
    steps = (
        apply(outlined(finding(1, LEFT_PIXELS, 0.9, measurements=OUTLINE), finding(2, RIGHT, 0.8)))
        + f"""
      session.painted();
      session.readBack({json.dumps(mask([*painted, right]))});
      return {{ lesions: session.lesions, dirty: session.dirty, size: session.sizeText(session.lesions[0]) }};
    """
    )
    result = run(module_page, steps)
    first, second = result["lesions"]
    assert set(first["part"]["frames"]) == {"1", "2"}
    assert first["boxes"] == {"1": [5, 5, 12, 9], "2": [5, 5, 9, 9]}, "boxes around the outline follow it"
    voxel_ml = 0.5 * 0.8 * 4.0 / 1000
    assert first["measurements"]["volume"]["value"] == pytest.approx((28 + 16) * voxel_ml, abs=1e-4)
    assert "long_axis" not in first["measurements"], "an axis that nobody measured is not shown"
    assert (first["edited"], second["edited"]) == (True, False)
    assert result["dirty"] == {"boxes": False, "mask": True}
    assert result["size"] == "3.5 x 3.2 x 8.0 mm, 0.07 ml"


def test_a_stored_mask_without_findings_is_listed_piece_by_piece(module_page: Page) -> None:
    diagonal = {"1": runs([4, 4, 6, 6]), "2": runs([6, 6, 8, 8])}
    part = {"label": "lesion", "finding": None, "frames": {**diagonal, "5": runs([1, 1, 3, 4])}}
    steps = f"""
      session.loadStored(null, {json.dumps(mask([part]))}, {{ boxes: null, mask: {{ user: 'x', time: '' }} }});
      return {{ lesions: session.lesions, dirty: session.dirty }};
    """
    result = run(module_page, steps)
    assert [sorted(lesion["boxes"]) for lesion in result["lesions"]] == [["1", "2"], ["5"]]
    assert result["dirty"] == {"boxes": False, "mask": False}
