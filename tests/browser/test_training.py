# SPDX-License-Identifier: Apache-2.0
"""A training as the panel reads it off /train/: progress, the end, and what went wrong."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page

from lib.trainers.progress import EpochReport

pytestmark = pytest.mark.e2e

MODEL = "mr_lesion_segmentation"
PARSE = """async tasks => {
  const { parseTraining } = await import('/ohif/lesionloop/state/training.js');
  return tasks.reduce((earlier, task) => parseTraining(task, earlier), null);
}"""
RECORD = {
    "version": "v0002",
    "created_at": "2024-01-01T00:00:00Z",
    "published": False,
    "reason": "not published: validation Dice 0.9559 against 0.9795 of the version in service, 2 validation studies",
    "sha256": "d5",
    "parent": "pretrained",
    "details": {"history": [{"loss": float("nan")}]},
}


def line(text: str, module: str = "lib.trainers.lesion:93") -> str:
    return f"[2026-11-21 11:48:51,493] [24927] [MainThread] [INFO] ({module}) - {text}"


def progress(epoch: int, loss: float = 0.5, dice: float | None = 0.9, eta_s: float = 30.0) -> str:
    report = EpochReport(epoch, 30, loss, "Dice", dice, 1e-4, 10.0, eta_s)
    return line("progress " + json.dumps({"model": MODEL, **report.to_json()}))


def task(status: str, *details: str, number: str = "a") -> dict[str, Any]:
    return {"id": number, "status": status, "request": {"model": MODEL}, "details": list(details)}


def parse(page: Page, *tasks: dict[str, Any] | None) -> Any:
    return page.evaluate(PARSE, list(tasks))


def test_nothing_was_trained_yet(module_page: Page) -> None:
    assert parse(module_page, None) is None


def test_what_it_does_before_the_first_epoch(module_page: Page) -> None:
    waiting = parse(module_page, {"id": "a", "status": "SUBMITTED", "request": {"model": MODEL}})
    assert (waiting["running"], waiting["phase"], waiting["progress"]) == (True, "Waiting for its turn.", None)
    lines = [line(f"{MODEL}: reading labelled studies"), line("20 studies read")]
    assert parse(module_page, task("RUNNING", *lines))["phase"] == "Reading the labelled studies: 20 read."
    lines += [line(f"{MODEL}: 8 training and 2 validation studies"), line(f"{MODEL}: starting from version pretrained")]
    assert parse(module_page, task("RUNNING", *lines[:3]))["phase"] == "8 to learn from, 2 to check with."
    assert parse(module_page, task("RUNNING", *lines))["phase"] == "Starting from version pretrained."


def test_all_epochs_are_kept_although_the_log_has_the_last_lines_only(module_page: Page) -> None:
    first = task("RUNNING", *[progress(i, loss=1 / i) for i in range(1, 11)])
    second = task("RUNNING", *[progress(i, loss=1 / i, eta_s=7.5) for i in range(8, 21)])
    state = parse(module_page, first, second)
    assert [point["epoch"] for point in state["history"]] == list(range(1, 21))
    assert (state["epoch"], state["epochs"], state["progress"]) == (20, 30, pytest.approx(2 / 3))
    assert (state["loss"], state["metric"], state["secondsLeft"]) == (pytest.approx(0.05), 0.9, 7.5)
    other = parse(module_page, first, task("RUNNING", progress(1), number="b"))
    assert [point["epoch"] for point in other["history"]] == [1], "another run begins anew"


def test_numbers_that_json_does_not_have(module_page: Page) -> None:
    state = parse(module_page, task("RUNNING", progress(1, loss=float("nan"), dice=None, eta_s=float("inf"))))
    assert (state["epoch"], state["loss"], state["metric"], state["secondsLeft"]) == (1, None, None, None)


def test_a_training_that_is_done_tells_of_its_version(module_page: Page) -> None:
    result = line("Result: " + json.dumps(RECORD), "__main__:61")
    state = parse(module_page, task("DONE", progress(30), result))
    assert (state["running"], state["status"], state["progress"], state["secondsLeft"]) == (False, "done", 1, None)
    assert (state["record"]["version"], state["record"]["published"]) == ("v0002", False)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (
            "lib.types.InputError: model 'm' cannot be trained: no study has a label with the tag 'final' yet",
            "Model 'm' cannot be trained: no study has a label with the tag 'final' yet.",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.", "The training ran out of memory. Choose a smaller batch size."),
        ("ValueError: odd", "The training failed: Odd. The server's log has more."),
        (
            "[2026-11-21 11:48:51,493] [2] [MainThread] [INFO] (x:1) - half way",
            "The training ended without a message, perhaps for lack of memory. The server's log has more.",
        ),
    ],
)
def test_why_a_training_failed(module_page: Page, last: str, words: str) -> None:
    trace = ["Traceback (most recent call last):", '  File "<frozen runpy>", line 88, in _run_code', last]
    state = parse(module_page, task("ERROR", progress(3), *trace))
    assert (state["error"], state["running"], state["epoch"]) == (words, False, 3)


def test_a_stopped_training_is_no_failure(module_page: Page) -> None:
    state = parse(module_page, task("STOPPED", progress(3)))
    assert (state["stopped"], state["error"], state["running"]) == (True, "", False)
