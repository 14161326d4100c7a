# SPDX-License-Identifier: Apache-2.0
"""The comparison of two visits in a real browser: the server's own answers, as wide as OHIF's panel."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.chromium import artefacts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PANEL_WIDTH = 280
SHOW = """async ({ image, state, width }) => {
  await import('/ohif/lesionloop/elements/followup-view.js');
  const { Server } = await import('/ohif/lesionloop/state/server.js');
  const server = new Server();
  const workspace = Object.assign(new EventTarget(), { image: { id: image }, visits: await server.visits(image),
    pair: null, selectedPair: null, busy: null, calls: [] }, state);
  workspace.change = (what, next) => {
    Object.assign(workspace, next);
    workspace.dispatchEvent(new CustomEvent('change', { detail: { what } }));
  };
  workspace.compareWith = async visit => {
    workspace.calls.push(['compareWith', visit.image]);
    workspace.change('pair', { pair: await server.followUp('mr_lesion_segmentation', visit.image, image) });
  };
  workspace.selectPair = pair => {
    workspace.calls.push(['selectPair', pair.baseline, pair.followup]);
    workspace.change('pair', { selectedPair: pair });
  };
  workspace.endCompare = async () => workspace.change('pair', { pair: null, selectedPair: null });
  const main = document.querySelector('main');
  main.className = 'll-root';
  Object.assign(main.style, { width: `${width}px`, height: 'auto' });
  const element = Object.assign(document.createElement('lesionloop-followup'), { workspace });
  main.replaceChildren(document.createElement('h1'), element);
  main.firstChild.textContent = 'Follow-up';
  window.workspace = workspace;
}"""
MADE_UP = {
    "baseline": {"image": "1", "date": "2024-01-15", "source": "stored by Dr. A", "findings": []},
    "followup": {
        "image": "2",
        "date": "",
        "source": "model",
        "findings": [{"id": 1, "label": "a label with a rather long name that has to be broken"}],
    },
    "days": None,
    "pairs": [
        {
            "baseline": 2,
            "followup": 1,
            "change": {
                "change": "shrunk",
                "basis": "diameter",
                "unit": "mm",
                "before": 21.24,
                "after": 9.96,
                "percent": -53.1,
                "tolerance": 0.8,
                "doubling_time_days": None,
            },
            "displacement": "12.4 mm left, 10.8 mm anterior, 11.0 mm superior",
        },
        {
            "baseline": 1,
            "followup": None,
            "change": {"change": "gone", "basis": "volume", "unit": "ml", "before": 0.423, "after": None},
            "displacement": None,
        },
    ],
    "warnings": ["The lesions of the baseline are stored by Dr. A, those of the follow-up found by the model."],
}

Show = Callable[..., Page]


@pytest.fixture
def show(module_page: Page, live) -> Show:
    """Show the element for one of the phantoms, with what a test sets beside the server's list of visits."""

    def shown(name: str = "phantom-a__visit2", **state: object) -> Page:
        module_page.evaluate(SHOW, {"image": live.images[name], "state": state, "width": PANEL_WIDTH})
        return module_page

    return shown


def calls(page: Page) -> list[list[object]]:
    return page.evaluate("() => window.workspace.calls")


def change(page: Page, what: str, **state: object) -> None:
    page.evaluate("([what, state]) => window.workspace.change(what, state)", [what, state])


