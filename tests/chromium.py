# SPDX-License-Identifier: Apache-2.0
"""A real browser for the tests: Debian's Chromium, headless, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = {"width": 1280, "height": 720}
BLANK = "<!doctype html><html lang='en'><head><title>Test</title></head><body><main></main></body></html>"
NOT_OURS = ("net::ERR_",)
"""Console errors that say nothing about our code: OHIF's page asks the internet for fonts, which tests do not have."""


def find_chromium() -> str:
    """The browser's program; skips the test where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    return program


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium with software rendering, so that it draws without a GPU."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=list(FLAGS))
        yield browser
        browser.close()


class Watched:
    """What a page complained about.

    Attributes:
        errors: Uncaught exceptions and errors on the console, but for :data:`NOT_OURS`.
    """

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(known in message.text for known in NOT_OURS):
            self.errors.append(message.text)


@contextmanager
def opened(browser: Browser) -> Iterator[tuple[Page, Watched]]:
    """A fresh page in a browser context of its own, with what it complains about."""
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    page = context.new_page()
    try:
        yield page, Watched(page)
    finally:
        context.close()


def artefacts() -> Path:
    """Where screenshots of a run are kept: ``LESIONLOOP_ARTEFACTS``, or ``build/browser`` in the checkout."""
    folder = Path(os.environ.get("LESIONLOOP_ARTEFACTS") or Path(__file__).resolve().parents[1] / "build" / "browser")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
