# SPDX-License-Identifier: Apache-2.0
"""The follow-up routes on a live server: three visits of a phantom patient, the last one lying otherwise."""

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from lib.phantom import PhantomStack, head_stack, head_visits, write_dicom
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DAYS, GROWTH = (0, 120), (1.0, 1.6)
MOVED_DAY = 300
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SEGMENTATION, DETECTION = "mr_lesion_segmentation", "mr_lesion_detection"
SIDES = ("baseline", "followup")


@dataclass(frozen=True)
class Served:
    """A live server.

    Attributes:
        url: Of the server.
        images: Id of each visit in order of time, and of another patient's.
        stacks: The same with their true lesions.
        motion: From where the patient lay at the first two visits to where at the last, LPS mm.
    """

    url: str
    images: list[str]
    stacks: list[PhantomStack]
    motion: np.ndarray

    def compare(self, baseline: str, image: str, model: str = SEGMENTATION, **more: str) -> requests.Response:
        return requests.post(
            f"{self.url}/followup/{model}", params={"baseline": baseline, "image": image, **more}, timeout=120
        )

    def answer(self, *visits: int, **more: str) -> dict[str, Any]:
        answer = self.compare(*(self.images[visit] for visit in visits), **more)
        assert answer.ok, answer.text
        return dict(answer.json())

    def timeline(self, visit: int, model: str = SEGMENTATION, **more: str) -> requests.Response:
        params = {"image": self.images[visit], **more}
        return requests.post(f"{self.url}/followup/{model}/timeline", params=params, timeout=250)

    def infer(self, visit: int, model: str = SEGMENTATION, **params: Any) -> requests.Response:
        query = {"image": self.images[visit], "output": "json"}
        return requests.post(
            f"{self.url}/infer/{model}", params=query, data={"params": json.dumps(params)}, timeout=250
        )

    def store_truth(self, visit: int, user: str) -> None:
        stack = self.stacks[visit]
        place = RAS_TO_LPS @ (self.motion if visit == 2 else np.eye(4)) @ RAS_TO_LPS @ stack.affine
        file = nib.Nifti1Image(stack.mask.transpose(2, 1, 0), place)
        answer = requests.put(
            f"{self.url}/datastore/label",
            params={"image": self.images[visit], "tag": "final"},
            files={"label": ("mask.nii", file.to_bytes())},
            data={"params": f'{{"user": "{user}", "label_names": {{"tumour": 1}}}}'},
            timeout=60,
        )
        assert answer.ok, answer.text


