# SPDX-License-Identifier: Apache-2.0
"""The panel's elements in a real browser, on real sessions and a workspace that writes down what is asked of it."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e

PANEL_SIZE = {"width": 280, "height": 630}
SETUP = """async ({ count, kind, answer, state }) => {
  const { Session } = await import('/ohif/lesionloop/state/session.js');
  const { keepKeys } = await import('/ohif/lesionloop/ohif/hotkeys.js');
  await import('/ohif/lesionloop/elements/panel.js');
  class Workspace extends EventTarget {
    calls = [];
    info = { datastore: { total: 2, completed: 0 }, strategies: {}, trainers: {} };
    image = { id: '1.2', studyUid: '1', viewportId: 'v', modality: 'MR', description: 'T1', patientId: 'P',
      date: '2025-11-21', frameCount: count };
    models = [{ name: 'finder', type: 'detection', description: '', version: 'v0001', fits: true, reason: '' }];
    busy = null; notice = null; user = ''; training = null; pair = null; visits = []; frame = { index: 0 };
    session = new Session('1.2', {
      kind, positions: Array.from({ length: count }, (_, i) => i), position_unit: kind === 'stack' ? 'mm' : 's',
      sop_instance_uids: Array.from({ length: count }, (_, i) => `1.3.${i}`), frame_numbers: Array(count).fill(1),
      rows: 64, columns: 64, spacing_mm: [1, 1, 1], time_point: null, time_points: 1, warnings: [],
      affine: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    });
    shownFrame(index) { return index + 1; }
    tell(what, changes = {}) {
      Object.assign(this, changes);
      this.dispatchEvent(new CustomEvent('change', { detail: { what } }));
    }
  }
  for (const name of ['findLesions', 'startDrawing', 'accept', 'reject', 'restore', 'relabel', 'acceptAll', 'select',
    'showFrame', 'submit', 'setUser', 'dismissNotice'])
    Workspace.prototype[name] = function (...given) { this.calls.push([name, ...given]); };
  const workspace = window.workspace = Object.assign(new Workspace(), state);
  if (answer) workspace.session.applyAnswer(answer);
  window.reached = [];
  document.addEventListener('keydown', event => window.reached.push(event.key));
  const panel = document.createElement('lesionloop-panel');
  panel.workspace = workspace;
  panel.style.height = '100vh';
  document.body.style.margin = '0';
  document.querySelector('main').replaceChildren(panel);
  keepKeys(panel);
}"""


def finding(number: int, first: int, last: int, score: float, label: str = "lesion") -> dict[str, Any]:
    """A finding of a detection model on frames ``first`` to ``last``, as /infer/ gives it."""
    return {
        "id": number,
        "label": label,
        "score": score,
        "boxes": {str(frame): [10, 10, 22, 19] for frame in range(first, last + 1)},
        "frame_scores": {},
        "measurements": {"long_axis": {"value": 12.4, "unit": "mm"}, "short_axis": {"value": 9.1, "unit": "mm"}},
        "source": {"model": "finder", "version": "v0001"},
    }


ANSWER = {
    "model": "finder",
    "findings": [finding(1, 2, 10, 0.9), finding(2, 14, 14, 0.6)],
    "label_names": {"lesion": 1},
    "presence": [frame / 24 for frame in range(24)],
    "attention": [0.25 if frame == 5 else 0.03 for frame in range(24)],
    "warnings": ["The slices are tilted by 12 degrees."],
}
Show = Callable[..., Page]


@pytest.fixture
def show(module_page: Page) -> Show:
    """Show a panel as narrow as OHIF's, with an answer among the findings and a state of the workspace."""

    def shown(answer: dict[str, Any] | None = ANSWER, count: int = 24, kind: str = "stack", **state: Any) -> Page:
        module_page.set_viewport_size(PANEL_SIZE)
        module_page.evaluate(SETUP, {"count": count, "kind": kind, "answer": answer, "state": state})
        return module_page

    return shown


def calls(page: Page) -> list[list[Any]]:
    """What the workspace was asked to do."""
    return page.evaluate("() => workspace.calls")


def act(page: Page, work: str) -> None:
    """Change the session and tell the elements."""
    page.evaluate(f"() => {{ const {{ session }} = workspace; {work}; workspace.tell('session'); }}")


