# SPDX-License-Identifier: Apache-2.0
"""The mode on OHIF's study list."""

import pytest
from playwright.sync_api import expect

from tests.chromium import opened

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_mode_is_the_first_choice_of_every_study(browser, live):
    with opened(browser) as (page, watched):
        page.goto(f"{live.url}/ohif/")
        row = page.get_by_text("phantom-b", exact=True).first
        expect(row).to_be_visible(timeout=60_000)
        row.click()
        modes = page.locator('[data-cy^="mode-"]')
        expect(modes.first).to_contain_text("LesionLoop", timeout=20_000)
        modes.first.click()
        page.wait_for_url("**/ohif/lesionloop?StudyInstanceUIDs=*", timeout=60_000)
        assert not watched.errors
