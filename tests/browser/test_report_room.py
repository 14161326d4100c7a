# SPDX-License-Identifier: Apache-2.0
"""The panel's room for the report on a real server, with a viewer that only remembers."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser.conftest import Live, open_blank
from tests.browser.desk import begin
from tests.browser.reporting import (
    DRAFT,
    IMPRESSION,
    LESION,
    MIDLINE,
    OTHER_WORDS,
    SECOND,
    VENTRICLES,
    put,
    row,
    store_draft,
    store_lesions,
    stored,
    texts,
    violations,
)
from tests.chromium import opened

pytestmark = pytest.mark.e2e

SIZE = {"width": 280, "height": 630}
MODEL = "report_brain_mr"
KNOWN = {
    **{"type": "report", "description": "Writes.", "version": "v0007", "labels": {}},
    **{"input": {"modalities": ["MR"]}, "source": "mr_lesion_segmentation"},
}
MOUNT = """async name => {
  await import('/ohif/lesionloop/elements/panel.js');
  const { keepKeys } = await import('/ohif/lesionloop/ohif/hotkeys.js');
  const panel = document.createElement('lesionloop-panel');
  panel.workspace = workspace;
  panel.style.height = '100vh';
  document.body.style.margin = '0';
  document.querySelector('main').replaceChildren(panel);
  keepKeys(panel);
  await openPhantom(name);
  await until(() => workspace.reports.session);
}"""
Open = Callable[..., Page]


@pytest.fixture
def room(browser: Browser, live: Live) -> Iterator[Open]:
    """Open the report of a phantom, in a panel as narrow as OHIF's. A refused request may be on the console."""
    with opened(browser) as (page, _):

        def show(name: str) -> Page:
            page.set_viewport_size(SIZE)
            open_blank(page, live.url)
            begin(page, live)
            page.evaluate(MOUNT, name)
            page.get_by_test_id("tab-report").click()
            return page

        yield show


def offer(page: Page, models: dict[str, Any]) -> None:
    """Let the server seem to have these report models and no others."""

    def info(route: Route) -> None:
        known = route.fetch().json()
        others = {name: model for name, model in known["models"].items() if model["type"] != "report"}
        route.fulfill(json={**known, "models": {**others, **models}})

    page.route("**/info/", info)


