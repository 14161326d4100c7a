# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's own client (which 3D Slicer uses too) and OHIF's requests work, with and without authentication."""

import json
import time
from pathlib import Path

import pytest
import requests
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException


@pytest.fixture(params=["live", "locked"])
def client(request, tmp_path, token):
    server = request.getfixturevalue(request.param)
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="slicer-1")
    assert client.auth_enabled() is (request.param == "locked")
    if client.auth_enabled():  # as 3D Slicer does
        assert not client.auth_valid_token()
        client.update_auth(client.auth_token("anna", token))
    assert client.auth_valid_token()
    client.server = server
    return client


def test_info_and_next_sample(client):
    info = client.info()
    assert {"sleep", "convolve"} <= set(info["models"])
    assert info["datastore"]["total"] >= 2
    sample = client.next_sample("first", {})
    assert sample["id"] == "case_0"
    assert sample["path"].endswith("case_0.nii.gz")
    assert sample["strategy"]["first"]["client_id"] in ("slicer-1", "anna")


def test_infer_with_what_slicer_sends(client, tmp_path):
    params = {"device": "cpu", "depth": 3, "result_extension": ".nrrd", "result_dtype": "uint8"}
    file, answer = client.infer("sleep", "case_1", params)
    assert file.endswith(".nrrd")
    assert Path(file).read_bytes().startswith(b"mask of ")
    assert answer["kind"] == "sleep"
    image = tmp_path / "volume.nii.gz"
    image.write_bytes(b"volume")
    assert client.infer("sleep", "", {}, file=str(image))[1]["kind"] == "sleep"


def test_save_label_then_download_it(client, tmp_path):
    label = tmp_path / "label.nrrd"
    label.write_bytes(b"corrected")
    saved = client.save_label("case_1", str(label), tag="final", params={"label_info": [{"name": "lesion", "idx": 1}]})
    assert saved == {"image": "case_1", "label": "case_1"}
    assert Path(client.download_label("case_1", "final")).read_bytes() == b"corrected"
    info = client.datastore()["objects"]["case_1"]["labels"]["final"]["info"]
    assert info["label_info"][0]["name"] == "lesion"
    assert info.get("user") == ("anna" if client.auth_enabled() else None)


def test_upload_image(client, tmp_path):
    image = tmp_path / "new.nii.gz"
    image.write_bytes(b"new volume")
    assert client.upload_image(str(image), "4: T2 FLAIR")["image"] == "4: T2 FLAIR"
    assert (client.server.studies / "4: T2 FLAIR.nii.gz").read_bytes() == b"new volume"
    client.server.studies.joinpath("4: T2 FLAIR.nii.gz").unlink()


def test_sessions(client, tmp_path):
    image = tmp_path / "study.nii.gz"
    image.write_bytes(b"volume")
    session_id = client.create_session(str(image))["session_id"]
    assert client.get_session(session_id)["name"] == session_id
    assert client.infer("sleep", "", {}, session_id=session_id)[1]["image"].endswith("study.nii.gz")
    client.remove_session(session_id)
    with pytest.raises(MONAILabelClientException):
        client.get_session(session_id)


def test_training_starts_reports_and_stops(client):
    assert client.train_start("sleep", {"max_epochs": 30, "patience": 2})["status"] in ("SUBMITTED", "RUNNING")
    end = time.monotonic() + 10
    while not client.train_status(check_if_running=True) and time.monotonic() < end:
        time.sleep(0.1)
    assert client.train_status()["status"] == "RUNNING"
    stopped = client.train_stop()
    assert stopped["status"] == "STOPPED"
    assert stopped["request"]["max_epochs"] == 30
    assert client.train_start("", {"sleep": {"max_epochs": 30}})["sleep"]["result"]["request"]["max_epochs"] == 30
    end = time.monotonic() + 10
    while not client.train_status(check_if_running=True) and time.monotonic() < end:
        time.sleep(0.1)
    client.train_stop()


def test_ohif_gets_its_files_and_runs_a_model(live):
    page = requests.get(f"{live.url}/ohif/viewer?StudyInstanceUIDs=1.2", timeout=10)
    assert "OHIF" in page.text
    assert requests.get(f"{live.url}/ohif/app-config.js", timeout=10).headers["content-type"].startswith("text/javascr")
    assert requests.get(f"{live.url}/ohif/assets/favicon.ico", timeout=10).headers["content-type"].startswith("image/")
    params = {"depth": "3", "result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
    form = {"params": (None, json.dumps({**params, "restore_label_idx": False}))}
    query = {"image": "case_0", "output": "image"}
    headers = {"origin": live.url, "sec-fetch-site": "same-origin"}
    answer = requests.post(f"{live.url}/infer/sleep", params=query, files=form, headers=headers, timeout=20)
    assert (answer.status_code, answer.content[:8]) == (200, b"mask of ")


def test_output_forms(live):
    def ask(output, params="{}", model="sleep"):
        query = {"image": "case_0", "output": output}
        return requests.post(f"{live.url}/infer/{model}", params=query, data={"params": params}, timeout=20)

    assert ask("json").json()["kind"] == "sleep"
    assert ask("all").headers["content-type"].startswith("multipart/form-data")
    assert ask("all", '{"explain": true}').json()["kind"] == "sleep"
    assert ask("image", '{"explain": true}').status_code == 404
    assert "made no file" in ask("image", '{"explain": true}').json()["detail"]
    assert ask("dicom_seg").status_code == 400


def test_errors_are_plain_json_without_a_trace(live):
    def ask(model, image="case_0"):
        return requests.post(f"{live.url}/infer/{model}", params={"image": image}, timeout=20)

    assert (ask("refuse").status_code, ask("refuse").json()["detail"][:20]) == (400, "case_0 has no frames")
    assert ask("nothing").status_code == 404
    assert ask("sleep", "case_9").status_code == 404
    failed = ask("fail")
    assert failed.status_code == 500
    assert "secret" not in failed.text
    assert failed.json()["detail"].split()[-1].rstrip(".") in live.output.read_text()
    assert "ZeroDivisionError" in live.output.read_text()


def test_save_label_of_an_inference(live):
    params = json.dumps({"save_label": True, "label_tag": "original", "result_extension": ".nrrd"})
    query = {"image": "case_0", "output": "json"}
    assert requests.post(f"{live.url}/infer/sleep", params=query, data={"params": params}, timeout=20).ok
    assert (live.studies / "labels" / "original" / "case_0.nrrd").read_bytes().startswith(b"mask of ")
