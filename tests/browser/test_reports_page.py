# SPDX-License-Identifier: Apache-2.0
"""The page of reports: images with and without one, a plain view, and the panel's report beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Live, Phantom, serving
from tests.browser.reporting import LESION, MIDLINE, SECOND, row, store_draft, store_lesions, stored, violations
from tests.chromium import artefacts, opened

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

VISIT = "phantom-a__visit2"
TOKEN = "a-token-for-tests-0123456789"
LOADED = "() => document.querySelector('.rp-picture image')?.getAttribute('href')"


@pytest.fixture
def page(browser: Browser, live: Live) -> Iterator[Page]:
    """The page of reports, which must not complain."""
    with opened(browser) as (page, watched):
        page.goto(f"{live.url}/reports/")
        expect(page.get_by_test_id("image")).to_have_count(3, timeout=60_000)
        yield page
        assert not watched.errors


def choose(page: Page, live: Live, name: str) -> None:
    page.get_by_test_id("image").and_(page.locator(f"[data-key='{live.images[name]}'] > *")).click()
    page.wait_for_function(LOADED, timeout=60_000)
    expect(page.get_by_test_id("report-status")).to_be_visible(timeout=60_000)


def shown(page: Page) -> str:
    return page.get_by_test_id("frame-number").inner_text()


def test_a_report_is_read_beside_the_image_and_signed(page: Page, live: Live) -> None:
    image = live.images[VISIT]
    lesions = store_lesions(live, VISIT)
    store_draft(live, image)
    page.reload()
    item = page.locator(f"[data-key='{image}']")
    expect(item).to_contain_text("draft", timeout=60_000)
    choose(page, live, VISIT)
    for text, lesion in ((SECOND, lesions[1]), (LESION, lesions[0])):
        row(page, text).hover()
        frames = [int(frame) for frame in lesion["boxes"]]
        page.wait_for_function("frames => frames.includes(lesionloop.viewer.index)", arg=frames)
        expect(page.locator("rect.rp-thick")).to_have_count(1)
        drawn = page.locator("rect.rp-thick").evaluate("o => [o.x, o.y, o.width].map(side => side.baseVal.value)")
        x0, y0, x1, _ = lesion["boxes"][str(int(shown(page).split()[0]) - 1)]
        assert drawn == pytest.approx([x0, y0, x1 - x0], abs=1)
    row(page, LESION).get_by_test_id("sentence-text").click()
    page.screenshot(path=artefacts() / "report-page.png")
    row(page, SECOND).get_by_test_id("sentence-text").press("x")
    row(page, MIDLINE).get_by_test_id("sentence-text").press("x")
    page.get_by_test_id("report-name").fill("Dr Test")
    page.get_by_test_id("sign-report").click()
    page.get_by_test_id("confirm-sign").click()
    expect(page.get_by_test_id("report-status")).to_have_text("✓ Signed", timeout=30_000)
    expect(item).to_contain_text("✓ signed")
    assert stored(live, image)["report"]["signer"] == "Dr Test"


def test_moving_through_the_frames(page: Page, live: Live) -> None:
    choose(page, live, "phantom-b")
    assert shown(page) == "13 of 24"
    first = page.evaluate(LOADED)
    page.get_by_test_id("stage").press("ArrowDown")
    assert shown(page) == "14 of 24"
    page.wait_for_function(f"first => ({LOADED})() !== first", arg=first)
    page.get_by_test_id("stage").hover()
    page.mouse.wheel(0, -100)
    expect(page.get_by_test_id("frame-number")).to_have_text("13 of 24")
    page.get_by_test_id("frame-slider").fill("3")
    assert shown(page) == "3 of 24"
    page.get_by_test_id("stage").press("End")
    assert shown(page) == "24 of 24"


def test_the_window_can_be_changed(page: Page, live: Live) -> None:
    choose(page, live, "phantom-b")
    center, width = page.get_by_test_id("window-center"), page.get_by_test_id("window-width")
    before = float(width.input_value())
    place = page.get_by_test_id("stage").bounding_box()
    assert place
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=3)
    page.mouse.up()
    assert float(width.input_value()) > before
    center.fill("150")
    center.press("Enter")
    page.wait_for_function("() => document.querySelector('.rp-picture image').href.baseVal.includes('window=150')")
    page.get_by_role("button", name="Reset").click()
    assert float(width.input_value()) == before


def test_unsaved_words_are_kept_with_their_image_and_not_left_unasked(page: Page, live: Live) -> None:
    store_draft(live, live.images["phantom-b"])
    choose(page, live, "phantom-b")
    row(page, LESION).get_by_test_id("sentence-text").press("Enter")
    page.get_by_test_id("edit-sentence").fill("Other words.")
    choose(page, live, "phantom-a__visit1")
    expect(row(page, "Other words.")).to_have_count(0)
    choose(page, live, "phantom-b")
    expect(row(page, "Other words.")).to_be_visible()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    assert asked == ["beforeunload"]


def test_images_are_found_and_remembered_in_the_address(page: Page, live: Live) -> None:
    page.get_by_test_id("search").fill("phantom-b")
    expect(page.get_by_test_id("image")).to_have_count(1)
    page.get_by_test_id("image").press("Enter")
    page.wait_for_function(LOADED, timeout=60_000)
    page.reload()
    page.wait_for_function(LOADED, timeout=60_000)
    assert live.images["phantom-b"] in page.url
    expect(page.locator(f"[data-key='{live.images['phantom-b']}'] > *")).to_have_attribute("aria-current", "true")


def test_the_page_passes_axe(page: Page, live: Live) -> None:
    store_draft(live, live.images["phantom-b"])
    assert violations(page, "html") == []
    choose(page, live, "phantom-b")
    row(page, LESION).get_by_test_id("sentence-text").click()
    assert violations(page, "html") == []


def test_the_page_and_its_files_ask_for_a_login_and_let_nothing_else_in(live: Live) -> None:
    answer = requests.get(f"{live.url}/reports/", timeout=30)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert requests.get(f"{live.url}/reports/{live.images['phantom-b']}9", timeout=30).status_code == 404
    script = requests.get(f"{live.url}/report-page/page.js", timeout=30)
    assert "javascript" in script.headers["content-type"]
    for path in ("../server.py", "%2e%2e/ohif/app-config.js", "nothing.js"):
        assert requests.get(f"{live.url}/report-page/{path}", timeout=30).status_code in (400, 404)


def test_without_a_login_there_is_no_page(
    phantoms: dict[str, Phantom], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLOOP_TOKEN", TOKEN)
    (tmp_path / "studies").mkdir()
    with serving({}, tmp_path / "studies", tmp_path) as closed:
        browser = {"headers": {"accept": "text/html"}, "allow_redirects": False, "timeout": 30}
        answer = requests.get(f"{closed.url}/reports/", **browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Freports%2F")
        assert requests.get(f"{closed.url}/report-page/page.js", timeout=30).status_code == 401
        known = requests.get(f"{closed.url}/reports/", headers={"authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert known.ok
