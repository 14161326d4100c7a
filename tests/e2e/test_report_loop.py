# SPDX-License-Identifier: Apache-2.0
"""The report loop on a live server with the shipped weights: draft, correct, sign, train, and the next draft differs.

The clinician calls a lesion a "focus" and says nothing of millimetres; after training the model does too.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from lib.phantom import head_stack, write_nifti
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
MODEL, LESIONS = "report_brain_mr", "mr_lesion_segmentation"
SEEDS, HELD_OUT = (310, 311, 312), 313
TRAINING = {"max_epochs": 5, "steps_per_epoch": 40, "train_batch_size": 8, "learning_rate": 3e-3, "val_split": 0.34}
LIMIT_S = 400


@dataclass
class Loop:
    url: str

    def draft(self, image: str) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/infer/{MODEL}", params={"image": image, "output": "json"}, timeout=LIMIT_S)
        assert answer.ok, answer.text
        report: dict[str, Any] = answer.json()["report"]
        return report

    def put(self, image: str, report: dict[str, Any]) -> dict[str, Any]:
        answer = requests.put(f"{self.url}/reports/{image}", json=report, timeout=60)
        assert answer.ok, answer.text
        stored: dict[str, Any] = answer.json()["report"]
        return stored


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("reports")
    (folder / "studies").mkdir()
    for seed in (*SEEDS, HELD_OUT):
        stack = head_stack(seed, n_frames=12, size=128, spacing_mm=(1.88, 1.88, 9.0), n_lesions=1)
        write_nifti(stack, folder / "studies" / f"p{seed}.nii.gz")
    conf = {"model_dir": str(folder / "model"), "models": f"{MODEL},{LESIONS}"}
    with start_server(APP_DIR, folder / "studies", conf, port=free_port(), log=folder / "server.log") as server:
        yield Loop(server.url)


def lesions_told(report: dict[str, Any]) -> list[str]:
    """Texts of the findings that speak of a lesion."""
    return [one["text"] for one in report["sections"]["findings"] if one["finding_ids"]]


def corrected(report: dict[str, Any]) -> dict[str, Any]:
    """The report with its findings in the clinician's own words: a sentence for each lesion, with its side."""
    side = next(f["side"] for one in report["sections"]["findings"] for f in one["facts"] if f.get("side"))
    first, *others = report["sections"]["findings"]
    words = {**first, "text": f"Focus seen on the {side}.", "decision": "edited"}
    struck = [{**one, "decision": "struck"} for one in others]
    return {
        **report,
        "status": "corrected",
        "author": "Jane",
        "sections": {**report["sections"], "findings": [words, *struck]},
    }


def trained(loop: Loop) -> dict[str, Any]:
    """Train and wait for the end; the model's statistics."""
    answer = requests.post(f"{loop.url}/train/{MODEL}", json=TRAINING, timeout=60)
    assert answer.ok, answer.text
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        status = requests.get(f"{loop.url}/train/", timeout=60).json()
        if status["status"] in ("DONE", "ERROR", "STOPPED"):
            assert status["status"] == "DONE", status
            break
        time.sleep(1)
    stats: dict[str, Any] = requests.get(f"{loop.url}/info/", timeout=60).json()["train_stats"][MODEL]
    return stats


def test_a_corrected_report_changes_the_next_draft(loop: Loop) -> None:
    before = loop.draft(f"p{HELD_OUT}")
    assert lesions_told(before)
    assert "focus" not in " ".join(lesions_told(before)).lower()
    for seed in SEEDS:
        image = f"p{seed}"
        draft = loop.put(image, loop.draft(image))
        assert draft["status"] == "draft"
        stored = loop.put(image, {**corrected(draft), "version": draft["version"]})
        signed = requests.post(
            f"{loop.url}/reports/{image}/sign", json={"name": "Jane", "version": stored["version"]}, timeout=60
        )
        assert signed.ok, signed.text
        assert signed.json()["report"]["status"] == "signed"
    record = trained(loop)["last_training"]
    assert record["published"], record["reason"]
    after = loop.draft(f"p{HELD_OUT}")
    assert after["model_version"] != before["model_version"]
    assert "focus" in " ".join(lesions_told(after)).lower(), after
    assert not [one for part in after["sections"].values() for one in part if one["support"] == "contradicted"]