def move(folder: Path, motion: np.ndarray) -> None:
    """Let a patient lie otherwise in the scanner."""
    for path in folder.iterdir():
        dataset = dcmread(path)
        turned = motion[:3, :3] @ np.reshape(np.array(dataset.ImageOrientationPatient, float), (2, 3)).T
        dataset.ImageOrientationPatient = [f"{v:.9f}" for v in turned.T.ravel()]
        place = motion[:3, :3] @ np.array(dataset.ImagePositionPatient, float) + motion[:3, 3]
        dataset.ImagePositionPatient = [f"{v:.6f}" for v in place]
        dataset.save_as(path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("followup")
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(np.radians((5, -3, 7))).as_matrix()
    motion[:3, 3] = 14, -11, 25
    first, second = head_visits(12, DAYS, GROWTH, n_lesions=2, new_lesion=True)
    stacks = [first, second, dataclasses.replace(second, day=MOVED_DAY), head_stack(3)]
    images = []
    for number, (stack, patient) in enumerate(zip(stacks, ("P1", "P1", "P1", "P2"), strict=True)):
        files = write_dicom(stack, folder / "studies" / str(number), patient_id=patient)
        images.append(str(dcmread(files[0]).SeriesInstanceUID))
    move(folder / "studies" / "2", motion)
    conf = {"model_dir": str(folder / "model"), "store": "embedded"}
    with start_server(APP_DIR, folder / "studies", conf, port=free_port(), log=folder / "server.log") as server:
        yield Served(server.url, images, stacks, motion)


def test_visits_of_a_patient_are_listed_oldest_first(served: Served) -> None:
    visits = requests.get(f"{served.url}/followup/{served.images[1]}", timeout=30).json()["visits"]
    assert [visit["image"] for visit in visits] == served.images[:3]
    assert [visit["days"] for visit in visits] == [0, 120, 300]
    assert [visit["date"] for visit in visits] == ["2024-01-15", "2024-05-14", "2024-11-10"]
    assert [visit["current"] for visit in visits] == [False, True, False]
    assert {visit["description"] for visit in visits} == {"FLAIR-like phantom, axial"}
    assert len({visit["study_instance_uid"] for visit in visits}) == 3


def test_a_patient_with_one_visit_has_one_entry(served: Served) -> None:
    visits = requests.get(f"{served.url}/followup/{served.images[3]}", timeout=30).json()["visits"]
    assert [(visit["image"], visit["days"], visit["current"]) for visit in visits] == [(served.images[3], 0, True)]


def test_model_s_lesions_are_paired_across_visits(served: Served) -> None:
    answer = served.answer(0, 1)
    assert answer["days"] == 120
    assert answer["warnings"] == []
    for side, visit in zip(SIDES, (0, 1), strict=True):
        one = answer[side]
        assert (one["image"], one["source"]) == (served.images[visit], "model")
        assert len(one["sop_instance_uids"]) == len(one["frame_numbers"]) == one["n_frames"] == 24
    sides = [{f["id"]: f for f in answer[side]["findings"]} for side in SIDES]
    both = [pair for pair in answer["pairs"] if pair["baseline"] and pair["followup"]]
    assert both
    for pair in both:
        centers = [np.array(found[pair[side]]["center_lps_mm"]) for found, side in zip(sides, SIDES, strict=True)]
        assert np.linalg.norm(centers[0] - centers[1]) < 10
        volumes = [
            found[pair[side]]["measurements"]["volume"]["value"] for found, side in zip(sides, SIDES, strict=True)
        ]
        assert pair["change"]["percent"] == pytest.approx(100 * (volumes[1] / volumes[0] - 1), abs=0.2)
        assert pair["change"]["basis"] == "volume"


def test_infer_says_the_same_of_a_visit(served: Served) -> None:
    params = {"image": served.images[0], "output": "json"}
    data = {"params": '{"frame_mask": true}'}
    alone = requests.post(f"{served.url}/infer/{SEGMENTATION}", params=params, data=data, timeout=120).json()
    one = served.answer(0, 1)["baseline"]
    assert one["findings"] == alone["findings"]
    assert one["sop_instance_uids"] == alone["sop_instance_uids"]


def test_boxes_of_a_detection_model_give_diameters(served: Served) -> None:
    answer = served.answer(0, 1, model=DETECTION)
    assert answer["pairs"]
    assert {(pair["change"]["basis"], pair["change"]["unit"]) for pair in answer["pairs"]} == {("diameter", "mm")}


def test_backwards_in_time_is_done_and_told(served: Served) -> None:
    answer = served.answer(1, 0)
    assert answer["days"] == -120
    assert answer["warnings"][0] == (
        "The baseline (2024-05-14) is later than the follow-up (2024-01-15): changes are told backwards."
    )


def test_infer_tells_the_growth_of_each_finding(served: Served) -> None:
    answer = served.infer(1, followup=True)
    assert answer.ok, answer.text
    said = answer.json()
    timeline = said["timeline"]
    assert [visit["image"] for visit in timeline["visits"]] == served.images[:3]
    assert [visit["days"] for visit in timeline["visits"]] == [0, 120, 300]
    assert [visit["current"] for visit in timeline["visits"]] == [False, True, False]
    assert {visit["source"] for visit in timeline["visits"]} == {"model"}
    assert [visit["response"] is None for visit in timeline["visits"]] == [True, False, False]
    assert [one["visit"] for one in timeline["response"]["visits"]] == [1, 2]
    assert timeline["visits"][0]["registration"] is None
    grown = [finding["growth"] for finding in said["findings"] if finding["growth"]["since_first"]]
    assert grown
    of_track = {track["id"]: track for track in timeline["tracks"]}
    for growth in grown:
        change, spread = growth["since_first"]["volume"], growth["since_first"]["spread"]
        assert growth["since_first"]["visit"] == growth["since_previous"]["visit"] == 0
        assert change["difference"] == pytest.approx(change["after"] - change["before"], abs=1e-3)
        assert change["percent_uncertainty"] > 0
        assert growth["since_first"]["diameter"]["unit"] == "mm"
        assert set(spread["directions"]) <= set(spread["sides_mm"])
        assert of_track[growth["track"]]["trend"]["intervals"][0]["percent"] == change["percent"]
    plain = served.infer(1, frame_mask=True).json()
    assert [{k: v for k, v in f.items() if k != "growth"} for f in said["findings"]] == plain["findings"]
    assert said["tracks"] == plain["tracks"]


def test_both_routes_tell_the_same_timeline_and_the_thresholds_count_at_all_visits(served: Served) -> None:
    alone = served.timeline(1).json()
    assert alone == served.infer(1, followup=True).json()["timeline"]
    strict = served.infer(1, followup=True, min_volume_ml=1000.0).json()
    assert strict["findings"] == strict["timeline"]["tracks"] == []
    assert [visit["response"] for visit in strict["timeline"]["visits"]] == [None, "NE", "NE"]


def test_findings_of_an_answer_with_growth_can_be_stored(served: Served) -> None:
    findings = served.infer(1, model=DETECTION, followup=True).json()["findings"]
    assert findings
    where = {"image": served.images[1], "tag": "boxes", "form": "frames"}
    files = {"label": ("boxes.json", json.dumps({"findings": findings}).encode())}
    address = f"{served.url}/datastore/label"
    assert (answer := requests.put(address, params=where, files=files, timeout=60)).ok, answer.text
    again = served.timeline(1, model=DETECTION).json()
    assert [visit["source"] for visit in again["visits"]] == ["model", "stored", "model"]
    assert any("are those that someone has stored" in text for text in again["warnings"])
    model = served.timeline(1, model=DETECTION, use="model").json()
    assert {visit["source"] for visit in model["visits"]} == {"model"}
    where = {"id": served.images[1], "tag": "boxes"}
    assert requests.delete(address, params=where, timeout=60).ok


def test_a_patient_with_one_visit_has_a_timeline_of_one_visit_and_no_growth(served: Served) -> None:
    answer = served.infer(3, followup=True)
    assert answer.ok, answer.text
    timeline = answer.json()["timeline"]
    assert [visit["image"] for visit in timeline["visits"]] == [served.images[3]]
    assert timeline["response"] is None
    assert timeline["warnings"] == ["No other visit of this patient shows the same: there is no growth to tell."]
    for finding in answer.json()["findings"]:
        assert finding["growth"]["since_first"] is finding["growth"]["since_previous"] is None


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"followup": True, "save_label": True}, "ask for one of the two"),
        ({"followup": "maybe"}, "does not accept the value"),
        ({"followup": True, "followup_use": "mine"}, "does not accept the value"),
    ],
)
def test_requests_for_a_follow_up_that_cannot_be_met_are_refused(
    served: Served, params: dict[str, Any], words: str
) -> None:
    answer = served.infer(0, **params)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


