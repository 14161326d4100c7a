# SPDX-License-Identifier: Apache-2.0
"""The panel's state, without a viewer: what models find becomes lesions, what people make of it becomes findings."""

import json
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from lib.transforms.geometry import sequence_box_lps
from lib.types import Finding, Sequence, SequenceKind

pytestmark = pytest.mark.e2e

SIZE, FRAMES = 32, 6
SPACING = (0.5, 0.8, 4.0)
AFFINE = [[0.5, 0.0, 0.0, -10.0], [0.0, 0.8, 0.0, 20.0], [0.0, 0.0, 4.0, -30.0], [0.0, 0.0, 0.0, 1.0]]
START = """async ([frames, steps]) => {
  const { Session } = await import('/ohif/lesionloop/session.js');
  const session = new Session('1.2.3', frames);
  const plain = value => JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Map ? Object.fromEntries(v) : v)));
  const run = new Function('session', 'plain', `return (async () => { ${steps} })()`);
  return plain((await run(session, plain)) ?? null);
}"""


def frames(**changes: Any) -> dict[str, Any]:
    """What /datastore/image/frames says of a stack of six slices."""
    stack = {
        "kind": "stack",
        "positions": [4.0 * i for i in range(FRAMES)],
        "position_unit": "mm",
        "sop_instance_uids": [f"1.2.{i}" for i in range(FRAMES)],
        "frame_numbers": [1] * FRAMES,
        "rows": SIZE,
        "columns": SIZE,
        "spacing_mm": list(SPACING),
        "affine_lps": AFFINE,
        "origins_lps_mm": None,
        "time_point": None,
        "time_points": 1,
        "warnings": [],
    }
    return {**stack, **changes}


def finding(number: int, boxes: dict[int, list[float]], score: float, **changes: Any) -> dict[str, Any]:
    """A finding as /infer/ gives it."""
    stack = sequence(None)
    box = sequence_box_lps(stack, {t: tuple(b) for t, b in boxes.items()})
    known = Finding(
        id=number,
        label="lesion",
        score=score,
        boxes={t: tuple(b) for t, b in boxes.items()},
        box_lps_mm=box,
        center_lps_mm=tuple((np.array(box[:3]) + np.array(box[3:])) / 2),
        frame_scores={t: score - 0.01 * i for i, t in enumerate(boxes)},
    ).to_json()
    return {**known, **changes}


def sequence(origins: Any) -> Sequence:
    """The same stack as the server knows it."""
    return Sequence(
        frames=np.zeros((FRAMES, 1, SIZE, SIZE), np.float32),
        kind=SequenceKind.STACK,
        positions=tuple(4.0 * i for i in range(FRAMES)),
        spacing_mm=SPACING[:2],
        affine_lps=np.array(AFFINE),
        origins_lps_mm=origins,
    )


def detected(*findings: dict[str, Any]) -> dict[str, Any]:
    return answer("det", list(findings))


def outlined(*findings: dict[str, Any]) -> dict[str, Any]:
    """A segmentation's answer; the pixels of each finding fill its boxes."""
    parts = [
        {"label": f["label"], "finding": f["id"], "frames": {t: runs(box) for t, box in f["boxes"].items()}}
        for f in findings
    ]
    return {**answer("seg", list(findings)), "mask": mask(parts)}


