# SPDX-License-Identifier: Apache-2.0
"""The panel's requests against a real server, and what a person reads when one fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Live, Phantom, open_blank, serving
from tests.chromium import opened

pytestmark = pytest.mark.e2e

MODEL = "mr_lesion_segmentation"
TOKEN = "a-token-for-tests-0123456789"
CALL = """async ([base, name, args]) => {
  const { Server } = await import('/ohif/lesionloop/state/server.js');
  try {
    return { value: (await new Server(base)[name](...args)) ?? null };
  } catch (error) {
    return { name: error.name, status: error.status, text: error.text };
  }
}"""


@pytest.fixture
def page(browser: Browser, live: Live) -> Iterator[Page]:
    """A page that may complain: a browser writes every refused request to its console."""
    with opened(browser) as (page, _):
        open_blank(page, live.url)
        yield page


def call(page: Page, name: str, *args: Any, base: str = "") -> Any:
    result = page.evaluate(CALL, [base, name, list(args)])
    assert "value" in result, result
    return result["value"]


def refused(page: Page, name: str, *args: Any, base: str = "") -> tuple[int, str]:
    result = page.evaluate(CALL, [base, name, list(args)])
    assert result.get("name") == "ServerError", result
    return result["status"], result["text"]


def test_what_is_there(page: Page, live: Live) -> None:
    image = live.images["phantom-a__visit2"]
    assert MODEL in call(page, "info")["models"]
    frames = call(page, "frames", image)
    assert (frames["kind"], len(frames["sop_instance_uids"]), frames["time_point"]) == ("stack", 24, None)
    assert call(page, "user") is None, "a server without tokens asks nobody who they are"
    assert call(page, "trainStatus") is None
    assert call(page, "cardUrl", "a model") == "/model/card/a%20model"
    assert [visit["image"] for visit in call(page, "visits", image)] == [
        live.images["phantom-a__visit1"],
        image,
    ]
    assert call(page, "nextImage", "first", "Zoë O'Brien")["study_instance_uid"] in {
        phantom.study for phantom in live.phantoms.values()
    }


def test_labels_are_stored_and_come_back_with_who_and_when(page: Page, live: Live) -> None:
    image = live.images["phantom-b"]
    assert call(page, "storedBoxes", image) is None
    assert call(page, "storedMask", image) is None
    assert call(page, "labelInfo", image, "final") is None
    answer = call(page, "infer", MODEL, image, {"frame_mask": True})
    assert answer["mask"]["parts"]
    assert "mask" not in call(page, "infer", "mr_lesion_detection", image, {"frame_mask": True})

    user = {"user": "Dr Test"}
    call(page, "saveBoxes", image, {"findings": answer["findings"]}, user)
    call(page, "saveMask", image, answer["mask"], user)
    stored = call(page, "storedBoxes", image)["findings"]
    assert [f["boxes"] for f in stored] == [f["boxes"] for f in answer["findings"]]
    mask = call(page, "storedMask", image)
    assert area(mask) == area(answer["mask"])
    for tag in ("boxes", "final"):
        info = call(page, "labelInfo", image, tag)
        assert info["user"] == "Dr Test"
        assert info["time"].startswith("20")
        assert info["time"].endswith("Z")


def area(mask: dict[str, Any]) -> int:
    return sum(sum(runs[1::2]) for part in mask["parts"] for runs in part["frames"].values())


def test_versions(page: Page) -> None:
    assert call(page, "versions", MODEL)["version"] == "pretrained"
    assert call(page, "rollBack", MODEL, "pretrained", "O'Brien") == {"version": "pretrained"}


def test_errors_say_what_happened_and_what_to_do(page: Page) -> None:
    status, text = refused(page, "info", base="http://127.0.0.1:1")
    assert status == 0
    assert text.startswith("The server does not answer. Check")
    status, text = refused(page, "frames", "1.2.3")
    assert status == 404
    assert "1.2.3" in text
    status, text = refused(page, "infer", "no_such_model", "1.2.3", {})
    assert status == 404
    assert "no_such_model" in text
    status, text = refused(page, "rollBack", MODEL, "v0099")
    assert status == 400
    assert "v0099" in text
    status, text = refused(page, "train", MODEL, {"max_epochs": "many"})
    assert status == 400
    assert "max_epochs" in text


def test_error_texts(page: Page) -> None:
    texts = page.evaluate("""async () => {
      const { errorText } = await import('/ohif/lesionloop/state/server.js');
      return [[401, 'x'], [409, 'Being changed'], [429, '++++++++++ Train Task is Already Running'],
        [429, 'Too many failed logins. Try again in 7 s.'], [422, ''], [500, 'Failed, id 12ab.'], [502, ''],
        [503, 'All busy', '1'], [503, 'All busy', '12'], [418, '']].map(args => errorText(...args));
    }""")
    assert "/login" in texts[0]
    assert texts[1] == "Being changed. Wait a moment, then try again."
    assert texts[2] == "This runs already. Wait until it has ended or stop it, then try again."
    assert texts[3] == "Too many failed logins. Try again in 7 s."
    assert "Reload the page" in texts[4]
    assert texts[5].startswith("Failed, id 12ab. Try again; if it happens again")
    assert "archive" in texts[6]
    assert texts[7:9] == [
        f"The server is busy: its queue is full. Try again in {wait}." for wait in ("1 second", "12 seconds")
    ]
    assert "418" in texts[9]


def test_a_server_with_tokens_knows_the_user(
    browser: Browser, phantoms: dict[str, Phantom], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLOOP_TOKEN", TOKEN)
    (tmp_path / "studies").mkdir()
    with serving(phantoms, tmp_path / "studies", tmp_path) as locked, opened(browser) as (page, _):
        page.goto(f"{locked.url}/login")
        page.get_by_label("Access token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{locked.url}/")
        open_blank(page, locked.url)
        assert call(page, "user") == "user"
        assert MODEL in call(page, "info")["models"]
        page.context.clear_cookies()
        status, text = refused(page, "info")
        assert status == 401
        assert "/login" in text


def test_a_call_can_be_given_up(page: Page, live: Live) -> None:
    name = page.evaluate(
        """async ([model, image]) => {
      const { Server } = await import('/ohif/lesionloop/state/server.js');
      const controller = new AbortController();
      const answer = new Server().infer(model, image, {}, { signal: controller.signal });
      controller.abort();
      return answer.catch(error => error.name);
    }""",
        [MODEL, live.images["phantom-b"]],
    )
    assert name == "AbortError"
    assert requests.get(f"{live.url}/health", timeout=10).ok
