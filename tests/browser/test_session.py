# SPDX-License-Identifier: Apache-2.0
"""The panel's state, without a viewer: what people make of lesions becomes findings, and what of it is unsaved."""

import json

import numpy as np
import pytest
from playwright.sync_api import Page

from lib.transforms.geometry import sequence_box_lps
from lib.types import Finding
from tests.browser.answers import (
    FRAMES,
    LEFT,
    LEFT_PIXELS,
    RIGHT,
    apply,
    detected,
    finding,
    frames,
    mask,
    outlined,
    pixels,
    run,
    runs,
    sequence,
)

pytestmark = pytest.mark.e2e


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
      const { bestFrame } = await import('/ohif/lesionloop/state/merge.js');
      const { sizeText } = await import('/ohif/lesionloop/state/geometry.js');
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