def answer(model: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
    source = {"model": model, "version": "v0001", "weights_sha256": "ab", "author": ""}
    return {
        "label_names": {"lesion": 1},
        "findings": [{**f, "source": source} for f in findings],
        "presence": [0.1 * i for i in range(FRAMES)],
        "attention": [1 / FRAMES] * FRAMES,
        "model": model,
        "warnings": [f"{model} noticed something"],
    }


def runs(box: list[float]) -> list[int]:
    x0, y0, x1, y1 = map(round, box)
    return [value for y in range(y0, y1) for value in (y * SIZE + x0, x1 - x0)]


def mask(parts: list[dict[str, Any]], **labels: int) -> dict[str, Any]:
    uids = [f"1.2.{i}" for i in range(FRAMES)]
    known = {"rows": SIZE, "columns": SIZE, "sop_instance_uids": uids, "frame_numbers": [1] * FRAMES}
    return {**known, "labels": labels or {"lesion": 1}, "parts": parts}


def pixels(document: dict[str, Any]) -> np.ndarray:
    """A mask document as an array (T, H, W)."""
    array = np.zeros((FRAMES, SIZE * SIZE), np.uint8)
    for part in document["parts"]:
        for t, values in part["frames"].items():
            for start, length in zip(values[::2], values[1::2], strict=True):
                assert not array[int(t), start : start + length].any(), "parts overlap"
                array[int(t), start : start + length] = document["labels"][part["label"]]
    return array.reshape(FRAMES, SIZE, SIZE)


def run(page: Page, steps: str, shown: dict[str, Any] | None = None) -> Any:
    return page.evaluate(START, [shown or frames(), steps])


def apply(*answers: dict[str, Any]) -> str:
    return "".join(f"session.applyAnswer({json.dumps(a)});" for a in answers)


LEFT = {1: [4.0, 4.0, 10.0, 10.0], 2: [4.0, 4.0, 10.0, 10.0]}
LEFT_PIXELS = {1: [5.0, 5.0, 9.0, 9.0], 2: [5.0, 5.0, 9.0, 9.0], 3: [6.0, 6.0, 8.0, 8.0]}
RIGHT = {4: [20.0, 20.0, 28.0, 26.0]}
AXES = {"long_axis": {"value": 5.31, "unit": "mm"}, "short_axis": {"value": 2.2, "unit": "mm"}}
OUTLINE = {**AXES, "volume": {"value": 12.34, "unit": "ml"}}
BOX_SIZE = {"width": {"value": 46.01, "unit": "mm"}, "height": {"value": 46.66, "unit": "mm"}}


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


def test_findings_of_all_kinds_are_valid_and_in_the_right_place(module_page: Page) -> None:
    steps = (
        apply(detected(finding(1, LEFT, 0.6), finding(2, RIGHT, 0.4)))
        + """
      const [left, right] = session.order();
      session.accept(right);
      session.setBox(left, 3, [5.123, 5, 12, 14]);
      session.addDrawn(0, [20, 2, 24, 9], 'lesion');
      session.addDrawn(1, [21, 2, 24, 10], 'lesion');
      return session.toFindings('Dr Test');
    """
    )
    for origins in (None, [[-10.0, 20.0, z] for z in (-30.0, -26.0, -21.0, -17.0, -13.0, -9.0)]):
        document = run(module_page, steps, frames(origins_lps_mm=origins))
        findings = [Finding.from_json(item) for item in document["findings"]]
        assert [f.id for f in findings] == [1, 2, 3]
        assert {f.source.author for f in findings} == {"Dr Test"}
        assert [f.source.model for f in findings] == ["", "det", "det"]
        assert [f.score for f in findings] == [1.0, 0.6, 0.4]
        drawn, edited, accepted = findings
        assert drawn.boxes == {0: (20, 2, 24, 9), 1: (21, 2, 24, 10)}, "beside each other: one lesion"
        assert accepted.box_lps_mm == Finding.from_json(finding(2, RIGHT, 0.4)).box_lps_mm
        known = sequence(None if origins is None else np.array(origins))
        for one in (drawn, edited):
            place = sequence_box_lps(known, one.boxes)
            np.testing.assert_allclose(one.box_lps_mm, place, atol=2e-3)
            np.testing.assert_allclose(one.center_lps_mm, (np.array(place[:3]) + np.array(place[3:])) / 2, atol=2e-3)
        assert drawn.measurements["width"].value == pytest.approx(4 * 0.5)
        assert drawn.measurements["height"].value == pytest.approx(8 * 0.8)
        assert drawn.measurements["depth"].value == pytest.approx(8.0)
        assert set(edited.frame_scores) == {1, 2}


def test_only_accepted_lesions_are_stored_and_the_rest_left_out_of_the_mask(module_page: Page) -> None:
    steps = (
        apply(outlined(finding(1, LEFT_PIXELS, 0.9), finding(2, RIGHT, 0.8)))
        + """
      session.accept('lesion-1');
      const left = { findings: session.toFindings('x').findings.length, mask: session.maskToStore(),
        open: session.unreviewed().length };
      session.acceptAll();
      return { left, all: { findings: session.toFindings('x').findings.length, mask: session.maskToStore() } };
    """
    )
    result = run(module_page, steps)
    assert (result["left"]["findings"], result["left"]["open"]) == (1, 1)
    assert not pixels(result["left"]["mask"])[4].any()
    assert pixels(result["left"]["mask"])[2].sum() == 16
    assert result["all"]["findings"] == 2
    assert pixels(result["all"]["mask"])[4].sum() == 48


def test_what_counts_as_unsaved(module_page: Page) -> None:
    steps = (
        "const seen = []; const note = () => seen.push([session.dirty.boxes, session.dirty.mask]); note();"
        + apply(outlined(finding(1, LEFT_PIXELS, 0.9), finding(2, RIGHT, 0.8)))
        + """
      note();
      session.accept('lesion-1'); note();
      session.restore('lesion-1'); note();
      session.reject('lesion-1'); session.reject('lesion-2'); note();
      let sent = session.snapshot();
      session.markSaved('boxes', sent, { user: 'x', time: 't' }); note();
      session.markSaved('mask', sent, { user: 'x', time: 't' }); note();
      session.restore('lesion-1'); note();
      session.accept('lesion-1'); note();
      sent = session.snapshot();
      session.painted();
      session.markSaved('boxes', sent, { user: 'x', time: 't' });
      session.markSaved('mask', sent, { user: 'x', time: 't' }); note();
      sent = session.snapshot();
      session.markSaved('mask', sent, { user: 'x', time: 't' }); note();
      session.setBox('lesion-1', 1, [1, 1, 5, 5]); note();
      return seen;
    """
    )
    assert run(module_page, steps) == [
        [False, False],  # opened
        [False, False],  # proposals that nobody looked at
        [True, True],  # one accepted
        [False, False],  # taken back
        [True, True],  # all deleted: the image is free of lesions
        [False, True],  # findings stored, mask not
        [False, False],
        [False, False],  # a proposal again, which is not stored
        [True, True],
        [False, True],  # painted while it was being stored
        [False, False],
        [True, False],  # a box dragged
    ]


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


def test_stored_findings_come_back_with_their_pixels(module_page: Page) -> None:
    source = {"model": "seg", "version": "v0001", "weights_sha256": "ab", "author": "Dr Before"}
    stored = {"findings": [finding(1, LEFT, 0.6, source=source)]}
    both = {"label": "lesion", "finding": None, "frames": {"2": runs(LEFT_PIXELS[2]), "4": runs(RIGHT[4])}}
    steps = f"""
      const who = {{ user: 'Dr Before', time: '2024-01-01T00:00:00Z' }};
      session.loadStored({json.dumps(stored)}, {json.dumps(mask([both]))}, {{ boxes: who, mask: who }});
      const opened = {{ ...session.dirty }}, lesions = session.lesions, same = session.toFindings('Dr Now');
      session.reject('lesion-1');
      return {{ opened, lesions, same, dirty: session.dirty, mask: session.maskToStore(), who: session.stored.boxes }};
    """
    result = run(module_page, steps)
    assert result["opened"] == {"boxes": False, "mask": False}
    assert [lesion["status"] for lesion in result["lesions"]] == ["accepted"]
    assert result["same"]["findings"] == stored["findings"], "what nobody touched goes back as it was"
    assert result["dirty"] == {"boxes": True, "mask": True}
    assert not pixels(result["mask"])[2].any(), "its pixels go with it"
    assert pixels(result["mask"])[4].any(), "those of no finding stay"
    assert result["who"]["user"] == "Dr Before"


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


def test_findings_of_other_time_points_are_stored_again(module_page: Page) -> None:
    stored = {"findings": [finding(1, LEFT, 0.6), finding(2, RIGHT, 0.5)], "time_points": [0, 2]}
    steps = f"""
      const who = {{ user: 'x', time: '' }};
      session.loadStored({json.dumps(stored)}, null, {{ boxes: who, mask: null }});
      const shown = session.lesions.length;
      session.addDrawn(0, [20, 2, 24, 9], 'lesion');
      return {{ shown, document: session.toFindings('x') }};
    """
    result = run(module_page, steps, frames(kind="dynamic", time_point=2, time_points=3))
    assert result["shown"] == 1
    assert result["document"]["time_points"] == [2, 2, 0]
    assert [f["id"] for f in result["document"]["findings"]] == [1, 2, 3]
    assert result["document"]["findings"][2]["boxes"] == stored["findings"][0]["boxes"]


def test_what_the_list_and_the_viewer_are_told(module_page: Page) -> None:
    steps = (
        apply(detected(finding(1, LEFT, 0.6), finding(2, RIGHT, 0.4)))
        + """
      const { bestFrame } = await import('/ohif/lesionloop/merge.js');
      const { sizeText } = await import('/ohif/lesionloop/geometry.js');
      session.reject('lesion-2');
      const mm = value => ({ value, unit: 'mm' }), ml = value => ({ value, unit: 'ml' });
      return { sets: session.boxSets(), index: session.frameIndexOf({ sopUid: '1.2.4', frameNumber: 1 }),
        none: session.frameIndexOf({ sopUid: '1.2.4', frameNumber: 2 }), best: bestFrame(session.lesions[0]),
        presence: session.presence.length, warnings: session.warnings,
        sizes: [sizeText({ width: mm(46.01), height: mm(46.66), depth: mm(45) }), sizeText({ volume: ml(0.163) }),
          sizeText({ volume: ml(0.002) }), sizeText({ long_axis: mm(9.96), short_axis: mm(5) }), sizeText({})] };
    """
    )
    told = run(module_page, steps)
    assert [(s["key"], s["text"], s["style"]) for s in told["sets"]] == [("lesion-1", "lesion 60 %", "proposed")]
    assert told["sets"][0]["boxes"][0] == {"frame": {"sopUid": "1.2.1", "frameNumber": 1}, "box": LEFT[1]}
    assert (told["index"], told["none"], told["best"], told["presence"]) == (4, None, 1, FRAMES)
    assert told["warnings"] == ["det noticed something"]
    assert told["sizes"] == ["46 x 47 x 45 mm", "0.16 ml", "<0.01 ml", "10 x 5.0 mm", ""]


def test_removing_the_last_box_deletes_the_lesion(module_page: Page) -> None:
    steps = (
        apply(detected(finding(1, LEFT, 0.6)))
        + """
      session.removeBox('lesion-1', 1);
      const one = [...session.lesion('lesion-1').boxes.keys()];
      session.removeBox('lesion-1', 2);
      const { status, boxes } = session.lesion('lesion-1');
      return { one, status, left: boxes.size };
    """
    )
    assert run(module_page, steps) == {"one": [2], "status": "deleted", "left": 1}
