# SPDX-License-Identifier: Apache-2.0
"""The viewer side of the panel: geometry, masks, keys and leaving as plain modules; boxes and masks in real OHIF."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Live
from tests.browser.page import drag, draw

pytestmark = pytest.mark.e2e

MODULES = "/ohif/lesionloop/ohif"
PLANES = {
    "square": ([0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1]),
    "oblong pixels": ([-120.5, 33.25, 7], [1, 0, 0], [0, 1, 0], [0.4, 0.7]),
    "tilted": ([-125, -123.54, 5.8], [1, 0, 0], [0, 0.9483237, -0.3173047], [0.488, 0.488]),
    "sagittal": ([80, -120, 90], [0, 1, 0], [0, 0, -1], [0.9, 0.9]),
}
BOXES = ([10, 20, 30.5, 40.25], [-6, -3, 12, 9], [0, 0, 512, 512], [500, 500, 530, 540])


def js(page: Page, module: str, body: str, arg: Any = None) -> Any:
    """Run ``body``, which sees the module as ``m`` and the argument as ``arg``."""
    return page.evaluate(f"async arg => {{ const m = await import('{MODULES}/{module}'); {body} }}", arg)


# --- geometry


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("box", BOXES)
def test_a_box_comes_back_from_the_world(module_page: Page, name: str, box: list[float]) -> None:
    origin, along, down, spacing = PLANES[name]
    plane = {"origin": origin, "along": along, "down": down, "spacing": spacing}
    back = js(module_page, "frames.js", "return m.boxAround(arg[0], m.boxCorners(arg[0], arg[1]));", [plane, box])
    assert back == pytest.approx(box, abs=0.01)


def test_a_box_starts_at_the_outer_edge_of_the_first_pixel(module_page: Page) -> None:
    plane = {"origin": [100, 50, 7], "along": [1, 0, 0], "down": [0, 1, 0], "spacing": [0.5, 2]}
    corners = js(module_page, "frames.js", "return m.boxCorners(arg, [0, 0, 1, 1]);", plane)
    assert corners == [[99.75, 49, 7], [100.25, 49, 7], [99.75, 51, 7], [100.25, 51, 7]]


def test_a_frame_is_known_by_instance_and_number(module_page: Page) -> None:
    found = js(
        module_page,
        "frames.js",
        "const metaData = { get: () => ({ SOPInstanceUID: '1.9' }) };return arg.map(id => m.frameOf(id, metaData));",
        [
            "wadors:/dicom-web/studies/1.1/series/1.2/instances/1.3/frames/17",
            "dicomweb:/wado?requestType=WADO&objectUID=1.9&frame=4",
        ],
    )
    assert found == [{"sopUid": "1.3", "frameNumber": 17}, {"sopUid": "1.9", "frameNumber": 4}]


# --- masks


def test_runs_are_found_across_rows(module_page: Page) -> None:
    pixels = [0, 1, 1, 2, 2, 2, 0, 0, 1]
    runs = js(module_page, "masks.js", "return Object.fromEntries(m.findRuns(arg));", pixels)
    assert runs == {"1": [1, 2, 8, 1], "2": [3, 3]}


def test_runs_outside_the_image_are_cut(module_page: Page) -> None:
    body = "const seen = []; m.eachRun(arg, 10, (start, end) => seen.push([start, end])); return seen;"
    assert js(module_page, "masks.js", body, [2, 3, 8, 5]) == [[2, 5], [8, 10]]


def test_a_mask_has_a_part_for_each_label_that_has_pixels(module_page: Page) -> None:
    body = (
        "const frames = [{ sopUid: '1', frameNumber: 1 }, { sopUid: '1', frameNumber: 2 }];"
        "return m.collectMask([[0, 1, 1, 0], [0, 0, 0, 1]], frames, [2, 2], { lesion: 1, oedema: 2 });"
    )
    assert js(module_page, "masks.js", body) == {
        "rows": 2,
        "columns": 2,
        "sop_instance_uids": ["1", "1"],
        "frame_numbers": [1, 2],
        "labels": {"lesion": 1, "oedema": 2},
        "parts": [{"label": "lesion", "finding": None, "frames": {"0": [1, 2], "1": [3, 1]}}],
    }


def test_a_labelmap_is_told_from_a_changed_one(module_page: Page) -> None:
    body = "return arg.map(pixels => m.fingerprint(pixels));"
    empty, one, moved, other = js(module_page, "masks.js", body, [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 2, 0]])
    assert empty == 0
    assert len({empty, one, moved, other}) == 4


# --- keys, study list, leaving


def test_no_key_has_two_meanings(module_page: Page) -> None:
    keys = js(module_page, "hotkeys.js", "return m.HOTKEYS.map(({ keys }) => keys.join('+'));")
    assert sorted(keys) == sorted(set(keys))


def test_every_key_of_the_panel_is_a_command(module_page: Page) -> None:
    body = (
        "const own = (await import('/ohif/lesionloop/ohif/hotkeys.js')).OWN_KEYS;"
        "const { definitions } = m.default.getCommandsModule();"
        "return own.filter(({ commandName }) => typeof definitions[commandName]?.commandFn !== 'function');"
    )
    assert js(module_page, "../extension.js", body) == []


@pytest.mark.parametrize("target", ["input", "textarea", "select", "[contenteditable]"])
def test_typing_in_the_panel_is_no_key_of_the_viewer(module_page: Page, target: str) -> None:
    body = (
        "const host = document.createElement('div'); document.body.append(host);"
        "host.innerHTML = '<input><textarea></textarea><select></select><p contenteditable></p><button></button>';"
        "m.keepKeys(host); let seen = 0; document.addEventListener('keydown', () => { seen += 1; });"
        "const press = (at, key) => host.querySelector(at)"
        "  .dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, composed: true }));"
        "press(arg, 'a'); const typed = seen; press('button', ' '); const pressed = seen;"
        "press('button', 'n'); return [typed, pressed, seen];"
    )
    assert js(module_page, "hotkeys.js", body, target) == [0, 0, 1]


@pytest.mark.parametrize(
    ("modalities", "valid"),
    [
        ("MR", True),
        ("US", True),
        ("CT\\SEG", True),
        ("SR\\SEG\\MG", True),
        ("SEG\\SR", False),
        ("SM", False),
        ("", False),
    ],
)
def test_the_mode_is_for_studies_with_images(module_page: Page, modalities: str, valid: bool) -> None:
    answer = js(module_page, "../mode.js", "return m.isValidMode({ modalities: arg });", modalities)
    assert answer["valid"] is valid
    assert "images" in answer["description"]


@pytest.mark.parametrize("dirty", [True, False])
@pytest.mark.parametrize("agrees", [True, False])
def test_leaving_asks_only_when_something_is_unsaved(module_page: Page, dirty: bool, agrees: bool) -> None:
    body = (
        "let asked = 0; let left = 0;"
        "const guard = m.guardLeaving(() => arg[0], () => { asked += 1; return arg[1]; });"
        "const way = document.createElement('div'); way.dataset.cy = 'return-to-work-list';"
        "way.addEventListener('click', () => { left += 1; }); document.body.append(way); way.click();"
        "const unload = new Event('beforeunload', { cancelable: true }); window.dispatchEvent(unload);"
        "guard.stop(); way.click(); return [asked, left, unload.defaultPrevented];"
    )
    assert js(module_page, "leaving.js", body, [dirty, agrees]) == [int(dirty), 1 + int(agrees or not dirty), dirty]


# --- in OHIF

RECTANGLES = """() => cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(({ metadata }) => metadata.toolName === 'RectangleROI').map(({ data }) => data.label)"""
LESIONS = "() => lesionloop.workspace.session.lesions.map(({ boxes }) => [...boxes.values()])"
SHOW_MASK = """async runs => {
  const { viewer, workspace } = lesionloop;
  const { id } = viewer.image;
  const frames = viewer.frameOrder(id);
  const { rows, columns } = workspace.session.frames;
  const [label] = Object.keys(workspace.session.labels).concat('lesion');
  window.test = { id, frames, label, part: { label, finding: null, frames: { 3: runs } } };
  await viewer.jumpTo(id, frames[3]);
  await viewer.showMask(id, { rows, columns, sop_instance_uids: frames.map(frame => frame.sopUid),
    frame_numbers: frames.map(frame => frame.frameNumber), labels: { [label]: 1 }, parts: [window.test.part] });
}"""
READ_MASK = "() => lesionloop.viewer.readMask(test.id, test.frames, { [test.label]: 1, oedema: 2 }).parts"


def watch(page: Page, event: str) -> None:
    """Keep what the viewer reports in ``window.reports``."""
    page.evaluate(
        "event => { window.reports = []; lesionloop.viewer.addEventListener(event, "
        "({ detail }) => window.reports.push({ kind: detail?.kind, box: detail?.box, key: detail?.key })); }",
        event,
    )


def test_the_image_and_its_frames_are_known(ohif: Page, live: Live) -> None:
    image = ohif.evaluate("() => lesionloop.viewer.image")
    assert image["id"] == live.images["phantom-a__visit2"]
    assert (image["modality"], image["patientId"]) == ("MR", "phantom-a")
    frames = ohif.evaluate("() => lesionloop.viewer.frameOrder(lesionloop.viewer.image.id)")
    assert len(frames) == image["frameCount"] == len({frame["sopUid"] for frame in frames})


def test_jumping_shows_the_frame(ohif: Page) -> None:
    watch(ohif, "frame")
    frame = ohif.evaluate(
        "async () => { const { viewer } = lesionloop; const { id } = viewer.image;"
        "await viewer.jumpTo(id, viewer.frameOrder(id)[9]); return viewer.currentFrame().index; }"
    )
    assert frame == 9
    ohif.wait_for_function("() => window.reports.length === 1")


def test_a_box_that_is_drawn_dragged_and_removed_by_hand(ohif: Page) -> None:
    watch(ohif, "box")
    draw(ohif, (60, 60), (100, 90))
    assert [report["kind"] for report in ohif.evaluate("() => window.reports")] == ["drawn"]
    assert ohif.evaluate(LESIONS)[0][0] == pytest.approx([60, 60, 100, 90], abs=1)
    assert ohif.evaluate("() => document.querySelector('[role=dialog]')") is None

    drag(ohif, (100, 90), (120, 110))
    assert ohif.evaluate("() => window.reports.at(-1).kind") == "changed"
    assert ohif.evaluate(LESIONS)[0][0] == pytest.approx([60, 60, 120, 110], abs=1.5)

    ohif.keyboard.press("Delete")
    ohif.wait_for_function("() => window.reports.at(-1).kind === 'removed'")
    assert ohif.evaluate(RECTANGLES) == []


def test_a_proposal_that_is_dragged_is_drawn_as_accepted(ohif: Page) -> None:
    found = {"id": 1, "label": "lesion", "score": 0.7, "boxes": {"0": [60, 60, 100, 90]}, "measurements": {}}
    ohif.evaluate(
        "found => { const { workspace } = lesionloop; const { session } = workspace;"
        "session.applyAnswer({ model: 'm', findings: [{ ...found, source: { model: 'm' } }] });"
        "workspace.sessions.drawBoxes(session); return workspace.showFrame(0); }",
        found,
    )
    ohif.wait_for_timeout(500)
    drawn = ohif.locator(".viewport-element svg rect[stroke]").first
    assert drawn.get_attribute("stroke-dasharray") == "6,4"
    yellow = drawn.get_attribute("stroke")
    drag(ohif, (100, 90), (120, 110))
    expect(drawn).to_have_attribute("stroke-dasharray", "1,0")
    assert drawn.get_attribute("stroke") != yellow
    expect(ohif.get_by_test_id("finding")).to_contain_text("Accepted")


def test_escape_puts_the_tool_for_boxes_away(ohif: Page) -> None:
    hint = ohif.get_by_text("Drag a box around the lesion")
    ohif.get_by_test_id("draw-box").click()
    expect(hint).to_be_visible()
    ohif.keyboard.press("Escape")
    expect(hint).to_be_hidden()
    drag(ohif, (60, 60), (100, 90))
    assert ohif.evaluate(RECTANGLES) == []
    draw(ohif, (60, 60), (100, 90))
    expect(hint).to_be_hidden()


def test_beside_a_box_stands_its_name_and_no_statistics(ohif: Page) -> None:
    draw(ohif, (60, 60), (100, 90))
    [label] = ohif.evaluate(RECTANGLES)
    text = ohif.locator(".viewport-element svg text").all_text_contents()
    assert label
    assert any(label in line for line in text)
    assert not any("Area" in line or "Mean" in line for line in text)


def test_what_the_panel_draws_is_not_reported(ohif: Page) -> None:
    watch(ohif, "box")
    ohif.evaluate(
        "async () => { const { viewer } = lesionloop; const { id } = viewer.image;"
        "const frames = viewer.frameOrder(id);"
        "const set = box => [{ key: 'k', text: 'own', style: 'linked', boxes: [{ frame: frames[0], box }] }];"
        "viewer.showBoxes(id, set([-10, 20, 40, 60])); await viewer.jumpTo(id, frames[1]);"
        "await viewer.jumpTo(id, frames[0]); viewer.showBoxes(id, set([5, 5, 9, 9])); viewer.highlight(id, 'k'); }"
    )
    ohif.wait_for_timeout(500)
    assert ohif.evaluate(RECTANGLES) == ["own"]
    ohif.evaluate("() => lesionloop.viewer.clear(lesionloop.viewer.image.id)")
    assert ohif.evaluate(RECTANGLES) == []
    assert ohif.evaluate("() => window.reports") == []


def test_a_mask_is_shown_painted_and_read_back(ohif: Page) -> None:
    watch(ohif, "mask")
    runs = [1000, 30, 1300, 40]
    ohif.evaluate(SHOW_MASK, runs)
    ohif.wait_for_timeout(500)
    assert [part["frames"] for part in ohif.evaluate(READ_MASK)] == [{"3": runs}]
    ohif.evaluate("() => lesionloop.viewer.paintPart(test.id, test.frames, test.part, [1], 0)")
    assert ohif.evaluate(READ_MASK) == []
    ohif.evaluate("() => lesionloop.viewer.paintPart(test.id, test.frames, test.part, [0], 1)")
    assert [part["frames"] for part in ohif.evaluate(READ_MASK)] == [{"3": runs}]
    assert ohif.evaluate("() => window.reports") == []


def test_a_brush_stroke_is_reported_and_read_back(ohif: Page) -> None:
    ohif.evaluate(SHOW_MASK, [1000, 30])
    ohif.wait_for_timeout(500)
    watch(ohif, "mask")
    ohif.locator('[data-cy="panelSegmentationWithTools-btn"]').click()
    ohif.locator('[data-cy="Brush"]').first.click()
    ohif.wait_for_timeout(300)
    drag(ohif, (120, 120), (140, 120))
    assert ohif.evaluate("() => window.reports.length") > 0
    [part] = ohif.evaluate(READ_MASK)
    assert sum(part["frames"]["3"][1::2]) > 100
    ohif.locator('[data-cy="lesions-btn"]').click()
    ohif.wait_for_selector("lesionloop-panel")


def test_two_visits_stand_side_by_side(ohif: Page, live: Live) -> None:
    first = live.phantoms["phantom-a__visit1"]
    other = {"studyUid": first.study, "imageId": first.image}
    ohif.evaluate(
        "async other => { const { viewer } = lesionloop; const { id, studyUid } = viewer.image;"
        "await viewer.showPair(other, { studyUid, imageId: id }); }",
        other,
    )
    assert ohif.locator('[data-cy="viewport-pane"]').count() == 2
    assert ohif.evaluate("() => lesionloop.viewer.image.id") == live.images["phantom-a__visit2"]
    ohif.evaluate("() => lesionloop.viewer.showSingle(lesionloop.viewer.image.id)")
    assert ohif.locator('[data-cy="viewport-pane"]').count() == 1


def test_another_study_opens_without_loading_the_page(ohif: Page, live: Live) -> None:
    target = {"studyUid": live.phantoms["phantom-b"].study, "imageId": live.images["phantom-b"]}
    ohif.evaluate("target => { window.samePage = true; return lesionloop.viewer.openImage(target); }", target)
    ohif.wait_for_function("id => window.lesionloop?.viewer.image?.id === id", arg=target["imageId"], timeout=60_000)
    assert ohif.evaluate("() => window.samePage") is True
    assert ohif.locator("lesionloop-panel").count() == 1


def test_unsaved_work_is_not_left_without_a_question(ohif: Page, live: Live) -> None:
    draw(ohif, (60, 60), (100, 90))
    questions: list[str] = []
    ohif.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    address = ohif.url
    ohif.locator('[data-cy="return-to-work-list"]').click()
    target = {"studyUid": live.phantoms["phantom-b"].study}
    assert ohif.evaluate("target => lesionloop.viewer.openImage(target)", target) is False
    assert ohif.url == address
    assert len(questions) == 2
    assert all(question.startswith("Unsaved corrections") for question in questions)
