# SPDX-License-Identifier: Apache-2.0
"""The report model on a live server: two visits of a phantom patient, an untrained decoder, the checks behind it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import torch
from pydicom import dcmread

from lib.configs import load_config
from lib.phantom import head_visits, write_dicom
from lib.registry import build_network
from lib.trainers.report_writing import grammar_vocabulary
from lib.weights.versions import VersionStore
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR, CONFIGS_DIR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
MODEL, LESIONS = "report_brain_mr", "mr_lesion_segmentation"


@dataclass(frozen=True)
class Served:
    url: str
    images: list[str]

    def infer(self, number: int, **params: Any) -> requests.Response:
        query = {"image": self.images[number], "output": "json"}
        return requests.post(
            f"{self.url}/infer/{MODEL}", params=query, data={"params": json.dumps(params)}, timeout=250
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("drafts")
    stacks = head_visits(12, (0, 120), (1.0, 1.6), n_lesions=2, new_lesion=True)
    images = []
    for number, stack in enumerate(stacks):
        files = write_dicom(stack, folder / "studies" / str(number), patient_id="P1")
        images.append(str(dcmread(files[0]).SeriesInstanceUID))
    config = load_config(CONFIGS_DIR / f"{MODEL}.yaml")
    torch.manual_seed(0)
    facts = {"vocabulary": grammar_vocabulary(512).to_json()}
    store = VersionStore(folder / "model", config, folder)
    store.add(build_network(config).state_dict(), publish=True, reason="random", parent="", details=facts)
    conf = {"model_dir": str(folder / "model"), "store": "embedded", "models": f"{MODEL},{LESIONS}"}
    with start_server(APP_DIR, folder / "studies", conf, port=free_port(), log=folder / "server.log") as server:
        yield Served(server.url, images)


def test_a_draft_with_its_earlier_visit_is_stored_as_it_is(served: Served) -> None:
    about = requests.get(f"{served.url}/info/", timeout=60).json()["models"][MODEL]
    assert (about["type"], about["source"]) == ("report", LESIONS)
    answer = served.infer(1, indication="Known glioma; follow-up, side /left?", followup=True)
    assert answer.ok, answer.text
    params = answer.json()
    report = params["report"]
    assert report["prior_image"] == served.images[0]
    assert report["sections"]["comparison"][0]["text"] == "Compared with the examination 120 days earlier."
    assert report["sections"]["indication"][0]["text"] == "Known glioma; follow-up, side /left?"
    told = {
        fact["lesion"]: fact["change"]
        for sentence in report["sections"]["findings"]
        for fact in sentence["facts"]
        if fact.get("change") and fact.get("lesion")
    }
    growth = {one["id"]: one["growth"] for one in params["findings"]}
    measured = {n: g["since_previous"]["volume"]["change"] for n, g in growth.items() if g["since_previous"]}
    assert measured
    assert {number: told[number] for number in measured} == measured
    assert not [s for part in report["sections"].values() for s in part if s["support"] == "contradicted"]
    stored = requests.put(f"{served.url}/reports/{served.images[1]}", json=report, timeout=60)
    assert stored.ok, stored.text
    assert stored.json()["report"]["status"] == "draft"


def test_without_the_earlier_visit_nothing_is_compared(served: Served) -> None:
    report = served.infer(1).json()["report"]
    assert "comparison" not in report["sections"]
    assert not any("change" in fact for s in report["sections"]["findings"] for fact in s["facts"] if fact["present"])


@pytest.mark.parametrize(
    ("params", "named"),
    [({"visit": {"earlier": 1}}, "visit"), ({"indication": "x" * 20_001}, "indication"), ({"history": 3}, "history")],
)
def test_what_clients_may_not_send(served: Served, params: dict[str, Any], named: str) -> None:
    answer = served.infer(1, **params)
    assert answer.status_code == 400
    assert f"'{named}'" in answer.json()["detail"]


def test_nothing_to_train_on_is_said(served: Served) -> None:
    trainer = requests.get(f"{served.url}/info/", timeout=60).json()["trainers"][MODEL]
    assert trainer["config"]["max_epochs"] > 0


def check(served: Served, body: dict[str, Any]) -> requests.Response:
    return requests.post(f"{served.url}/reports/{served.images[1]}/check", json=body, timeout=60)


def test_words_of_a_person_are_compared_with_what_the_draft_was_written_of(served: Served) -> None:
    draft = served.infer(1, followup=True).json()
    evidence = {"model": MODEL, **{key: draft[key] for key in ("findings", "opinions", "earlier")}}
    told = [one for part in draft["report"]["sections"].values() for one in part if one["support"] == "supported"]
    texts = [one["text"] for one in told if one["finding_ids"]]
    wrong = ["There are 17 lesions.", "There is not no lesion.", "The lesion is a glioblastoma."]
    sentences = [{"text": one} for one in texts + wrong]
    answer = check(served, {**evidence, "sentences": sentences})
    assert answer.ok, answer.text
    said = answer.json()["sentences"]
    assert {one["support"] for one in said[: len(texts)]} == {"supported"}
    assert said[len(texts)]["support"] == "contradicted"
    assert "not 17" in said[len(texts)]["reason"]
    assert {one["support"] for one in said[len(texts) + 1 :]} <= {"contradicted", "unsupported"}
    alone = {**evidence, "earlier": None, "sentences": [{"text": "The lesion has grown."}]}
    [one] = check(served, alone).json()["sentences"]
    assert (one["support"], one["reason"]) == ("not_assessed", "no earlier examination was compared")


@pytest.mark.parametrize(
    ("change", "status", "named"),
    [
        ({"model": "nobody"}, 404, "nobody"),
        ({"model": LESIONS}, 400, "report model"),
        ({"findings": None}, 400, "findings"),
        ({"findings": [{"id": 1}]}, 400, "findings"),
        ({"sentences": [{"text": "x" * 2001}]}, 400, "2001 characters"),
        ({"sentences": [{"text": "x"}] * 101}, 400, "101 are too many"),
        ({"sentences": [{"words": "x"}]}, 400, "words"),
        ({"earlier": {"days": "soon"}}, 400, "earlier"),
        ({"opinions": {"lesion": "maybe"}}, 400, "opinions"),
        ({"image": "x"}, 400, "unknown key 'image'"),
    ],
)
def test_what_cannot_be_compared_is_said(served: Served, change: dict[str, Any], status: int, named: str) -> None:
    answer = check(served, {"model": MODEL, "findings": [], "opinions": {}, "sentences": [], **change})
    assert answer.status_code == status, answer.text
    assert named in answer.json()["detail"]