def test_an_image_that_is_sent_along_has_no_follow_up(served: Served) -> None:
    files = {"file": ("image.nii.gz", b"x")}
    data = {"params": '{"followup": true}'}
    answer = requests.post(f"{served.url}/infer/{SEGMENTATION}", files=files, data=data, timeout=60)
    assert answer.status_code == 400
    assert "needs an image of the store" in answer.json()["detail"]


def test_what_is_stored_counts_before_the_model(served: Served) -> None:
    """True masks on both visits: the growth is the phantom's, also where the patient lies otherwise."""
    served.store_truth(0, "Dr. A")
    half = served.answer(0, 1)
    assert half["baseline"]["source"] == "stored by Dr. A"
    assert half["warnings"][0].startswith("The lesions of the baseline are stored by Dr. A, those of the follow-up")
    served.store_truth(1, "Dr. B")
    served.store_truth(2, "Dr. B")
    for last in (1, 2):
        answer = served.answer(0, last)
        assert answer["followup"]["source"] == "stored by Dr. B"
        found = {f["id"]: f for f in answer["followup"]["findings"]}
        assert {f["label"] for f in found.values()} == {"tumour"}
        changes = sorted((pair["change"] for pair in answer["pairs"]), key=lambda change: change["after"])
        assert [pair["baseline"] is None for pair in answer["pairs"]].count(True) == 1
        grown = [change for change in changes if change["percent"] is not None]
        assert [change["change"] for change in grown] == ["grown", "grown"]
        assert [change["percent"] for change in grown] == pytest.approx([60, 60], abs=6)
        new = next(pair for pair in answer["pairs"] if pair["baseline"] is None)
        true = served.stacks[1].lesions[-1]
        assert new["change"]["after"] == pytest.approx(true.volume_mm3 / 1000, abs=1e-3)
    moved = np.array(answer["registration"]["to_baseline"]) @ served.motion
    corners = np.array([(x, y, z, 1) for x in (-60, 60) for y in (-70, 70) for z in (-50, 50)], float)
    assert np.linalg.norm((corners @ moved.T - corners)[:, :3], axis=1).mean() < 1.5
    assert served.answer(0, 1, use="model")["baseline"]["source"] == "model"
    timeline = served.timeline(0).json()
    assert [visit["source"] for visit in timeline["visits"]] == [
        "stored by Dr. A",
        "stored by Dr. B",
        "stored by Dr. B",
    ]
    assert [track["findings"].keys() == {"0", "1", "2"} for track in timeline["tracks"]] == [True, True, False]
    overall = [track["trend"]["overall"]["percent"] for track in timeline["tracks"]]
    assert overall == pytest.approx([60, 60, 0], abs=6)
    assert timeline["tracks"][2]["beginning"] == "new"
    assert [visit["response"] for visit in timeline["visits"]] == [None, "PD", "PD"]


