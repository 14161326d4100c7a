# SPDX-License-Identifier: Apache-2.0
"""The live server on each kind of store: a folder of NIfTI, folders of DICOM, the embedded PACS, a real Orthanc.

Whatever holds the studies, a client sees the same: images to run models on, masks, boxes and reports that come back
as they were saved, and a training run on what was corrected.
"""

import gzip
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from lib.phantom import head_stack, write_dicom, write_nifti
from lib.types import Report
from monailabel_app.process import free_port, start_server
from monailabel_app.roots import APP_DIR
from tests.orthanc import Orthanc, orthanc

__all__ = ["orthanc"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SEEDS = (310, 311)
SMALL = {"n_frames": 12, "size": 128, "spacing_mm": (1.88, 1.88, 9.0), "n_lesions": 1}
STORES = ("nifti", "folders", "embedded", "orthanc")
SEGMENTATION, DETECTION = "mr_lesion_segmentation", "mr_lesion_detection"
TRAINING = {"max_epochs": 1, "steps_per_epoch": 2, "val_split": 0.4}
SAVES = 5


@dataclass
class Served:
    """A live server on one kind of store.

    Attributes:
        kind: Which.
        url: Of the server.
        images: Id in the store by seed of the phantom.
        truth: Mask of each phantom as NIfTI bytes, by seed.
        count: Instances of a modality in the store; None where it holds files.
    """

    kind: str
    url: str
    images: dict[int, str]
    truth: dict[int, bytes]
    count: Callable[[str], int] | None

    def get(self, path: str, **params: str) -> requests.Response:
        answer = requests.get(f"{self.url}{path}", params=params, timeout=120)
        assert answer.ok, answer.text
        return answer

    def infer(self, model: str, image: str, output: str = "json", **params: object) -> requests.Response:
        answer = requests.post(
            f"{self.url}/infer/{model}",
            params={"image": image, "output": output},
            data={"params": json.dumps(params)},
            timeout=120,
        )
        assert answer.ok, answer.text
        return answer

    def save(self, image: str, tag: str, name: str, content: bytes, **info: object) -> requests.Response:
        return requests.put(
            f"{self.url}/datastore/label",
            params={"image": image, "tag": tag},
            files={"label": (name, content)},
            data={"params": json.dumps(info)},
            timeout=120,
        )

    def label(self, image: str, tag: str) -> bytes:
        return self.get("/datastore/label", label=image, tag=tag).content


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each phantom as ``nifti/SEED.nii.gz``, ``truth/SEED.nii.gz`` and ``dicom/SEED/*``."""
    folder = tmp_path_factory.mktemp("phantoms")
    for seed in SEEDS:
        stack = head_stack(seed, **SMALL)
        write_nifti(stack, folder / "nifti" / f"{seed}.nii.gz", folder / "truth" / f"{seed}.nii.gz")
        write_dicom(stack, folder / "dicom" / str(seed), patient_id=f"P{seed}")
    return folder


@pytest.fixture(scope="module", params=STORES)
def served(
    request: pytest.FixtureRequest, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    pacs: Orthanc | None = request.getfixturevalue("orthanc") if kind == "orthanc" else None
    with _server(kind, phantoms, folder, pacs) as running:
        yield running


@contextmanager
def _server(kind: str, phantoms: Path, folder: Path, pacs: Orthanc | None) -> Iterator[Served]:
    uids = {s: str(dcmread(next((phantoms / "dicom" / str(s)).iterdir())).SeriesInstanceUID) for s in SEEDS}
    truth = {seed: (phantoms / "truth" / f"{seed}.nii.gz").read_bytes() for seed in SEEDS}
    conf = {"model_dir": str(folder / "model")}
    studies: Path | str = folder / "studies"
    images = {seed: str(seed) for seed in SEEDS} if kind in ("nifti", "folders") else uids
    if pacs is not None:
        pacs.clear()
        for seed in SEEDS:
            files = [dcmread(path) for path in (phantoms / "dicom" / str(seed)).iterdir()]
            DICOMwebClient(pacs.dicom_web).store_instances(files)
        studies = pacs.dicom_web
    else:
        _copy(phantoms / ("nifti" if kind == "nifti" else "dicom"), Path(studies))
        conf["store"] = "embedded" if kind == "embedded" else "local"
    with start_server(APP_DIR, studies, conf, port=free_port(), log=folder / "server.log") as server:

        def count(modality: str) -> int:
            if pacs is not None:
                return pacs.count(modality)
            found = DICOMwebClient(f"{server.url}/dicom-web").search_for_instances(
                search_filters={"Modality": modality}
            )
            return len(found)

        yield Served(kind, server.url, images, truth, count if kind in ("embedded", "orthanc") else None)


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


def voxels(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Values and affine of a NIfTI file, turned to RAS+ so that the order of the axes does not matter."""
    image = nib.as_closest_canonical(nib.Nifti1Image.from_bytes(_unzipped(content)))
    return np.asarray(image.dataobj), image.affine


def _unzipped(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def test_the_store_lists_the_images(served: Served) -> None:
    objects = served.get("/datastore/", output="all").json()["objects"]
    assert set(objects) == set(served.images.values())


def test_every_image_can_be_downloaded_as_one_file(served: Served, phantoms: Path) -> None:
    for seed, image in served.images.items():
        values, affine = voxels(served.get("/datastore/image", image=image).content)
        original, place = voxels((phantoms / "nifti" / f"{seed}.nii.gz").read_bytes())
        assert np.array_equal(values, original)
        np.testing.assert_allclose(affine, place, atol=1e-3)


def test_a_model_finds_the_same_on_every_store(served: Served, phantoms: Path) -> None:
    image = served.images[SEEDS[0]]
    found = served.infer(DETECTION, image).json()
    with (phantoms / "nifti" / f"{SEEDS[0]}.nii.gz").open("rb") as file:
        answer = requests.post(
            f"{served.url}/infer/{DETECTION}", params={"output": "json"}, files={"file": file}, timeout=120
        )
    expected = answer.json()
    assert [f["boxes"] for f in found["findings"]] == [f["boxes"] for f in expected["findings"]]
    assert bool(found["sop_instance_uids"]) == (served.kind != "nifti")


def test_a_mask_comes_back_voxel_by_voxel_and_only_the_last_one_counts(served: Served) -> None:
    image = served.images[SEEDS[0]]
    values, _ = voxels(served.truth[SEEDS[0]])
    file = nib.Nifti1Image.from_bytes(_unzipped(served.truth[SEEDS[0]]))
    for number in range(SAVES):
        changed = np.asarray(file.dataobj).copy()
        changed[number, 0, 0] = 1
        content = nib.Nifti1Image(changed, file.affine).to_bytes()
        answer = served.save(image, "final", "mask.nii", content, model=SEGMENTATION, label_info=[{"name": "lesion"}])
        assert answer.ok, answer.text
    back, affine = voxels(served.label(image, "final"))
    expected, place = voxels(content)
    assert np.array_equal(back, expected)
    assert not np.array_equal(back, values)
    np.testing.assert_allclose(affine, place, atol=1e-3)
    if served.count is not None:
        assert served.count("SEG") == 1  # of this image; no other has one yet


def pixels_by_part(mask: dict) -> dict[tuple[str, int | None], np.ndarray]:
    """What a viewer paints for each part of a mask by frames: (T, H, W)."""
    painted = {}
    for part in mask["parts"]:
        pixels = np.zeros((SMALL["n_frames"], mask["rows"] * mask["columns"]), bool)
        for frame, runs in part["frames"].items():
            for start, length in zip(runs[::2], runs[1::2], strict=True):
                pixels[int(frame), start : start + length] = True
        painted[part["label"], part["finding"]] = pixels.reshape(-1, mask["rows"], mask["columns"])
    return painted


def test_a_mask_that_a_viewer_has_edited_by_frames_is_the_mask(served: Served) -> None:
    image = served.images[SEEDS[0]]
    frames = served.get("/datastore/image/frames", image=image).json()
    answer = served.infer(SEGMENTATION, image, frame_mask=True).json()
    mask = answer["mask"]
    assert frames["sop_instance_uids"] == answer["sop_instance_uids"] == mask["sop_instance_uids"]
    assert frames["positions"] == answer["positions"]
    parts = pixels_by_part(mask)
    assert [number for _, number in parts] == [finding["id"] for finding in answer["findings"]]
    for (label, number), pixels in parts.items():
        [finding] = [f for f in answer["findings"] if f["id"] == number]
        assert label == finding["label"]
        assert {str(t) for t in np.flatnonzero(pixels.any(axis=(1, 2)))} == set(finding["boxes"])
    together = np.any(list(parts.values()), axis=0)
    labelmap, _ = voxels(served.infer(SEGMENTATION, image, "image").content)
    seen = voxels(served.truth[SEEDS[0]])[0]  # frames show the phantom from the front: x to the left, y to the back
    assert together.shape[::-1] == labelmap.shape == seen.shape
    assert np.array_equal(together.transpose(2, 1, 0)[::-1, ::-1], labelmap > 0)
    mask["parts"] = [{"label": "lesion", "finding": None, "frames": {"3": [0, 2, 130, 1], "7": [128 * 127, 128]}}]
    answer = served.save(image, "final", "mask.json", json.dumps(mask).encode(), model=SEGMENTATION, user="Dr A")
    assert answer.ok, answer.text
    back = served.get("/datastore/label", label=image, tag="final", form="frames").json()
    assert back == mask
    stored, _ = voxels(served.label(image, "final"))
    assert np.array_equal(pixels_by_part(mask)["lesion", None].transpose(2, 1, 0)[::-1, ::-1], stored > 0)
    info = served.get("/datastore/label/info", label=image, tag="final").json()
    assert info["user"] == "Dr A"
    assert abs(info["ts"] - time.time()) < 60
    wrong = {**mask, "columns": 127}
    refused = served.save(image, "final", "mask.json", json.dumps(wrong).encode())
    assert refused.status_code == 400
    assert "127 columns" in refused.json()["detail"]
    assert served.get("/datastore/label", label=image, tag="final", form="frames").json() == mask
    if served.count is not None:
        assert served.count("SEG") == 1


def test_boxes_come_back_as_they_were_and_only_the_last_ones_count(served: Served) -> None:
    image = served.images[SEEDS[0]]
    findings = served.infer(DETECTION, image, score_threshold=0.05).json()["findings"]
    assert findings
    for number in range(SAVES):
        findings[0]["label"] = f"corrected {number}"
        content = json.dumps({"findings": findings}).encode()
        answer = served.save(image, "boxes", "boxes.json", content, model=DETECTION)
        assert answer.ok, answer.text
    assert json.loads(served.label(image, "boxes")) == {"findings": findings}
    if served.count is not None:
        assert served.count("SR") == 1


def test_a_report_comes_back_word_for_word_beside_the_boxes(served: Served) -> None:
    image = served.images[SEEDS[1]]
    sentence = {"text": "Läsion, 12 mm: rechts.", "finding_ids": [1], "confidence": 0.75, "supported": True}
    before = served.count("SR") if served.count is not None else 0
    for number, status in enumerate(["draft"] * (SAVES - 1) + ["corrected"]):
        report = {
            "sections": {"findings": [sentence], "impression": [{**sentence, "text": f"Version {number}."}]},
            "status": status,
            "author": "Dr. Ä. Żuk",
            "changed_at": "2026-01-02T03:04:05",
        }
        answer = served.save(image, "report", "report.json", json.dumps(report).encode(), model="report_brain_mr")
        assert answer.ok, answer.text
    replaced = json.dumps({**report, "status": "draft"}).encode()
    answer = served.save(image, "report", "report.json", replaced, model="report_brain_mr")
    assert answer.status_code == 409, "a corrected report keeps its versions"
    assert Report.from_json(json.loads(served.label(image, "report"))) == Report.from_json(report)
    if served.count is not None:
        assert served.count("SR") == before + 1


def test_a_label_that_does_not_fit_is_refused_and_the_old_one_stays(served: Served) -> None:
    image = served.images[SEEDS[0]]
    kept = served.label(image, "final")
    wrong = nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.diag([3.3, 3.3, 3.3, 1]))
    for name, content in (("m.nii", wrong.to_bytes()), ("m.nii.gz", b"no image"), ("m.nrrd", b"")):
        answer = served.save(image, "final", name, content)
        assert answer.status_code == 400, answer.text
        assert answer.json()["detail"].startswith(f"{name}: "), answer.text
    for tag in ("boxes", "report"):
        assert served.save(image, tag, "x.json", b'{"findings": 3}').status_code == 400
    assert np.array_equal(voxels(served.label(image, "final"))[0], voxels(kept)[0])


@pytest.mark.parametrize("image", ["../x", "/etc/passwd", "a/../../b", ".hidden", "..", "x\\..\\y"])
def test_an_id_that_tries_to_leave_the_store_is_refused(served: Served, image: str) -> None:
    for answer in (
        served.save(image, "final", "m.nii", b"x"),
        requests.get(f"{served.url}/datastore/image", params={"image": image}, timeout=30),
        requests.get(f"{served.url}/datastore/label", params={"label": image, "tag": "final"}, timeout=30),
        requests.post(f"{served.url}/infer/{DETECTION}", params={"image": image}, timeout=30),
    ):
        assert answer.status_code == 400, answer.text
        assert "plain name" in answer.json()["detail"]


def test_an_image_that_a_viewer_stores_is_there_at_once(served: Served, tmp_path: Path) -> None:
    if served.count is None:
        answer = requests.post(f"{served.url}/dicom-web/studies", data=b"x", timeout=30)
        assert answer.status_code == 404
        assert "no PACS" in answer.json()["detail"]
        return
    total = served.get("/info/").json()["datastore"]["total"]
    files = write_dicom(head_stack(777, **SMALL), tmp_path / "new", patient_id="P777")
    uid = str(dcmread(files[0]).SeriesInstanceUID)
    DICOMwebClient(f"{served.url}/dicom-web").store_instances([dcmread(file) for file in files])
    assert served.get("/info/").json()["datastore"]["total"] == total + 1
    assert len(served.infer(DETECTION, uid).json()["sop_instance_uids"]) == len(files)
    mask = served.infer(SEGMENTATION, uid, "image").content
    assert served.save(uid, "final", "m.nii.gz", mask, model=SEGMENTATION).ok


def test_messages_name_files_and_not_the_server_s_folders(served: Served, tmp_path: Path) -> None:
    answers = [
        requests.post(f"{served.url}/infer/{DETECTION}", files={"file": ("x.nii.gz", b"no image")}, timeout=60),
        served.save(served.images[SEEDS[0]], "final", "x.dcm", b"no dicom"),
        served.save(served.images[SEEDS[0]], "boxes", "x.json", b"{"),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("x."), answer.text


@pytest.mark.parametrize("tag", ["boxes", "report"])
def test_a_mask_is_not_saved_as_something_else(served: Served, tag: str) -> None:
    params = {"image": served.images[SEEDS[0]], "output": "json"}
    data = {"params": json.dumps({"save_label": True, "label_tag": tag})}
    answer = requests.post(f"{served.url}/infer/{SEGMENTATION}", params=params, data=data, timeout=60)
    assert answer.status_code == 400
    assert f"cannot be saved under the tag '{tag}'" in answer.json()["detail"]


def test_a_model_s_mask_as_dicom_seg(served: Served) -> None:
    image = served.images[SEEDS[0]]
    if served.kind == "nifti":
        answer = requests.post(
            f"{served.url}/infer/{SEGMENTATION}", params={"image": image, "output": "dicom_seg"}, timeout=120
        )
        assert answer.status_code == 400
        assert "needs an image that is DICOM" in answer.json()["detail"]
        return
    seg = dcmread(io.BytesIO(served.infer(SEGMENTATION, image, "dicom_seg").content))
    assert seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["lesion"]
    referenced = {
        str(item.ReferencedSOPInstanceUID) for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == set(served.infer(SEGMENTATION, image).json()["sop_instance_uids"])


def test_the_next_image_is_one_without_a_label_and_training_uses_the_others(served: Served) -> None:
    first, second = (served.images[seed] for seed in SEEDS)
    sample = requests.post(f"{served.url}/activelearning/first", timeout=60).json()
    assert sample["id"] == second
    assert served.save(second, "final", "mask.nii.gz", served.truth[SEEDS[1]], model=SEGMENTATION).ok
    store = served.get("/info/").json()["datastore"]
    assert store["completed"] == store["total"]
    assert not requests.post(f"{served.url}/activelearning/first", timeout=60).json()
    requests.post(f"{served.url}/train/{SEGMENTATION}", json=TRAINING, timeout=60).raise_for_status()
    end = time.monotonic() + 200
    while (status := served.get("/train/").json())["status"] not in ("DONE", "ERROR", "STOPPED"):
        assert time.monotonic() < end, status
        time.sleep(0.5)
    assert status["status"] == "DONE", json.dumps(status, indent=1)
    last = served.get("/info/").json()["train_stats"][SEGMENTATION]["last_training"]
    assert {first, second} <= {*last["details"]["train"], *last["details"]["val"]}
