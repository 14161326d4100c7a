# SPDX-License-Identifier: Apache-2.0
"""A report in OHIF in a real browser: a draft is read against the image, corrected, signed and amended."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Live, open_study
from tests.browser.page import CURRENT_SOP, IDLE
from tests.browser.reporting import (
    LESION,
    MIDLINE,
    SECOND,
    VENTRICLES,
    row,
    store_draft,
    store_lesions,
    stored,
    structured_reports,
    texts,
    violations,
)
from tests.chromium import artefacts, opened

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

VISIT = "phantom-a__visit2"
USER = "Dr Test"
CORRECTED = "A second lesion of 15 mm lies in the right frontal lobe."
AMENDED = "A second lesion of 16 mm lies in the right frontal lobe."
THICK = """() => cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(one => one.metadata.toolName === 'RectangleROI'
    && cornerstoneTools.annotation.config.style.getAnnotationToolStyles(one.annotationUID)?.lineWidth === 4)
  .map(one => cornerstone.metaData.get('instance', one.metadata.referencedImageId).SOPInstanceUID)"""
"""SOP Instance UIDs of the frames whose box is drawn thick."""


def picture(page: Page, name: str) -> None:
    """Keep what the page shows, to illustrate the documentation (``make pictures``)."""
    page.screenshot(path=artefacts() / f"report-{name}.png")


def test_a_draft_is_read_corrected_signed_and_amended(live: Live, browser: Browser) -> None:
    phantom = live.phantoms[VISIT]
    lesions = store_lesions(live, VISIT)
    store_draft(live, phantom.image)
    with opened(browser) as (page, watched):
        open_study(page, live.url, phantom.study)
        page.wait_for_function(IDLE, timeout=60_000)
        page.get_by_test_id("tab-report").click()
        expect(page.get_by_test_id("report-status")).to_have_text("Draft")
        check_that_sentences_lead_to_their_lesions(page, live, lesions)
        correct(page)
        expect(page.get_by_test_id("report-status")).to_have_text("Corrected", timeout=30_000)
        assert violations(page, "lesionloop-panel") == []
        sign(page)
        check_signed(live)
        amend(page)
        check_amended(live)
        assert not watched.errors


def check_that_sentences_lead_to_their_lesions(page: Page, live: Live, lesions: list[dict[str, Any]]) -> None:
    frames = page.evaluate("() => lesionloop.workspace.session.frames.sop_instance_uids")
    for text, lesion in ((SECOND, lesions[1]), (LESION, lesions[0])):
        expected = [frames[int(frame)] for frame in lesion["boxes"]]
        row(page, text).hover()
        page.wait_for_function(f"all => JSON.stringify(({THICK})().sort()) === all", arg=compact(sorted(expected)))
        page.wait_for_function(f"expected => expected.includes(({CURRENT_SOP})())", arg=expected, timeout=20_000)
    row(page, LESION).get_by_test_id("sentence-text").click()
    evidence = page.get_by_test_id("evidence")
    expect(evidence).to_contain_text("lesion, present, left, 42 x 40 mm")
    expect(evidence.get_by_test_id("evidence-words")).to_contain_text("Headache70 %")
    evidence.get_by_test_id("evidence-frame").nth(1).click()
    page.wait_for_function(f"expected => expected === ({CURRENT_SOP})()", arg=frames[3], timeout=20_000)


def compact(values: list[str]) -> str:
    """As JavaScript writes it."""
    return json.dumps(values, separators=(",", ":"))


def correct(page: Page) -> None:
    expect(page.get_by_test_id("sign-report")).to_be_disabled()
    row(page, SECOND).hover()
    row(page, SECOND).get_by_test_id("edit").click()
    page.get_by_test_id("edit-sentence").fill(CORRECTED)
    page.get_by_test_id("edit-sentence").press("Enter")
    row(page, MIDLINE).hover()
    row(page, MIDLINE).get_by_test_id("accept").click()
    row(page, VENTRICLES).hover()
    row(page, VENTRICLES).get_by_test_id("strike").click()
    page.get_by_test_id("report-name").fill(USER)
    page.get_by_test_id("save-report").click()


def sign(page: Page) -> None:
    page.get_by_test_id("sign-report").click()
    dialog = page.get_by_test_id("sign-dialog")
    expect(dialog).to_contain_text(MIDLINE)
    expect(dialog.get_by_test_id("confirm-sign")).to_be_disabled()
    picture(page, "sign")
    dialog.get_by_test_id("confirm-unsupported").check()
    dialog.get_by_test_id("confirm-sign").click()
    expect(page.get_by_test_id("report-status")).to_have_text("✓ Signed", timeout=30_000)
    expect(row(page, VENTRICLES)).to_have_count(0)
    expect(page.get_by_test_id("save-report")).to_be_hidden()
    page.get_by_test_id("versions").click()
    page.get_by_test_id("diff").click()
    expect(page.get_by_test_id("looked")).to_contain_text("Draft → version 3")
    expect(page.get_by_test_id("looked").locator("ins")).to_contain_text("right")
    expect(page.get_by_test_id("looked").locator("del").first).to_contain_text("left")
    picture(page, "signed")
    page.get_by_test_id("looked").get_by_label("Close").click()
    page.get_by_test_id("versions").click()


def check_signed(live: Live) -> None:
    """The store and the PACS hold the signed words."""
    phantom = live.phantoms[VISIT]
    report = stored(live, phantom.image)["report"]
    assert (report["status"], report["signer"], report["version"]) == ("signed", USER, 3)
    assert texts(report, "edited") == [CORRECTED]
    assert texts(report, "struck") == [VENTRICLES]
    [(document, text)] = structured_reports(live, phantom.study)
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert CORRECTED in text
    assert VENTRICLES not in text


def amend(page: Page) -> None:
    page.get_by_test_id("amend-report").click()
    row(page, CORRECTED).get_by_test_id("sentence-text").press("Enter")
    page.get_by_test_id("edit-sentence").fill(AMENDED)
    page.get_by_test_id("edit-sentence").press("Enter")
    expect(page.get_by_test_id("sign-report")).to_be_disabled()
    page.get_by_test_id("amend-reason").fill("Measured again.")
    page.get_by_test_id("sign-report").click()
    page.get_by_test_id("confirm-unsupported").check()
    page.get_by_test_id("confirm-sign").click()
    expect(page.get_by_test_id("report-status")).to_have_text("✓ Amended", timeout=30_000)


def check_amended(live: Live) -> None:
    phantom = live.phantoms[VISIT]
    report = stored(live, phantom.image)["report"]
    assert (report["status"], report["amendment_reason"], report["version"]) == ("amended", "Measured again.", 4)
    current = [text for _, text in structured_reports(live, phantom.study) if AMENDED in text]
    assert len(current) == 1
    assert CORRECTED not in current[0]
