# SPDX-License-Identifier: Apache-2.0
"""The panel at its place in OHIF: two visits, MONAI Label's own panel beside it, and accessibility."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Live, open_study
from tests.browser.page import BOXES, IDLE, find_lesions
from tests.chromium import artefacts, opened

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SHOWN = """() => lesionloop.workspace.visits.map(({ image }) => {
  const { viewer } = lesionloop;
  const grid = services.viewportGridService.getState().viewports;
  const id = [...grid.values()].find(one => one.displaySetInstanceUIDs.some(uid =>
    services.displaySetService.getDisplaySetByUID(uid).SeriesInstanceUID === image))?.viewportId;
  const current = cornerstone.getRenderingEngines()[0].getViewport(id).getCurrentImageId();
  return cornerstone.metaData.get('instance', current).SOPInstanceUID;
})"""
"""SOP Instance UID of the frame that is shown of each visit, the earlier one first."""


def test_two_visits_are_compared_side_by_side(ohif: Page, live: Live) -> None:
    ohif.get_by_test_id("tab-followup").click()
    ohif.get_by_test_id("compare").click()
    table = ohif.get_by_test_id("followup-table")
    expect(table).to_be_visible(timeout=120_000)
    ohif.wait_for_function(IDLE, timeout=60_000)
    expect(ohif.locator('[data-cy="viewport-pane"]')).to_have_count(2)
    answer = ohif.evaluate("() => lesionloop.workspace.pair")
    assert [answer[side]["image"] for side in ("baseline", "followup")] == [
        live.images["phantom-a__visit1"],
        live.images["phantom-a__visit2"],
    ]
    rows = table.locator("tbody")
    expect(rows).to_have_count(len(answer["pairs"]))
    for i, pair in enumerate(answer["pairs"]):
        rows.nth(i).click()
        expected = [frames_of(answer[side], pair[side], pair["elsewhere_frame"]) for side in ("baseline", "followup")]
        ohif.wait_for_function(f"expected => ({SHOWN})().every((uid, i) => expected[i].includes(uid))", arg=expected)
    both = next(pair for pair in answer["pairs"] if pair["baseline"] and pair["followup"])
    drawn = {one["sop"] for one in ohif.evaluate(BOXES)}
    assert all(drawn & set(frames_of(answer[side], both[side], None)) for side in ("baseline", "followup"))
    rows.nth(answer["pairs"].index(both)).click()
    ohif.wait_for_timeout(1000)
    ohif.screenshot(path=artefacts() / "ohif-followup.png")
    ohif.get_by_test_id("end-compare").click()
    expect(ohif.locator('[data-cy="viewport-pane"]')).to_have_count(1)


def frames_of(visit: dict, number: int | None, elsewhere: int | None) -> list[str]:
    """SOP Instance UIDs of the frames that a lesion is on, or the one where it would be; all if that is nowhere."""
    if number is None:
        return visit["sop_instance_uids"] if elsewhere is None else [visit["sop_instance_uids"][elsewhere]]
    found = next(one for one in visit["findings"] if one["id"] == number)
    return [visit["sop_instance_uids"][int(t)] for t in found["boxes"]]


def test_monai_label_s_own_panel_works_beside_ours(browser: Browser, live: Live) -> None:
    """It asks this server, and draws its mask in the MPR layout, which it needs.

    Whether the browser complains is not looked at: MONAI Label says "nothing is being trained" by a 404.
    """
    with opened(browser) as (page, _):
        open_study(page, live.url, live.phantoms["phantom-a__visit2"].study)
        page.locator('[data-cy="Layout"]').first.click()
        page.get_by_text("MPR", exact=True).first.click()
        expect(page.locator('[data-cy="viewport-pane"]')).to_have_count(3, timeout=60_000)
        page.locator('[data-cy="monailabel-btn"]').click()
        panel = page.locator(".monaiLabelPanel")
        expect(panel.locator("input").first).to_have_value(f"{live.url}/")
        with page.expect_response("**/info/") as answer:
            panel.locator("button").first.click()
        assert answer.value.ok
        panel.get_by_text("Auto-Segmentation", exact=True).click()
        panel.locator("button:visible", has_text="Run").first.click()
        page.wait_for_function(
            "() => services.segmentationService.getLabelmapVolume('1')?.voxelManager.getCompleteScalarDataArray()"
            ".some(value => value > 0)",
            timeout=120_000,
        )


@pytest.mark.parametrize("tab", ["findings", "followup", "models", "learn", "report"])
def test_the_panel_in_ohif_passes_axe(ohif: Page, tab: str) -> None:
    """OHIF's own markup around it is not ours to change, and does not."""
    find_lesions(ohif)
    ohif.get_by_test_id(f"tab-{tab}").click()
    ohif.wait_for_timeout(300)
    found = Axe().run(ohif, context="lesionloop-panel")
    assert found.violations_count == 0, found.generate_report()
