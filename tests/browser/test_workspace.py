# SPDX-License-Identifier: Apache-2.0
"""Finding, correcting and storing lesions on a real server; the tests build on each other."""

from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from lib.types import Finding
from tests.browser.conftest import Live
from tests.browser.desk import desk, do, tolerant

__all__ = ["desk", "tolerant"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SEGMENTATION, DETECTION = "mr_lesion_segmentation", "mr_lesion_detection"


def stored(live: Live, image: str, tag: str) -> Any:
    """The label as other programs get it; None when there is none."""
    answer = requests.get(f"{live.url}/datastore/label", params={"label": image, "tag": tag}, timeout=60)
    return None if answer.status_code == 404 else answer


def test_finding_boxes_and_outlines_of_the_open_image(desk: Page, live: Live) -> None:
    found = do(
        desk,
        """
      await openPhantom('phantom-a__visit1');
      const before = { dirty: workspace.dirty, models: workspace.models, presence: workspace.session.presence };
      const details = [];
      workspace.addEventListener('change', () => workspace.busy && details.push(workspace.busy.detail));
      await workspace.findLesions();
      const { session } = workspace;
      const both = session.lesions.filter(({ finding, outline }) => outline && finding !== outline).length;
      return { before, both, lesions: session.lesions.length, details: [...new Set(details)],
        boxes: viewer.boxes.get(session.imageId), size: viewer.count(session.imageId),
        presence: session.presence.length, dirty: workspace.dirty, notice: workspace.notice, busy: workspace.busy };
    """,
    )
    assert not found["before"]["dirty"]
    finders = [one for one in found["before"]["models"] if one["fits"] and one["type"] != "report"]
    assert {model["name"] for model in finders} == {DETECTION, SEGMENTATION}
    assert f"1 of 2: {DETECTION}" in found["details"]
    assert f"2 of 2: {SEGMENTATION}" in found["details"]
    assert found["both"], "a box and an outline of one lesion are one line"
    assert len(found["boxes"]) == found["lesions"]
    assert {box["style"] for box in found["boxes"]} == {"proposed"}
    assert found["size"] > 100
    assert found["presence"] == 24
    assert found["notice"]["kind"] == "success"
    assert not found["dirty"], "proposals are no unsaved work"
    assert found["busy"] is None


def test_corrections_are_stored_with_who_made_them(desk: Page, live: Live) -> None:
    image = live.images["phantom-a__visit2"]
    result = do(
        desk,
        """
      await openPhantom('phantom-a__visit2');
      workspace.setUser(' Dr Test ');
      await workspace.findLesions();
      const { session } = workspace;
      const keys = session.order();
      const [kept, dropped] = keys.filter(key => session.lesion(key).part);
      const before = viewer.count(session.imageId);
      const told = workspace.notice.kind;
      workspace.accept(kept);
      const silent = workspace.notice;
      workspace.reject(dropped);
      const without = viewer.count(session.imageId);
      workspace.restore(dropped);
      const restored = viewer.count(session.imageId);
      workspace.reject(dropped);
      const [index] = session.lesion(kept).boxes.keys();
      viewer.box({ key: kept, kind: 'changed', frame: session.frameRef(index), box: [40, 41, 90, 92] });
      let assigned = null;
      viewer.box({ key: null, kind: 'drawn', frame: session.frameRef(20), box: [10, 10, 30, 30],
        assign: key => { assigned = key; } });
      const unreviewed = session.unreviewed().length;
      const wasDirty = workspace.dirty;
      await workspace.submit({ unreviewed: 'leave' });
      return { told, silent, before, without, restored, assigned, index, wasDirty, dirty: session.dirty,
        notice: workspace.notice,
        who: session.stored, keys: keys.length, unreviewed, selected: session.selected,
        styles: viewer.boxes.get(session.imageId).map(({ key, style }) => [key, style]), kept, dropped };
    """,
    )
    assert (result["told"], result["silent"]) == ("success", None), "a notice goes when something new begins"
    assert result["without"] < result["before"] == result["restored"]
    assert result["wasDirty"]
    assert result["dirty"] == {"boxes": False, "mask": False}
    assert result["notice"] == {"kind": "success", "text": "Stored: 2 findings and the mask."}
    assert result["who"]["boxes"]["user"] == "Dr Test"
    assert result["assigned"] == result["selected"]
    styles = dict(result["styles"])
    assert styles[result["kept"]] == styles[result["assigned"]] == "accepted"
    assert result["dropped"] not in styles

    findings = [Finding.from_json(item) for item in stored(live, image, "boxes").json()["findings"]]
    assert {f.source.author for f in findings} == {"Dr Test"}
    assert findings[0].boxes == {20: (10, 10, 30, 30)}
    assert findings[0].source.model == ""
    assert findings[1].boxes[result["index"]] == (40, 41, 90, 92)
    assert findings[1].source.model in (DETECTION, SEGMENTATION)
    assert live.phantoms["phantom-a__visit2"].image == image
    info = requests.get(f"{live.url}/datastore/label/info", params={"label": image, "tag": "final"}, timeout=30).json()
    assert info["user"] == "Dr Test"


def test_stored_work_is_there_when_the_image_is_opened_again(desk: Page, live: Live) -> None:
    again = do(
        desk,
        """
      await openPhantom('phantom-a__visit2');
      const { session } = workspace;
      return { lesions: session.lesions.map(({ status, origin }) => [status, origin]), who: session.stored,
        dirty: workspace.dirty, size: viewer.count(session.imageId), boxes: viewer.boxes.get(session.imageId).length,
        user: workspace.user };
    """,
    )
    assert sorted(again["lesions"]) == [["accepted", "model"], ["accepted", "person"]]
    assert again["who"]["boxes"]["user"] == again["who"]["mask"]["user"] == "Dr Test"
    assert not again["dirty"]
    assert again["size"] > 100
    assert again["boxes"] == 2


def test_a_study_with_every_finding_deleted_is_stored_as_healthy(desk: Page, live: Live) -> None:
    image = live.images["phantom-b"]
    result = do(
        desk,
        """
      await openPhantom('phantom-b');
      await workspace.findLesions();
      for (const key of workspace.session.order()) workspace.reject(key);
      const left = viewer.count(workspace.session.imageId);
      await workspace.submit({ unreviewed: 'leave' });
      const first = workspace.notice;
      await workspace.submit();
      return { left, first, second: workspace.notice, dirty: workspace.dirty };
    """,
    )
    assert result["left"] == 0
    assert result["first"]["text"] == "Stored: no findings and the mask."
    assert result["second"]["text"] == "Nothing has changed since it was stored."
    assert stored(live, image, "boxes").json() == {"findings": []}
    mask = requests.get(
        f"{live.url}/datastore/label", params={"label": image, "tag": "final", "form": "frames"}, timeout=60
    ).json()
    assert mask["parts"] == []


def test_painting_is_unsaved_work_and_goes_into_the_stored_mask(desk: Page, live: Live) -> None:
    result = do(
        desk,
        """
      await openPhantom('phantom-b');
      const { session } = workspace;
      viewer.brush(23, 100, 50, 1);
      const dirty = { ...session.dirty };
      await workspace.submit();
      return { dirty, after: session.dirty, notice: workspace.notice };
    """,
    )
    assert result["dirty"] == {"boxes": False, "mask": True}
    assert result["after"] == {"boxes": False, "mask": False}
    assert result["notice"]["text"] == "Stored: the mask.", "findings that have not changed are left alone"
    mask = requests.get(
        f"{live.url}/datastore/label",
        params={"label": live.images["phantom-b"], "tag": "final", "form": "frames"},
        timeout=60,
    ).json()
    assert mask["parts"] == [{"label": "lesion", "finding": None, "frames": {"23": [100, 50]}}]


def test_only_findings_are_stored_where_there_is_no_mask(desk: Page, live: Live) -> None:
    image = live.images["phantom-a__visit1"]
    result = do(
        desk,
        """
      await openPhantom('phantom-a__visit1');
      await workspace.run('mr_lesion_detection');
      const has = workspace.session.hasMask;
      await workspace.submit({ unreviewed: 'accept' });
      return { has, notice: workspace.notice, dirty: workspace.dirty };
    """,
    )
    assert (result["has"], result["dirty"]) == (False, False)
    assert "mask" not in result["notice"]["text"]
    assert stored(live, image, "boxes") is not None
    assert stored(live, image, "final") is None


def test_a_submit_that_fails_half_way_says_what_is_stored(tolerant: Page) -> None:
    result = do(
        tolerant,
        """
      await openPhantom('phantom-a__visit1');
      await workspace.findLesions();
      workspace.acceptAll();
      const { session } = workspace;
      const { mask } = session;
      session.mask = { ...mask, rows: 7 };
      viewer.box({ key: session.order()[0], kind: 'changed', frame: session.frameRef(3), box: [50, 50, 70, 70] });
      await workspace.submit();
      const first = workspace.notice, dirty = { ...session.dirty };
      session.mask = mask;
      await workspace.submit();
      return { first, dirty, retried: workspace.notice.text, after: session.dirty };
    """,
    )
    assert result["first"]["kind"] == "error"
    assert result["first"]["text"].startswith("The findings were stored, the mask was not.")
    assert result["first"]["text"].endswith("Then submit again.")
    assert result["dirty"] == {"boxes": False, "mask": True}
    assert result["retried"] == "Stored: the mask."
    assert result["after"] == {"boxes": False, "mask": False}
