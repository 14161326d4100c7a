# SPDX-License-Identifier: Apache-2.0
"""A page with a workspace on a real server, and a viewer that only remembers: page_viewer.js."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Live, open_blank
from tests.chromium import opened

VIEWER = Path(__file__).with_name("page_viewer.js").read_text()
START = """async ([images, answers]) => {
  const { PageViewer } = await import('/page_viewer.js');
  const { Workspace } = await import('/ohif/lesionloop/state/workspace.js');
  const { Server } = await import('/ohif/lesionloop/state/server.js');
  const viewer = new PageViewer();
  window.questions = [];
  const ask = async question => { questions.push(question.title); return answers.shift() ?? null; };
  window.workspace = new Workspace({ server: new Server(), viewer, ask });
  window.viewer = viewer;
  window.changes = [];
  window.notices = [];
  workspace.addEventListener('change', ({ detail }) => {
    changes.push(detail.what);
    if (detail.what === 'notice' && workspace.notice) notices.push(workspace.notice);
  });
  window.images = images;
  window.until = async (done, limit = 120000) => {
    const end = performance.now() + limit;
    while (!done()) {
      if (performance.now() > end) throw new Error(`waited for ${done}: ${JSON.stringify(workspace.notice)}`);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  };
  window.openPhantom = async (name, modality = 'MR', alike = 1) => {
    const { id, studyUid } = images[name];
    const empty = { description: '', patientId: '', date: '' };
    viewer.open({ id, studyUid, viewportId: 'v', modality, alike, frameCount: 24, ...empty });
    await until(() => workspace.session?.imageId === id && !workspace.busy);
  };
  await workspace.start();
}"""


@pytest.fixture
def desk(module_page: Page, live: Live) -> Page:
    """A page whose `workspace` follows a `viewer`; `openPhantom(name)` opens a phantom."""
    begin(module_page, live)
    return module_page


@pytest.fixture
def tolerant(browser: Browser, live: Live) -> Iterator[Page]:
    """The same on a page that may complain: a browser writes every refused request to its console."""
    with opened(browser) as (page, _):
        open_blank(page, live.url)
        begin(page, live)
        yield page


def begin(page: Page, live: Live, *answers: str) -> None:
    page.route(
        "**/page_viewer.js", lambda route: route.fulfill(body=VIEWER, content_type="text/javascript; charset=utf-8")
    )
    images = {name: {"id": phantom.image, "studyUid": phantom.study} for name, phantom in live.phantoms.items()}
    page.evaluate(START, [images, list(answers)])


def do(page: Page, steps: str) -> Any:
    return page.evaluate(f"async () => {{ {steps} }}")