def answer_drafts(page: Page, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Let a draft be this; returns what will be asked for."""
    asked: list[dict[str, Any]] = []

    def infer(route: Route, request: Request) -> None:
        body = request.post_data or ""
        asked.append(json.loads(body[body.index("{") : body.rindex("}") + 1]))
        route.fulfill(json=answer)

    page.route(f"**/infer/{MODEL}*", infer)
    return asked


def decisions(page: Page) -> list[str]:
    return [str(one) for one in page.get_by_test_id("sentence").evaluate_all("all => all.map(o => o.dataset.decision)")]


def test_sentences_say_how_far_they_are_borne_out(room: Open, live: Live) -> None:
    store_draft(live, live.images["phantom-b"])
    page = room("phantom-b")
    for text, word in ((LESION, "✓ Supported"), (SECOND, "≠ Contradicted"), (MIDLINE, "? Not supported")):
        expect(row(page, text).get_by_test_id("support")).to_have_text(word)
    expect(row(page, LESION)).to_contain_text("92 %")
    expect(row(page, VENTRICLES).get_by_test_id("support")).to_have_text("○ Not assessed")
    for text in (SECOND, MIDLINE):
        expect(row(page, text)).to_contain_text("! decide")
    expect(page.get_by_test_id("report-words")).to_have_text("2 to decide on")
    expect(page.get_by_test_id("sign-report")).to_be_disabled()
    page.get_by_test_id("accept-supported").click()
    assert decisions(page) == ["drafted", "accepted", "drafted", "drafted", "drafted", "accepted"]


def test_alternatives_replace_a_sentence_and_can_be_taken_back(room: Open, live: Live) -> None:
    store_draft(live, live.images["phantom-b"])
    page = room("phantom-b")
    row(page, LESION).get_by_test_id("sentence-text").click()
    page.get_by_test_id("alternative").click()
    expect(row(page, OTHER_WORDS)).to_contain_text("edited")
    expect(row(page, OTHER_WORDS).get_by_test_id("support")).to_have_text("○ Not assessed")
    expect(page.get_by_test_id("evidence")).to_contain_text(LESION)
    row(page, OTHER_WORDS).get_by_test_id("restore").click()
    expect(row(page, LESION).get_by_test_id("support")).to_have_text("✓ Supported")
    assert page.evaluate("() => workspace.dirty") is False


def test_by_keyboard_alone(room: Open, live: Live) -> None:
    """From the first sentence to the signature without a pointer."""
    image = live.images["phantom-a__visit1"]
    store_draft(live, image)
    page = room("phantom-a__visit1")
    page.get_by_test_id("sentence-text").first.focus()
    keys = page.keyboard
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        keys.press(key)
    expect(page.get_by_test_id("edit-sentence")).to_be_focused()
    keys.press("Control+a")
    keys.type("No second lesion.")
    keys.press("Enter")
    expect(row(page, "No second lesion.").get_by_test_id("sentence-text")).to_be_focused()
    for key in ("ArrowDown", "a", "ArrowDown", "x"):
        keys.press(key)
    expect(row(page, VENTRICLES).get_by_test_id("sentence-text")).to_be_focused()
    assert decisions(page) == ["drafted", "drafted", "edited", "accepted", "struck", "drafted"]
    page.get_by_test_id("report-name").focus()
    keys.type("Dr Key")
    for _ in range(2):
        keys.press("Tab")
    expect(page.get_by_test_id("sign-report")).to_be_focused()
    keys.press("Enter")
    for key in ("Shift+Tab", "Space", "Tab", "Tab", "Enter"):
        keys.press(key)
    expect(page.get_by_test_id("report-status")).to_have_text("✓ Signed", timeout=30_000)
    report = stored(live, image)["report"]
    assert (report["signer"], texts(report, "struck")) == ("Dr Key", [VENTRICLES])


def test_lesions_that_were_stored_after_the_draft_are_told_of(room: Open, live: Live) -> None:
    image = live.images["phantom-b"]
    store_draft(live, image)
    time.sleep(1.1)  # the store tells when lesions came to the second
    store_lesions(live, "phantom-b")
    page = room("phantom-b")
    words = page.get_by_text("Lesions were stored after this was drafted")
    expect(words).to_be_visible()
    store_draft(live, image)
    page = room("phantom-b")
    expect(page.get_by_test_id("report-status")).to_have_text("Draft")
    expect(words).to_be_hidden()


def test_escape_gives_up_what_was_typed(room: Open, live: Live) -> None:
    store_draft(live, live.images["phantom-b"])
    page = room("phantom-b")
    row(page, LESION).get_by_test_id("sentence-text").press("Enter")
    page.get_by_test_id("edit-sentence").fill("Something else.")
    expect(page.get_by_test_id("report-room").get_by_text("! Not saved")).to_be_visible()
    page.get_by_test_id("edit-sentence").press("Escape")
    expect(row(page, LESION)).to_be_visible()
    assert page.evaluate("() => workspace.dirty") is False


def test_a_person_writes_a_report_from_the_start(room: Open, live: Live) -> None:
    image = live.images["phantom-b"]
    put_away(live, image)
    page = room("phantom-b")
    expect(page.get_by_test_id("report-status")).to_have_text("No report")
    page.get_by_label("Add a sentence to findings").click()
    page.get_by_test_id("new-sentence").fill("No lesion.")
    page.get_by_test_id("new-sentence").press("Enter")
    page.get_by_test_id("new-sentence").fill("<img src=x onerror=alert(1)>")
    page.get_by_test_id("report-name").fill("Dr Test")
    page.get_by_test_id("save-report").click()
    expect(page.get_by_test_id("report-status")).to_have_text("Corrected", timeout=30_000)
    report = stored(live, image)["report"]
    assert texts(report, "added") == ["No lesion.", "<img src=x onerror=alert(1)>"]
    assert page.locator("main img").count() == 0


def test_where_no_model_fits_it_says_so(browser: Browser, live: Live) -> None:
    put_away(live, live.images["phantom-b"])
    for models, words in (
        ({}, "No report model is installed. You can write the report yourself."),
        ({MODEL: {**KNOWN, "input": {"modalities": ["CT"]}}}, f"{MODEL}: It reads CT images; this one is MR."),
    ):
        with opened(browser) as (page, watched):
            open_blank(page, live.url)
            offer(page, models)
            begin(page, live)
            page.evaluate(MOUNT, "phantom-b")
            page.get_by_test_id("tab-report").click()
            expect(page.get_by_test_id("report-room")).to_contain_text(words)
            expect(page.get_by_test_id("draft-report")).to_be_hidden()
            assert not watched.errors


def test_a_model_drafts_from_the_clinical_text(live: Live, browser: Browser) -> None:
    image = live.images["phantom-b"]
    put_away(live, image)
    with opened(browser) as (page, watched):
        page.set_viewport_size(SIZE)
        open_blank(page, live.url)
        offer(page, {MODEL: KNOWN})
        asked = answer_drafts(page, {"report": {"sections": DRAFT["sections"]}, "findings": [], "warnings": []})
        begin(page, live)
        page.evaluate(MOUNT, "phantom-b")
        page.get_by_test_id("tab-report").click()
        page.get_by_test_id("clinical-text").locator("summary").click()
        page.get_by_test_id("clinical-indication").fill("Headache for three weeks.")
        page.get_by_test_id("draft-report").click()
        expect(page.get_by_test_id("report-status")).to_have_text("New draft", timeout=30_000)
        assert asked == [{"followup": True, "indication": "Headache for three weeks."}]
        assert stored_version(live, image) == 0, "nothing is stored before a person says so"
        assert page.evaluate("() => workspace.dirty") is False
        row(page, MIDLINE).get_by_test_id("sentence-text").press("x")
        page.get_by_test_id("report-name").fill("Dr Test")
        page.get_by_test_id("save-report").click()
        expect(page.get_by_test_id("report-status")).to_have_text("Corrected", timeout=30_000)
        expect(page.get_by_test_id("draft-report")).to_be_hidden()
        answer = stored(live, image)
        assert [line["status"] for line in answer["versions"]] == ["draft", "corrected"]
        assert (answer["report"]["model"], answer["report"]["model_version"]) == (MODEL, "v0007")
        assert not watched.errors


def test_a_model_without_lesions_is_not_asked_to_follow_them(live: Live, browser: Browser) -> None:
    image = live.images["phantom-b"]
    put_away(live, image)
    with opened(browser) as (page, watched):
        open_blank(page, live.url)
        offer(page, {MODEL: {**KNOWN, "source": ""}})
        asked = answer_drafts(page, {"report": {"sections": DRAFT["sections"]}, "findings": [], "warnings": []})
        begin(page, live)
        page.evaluate(MOUNT, "phantom-b")
        page.get_by_test_id("tab-report").click()
        page.get_by_test_id("clinical-text").locator("summary").click()
        expect(page.get_by_test_id("draft-followup")).to_be_hidden()
        page.get_by_test_id("draft-report").click()
        expect(page.get_by_test_id("report-status")).to_have_text("New draft", timeout=30_000)
        assert asked == [{}]
        assert not watched.errors


def test_a_conflict_names_who_and_keeps_the_typed_words(room: Open, live: Live) -> None:
    image = live.images["phantom-b"]
    draft = store_draft(live, image)
    page = room("phantom-b")
    page.get_by_test_id("report-name").fill("Dr Test")
    row(page, LESION).get_by_test_id("sentence-text").press("Enter")
    page.get_by_test_id("edit-sentence").fill("A lesion of 50 mm.")
    page.get_by_test_id("edit-sentence").press("Enter")
    theirs = json.loads(json.dumps(draft).replace(LESION, "A lesion of 44 mm.").replace(IMPRESSION, "Two of them."))
    put(live, image, {**theirs, "status": "corrected", "author": "Dr Other", "draft": draft["draft"]})
    page.get_by_test_id("save-report").click()
    conflict = page.get_by_test_id("report-conflict")
    expect(conflict).to_contain_text("corrected by Dr Other", timeout=30_000)
    expect(row(page, "A lesion of 50 mm.")).to_be_visible()
    assert violations(page, "lesionloop-panel") == []
    page.get_by_test_id("take-over").click()
    expect(conflict).to_be_empty()
    expect(row(page, "Two of them.")).to_be_visible()
    expect(row(page, "A lesion of 44 mm.")).to_contain_text("You had written: A lesion of 50 mm.")
    page.get_by_test_id("use-mine").click()
    page.get_by_test_id("save-report").click()
    expect(page.get_by_test_id("report-room").get_by_text("! Not saved")).to_be_hidden(timeout=30_000)
    report = stored(live, image)["report"]
    assert (report["version"], report["author"]) == (3, "Dr Test")
    assert texts(report, "edited") == ["A lesion of 50 mm.", "Two of them."]


@pytest.mark.parametrize("height", [630, 420])
def test_the_room_passes_axe_and_fits(room: Open, live: Live, height: int) -> None:
    store_draft(live, live.images["phantom-b"])
    page = room("phantom-b")
    page.set_viewport_size({**SIZE, "height": height})
    row(page, LESION).get_by_test_id("sentence-text").click()
    page.get_by_test_id("versions").click()
    page.get_by_test_id("diff").click()
    expect(page.get_by_test_id("looked")).to_be_visible()
    assert violations(page, "lesionloop-panel") == []
    wide = (
        "all => all.filter(o => o.getBoundingClientRect().right > innerWidth + 0.5).map(o => o.outerHTML.slice(0, 90))"
    )
    assert page.locator(".ll-root *:visible").evaluate_all(wide) == []


def put_away(live: Live, image: str) -> None:
    requests.delete(f"{live.url}/datastore/label", params={"id": image, "tag": "report"}, timeout=60)


def stored_version(live: Live, image: str) -> int:
    return int(stored(live, image).get("report", {}).get("version", 0))