def violations(page: Page) -> list[str]:
    """What axe-core objects to, of all its rules."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]


def overflowing(page: Page) -> list[str]:
    """What sticks out of the panel."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.ll-root *')].filter(one => one.getBoundingClientRect().width > 1
          && one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.outerHTML.slice(0, 100))"""
    )


def test_rows_say_what_and_where(show: Show) -> None:
    page = show()
    rows = page.get_by_test_id("finding")
    expect(rows).to_have_count(2)
    for words in ("1", "lesion", "Proposed", "90 %", "12 x 9.1 mm", "slices 3-11"):
        expect(rows.nth(0)).to_contain_text(words)
    expect(rows.nth(1)).to_contain_text("slice 15")
    expect(page.get_by_role("heading", name="2 of 2 to review")).to_be_visible()
    assert page.get_by_test_id("findings").get_by_text("growth").count() == 0


def test_growth_stands_in_every_row_once_compared(show: Show) -> None:
    page = show()
    growth = "{ change: 'grown', percent: 34.2, basis: 'volume', days: 120, doubling_time_days: 280 }"
    act(page, f"session.setGrowth(new Map([[session.order()[0], {growth}]]))")
    rows = page.get_by_test_id("finding")
    expect(rows.nth(0)).to_contain_text("+34 % in 120 days")
    expect(rows.nth(1)).to_contain_text("growth unknown")


def test_buttons_of_a_row_name_it_and_act_on_it_alone(show: Show) -> None:
    page = show()
    first, second = page.evaluate("() => workspace.session.order()")
    page.get_by_role("button", name="Accept finding 2").click()
    page.get_by_role("button", name="Delete finding 1").click()
    page.get_by_role("button", name="Go to finding 2, slice 15").click()
    page.get_by_test_id("accept-all").click()
    assert calls(page) == [["accept", second], ["reject", first], ["select", second], ["acceptAll"]]


def test_decided_rows_can_be_taken_back(show: Show) -> None:
    page = show()
    first, second = page.evaluate("() => workspace.session.order()")
    act(page, f"session.accept('{first}'); session.reject('{second}')")
    rows = page.get_by_test_id("finding")
    expect(rows.nth(0)).to_contain_text("✓ Accepted")
    expect(rows.nth(1)).to_contain_text("✕ Deleted")
    page.get_by_role("button", name="Take back the acceptance of finding 1").click()
    page.get_by_role("button", name="Restore finding 2").click()
    assert calls(page) == [["restore", first], ["restore", second]]
    assert page.get_by_test_id("accept").locator("visible=true").count() == 0
    expect(page.get_by_test_id("accept-all")).to_be_disabled()


def test_focus_stays_in_the_row_when_its_button_goes(show: Show) -> None:
    page = show()
    page.get_by_role("button", name="Accept finding 1").focus()
    act(page, "session.accept(session.order()[0])")
    expect(page.get_by_role("button", name="Go to finding 1")).to_be_focused()


def test_label_is_a_choice_where_several_are_known(show: Show) -> None:
    page = show({**ANSWER, "findings": [finding(1, 0, 3, 0.9)], "label_names": {"lesion": 1, "cyst": 2}})
    page.get_by_label("Label of finding 1").select_option("cyst")
    assert calls(page) == [["relabel", page.evaluate("() => workspace.session.order()[0]"), "cyst"]]


def test_selected_row_is_marked_and_in_view(show: Show) -> None:
    many = [finding(number, number, number + 2, 1 - number / 30) for number in range(1, 13)]
    page = show({**ANSWER, "findings": many})
    last = page.get_by_test_id("finding").nth(11)
    expect(last).not_to_be_in_viewport()
    act(page, "session.selected = session.order()[11]")
    expect(last).to_have_attribute("aria-current", "true")
    expect(last).to_be_in_viewport()


def test_arrow_keys_walk_through_the_findings(show: Show) -> None:
    page = show()
    page.get_by_role("button", name="Go to finding 1").press("ArrowDown")
    expect(page.get_by_role("button", name="Go to finding 2")).to_be_focused()
    assert calls(page) == [["select", page.evaluate("() => workspace.session.order()[1]")]]
    assert page.evaluate("() => reached") == []


def test_empty_list_says_why(show: Show) -> None:
    page = show(None)
    expect(page.get_by_text("Not searched yet.")).to_be_visible()
    expect(page.get_by_test_id("strip")).to_be_hidden()
    act(page, "session.applyAnswer({ model: 'finder', findings: [], label_names: {} })")
    expect(page.get_by_text("No lesions found.")).to_be_visible()


def test_find_lesions_needs_a_model_that_fits(show: Show) -> None:
    page = show(None)
    page.get_by_test_id("find-lesions").click()
    assert calls(page) == [["findLesions"]]
    page.evaluate(
        "() => workspace.tell('info', { models: [{ ...workspace.models[0], fits: false, reason: 'It reads CT.' }] })"
    )
    expect(page.get_by_test_id("find-lesions")).to_be_disabled()
    expect(page.get_by_text("No model fits this image. finder: It reads CT.")).to_be_visible()


def test_drawing_says_what_to_do_while_the_tool_is_in_hand(show: Show) -> None:
    page = show()
    page.get_by_test_id("draw-box").click()
    assert calls(page) == [["startDrawing"]]
    page.evaluate("() => workspace.tell('drawing', { drawing: true })")
    expect(page.get_by_text("Drag a box around the lesion")).to_be_visible()
    page.evaluate("() => workspace.tell('drawing', { drawing: false })")
    expect(page.get_by_text("Drag a box around the lesion")).to_be_hidden()


def test_a_drawn_box_is_listed_as_drawn_by_hand(show: Show) -> None:
    page = show()
    act(page, "session.addDrawn(20, [1, 1, 9, 9], 'lesion')")
    expect(page.get_by_test_id("finding").filter(has_text="drawn by hand")).to_have_count(1)


def test_strip_tells_and_changes_the_frame_by_keyboard(show: Show) -> None:
    page = show()
    page.evaluate("() => workspace.tell('frame', { frame: { index: 5 } })")
    strip = page.get_by_role("slider", name="Current frame")
    expect(strip).to_have_attribute("aria-valuenow", "6")
    expect(strip).to_have_attribute("aria-valuemax", "24")
    expect(strip).to_have_attribute("aria-valuetext", "slice 6 of 24, lesion probability 21 %, attention 100 %")
    for key in ("ArrowRight", "ArrowDown", "Home", "End", "PageDown"):
        strip.press(key)
    assert calls(page) == [["showFrame", index] for index in (6, 4, 0, 23, 0)]
    assert page.evaluate("() => reached") == []


def test_strip_follows_the_order_of_the_viewport(show: Show) -> None:
    page = show()
    page.evaluate("() => workspace.tell('image', { shownFrame: index => 24 - index, frame: { index: 23 } })")
    strip = page.get_by_test_id("strip")
    expect(strip).to_have_attribute("aria-valuenow", "1")
    box = strip.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + 20)
    assert calls(page) == [["showFrame", 0]]


@pytest.mark.parametrize("count", [1, 300])
def test_strip_takes_one_frame_and_many(show: Show, count: int) -> None:
    answer = {
        **ANSWER,
        "findings": [finding(1, 0, 0, 0.9)],
        "presence": [0.5] * count,
        "attention": [1 / count] * count,
    }
    page = show(answer, count=count, kind="cine")
    box = page.get_by_test_id("strip").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 0.5, box["y"] + 20)
    expect(page.locator(".ll-tip")).to_contain_text(f"frame {count} of {count}, lesion 50 %, attention 100 %")
    page.mouse.down()
    page.mouse.up()
    assert calls(page) == ([] if count == 1 else [["showFrame", count - 1]])
    assert not overflowing(page)


@pytest.mark.parametrize(("answer", "unreviewed"), [("Accept them", "accept"), ("Leave them out", "leave")])
def test_submit_asks_about_findings_that_are_not_reviewed(show: Show, answer: str, unreviewed: str) -> None:
    page = show()
    page.get_by_test_id("submit").click()
    dialog = page.get_by_role("dialog", name="2 findings are not reviewed")
    expect(dialog).to_be_visible()
    assert not violations(page)
    dialog.get_by_role("button", name=answer).click()
    expect(dialog).to_have_count(0)
    assert calls(page) == [["submit", {"unreviewed": unreviewed}]]


def test_escape_leaves_the_question_and_gives_the_focus_back(show: Show) -> None:
    page = show()
    page.get_by_test_id("submit").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel").locator("visible=true")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("submit")).to_be_focused()
    assert calls(page) == []
    assert "Escape" not in page.evaluate("() => reached")


def test_submit_says_what_is_stored_and_what_is_not(show: Show) -> None:
    page = show(None)
    submit = page.get_by_test_id("submit")
    expect(submit).to_be_disabled()
    expect(submit).to_have_accessible_description("Nothing to store yet.")
    act(page, "session.addDrawn(3, [1, 1, 9, 9], 'lesion')")
    expect(page.get_by_role("tabpanel", name="Findings").get_by_text("! Not saved")).to_be_visible()
    submit.click()
    assert calls(page) == [["submit", {"unreviewed": "leave"}]]
    act(page, "session.markSaved('boxes', session.snapshot(), { user: 'anna', time: '2025-11-20T13:40:00' })")
    expect(page.get_by_text("Findings stored by anna, 20 Nov 2025, 13:40.")).to_be_visible()


def test_typing_a_name_is_no_shortcut(show: Show) -> None:
    page = show()
    name = page.get_by_test_id("user-name")
    name.click()
    page.keyboard.type("axnd")
    assert page.evaluate("() => reached") == []
    page.keyboard.press("Tab")
    assert calls(page) == [["setUser", "axnd"]]
    page.evaluate("() => workspace.tell('info', { user: 'token name', loggedIn: true })")
    expect(name).to_have_value("token name")
    expect(name).not_to_be_editable()


def test_work_under_way_shows_time_and_can_be_cancelled(show: Show) -> None:
    page = show(None)
    page.evaluate(
        """() => workspace.tell('busy', { busy: { title: 'Looking for lesions', detail: 'finder', progress: null,
          startedAt: performance.now() - 72000, cancel: () => workspace.calls.push(['cancel']) } })"""
    )
    busy = page.get_by_test_id("busy")
    expect(busy).to_contain_text("1 min 12 s")
    expect(busy.get_by_role("status")).to_have_text("Looking for lesions finder")
    expect(page.get_by_test_id("find-lesions")).to_be_disabled()
    page.get_by_test_id("cancel").click()
    assert calls(page) == [["cancel"]]
    page.evaluate("() => workspace.tell('busy', { busy: null })")
    expect(busy).to_be_hidden()


def test_errors_are_spoken_and_can_be_dismissed(show: Show) -> None:
    page = show(None, notice={"kind": "error", "text": "The server does not answer. Start it, then try again."})
    expect(page.get_by_role("alert")).to_contain_text("Error: The server does not answer.")
    page.get_by_role("button", name="Dismiss this message").click()
    assert calls(page) == [["dismissNotice"]]


def test_text_of_others_is_never_html(show: Show) -> None:
    page = show({**ANSWER, "findings": [finding(1, 0, 3, 0.9, label="<img src=x onerror=reached.push(1)>")]})
    expect(page.get_by_test_id("finding")).to_contain_text("<img src=x")
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("tab", ["findings", "followup", "models", "learn", "report"])
@pytest.mark.parametrize("height", [630, 420])
def test_every_tab_passes_axe_and_fits(show: Show, tab: str, height: int) -> None:
    page = show({**ANSWER, "label_names": {"lesion": 1, "a label with a rather long name that does not fit": 2}})
    page.set_viewport_size({"width": PANEL_SIZE["width"], "height": height})
    act(page, "session.reject(session.order()[1])")
    page.get_by_test_id(f"tab-{tab}").click()
    expect(page.get_by_role("tabpanel")).to_be_visible()
    assert not violations(page)
    assert not overflowing(page)
    squeezed = "all => all.filter(one => one.scrollHeight > one.clientHeight + 1).map(one => one.tagName)"
    assert page.locator("[role=tabpanel]:visible > *").evaluate_all(squeezed) == []


def test_tabs_by_keyboard(show: Show) -> None:
    page = show(None)
    page.get_by_role("tab", name="Findings").press("ArrowLeft")
    expect(page.get_by_role("tab", name="Report")).to_be_focused()
    expect(page.get_by_test_id("report-room")).to_be_visible()
    page.get_by_role("tab", name="Report").press("Home")
    expect(page.get_by_test_id("findings")).to_be_attached()
    expect(page.get_by_role("tab", name="Findings")).to_have_attribute("aria-selected", "true")
