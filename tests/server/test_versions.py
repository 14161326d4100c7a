# SPDX-License-Identifier: Apache-2.0
"""The loop's routes on a live server with the real models: next image, a real training, versions and the model card."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests
from pydicom import dcmread
from typer.testing import CliRunner

from lib.phantom import head_stack, write_dicom, write_nifti
from monailabel_app.cli import app
from monailabel_app.process import Server, free_port, start_server
from monailabel_app.roots import APP_DIR
from monailabel_app.serving.cards import to_html

pytestmark = pytest.mark.timeout(300)

MODEL = "mr_lesion_segmentation"
SEEDS = (310, 311, 312)
TRAINING = {"max_epochs": 1, "steps_per_epoch": 2, "val_split": 0.4, "seed": 7}
ANNA, BEN = "a-token-for-tests-0123456789", "b-token-for-tests-0123456789"


@dataclass
class Loop:
    """A live server on an embedded store with a patient for each seed."""

    server: Server
    folder: Path
    headers: dict[int, tuple[str, str]]

    def ask(self, method: str, path: str, body: object = None, token: str = ANNA) -> requests.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, f"{self.server.url}{path}", json=body, headers=headers, timeout=120)

    def next_image(self) -> dict:
        answer = self.ask("POST", "/activelearning/first", {})
        assert answer.ok, answer.text
        return answer.json()

    def save(self, image: str, tag: str, name: str, content: bytes, **params: object) -> None:
        answer = requests.put(
            f"{self.server.url}/datastore/label",
            params={"image": image, "tag": tag},
            files={"label": (name, content)},
            data={"params": json.dumps(params)},
            headers={"authorization": f"Bearer {ANNA}"},
            timeout=120,
        )
        assert answer.ok, answer.text

    def versions(self) -> dict:
        return self.ask("GET", f"/versions/{MODEL}").json()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder, headers = tmp_path_factory.mktemp("versions"), {}
    for seed in SEEDS:
        stack = head_stack(seed, n_frames=12, size=128, spacing_mm=(1.88, 1.88, 9.0), n_lesions=1)
        write_nifti(stack, folder / f"{seed}.nii.gz", folder / f"truth-{seed}.nii.gz")
        files = write_dicom(stack, folder / "studies" / str(seed), patient_id=f"P{seed}")
        header = dcmread(files[0], stop_before_pixels=True)
        headers[seed] = (str(header.SeriesInstanceUID), str(header.StudyInstanceUID))
    (folder / "tokens").write_text(f"anna:{ANNA}\nben:{BEN}\n")
    conf = {"model_dir": str(folder / "model"), "store": "embedded"}
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:  # for this server only
            patch.setenv("LESIONLOOP_TOKENS_FILE", str(folder / "tokens"))
            patch.setenv("OMP_NUM_THREADS", "1")
            start = start_server(APP_DIR, folder / "studies", conf, port=free_port(), log=folder / "log")
            server = running.enter_context(start)
        yield Loop(server, folder, headers)


@pytest.fixture(scope="module")
def trained(loop: Loop) -> dict:
    """Label every image as the next image says, then train for a moment; the record of the new version."""
    seeds = {image: seed for seed, (image, _) in loop.headers.items()}
    for done in range(len(SEEDS)):
        sample = loop.next_image()
        seed = seeds.pop(sample["id"])  # fails when a labelled image is offered again
        assert sample["study_instance_uid"] == loop.headers[seed][1]
        assert sample["patient"] == f"P{seed}"
        assert Path(sample["path"]).name == f"{sample['id']}.nii.gz"
        assert loop.ask("GET", "/info/").json()["datastore"]["completed"] == done
        loop.save(sample["id"], "final", "mask.nii.gz", (loop.folder / f"truth-{seed}.nii.gz").read_bytes())
    assert loop.next_image() == {}
    assert loop.ask("POST", f"/train/{MODEL}", TRAINING).ok
    end = time.monotonic() + 240
    while (status := loop.ask("GET", "/train/").json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < end, status
        time.sleep(0.5)
    assert status["status"] == "DONE", status
    return loop.versions()["records"][-1]


def test_boxes_that_a_person_saved_count_and_those_of_a_model_do_not(loop: Loop) -> None:
    first = loop.next_image()["id"]
    boxes = json.dumps({"findings": []}).encode()
    answer = loop.ask("POST", f"/infer/mr_lesion_detection?image={first}&output=json")
    assert answer.ok, answer.text
    params = {"save_label": True, "label_tag": "boxes"}
    batch = loop.ask("POST", "/batch/infer/mr_lesion_detection?images=unlabeled", params)
    assert batch.ok, batch.text
    end = time.monotonic() + 120
    while loop.ask("GET", "/batch/infer").json()["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < end
        time.sleep(0.5)
    assert set(loop.ask("GET", "/info/").json()["datastore"]["labelled"]["boxes"]) == {
        image for image, _ in loop.headers.values()
    }
    assert loop.next_image()["id"] == first
    loop.save(first, "boxes", "boxes.json", boxes)
    assert loop.next_image()["id"] != first
    loop.ask("DELETE", f"/datastore/label?id={first}&tag=boxes")
    assert loop.next_image()["id"] == first


def test_a_training_is_recorded_with_its_settings(loop: Loop, trained: dict) -> None:
    assert trained["version"] == "v0001"
    assert trained["parent"] == "pretrained"
    details = trained["details"]
    assert details["settings"]["seed"] == 7
    assert details["settings"]["steps_per_epoch"] == 2
    images = {image for image, _ in loop.headers.values()}
    assert {*details["train"], *details["val"]} == images
    assert loop.versions()["versions"] == ["pretrained", "v0001"]


def test_versions_go_there_and_back(loop: Loop, trained: dict) -> None:
    """By REST under one's own name and by the command line; the next inference uses the version."""
    before = len(loop.versions()["changes"])
    assert loop.ask("POST", f"/versions/{MODEL}", {"version": "v0001", "user": "eve"}).json() == {"version": "v0001"}
    assert in_use(loop) == "v0001"
    assert loop.ask("POST", f"/versions/{MODEL}", token=BEN).json() == {"version": "pretrained"}
    assert in_use(loop) == "pretrained"
    answer = loop.ask("POST", f"/versions/{MODEL}", {"version": "pretrained", "user": "Dr O'Neill"}, token=BEN)
    assert answer.json() == {"version": "pretrained"}
    changes = loop.versions()["changes"][before:]
    made = [(change["version"], change["by"]) for change in changes]
    assert made == [("v0001", "anna"), ("pretrained", "ben"), ("pretrained", "ben")]
    assert all(change["at"].endswith("Z") for change in changes)
    arguments = ["rollback", MODEL, "--to", "v0001", "--model-dir", str(loop.folder / "model")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert loop.versions()["version"] == in_use(loop) == "v0001"


def in_use(loop: Loop) -> str:
    answer = loop.ask("POST", f"/infer/{MODEL}?image={loop.headers[SEEDS[0]][0]}&output=json")
    assert answer.ok, answer.text
    return str(answer.json()["version"])


def test_a_list_without_the_weights_in_service_still_helps_to_repair_it(loop: Loop, trained: dict) -> None:
    loop.ask("POST", f"/versions/{MODEL}", {"version": "v0001"})
    weights = loop.folder / "model" / MODEL / "v0001.safetensors"
    weights.rename(weights.with_suffix(".away"))
    try:
        listed = loop.versions()
        assert (listed["version"], listed["versions"]) == ("v0001", ["pretrained"])
        assert loop.ask("POST", f"/versions/{MODEL}").json() == {"version": "pretrained"}
    finally:
        weights.with_suffix(".away").rename(weights)
    assert in_use(loop) == "pretrained"


@pytest.mark.parametrize(
    ("model", "body", "status", "words"),
    [
        (MODEL, {"version": "v0099"}, 400, "no version 'v0099'; known: pretrained"),
        (MODEL, {"version": "../../etc/passwd"}, 400, "does not accept"),
        (MODEL, {"version": 3}, 400, "does not accept"),
        (MODEL, {"weights": "v0001"}, 400, "Allowed are: client_id, user, version"),
        ("mr_lesion_detection", {}, 400, "no version before 'pretrained'"),
        ("nobody", {}, 404, "no model 'nobody'"),
    ],
)
def test_refusals_say_why(loop: Loop, model: str, body: dict, status: int, words: str) -> None:
    answer = loop.ask("POST", f"/versions/{model}", body)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert loop.ask("POST", f"/versions/{model}", body, token="").status_code == 401


def test_other_apps_keep_no_versions(live) -> None:
    for path in ("/versions/sleep", "/model/card/sleep"):
        answer = requests.get(f"{live.url}{path}", timeout=20)
        assert answer.status_code == 404
        assert "keeps no versions" in answer.json()["detail"]


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_card_shows_what_ships_and_what_is_in_service(loop: Loop, trained: dict) -> None:
    loop.ask("POST", f"/versions/{MODEL}", {"version": "v0001"})
    answer = loop.ask("GET", f"/model/card/{MODEL}")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in answer.headers["content-security-policy"]
    page = Page(answer.text)
    assert not page.all("script")
    assert not page.all("img")
    assert len(page.all("h1")) == 1
    assert len(page.all("table")) >= 4
    assert "| slice AUC |" not in page.text  # the card's tables are tables
    ids = {attributes.get("id") for _, attributes in page.tags}
    for link in page.all("a"):
        target = str(link["href"])
        assert target.startswith(("http://", "https://")) or target.removeprefix("#") in ids, target
    assert "docs/reference/metrics.md" in page.text  # as text
    shown = ("v0001", trained["reason"], trained["sha256"], "max_epochs 1", "pretrained", "lesion (1)", "flair", "anna")
    assert [words for words in shown if words not in page.text] == []


def test_the_card_of_an_untrained_model(loop: Loop) -> None:
    text = loop.ask("GET", "/model/card/mr_lesion_detection").text
    assert "ships with the app" in text
    assert "the start" in text
    assert loop.ask("GET", "/model/card/nobody").status_code == 404
    assert loop.ask("GET", f"/model/card/{MODEL}", token="").status_code == 401


def test_cards_cannot_carry_html_or_links_to_files() -> None:
    html = to_html(
        "# A\n<script>alert(1)</script>\n\n[file](../secret.md) [js](javascript:alert) [web](https://a.example/x)\n"
        "[up](#a) [gone](#nowhere) ![picture](p.png)\n\n| x |\n|---|\n| <b>1</b> |\n\n## B"
    )
    page = Page(html)
    assert [link["href"] for link in page.all("a")] == ["https://a.example/x", "#a"]
    assert {"script", "img", "b"}.isdisjoint({tag for tag, _ in page.tags})
    assert "file" in page.text
    assert "gone picture" in page.text
    assert html.rstrip().endswith('<h3 id="b">B</h3>')
