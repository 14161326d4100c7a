# SPDX-License-Identifier: Apache-2.0
"""The shipped report model in OHIF: it drafts a phantom's second visit, a person edits one sentence and signs."""

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Live, open_study
from tests.browser.page import CURRENT_SOP, IDLE
from tests.browser.reporting import row, stored, structured_reports, texts
from tests.chromium import artefacts, opened

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

VISIT, USER = "phantom-a__visit2", "Dr Test"
WRONG = "A lesion of 190 mm lies in the left cerebellar hemisphere."
EDITED = "Two lesions, both larger than before; biopsy is advised."
DRAFTING_MS = 180_000


def test_a_draft_of_the_model_is_edited_signed_and_in_the_pacs(live: Live, browser: Browser) -> None:
    phantom = live.phantoms[VISIT]
    with opened(browser) as (page, watched):
        open_study(page, live.url, phantom.study)
        page.wait_for_function(IDLE, timeout=60_000)
        page.get_by_test_id("tab-report").click()
        page.get_by_test_id("clinical-text").locator("summary").click()
        page.get_by_test_id("clinical-indication").fill("Follow-up of known lesions.")
        page.get_by_test_id("draft-report").click()
        expect(page.get_by_test_id("report-status")).to_have_text("New draft", timeout=DRAFTING_MS)
        check_that_the_draft_is_borne_out(page)
        page.screenshot(path=artefacts() / "report-draft.png")
        check_that_own_words_are_compared(page)
        edit_and_sign(page)
        assert not watched.errors
    report = stored(live, phantom.image)["report"]
    assert (report["status"], report["signer"], report["model"]) == ("signed", USER, "report_brain_mr")
    assert report["prior_image"] == live.images["phantom-a__visit1"]
    assert texts(report, "edited") == [EDITED]
    [(document, text)] = structured_reports(live, phantom.study)
    assert document.VerificationFlag == "VERIFIED"
    assert EDITED in text
    assert "Compared with the examination 120 days earlier." in text


def check_that_the_draft_is_borne_out(page: Page) -> None:
    """Nothing contradicted is shown, lesions are told with their numbers, and a sentence leads to its slices."""
    supports = page.get_by_test_id("support").all_inner_texts()
    assert "✓ Supported" in supports
    assert "≠ Contradicted" not in supports
    page.get_by_test_id("sentence").filter(has_text=" mm").or_(
        page.get_by_test_id("sentence").filter(has_text=" cm")
    ).first.get_by_test_id("sentence-text").click()
    evidence = page.get_by_test_id("evidence")
    expect(evidence.get_by_test_id("evidence-lesion").first).to_be_visible()
    before = page.evaluate(f"({CURRENT_SOP})()")
    frames = evidence.get_by_test_id("evidence-frame")
    frames.nth(frames.count() - 1).click()
    page.wait_for_function(f"before => ({CURRENT_SOP})() !== before", arg=before, timeout=20_000)


def check_that_own_words_are_compared(page: Page) -> None:
    """What a person writes is set beside what was measured: a hint, and no need to decide."""
    last = page.get_by_test_id("sentence").last
    before = last.get_by_test_id("support").inner_text()
    rewrite(last, WRONG)
    edited = row(page, WRONG)
    expect(edited.get_by_test_id("support")).to_have_text("≠ Contradicted")
    expect(edited.get_by_role("status")).to_contain_text("against these words")
    expect(edited).not_to_contain_text("! decide")
    page.screenshot(path=artefacts() / "report-compared.png")
    edited.get_by_test_id("restore").click()
    expect(last.get_by_test_id("support")).to_have_text(before)
    expect(last.get_by_test_id("hint")).to_be_empty()


def rewrite(sentence: Locator, words: str) -> None:
    sentence.get_by_test_id("sentence-text").press("Enter")
    sentence.page.get_by_test_id("edit-sentence").fill(words)
    sentence.page.get_by_test_id("edit-sentence").press("Enter")


def edit_and_sign(page: Page) -> None:
    rewrite(page.get_by_test_id("sentence").last, EDITED)
    for doubted in page.get_by_test_id("sentence").filter(has_text="! decide").all():
        doubted.get_by_test_id("sentence-text").press("a")
    page.get_by_test_id("report-name").fill(USER)
    page.get_by_test_id("sign-report").click()
    dialog = page.get_by_test_id("sign-dialog")
    if (confirm := dialog.get_by_test_id("confirm-unsupported")).count():
        confirm.check()
    dialog.get_by_test_id("confirm-sign").click()
    expect(page.get_by_test_id("report-status")).to_have_text("✓ Signed", timeout=30_000)
    expect(row(page, EDITED)).to_be_visible()
