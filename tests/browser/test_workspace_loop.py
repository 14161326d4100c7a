# SPDX-License-Identifier: Apache-2.0
"""What else the panel does on a real server: moving around, long work, two visits, training."""

import pytest
import requests
from playwright.sync_api import Page

from tests.browser.conftest import Live
from tests.browser.desk import begin, desk, do, tolerant

__all__ = ["desk", "tolerant"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SEGMENTATION = "mr_lesion_segmentation"


def test_models_that_do_not_fit_say_why(desk: Page) -> None:
    told = do(
        desk,
        """
      await openPhantom('phantom-a__visit1', 'XA');
      const models = workspace.models;
      await workspace.findLesions();
      return { models, notice: workspace.notice };
    """,
    )
    reasons = {model["name"]: model["reason"] for model in told["models"]}
    assert reasons["mr_lesion_segmentation"] == "It reads MR images; this one is XA."
    assert all(reason.endswith("images; this one is XA.") for reason in reasons.values())
    assert "No model" in told["notice"]["text"]


def test_a_model_of_several_series_needs_a_study_that_has_them(desk: Page) -> None:
    told = do(
        desk,
        """
      const three = () => workspace.models.find(({ name }) => name === 'mr_three_channel_segmentation');
      await openPhantom('phantom-a__visit1');
      const alone = three();
      await openPhantom('phantom-a__visit2', 'MR', 3);
      return { alone, together: three() };
    """,
    )
    assert told["alone"]["reason"] == "It reads t1 and flair of one study; this one has 1 series of MR."
    assert told["together"]["fits"]


def test_errors_become_notices(tolerant: Page) -> None:
    notice = do(
        tolerant,
        """
      viewer.open({ id: '1.2.3', studyUid: '1.2', viewportId: 'v', modality: 'MR', description: '', date: '' });
      await until(() => workspace.notice);
      const missing = workspace.notice;
      const failed = await workspace.perform('Breaking', async () => { throw new TypeError('odd'); });
      return { missing, failed: failed ?? null, odd: workspace.notice, busy: workspace.busy };
    """,
    )
    assert notice["missing"]["kind"] == "error"
    assert "1.2.3" in notice["missing"]["text"]
    assert (notice["failed"], notice["busy"]) == (None, None)
    assert "odd" in notice["odd"]["text"]


def test_long_work_can_be_cancelled_and_runs_once_at_a_time(desk: Page) -> None:
    result = do(
        desk,
        """
      await openPhantom('phantom-b');
      const before = workspace.session.lesions.length;
      const running = workspace.findLesions();
      const { title, startedAt } = workspace.busy;
      await workspace.findLesions();
      const twice = workspace.notice;
      workspace.busy.cancel();
      await running;
      return { title, started: Number.isFinite(startedAt), twice, after: workspace.notice, busy: workspace.busy,
        same: workspace.session.lesions.length === before };
    """,
    )
    assert (result["title"], result["started"]) == ("Finding lesions", True)
    assert result["twice"]["kind"] == "warning"
    assert result["after"] == {"kind": "info", "text": "Cancelled."}
    assert result["busy"] is None
    assert result["same"]


def test_an_answer_goes_to_the_image_it_was_asked_for(desk: Page, live: Live) -> None:
    result = do(
        desk,
        """
      await openPhantom('phantom-a__visit2');
      const first = workspace.session, count = first.lesions.length;
      const running = workspace.findLesions();
      viewer.open({ ...viewer.image, id: images['phantom-b'].id });
      await until(() => workspace.session?.imageId === images['phantom-b'].id);
      const other = workspace.session.lesions.length;
      await running;
      const shownMeanwhile = viewer.image.id, after = workspace.session.lesions.length;
      const grown = first.lesions.length > count;
      viewer.open({ ...viewer.image, id: first.imageId });
      await until(() => workspace.session === first);
      const boxes = viewer.boxes.get(first.imageId).length;
      return { other, after, grown, shownMeanwhile, boxes, lesions: first.lesions.length };
    """,
    )
    assert result["other"] == result["after"]
    assert result["grown"]
    assert result["shownMeanwhile"] == live.images["phantom-b"]
    assert result["boxes"] == result["lesions"]


def test_walking_through_the_findings(desk: Page) -> None:
    result = do(
        desk,
        """
      await openPhantom('phantom-a__visit2');
      await workspace.findLesions();
      const { session } = workspace;
      session.reject(session.order().at(-1));
      const keys = session.order().filter(key => session.lesion(key).status !== 'deleted');
      const visited = [];
      for (const step of [1, 1, 1, -1]) { await workspace.selectNext(step); visited.push(session.selected); }
      const [imageId, frame] = viewer.jumps.at(-1);
      viewer.scroll(session.frameRef(7));
      const { index } = workspace.frame;
      workspace.startDrawing();
      await workspace.showFrame(5);
      return { keys, visited, imageId, at: session.frameIndexOf(frame), lit: viewer.highlighted.get(imageId), index,
        drawing: viewer.drawing, last: session.frameIndexOf(viewer.jumps.at(-1)[1]), id: session.imageId,
        boxes: [...session.lesion(session.selected).boxes.keys()], changes: [...new Set(changes)] };
    """,
    )
    keys, count = result["keys"], len(result["keys"])
    assert result["visited"] == [keys[i % count] for i in (0, 1, 2, 1)]
    assert result["imageId"] == result["id"]
    assert result["at"] in result["boxes"]
    assert result["lit"] == result["visited"][-1]
    assert (result["index"], result["drawing"], result["last"]) == (7, 1, 5)
    assert {"image", "session", "selection", "frame", "info", "busy"} <= set(result["changes"])


def test_numbers_of_frames_are_those_of_the_viewport(desk: Page) -> None:
    shown = do(
        desk,
        """
      await openPhantom('phantom-b');
      const order = workspace.session.frameRefs().reverse();
      viewer.open({ ...viewer.image }, order);
      await until(() => workspace.session);
      return [workspace.shownFrame(0), workspace.shownFrame(23)];
    """,
    )
    assert shown == [24, 1]


def test_the_next_image_asks_before_unsaved_work_is_left(module_page: Page, live: Live) -> None:
    begin(module_page, live, "", "leave")
    result = do(
        module_page,
        """
      await openPhantom('phantom-b');
      const { session } = workspace;
      viewer.box({ key: null, kind: 'drawn', frame: session.frameRef(2), box: [10, 10, 30, 30], assign: () => {} });
      await workspace.nextImage('random');
      const stayed = viewer.opened.length;
      await workspace.nextImage('first');
      return { stayed, opened: viewer.opened, questions, dirty: workspace.dirty, notice: workspace.notice };
    """,
    )
    assert result["stayed"] == 0
    assert len(result["questions"]) == 2
    assert result["dirty"]
    studies = {phantom.image: phantom.study for phantom in live.phantoms.values()}
    if result["opened"]:
        assert [studies[one["imageId"]] for one in result["opened"]] == [one["studyUid"] for one in result["opened"]]
    else:
        assert "Every image" in result["notice"]["text"]


def test_comparing_two_visits(desk: Page, live: Live) -> None:
    result = do(
        desk,
        """
      await openPhantom('phantom-a__visit2');
      await until(() => workspace.visits);
      const [earlier] = workspace.visits;
      await workspace.compareWith(earlier);
      const { pair, session } = workspace;
      const grown = session.lesions.filter(({ growth }) => growth);
      const sides = [images['phantom-a__visit1'].id, session.imageId].map(id => viewer.boxes.get(id));
      await workspace.select(grown[0].key);
      const jumped = new Set(viewer.jumps.slice(-2).map(([id]) => id));
      await workspace.selectPair(pair.pairs[0]);
      const chosen = pair.pairs.indexOf(workspace.selectedPair);
      await workspace.selectPair(pair.pairs.find(one => one.elsewhere_frame !== null));
      const jumpedForLone = new Set(viewer.jumps.slice(-2).map(([id]) => id)).size;
      const { key } = grown[0], [index] = session.lesion(key).boxes.keys(), frame = session.frameRef(index);
      viewer.box({ key, kind: 'changed', frame, box: [60, 60, 80, 80] });
      const moved = viewer.boxes.get(session.imageId).find(set => set.key === key);
      const isThere = moved.boxes.some(one => one.frame.sopUid === frame.sopUid && one.box[0] === 60);
      workspace.dismissNotice();
      const other = images['phantom-a__visit1'].id, still = JSON.stringify(viewer.boxes.get(other));
      viewer.box({ imageId: other, key, kind: 'changed', frame: { sopUid: pair.baseline.sop_instance_uids[0],
        frameNumber: 1 }, box: [60, 60, 80, 80] });
      const refused = workspace.notice?.kind === 'warning' && still === JSON.stringify(viewer.boxes.get(other));
      await workspace.endCompare();
      return { visits: workspace.visits, pair: Boolean(pair), pairs: viewer.pairs, sides, chosen, jumpedForLone,
        moved: moved.style, isThere, refused,
        grown: grown.map(({ growth }) => growth), jumped: jumped.size, after: workspace.pair, singles: viewer.singles,
        own: viewer.boxes.get(session.imageId),
        gone: viewer.boxes.has(images['phantom-a__visit1'].id), notice: workspace.notice };
    """,
    )
    assert [visit["current"] for visit in result["visits"]] == [False, True]
    assert result["pair"], result["notice"]
    first, second = (live.phantoms[f"phantom-a__visit{i}"] for i in (1, 2))
    assert [(p["studyUid"], p["imageId"]) for p in result["pairs"][0]] == [
        (first.study, first.image),
        (second.study, second.image),
    ]
    assert result["grown"]
    assert {growth["days"] for growth in result["grown"]} == {120}
    baseline, followup = result["sides"]
    assert {box["style"] for box in baseline} == {"linked"}
    assert "linked" in {box["style"] for box in followup}
    assert {box["key"] for box in baseline} & {box["key"] for box in followup}, "a linked lesion has one key"
    assert result["jumped"] == 2, "both sides go to the lesion"
    assert result["chosen"] == 0
    assert result["jumpedForLone"] == 2, "a lesion of one visit is looked for at the other"
    assert (result["moved"], result["isThere"]) == ("linked", True), "the later visit can be corrected meanwhile"
    assert result["refused"], "the earlier one is there to compare with"
    assert result["after"] is None
    assert result["singles"] == [second.image]
    assert {box["style"] for box in result["own"]} <= {"accepted", "proposed"}


@pytest.mark.slow
def test_training_from_start_to_end(desk: Page, live: Live) -> None:
    result = do(
        desk,
        """
      for (const name of ['phantom-a__visit1', 'phantom-b']) {
        await openPhantom(name);
        await workspace.run('mr_lesion_segmentation');
        await workspace.submit({ unreviewed: 'accept' });
      }
      await workspace.train('mr_lesion_segmentation', { max_epochs: 2, steps_per_epoch: 2 });
      const running = workspace.training.running;
      await workspace.train('mr_lesion_detection');
      const twice = workspace.notice;
      const record = () => workspace.info.train_stats.mr_lesion_segmentation.last_training;
      await until(() => !workspace.training.running && record(), 400000);
      await until(() => !workspace.notice.text.includes('is running'), 10000);
      return { running, twice, last: workspace.training, notice: workspace.notice,
        remembered: localStorage.getItem('lesionloop.training') };
    """,
    )
    assert result["running"]
    assert result["twice"]["kind"] == "warning"
    last = result["last"]
    assert (last["status"], last["epoch"], last["epochs"], last["progress"]) == ("done", 2, 2, 1)
    assert [point["epoch"] for point in last["history"]] == [1, 2]
    assert last["loss"] > 0
    assert last["record"]["version"] == "v0001"
    assert "v0001" in result["notice"]["text"]
    assert "validation Dice" in result["notice"]["text"]
    assert result["remembered"] is None
    versions = requests.get(f"{live.url}/versions/{SEGMENTATION}", timeout=30).json()["versions"]
    assert versions == ["pretrained", "v0001"]


@pytest.mark.slow
def test_stopping_a_training_and_going_back(desk: Page, live: Live) -> None:
    result = do(
        desk,
        """
      await workspace.train('mr_lesion_segmentation', { max_epochs: 500, steps_per_epoch: 50 });
      await until(() => workspace.training.status === 'running');
      await workspace.stopTraining();
      await until(() => !workspace.training.running);
      await until(() => workspace.notice?.text.includes('stopped'));
      const stopped = workspace.notice;
      await workspace.rollBack('mr_lesion_segmentation', 'v0001');
      const there = workspace.models.find(({ type }) => type === 'segmentation').version;
      await workspace.rollBack('mr_lesion_segmentation');
      return { stopped, there, back: workspace.info.models.mr_lesion_segmentation.version, notice: workspace.notice };
    """,
    )
    assert result["stopped"]["kind"] == "info"
    assert (result["there"], result["back"]) == ("v0001", "pretrained")
    assert result["notice"]["text"] == f"{SEGMENTATION} now uses pretrained."


def test_a_name_is_kept_for_the_next_time(desk: Page, live: Live) -> None:
    do(desk, "workspace.setUser('Dr Test');")
    desk.goto(f"{live.url}/blank")
    begin(desk, live)
    assert do(desk, "return [workspace.user, workspace.loggedIn];") == ["Dr Test", False]
