# SPDX-License-Identifier: Apache-2.0
"""The loop and the list of models in a real browser: every state, the questions they ask, and a real roll-back."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from lib.configs import load_configs
from lib.registry import build_network
from lib.weights.versions import VersionStore
from monailabel_app.roots import CONFIGS_DIR, PRETRAINED_DIR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MODEL = "mr_lesion_segmentation"
PANEL_WIDTH = 280
SHOW = """async ({ state, width }) => {
  await import('/ohif/lesionloop/elements/loop-view.js');
  await import('/ohif/lesionloop/elements/models-view.js');
  const { Server } = await import('/ohif/lesionloop/state/server.js');
  const server = new Server();
  const info = await server.info();
  const models = Object.entries(info.models).map(([name, { type, description, version }]) =>
    ({ name, type, description, version, fits: type === 'segmentation', reason: 'This image is CT.' }));
  const workspace = Object.assign(new EventTarget(),
    { info, models, image: { id: '1' }, session: null, busy: null, training: null, calls: [] }, state);
  for (const name of ['run', 'nextImage', 'train', 'stopTraining']) {
    workspace[name] = (...given) => workspace.calls.push([name, ...given]);
  }
  workspace.change = (what, next) => {
    Object.assign(workspace, next);
    workspace.dispatchEvent(new CustomEvent('change', { detail: { what } }));
  };
  workspace.rollBack = async (model, version) => {
    workspace.calls.push(['rollBack', model, version]);
    await server.rollBack(model, version);
    workspace.change('info', { info: await server.info() });
  };
  const main = document.querySelector('main');
  main.className = 'll-root';
  Object.assign(main.style, { width: `${width}px`, height: 'auto' });
  main.replaceChildren(document.createElement('h1'), ...['lesionloop-models', 'lesionloop-loop'].map(name =>
    Object.assign(document.createElement(name), { workspace })));
  main.firstChild.textContent = 'Loop';
  window.workspace = workspace;
}"""
RUNNING = {
    "id": "1",
    "model": MODEL,
    "status": "running",
    "running": True,
    "stopped": False,
    "error": "",
    "phase": "Training.",
    "epoch": 2,
    "epochs": 8,
    "loss": 0.4,
    "metric": 0.62,
    "metricName": "Dice",
    "progress": 0.25,
    "secondsLeft": 75,
    "history": [{"epoch": 1, "loss": 0.9, "metric": 0.5}, {"epoch": 2, "loss": 0.4, "metric": 0.62}],
    "record": None,
    "log": ["epoch 2/8, loss 0.4"],
}
ENDED = {**RUNNING, "running": False, "secondsLeft": None}
REASON = "validation Dice 0.8112 against 0.7812 of the version in service, 3 validation studies"

Show = Callable[..., Page]


@pytest.fixture
def show(module_page: Page) -> Show:
    """Show both elements as wide as OHIF's panel, with the server's own /info/ and what a test sets beside it."""

    def shown(**state: object) -> Page:
        module_page.evaluate(SHOW, {"state": state, "width": PANEL_WIDTH})
        return module_page

    return shown


@pytest.fixture(scope="module")
def versions(live) -> VersionStore:
    """The version store of the running server, with two versions; the second one is in service."""
    config = load_configs(CONFIGS_DIR)[MODEL]
    store = VersionStore(Path(live.folder) / "model", config, PRETRAINED_DIR)
    state = build_network(config).state_dict()
    for number in (1, 2):
        store.add(state, publish=True, reason=f"published: {REASON}", parent="pretrained", details={"run": number})
    return store


def calls(page: Page) -> list[list[object]]:
    return page.evaluate("() => window.workspace.calls")


def change(page: Page, what: str, **state: object) -> None:
    page.evaluate("([what, state]) => window.workspace.change(what, state)", [what, state])


def test_labelled_images_and_the_next_one(show: Show) -> None:
    page = show()
    expect(page.get_by_test_id("labelled-count")).to_have_text("0 of 3 images labelled")
    page.get_by_label("Which image next").select_option("first")
    expect(page.locator("lesionloop-loop")).to_contain_text("in the order of the ids")
    page.get_by_test_id("next-image").click()
    assert calls(page) == [["nextImage", "first"]]
    expect(page.get_by_test_id("train")).to_be_disabled()
    expect(page.locator("lesionloop-loop")).to_contain_text("submit at least one image with a mask")
    labelled(page, 3)
    expect(page.get_by_test_id("labelled-count")).to_have_text("3 of 3 images labelled. Nothing is left to label.")
    expect(page.get_by_test_id("next-image")).to_be_disabled()


def labelled(page: Page, count: int) -> None:
    """As if this many images had a mask."""
    page.evaluate(
        """count => window.workspace.change('info', { info: { ...window.workspace.info,
          datastore: { ...window.workspace.info.datastore, completed: count } } })""",
        count,
    )


def test_training_starts_with_the_models_own_settings_or_others(show: Show) -> None:
    page = show()
    labelled(page, 2)
    settings = page.evaluate("model => window.workspace.info.trainers[model].config", "mr_lesion_detection")
    page.get_by_label("Model to train").select_option("mr_lesion_detection")
    expect(page.get_by_label("Epochs")).to_have_value(str(settings["max_epochs"]))
    page.get_by_test_id("train").click()
    page.get_by_label("Epochs").fill("3")
    page.get_by_label("Steps per epoch").fill("0")
    page.get_by_test_id("train").click()  # the browser says what is wrong
    page.get_by_label("Steps per epoch").fill("2")
    page.get_by_test_id("train").click()
    own = {"max_epochs": settings["max_epochs"], "steps_per_epoch": settings["steps_per_epoch"]}
    changed = {"max_epochs": 3, "steps_per_epoch": 2}
    assert calls(page) == [["train", "mr_lesion_detection", own], ["train", "mr_lesion_detection", changed]]


def test_the_model_to_train_is_one_that_fits_the_image_until_someone_chooses(show: Show) -> None:
    page = show()
    model = page.get_by_label("Model to train")
    expect(model).to_have_value(MODEL)  # the first in the alphabet that outlines, as `fits` says above
    every = page.evaluate("Object.keys(window.workspace.info.trainers)")
    assert sorted(model.locator("option").all_inner_texts()) == sorted(every)
    other = """fits => window.workspace.change('image', { models: window.workspace.models.map(model =>
      ({ ...model, fits: fits.includes(model.name) })) })"""
    page.evaluate(other, ["mr_lesion_detection"])
    expect(model).to_have_value("mr_lesion_detection")
    model.select_option(MODEL)
    page.evaluate(other, ["mr_lesion_detection"])
    expect(model).to_have_value(MODEL)


def test_a_training_is_followed_to_its_end(show: Show) -> None:
    page = show()
    labelled(page, 2)
    progress = page.get_by_test_id("training-progress")
    expect(progress).to_be_hidden()
    waiting = {**RUNNING, "status": "waiting", "phase": "Waiting for its turn.", "epoch": 0, "history": [], "log": []}
    change(page, "training", training=waiting)
    expect(progress).to_contain_text("Waiting for its turn.")
    change(page, "training", training=RUNNING)
    expect(progress).to_contain_text("epoch 2 of 8")
    expect(progress).to_contain_text("Loss 0.400")
    expect(progress).to_contain_text("Validation Dice 0.620")
    expect(progress).to_contain_text("About 1 min 15 s left")
    expect(progress.get_by_role("progressbar")).to_have_attribute("value", "0.25")
    words = "By epoch: loss from 0.900 to 0.400, validation Dice from 0.500 to 0.620"
    expect(progress.get_by_role("img", name=words)).to_be_visible()
    progress.get_by_text("Log").click()
    expect(progress.get_by_text("epoch 2/8, loss 0.4")).to_be_visible()
    expect(page.get_by_test_id("train")).to_be_disabled()
    page.get_by_test_id("stop-training").click()
    assert calls(page) == [["stopTraining"]]
    record = {"version": "v0003", "published": False, "reason": f"not published: {REASON}"}
    change(page, "training", training={**ENDED, "status": "done", "progress": 1, "record": record})
    expect(progress).to_contain_text(f"Not published (kept as v0003): {REASON}")
    expect(page.get_by_test_id("stop-training")).to_be_hidden()
    expect(page.get_by_test_id("train")).to_be_enabled()
    change(page, "training", training={**ENDED, "status": "failed", "error": "Label a second patient."})
    expect(progress.get_by_role("alert")).to_have_text("Label a second patient.")


def test_the_curves_stay_inside_the_chart(show: Show) -> None:
    page = show(training={**RUNNING, "history": [{"epoch": n, "loss": 9 / n, "metric": None} for n in range(1, 9)]})
    points = page.locator("polyline.ll-loss").get_attribute("points")
    pairs = [tuple(map(float, point.split(","))) for point in points.split(" ")]
    assert all(0 <= x <= 240 and 0 <= y <= 80 for x, y in pairs)
    assert [x for x, _ in pairs] == sorted(x for x, _ in pairs)
    assert page.locator("polyline.ll-metric").get_attribute("points") == ""
    expect(page.get_by_test_id("training-progress")).to_contain_text("Validation Dice 0.620")


def test_versions_go_back_and_forward_after_a_question(show: Show, versions: VersionStore) -> None:
    page = show()
    version = page.locator(f'[data-testid="version"][data-model="{MODEL}"]')
    expect(version).to_have_text("v0002 in service")
    last = page.locator(f'[data-testid="last-training"][data-model="{MODEL}"]')
    expect(last).to_contain_text(f"Published as v0002: {REASON}")
    back = page.locator(f'[data-testid="roll-back"][data-model="{MODEL}"]')
    back.click()
    page.keyboard.press("Escape")
    assert calls(page) == []
    expect(back).to_be_focused()
    back.click()
    expect(page.get_by_test_id("choices")).to_contain_text("Nothing is deleted: v0002 can be put back")
    page.get_by_role("button", name="Go back").click()
    expect(version).to_have_text("v0001 in service")
    assert versions.current()[1] == "v0001"
    page.locator(f'[data-testid="other-version"][data-model="{MODEL}"]').select_option("pretrained")
    page.get_by_role("button", name=f"Use this version of {MODEL}").click()
    page.get_by_role("button", name="Use pretrained").click()
    expect(version).to_have_text("pretrained in service")
    expect(back).to_be_hidden()
    assert versions.current()[1] == "pretrained"
    assert calls(page) == [["rollBack", MODEL, None], ["rollBack", MODEL, "pretrained"]]
    expect(page.locator('[data-testid="roll-back"][data-model="mr_lesion_detection"]')).to_be_hidden()


def test_models_that_fit_can_be_run_and_all_have_a_card(show: Show) -> None:
    page = show()
    rows = page.get_by_test_id("models").get_by_role("listitem")
    expect(rows).to_have_count(page.evaluate("Object.keys(window.workspace.info.models).length"))
    fits, other = rows.filter(has_text=MODEL), rows.filter(has_text="mr_lesion_detection")
    expect(other).to_contain_text("Does not fit: This image is CT.")
    expect(other.get_by_test_id("run-model")).to_be_hidden()
    fits.get_by_test_id("run-model").click()
    assert calls(page) == [["run", MODEL]]
    change(page, "busy", busy={"title": "Finding lesions"})
    expect(fits.get_by_test_id("run-model")).to_be_disabled()
    link = fits.get_by_test_id("model-card")
    assert link.get_attribute("rel") == "noopener"
    with page.context.expect_page() as opened:
        link.click()
    expect(opened.value.get_by_role("heading", level=1)).to_have_text(MODEL)
    expect(opened.value.get_by_role("heading", name="In service")).to_be_visible()
    assert Axe().run(opened.value).violations_count == 0


STATES = {
    "idle": {},
    "nothing known": {"info": None, "models": [], "image": None},
    "training": {"training": RUNNING},
    "busy": {"busy": {"title": "Finding lesions"}, "training": {**ENDED, "status": "stopped", "phase": "Stopped."}},
    "failed": {"training": {**ENDED, "status": "failed", "error": "The training ran out of memory."}},
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_state_fits_the_panel_and_passes_axe(show: Show, versions: VersionStore, state: dict) -> None:
    page = show(**state)
    overflow = page.evaluate("() => document.querySelector('main').scrollWidth")
    assert overflow <= PANEL_WIDTH
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert not re.search(r"undefined|null|NaN|\[object", page.locator("main").inner_text())
