# SPDX-License-Identifier: Apache-2.0
"""Lesions over all visits in a real browser: the server's own timeline, and one of three visits, in OHIF's width."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.desk import begin, do
from tests.chromium import artefacts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PANEL_WIDTH = 280
SHOW = """async ({ state, width }) => {
  await import('/ohif/lesionloop/elements/timeline-view.js');
  const workspace = Object.assign(new EventTarget(), { image: { id: '3' }, visits: [{}, {}, {}], timeline: null,
    busy: null, calls: [] }, state);
  workspace.change = (what, next) => {
    Object.assign(workspace, next);
    workspace.dispatchEvent(new CustomEvent('change', { detail: { what } }));
  };
  workspace.followAll = () => workspace.calls.push(['followAll']);
  workspace.showTracked = track => workspace.calls.push(['showTracked', track.id]);
  const main = document.querySelector('main');
  main.className = 'll-root';
  Object.assign(main.style, { width: `${width}px`, height: 'auto' });
  const element = Object.assign(document.createElement('lesionloop-timeline'), { workspace });
  main.replaceChildren(document.createElement('h1'), element);
  main.firstChild.textContent = 'Follow-up';
  window.workspace = workspace;
}"""
SIDES = dict.fromkeys(("left", "right", "posterior", "anterior", "superior", "inferior"), 0.3)


def visit(image: str, date: str, days: float | None, *ids: int) -> dict[str, Any]:
    findings = [{"id": i, "label": "lesion", "boxes": {"4": [1, 2, 9, 9]}, "frame_scores": {}} for i in ids]
    uids, numbers = [f"{image}.{t}" for t in range(6)], [1] * 6
    return {
        "image": image,
        "date": date,
        "days": days,
        "findings": findings,
        "sop_instance_uids": uids,
        "frame_numbers": numbers,
    }


def track(number: int, findings: dict[str, int], values: list[float], **more: Any) -> dict[str, Any]:
    told = len(values) > 1
    overall = {"percent": 100 * (values[-1] / values[0] - 1), "change": "grown"} if told else None
    trend = {
        "unit": "ml",
        "values": values,
        "uncertainties": [0.1 * value for value in values],
        "intervals": [{}] * (len(values) - 1),
        "overall": overall,
        "percent_uncertainty": 21.4 if told else None,
        "growth_frequency": 1.0 if told else None,
        "doubling_time_days": 224.0 if told else None,
    }
    spread = {"directions": ["left", "superior"], "sides_mm": {**SIDES, "left": 6.24, "superior": 4.1}}
    plain = {"beginning": "there at the first visit", "ending": "there at the last visit", "unseen": []}
    alone = {"split_from": None, "merged_into": None, "spread": spread if told else None}
    return {"id": number, "findings": findings, "trend": trend, **plain, **alone, **more}


THREE_VISITS = {
    "visits": [
        visit("1", "2024-01-15", 0, 1, 2),
        visit("2", "2024-05-14", 120, 1),
        visit("3", "2024-11-10", 300, 1, 2),
    ],
    "tracks": [
        track(1, {"0": 1, "1": 1, "2": 1}, [2.39, 5.33, 7.21]),
        track(2, {"0": 2}, [12.9], ending="gone", unseen=[2]),
        track(3, {"2": 2}, [0.42], beginning="new"),
    ],
    "response": {
        "visits": [
            {"visit": 1, "response": "SD", "within_error": ["SD", "PD"]},
            {"visit": 2, "response": "PD", "within_error": ["PD"]},
        ],
        "undecided": ["Whether what was found is tumour."],
    },
    "warnings": ["The visit of 2023-01-01 is left out: it is a cine, not a stack."],
}
Show = Callable[..., Page]


@pytest.fixture
def show(module_page: Page) -> Show:
    """Show the element with what a test sets."""

    def shown(**state: object) -> Page:
        module_page.evaluate(SHOW, {"state": state, "width": PANEL_WIDTH})
        return module_page

    return shown


def change(page: Page, what: str, **state: object) -> None:
    page.evaluate("([what, state]) => window.workspace.change(what, state)", [what, state])


def assert_accessible(page: Page, name: str) -> None:
    page.screenshot(path=artefacts() / f"timeline-{name}.png", clip={"x": 0, "y": 0, "width": 300, "height": 700})
    assert page.evaluate("() => document.querySelector('main').scrollWidth") <= PANEL_WIDTH
    found = Axe().run(page).response["violations"]
    assert not found, [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def test_every_lesion_has_its_sizes_its_chart_and_its_words(show: Show) -> None:
    page = show(timeline=THREE_VISITS)
    timeline = page.locator("lesionloop-timeline")
    expect(timeline).to_contain_text("3 lesions over 3 visits")
    lesions = page.get_by_test_id("track")
    expect(lesions).to_have_count(3)
    grown, gone, new = (lesions.nth(i) for i in range(3))
    expect(grown).to_contain_text("+202 % ± 21")
    expect(grown).to_contain_text("grown")
    expect(grown).to_contain_text(
        "spreads left 6.2 mm, superior 4.1 mm · doubles in 224 days · grew in 2 of 2 intervals"
    )
    expect(grown.get_by_role("row")).to_have_text(
        ["15 Jan 20242.39 ± 0.24 ml", "14 May 20245.33 ± 0.53 ml", "10 Nov 20247.21 ± 0.72 ml"]
    )
    said = "15 Jan 2024: 2.39 ± 0.24 ml; 14 May 2024: 5.33 ± 0.53 ml; 10 Nov 2024: 7.21 ± 0.72 ml"
    expect(grown.get_by_role("img", name=said)).to_be_visible()
    expect(grown.locator("circle")).to_have_count(3)
    heights = [float(circle.get_attribute("cy") or 0) for circle in grown.locator("circle").all()]
    places = [float(circle.get_attribute("cx") or 0) for circle in grown.locator("circle").all()]
    assert heights == sorted(heights, reverse=True)
    assert (places[1] - places[0]) / (places[2] - places[0]) == pytest.approx(120 / 300)
    expect(gone.get_by_role("row")).to_have_text(
        ["15 Jan 202412.9 ± 1.3 ml", "14 May 2024not found", "10 Nov 2024outside the images"]
    )
    expect(gone).to_contain_text("gone")
    expect(new).to_contain_text("new")
    expect(page.get_by_test_id("response").get_by_role("listitem")).to_have_text(
        [
            "14 May 2024: stable disease (SD), within the error also progressive disease (PD)",
            "10 Nov 2024: progressive disease (PD)",
        ]
    )
    expect(page.get_by_role("list", name="Notes on all visits")).to_contain_text("it is a cine, not a stack.")
    expect(page.get_by_role("heading", name="Response by RECIST 1.1")).to_be_visible()
    assert_accessible(page, "three")


def test_it_is_asked_for_with_a_button_and_a_lesion_is_shown_with_its_number(show: Show) -> None:
    page = show()
    follow = page.get_by_test_id("follow-all")
    expect(follow).to_have_text("Follow all 3 visits")
    expect(page.get_by_test_id("track")).to_have_count(0)
    expect(page.get_by_test_id("response")).to_be_hidden()
    follow.click()
    change(page, "busy", busy={"title": "Following all visits"})
    expect(follow).to_be_disabled()
    change(page, "timeline", busy=None, timeline=THREE_VISITS)
    expect(follow).to_have_text("Follow all visits again")
    page.get_by_role("button", name="Lesion 3: show it on this image").press("Enter")
    assert page.evaluate("() => window.workspace.calls") == [["followAll"], ["showTracked", 3]]


def test_a_patient_with_one_visit_has_nothing_to_follow(show: Show) -> None:
    page = show(visits=[{}])
    expect(page.locator("lesionloop-timeline")).to_be_hidden()
    change(page, "pair", visits=None)
    expect(page.locator("lesionloop-timeline")).to_be_hidden()


def test_the_workspace_follows_all_visits_on_a_real_server(module_page: Page, live) -> None:
    begin(module_page, live)
    said = do(
        module_page,
        """
        await openPhantom('phantom-a__visit2');
        await until(() => workspace.visits);
        await workspace.followAll();
        const { timeline } = workspace;
        const there = timeline.tracks.find(({ findings }) => '1' in findings);
        const missing = timeline.tracks.find(({ findings }) => !('1' in findings));
        await workspace.showTracked(there);
        if (missing) await workspace.showTracked(missing);
        const jumps = viewer.jumps.length;
        await openPhantom('phantom-b');
        return { timeline, jumps, last: viewer.jumps.at(-1), gone: workspace.timeline, notices, changes };
        """,
    )
    assert [visit["image"] for visit in said["timeline"]["visits"]] == [
        live.images["phantom-a__visit1"],
        live.images["phantom-a__visit2"],
    ]
    assert (said["jumps"], said["gone"]) == (1, None)
    assert said["last"][0] == live.images["phantom-a__visit2"]
    assert said["last"][1]["sopUid"] in said["timeline"]["visits"][1]["sop_instance_uids"]
    assert "timeline" in said["changes"]
    assert not [notice for notice in said["notices"] if notice["kind"] == "error"]