def assert_accessible(page: Page, name: str) -> None:
    page.screenshot(path=artefacts() / f"followup-{name}.png", clip={"x": 0, "y": 0, "width": 300, "height": 700})
    assert page.evaluate("() => document.querySelector('main').scrollWidth") <= PANEL_WIDTH
    found = Axe().run(page).response["violations"]
    assert not found, [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def test_the_other_visits_are_listed_newest_first(show: Show, live) -> None:
    page = show()
    rows = page.get_by_role("list", name="Visits of this patient").get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("14 May 2024")
    expect(rows.nth(0)).to_contain_text("this visit")
    expect(rows.nth(1)).to_contain_text("15 Jan 2024 120 days earlier · FLAIR-like phantom, axial")
    compare = page.get_by_role("button", name="Compare with the visit of 15 Jan 2024")
    change(page, "busy", busy={"title": "Finding lesions"})
    expect(compare).to_be_disabled()
    change(page, "busy", busy=None)
    compare.click()
    assert calls(page) == [["compareWith", live.images["phantom-a__visit1"]]]


def test_there_are_words_where_there_is_nothing_to_compare(show: Show) -> None:
    page = show("phantom-b")
    followup = page.locator("lesionloop-followup")
    expect(followup).to_contain_text("No other visit of this patient is in the store.")
    expect(page.get_by_test_id("compare")).to_have_count(0)
    assert_accessible(page, "alone")
    change(page, "image", visits=None)
    expect(page.get_by_role("status").last).to_have_text("Looking for other visits of this patient …")
    change(page, "image", image=None)
    expect(page.get_by_role("status").last).to_have_text("Open an image series first.")


def test_lesions_of_two_visits_are_shown_as_the_server_measured_them(show: Show) -> None:
    page = show()
    page.get_by_test_id("compare").click()
    table = page.get_by_test_id("followup-table")
    expect(table).to_be_visible(timeout=180_000)
    answer = page.evaluate("() => window.workspace.pair")
    expect(page.locator("lesionloop-followup")).to_contain_text("15 Jan 2024 → 14 May 2024 (120 days)")
    expect(page.locator("lesionloop-followup")).to_contain_text("Lesions found by the model at both visits.")
    rows = page.get_by_test_id("pair")
    expect(rows).to_have_count(len(answer["pairs"]))
    assert answer["pairs"]
    for number, pair in enumerate(answer["pairs"]):
        row, said = rows.nth(number), pair["change"]
        expect(row).to_contain_text(said["change"])
        expect(row).to_contain_text("ml")
        if said["percent"] is not None:
            expect(row).to_contain_text(f"{abs(said['percent']):.0f} %")
            expect(row).to_contain_text(f"centre moved {pair['displacement']}")
        if said["doubling_time_days"]:
            expect(row).to_contain_text(f"doubles in {said['doubling_time_days']:.0f} days")
    expect(page.locator(".ll-visits").get_by_text("compared")).to_have_count(1)
    assert_accessible(page, "compared")


def test_a_line_shows_its_lesion_by_mouse_and_by_keyboard(show: Show) -> None:
    page = show(pair=MADE_UP)
    rows = page.get_by_test_id("pair")
    rows.nth(1).click()
    assert calls(page) == [["selectPair", 1, None]]
    expect(page.get_by_role("button", name="Lesion 1 gone: show it at its visit")).to_have_attribute(
        "aria-current", "true"
    )
    first = page.get_by_role("button", name="Lesion 2 → 1: show it at both visits")
    first.press("Enter")
    assert calls(page)[1:] == [["selectPair", 2, 1]]
    expect(first).to_be_focused()
    first.press("ArrowDown")
    assert calls(page)[2:] == [["selectPair", 1, None]]
    expect(rows.nth(1).get_by_role("button")).to_be_focused()
    expect(page.locator("[data-selected]")).to_have_count(1)


def test_the_comparison_is_put_into_words(show: Show) -> None:
    page = show(pair=MADE_UP)
    followup = page.locator("lesionloop-followup")
    expect(followup).to_contain_text("15 Jan 2024 → no date")
    expect(followup).to_contain_text("2 lesions: 1 shrunk, 1 gone")
    expect(followup).to_contain_text("Lesions stored by Dr. A, then found by the model.")
    expect(page.get_by_test_id("pair").nth(0)).to_contain_text("21.2 → 10.0 mm")
    expect(page.get_by_test_id("pair").nth(0)).to_contain_text("\u221253 % shrunk")
    expect(page.get_by_test_id("pair").nth(0)).to_contain_text(
        "longest diameter · change known to ±0.8 mm · centre moved 12.4 mm left"
    )
    expect(page.get_by_test_id("pair").nth(1)).to_contain_text("0.42 → \u2013 ml")
    expect(page.get_by_role("list", name="Notes on this comparison")).to_contain_text("found by the model.")
    page.get_by_test_id("pair").nth(0).click()
    assert_accessible(page, "words")
    page.get_by_test_id("end-compare").click()
    expect(page.get_by_test_id("followup-table")).to_be_hidden()
    expect(page.get_by_test_id("compare")).to_be_visible()
    change(page, "pair", pair={**MADE_UP, "pairs": [], "warnings": []})
    expect(followup).to_contain_text("No lesions at either visit.")
    expect(page.get_by_test_id("followup-table")).to_be_hidden()