def test_a_pair_of_series_is_registered_once(served: Served) -> None:
    first = served.answer(0, 2)["registration"]
    started = time.perf_counter()
    assert served.answer(0, 2)["registration"] == first
    assert time.perf_counter() - started < max(2.0, first["seconds"])


@pytest.mark.parametrize(
    ("baseline", "image", "status", "words"),
    [
        (0, 0, 400, "The baseline and the image are the same"),
        (0, 3, 400, "is of patient 'P1', image .* of patient 'P2'; compare two visits of one patient"),
        ("1.2.3", 0, 404, "There is no image '1.2.3'"),
        ("../x", 0, 400, "plain name"),
    ],
)
def test_visits_that_cannot_be_compared_are_refused_in_words(
    served: Served, baseline: int | str, image: int, status: int, words: str
) -> None:
    name = served.images[baseline] if isinstance(baseline, int) else baseline
    answer = served.compare(name, served.images[image])
    assert answer.status_code == status
    assert re.search(words, answer.json()["detail"]), answer.text


def test_an_unknown_model_and_an_unknown_use_are_refused(served: Served) -> None:
    assert served.compare(*served.images[:2], model="nothing").status_code == 404
    assert served.compare(*served.images[:2], use="whatever").status_code == 422
    assert requests.get(f"{served.url}/followup/1.2.3", timeout=30).status_code == 404
    assert served.timeline(0, model="nothing").status_code == 404
    assert requests.post(f"{served.url}/followup/{SEGMENTATION}/timeline?image=1.2.3", timeout=30).status_code == 404


def test_files_that_are_not_dicom_have_no_visits(live: Any) -> None:
    visits = requests.get(f"{live.url}/followup/case_0", timeout=30).json()["visits"]
    assert [(visit["image"], visit["date"], visit["days"]) for visit in visits] == [("case_0", "", None)]
    model = next(iter(requests.get(f"{live.url}/info/", timeout=30).json()["models"]))
    address = f"{live.url}/followup/{model}"
    for url, params in (
        (address, {"baseline": "case_0", "image": "case_1"}),
        (f"{address}/timeline", {"image": "case_0"}),
    ):
        answer = requests.post(url, params=params, timeout=30)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("Image 'case_0' is not DICOM")
