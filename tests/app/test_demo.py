# SPDX-License-Identifier: Apache-2.0
"""``lesionloop demo`` run for real: its table and pictures, its end, and what it says when it cannot start."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image
from rich.console import Console
from scipy import ndimage

from lib.configs import load_configs
from lib.followup import recist_response
from lib.phantom import head_stack, head_visits, write_dicom, write_nifti
from lib.registry import build_network
from lib.types import InputError
from lib.weights.versions import VersionStore
from monailabel_app.demo import _config, _views
from monailabel_app.demo_followup import in_words, patients_with_visits, set_against, true_timeline
from monailabel_app.followup_pictures import draw_followup
from monailabel_app.patients import Patient, own_patients, phantom_patients
from monailabel_app.pictures import frames_to_show, summary
from monailabel_app.process import address, check_port, free_port, start_server
from monailabel_app.roots import CONFIGS_DIR, ROOT
from monailabel_app.tables import followup_table
from monailabel_app.truth import Answer, Score, View, load_view, score, true_lesions

MODELS = ("mr_lesion_detection", "mr_lesion_segmentation")
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-c", "from monailabel_app.cli import main; main()"]


def small_phantom(seed: int, n_lesions: int = 1):
    return head_stack(seed, n_frames=8, size=96, spacing_mm=(2.5, 2.5, 12.0), n_lesions=n_lesions)


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Three small phantoms: one labelled, one healthy and labelled, one (the first by name) without a mask."""
    folder = tmp_path_factory.mktemp("studies")
    final = folder / "labels" / "final"
    write_nifti(small_phantom(1), folder / "p1.nii.gz", final / "p1.nii.gz")
    write_nifti(small_phantom(2, 0), folder / "p2.nii.gz", final / "p2.nii.gz")
    write_nifti(small_phantom(3), folder / "a [new].nii.gz")
    return folder


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory) -> Path:
    """Random weights in service, so that the test depends on no trained ones."""
    folder = tmp_path_factory.mktemp("models")
    for config in load_configs(CONFIGS_DIR).values():
        store = VersionStore(folder, config, folder)
        store.add(build_network(config).state_dict(), publish=True, reason="random", parent="", details={})
    return folder


def demo_command(folder: Path, model_dir: Path, port: int, *options: str) -> list[str]:
    settings = ["--folder", str(folder), "--port", str(port), "--conf", f"model_dir={model_dir}"]
    settings += ["--conf", f"models={','.join(MODELS)}"]  # a NIfTI file does not say for which models it is
    return [*COMMAND, "demo", *settings, *options]


def processes_with(text: str) -> list[str]:
    """Command lines of live processes that mention a text."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        line = " ".join(process.info["cmdline"] or [])
        if text in line and process.info["pid"] != os.getpid():
            found.append(line)
    return found


@pytest.mark.e2e
def test_demo_on_a_folder_of_ones_own(studies, model_dir, tmp_path):
    port = free_port()
    command = demo_command(tmp_path, model_dir, port, "--studies", str(studies), "--exit")
    run = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "chosen: p1, p2, a [new] (no mask)" in run.stdout
    results = table_rows(run.stdout)
    assert set(results) == {(model, image) for model in MODELS for image in ("p1", "p2", "a [new]")}
    assert results["mr_lesion_segmentation", "p1"][1] == "1"  # truly there
    assert 0 <= float(results["mr_lesion_segmentation", "p1"][6]) <= 1  # Dice
    assert results["mr_lesion_detection", "p2"][1:3] == ["0", "0"]  # there, hit
    assert results["mr_lesion_detection", "a [new]"][1:4] == ["-", "-", "-"]  # nothing to compare with
    assert all(float(seconds) >= 0 for cells in results.values() for seconds in cells[7:])
    assert f"server address http://127.0.0.1:{port}" in run.stdout
    for model in MODELS:
        for image in ("p1", "p2", "a [new]"):
            picture = np.asarray(Image.open(tmp_path / "pictures" / f"{image}-{model}.png"))
            assert picture.shape[1] > 300
            assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100
    assert not processes_with(f"--port {port}")
    check_port("127.0.0.1", port)


def table_rows(output: str) -> dict[tuple[str, str], list[str]]:
    """The twelve numbers of each line of the results, by model and image."""
    found, model = {}, ""
    for line in output.splitlines():
        model = line.strip() if line.strip() in MODELS else model
        name, numbers = line.split()[:-12], line.split()[-12:]
        if name and len(numbers) == 12 and re.fullmatch(r"[\d.-]+", "".join(numbers)):
            found[model, " ".join(name)] = numbers
    return found


@pytest.mark.e2e
def test_demo_serves_until_told_to_end_and_leaves_nothing_behind(studies, model_dir, tmp_path):
    port = free_port()
    command = demo_command(tmp_path, model_dir, port, "--studies", str(studies), "--limit", "1")
    demo = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert demo.stdout is not None
        output = []
        for line in demo.stdout:
            output.append(line)
            if "Serving until" in line:
                break
        assert demo.poll() is None, "".join(output)
        info = requests.get(f"http://127.0.0.1:{port}/info/", timeout=30).json()
        assert set(info["models"]) == set(MODELS)
        training = requests.post(
            f"http://127.0.0.1:{port}/train/{MODELS[0]}", json={"max_epochs": 500, "val_split": 0.5}, timeout=30
        )
        assert training.ok, training.text
        assert wait_for(lambda: len(started_by(demo)) >= 2), "no training process beside the server"
        family = started_by(demo)
    finally:
        demo.send_signal(signal.SIGTERM)
        code = demo.wait(60)
    assert code == 0
    assert not [process for process in family if process.is_running()]
    assert not processes_with(f"--port {port}")


def started_by(demo: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(demo.pid).children(recursive=True)


def wait_for(condition, limit_s: float = 30):
    end = time.monotonic() + limit_s
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


@pytest.mark.slow
def test_phantoms_are_made_once(tmp_path):
    made = []
    patients = phantom_patients(tmp_path, lambda done, total: made.append((done, total)))
    assert made == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]
    visits = [f"phantom-a__visit{number}" for number in (1, 2, 3)]
    assert [p.name for p in patients] == [*visits, "phantom-b", "phantom-healthy"]
    views = [load_view(p, _config(MODELS[1])) for p in patients]
    assert [len(true_lesions(view, 0.05)) for view in views[:3]] == [2, 3, 3]
    assert true_lesions(views[4], 0.05) == []
    assert {name: len(found) for name, found in patients_with_visits(views).items()} == {"phantom-a": 3}
    truth = true_timeline(views[:3], (0, 120, 300))
    assert [set(seen.visit for seen in track.observations) for track in truth.tracks] == [{0, 1, 2}, {0, 1, 2}, {1, 2}]
    grown = [track.trend.overall.percent for track in truth.tracks]
    assert grown == pytest.approx([140, 140, 60], abs=8), (
        "the phantom grows to 2.4 times its size, the new lesion by 1.6"
    )
    assert not (tmp_path / "studies" / "labels").exists()
    assert phantom_patients(tmp_path, lambda *_: pytest.fail("made again")) == patients
    corrected = tmp_path / "studies" / "labels" / "final" / "phantom-b.nii.gz"
    corrected.parent.mkdir(parents=True)
    corrected.write_bytes(b"corrected")
    manifest = tmp_path / "phantoms.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": -1}))
    phantom_patients(tmp_path, lambda *_: None)
    assert (tmp_path / "studies-1" / "labels" / "final" / "phantom-b.nii.gz").read_bytes() == b"corrected"
    assert not (tmp_path / "studies" / "labels").exists()


def test_a_view_shows_the_channel_that_is_there(tmp_path):
    path = tmp_path / "p_flair.nii.gz"
    write_nifti(small_phantom(1), path)
    view = load_view(Patient("p", path, None, "p"), _config("mr_three_channel_segmentation"))
    assert np.count_nonzero(view.frames) > 1000, "the picture would be black"


def test_images_are_read_as_a_model_of_single_images_reads_them(studies):
    several_last = sorted(load_configs(CONFIGS_DIR).values(), key=lambda config: len(config.input.required))
    views = _views(own_patients(studies, 1, studies), several_last, Console(file=io.StringIO()))
    assert [view.suits(_config("mr_lesion_segmentation")) for view in views] == [True]
    assert np.array_equal(views[0].frames, load_view(views[0].patient, _config("mr_lesion_segmentation")).frames)


def test_own_patients_prefers_labelled_images(studies):
    assert [p.image_id for p in own_patients(studies, 3, studies)] == ["p1", "p2", "a [new]"]
    assert [p.truth is not None for p in own_patients(studies, 3, studies)] == [True, True, False]
    assert [p.image_id for p in own_patients(studies, 1, studies)] == ["p1"]


def test_series_of_a_dicom_folder_are_chosen_by_patient_and_date(tmp_path):
    studies = tmp_path / "studies"
    for patient in ("P2", "P1"):
        write_dicom(small_phantom(1), studies / patient, patient_id=patient)
    for path in list((studies / "P2").iterdir()):  # both series in one folder, as on a disc
        path.rename(studies / "P1" / f"second-{path.name}")
    first, second = own_patients(studies, 3, tmp_path / "links")
    assert (first.name.split()[0], second.name.split()[0]) == ("P1", "P2")
    views = [load_view(patient, _config(MODELS[0])) for patient in (first, second)]
    assert [view.frames.shape for view in views] == [(8, 96, 96)] * 2
    assert first.image_id != second.image_id


def test_unusable_folders_say_what_is_expected(tmp_path):
    with pytest.raises(InputError, match=r"no such folder.*Expected image files"):
        own_patients(tmp_path / "missing", 3, tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        own_patients(tmp_path / "notes.txt", 3, tmp_path)
    with pytest.raises(InputError, match="no image found"):
        own_patients(tmp_path, 3, tmp_path)
    (tmp_path / "IM0001.dcm").write_bytes(b"")
    with pytest.raises(InputError, match="lesionloop doctor"):
        own_patients(tmp_path, 3, tmp_path)


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    (tmp_path / "image.nii.gz").write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # the superuser may write everywhere
    with pytest.raises(InputError, match="cannot be written to"):
        own_patients(tmp_path, 3, tmp_path)


def test_a_taken_port_names_the_port_and_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 is taken.*--port {port + 1}"):
            check_port("127.0.0.1", port)


@pytest.mark.slow
def test_a_server_that_dies_shows_its_log(tmp_path):
    (tmp_path / "main.py").write_text("raise RuntimeError('this app is broken')\n")
    server = start_server(tmp_path, tmp_path, {}, port=free_port(), log=tmp_path / "server.log")
    with pytest.raises(InputError, match=r"(?s)ended with exit code.*this app is broken"), server:
        pytest.fail("it cannot start")


def test_addresses():
    assert address("0.0.0.0", 8000) == "http://127.0.0.1:8000"
    assert address("::1", 8000) == "http://[::1]:8000"


@pytest.fixture
def answer(tmp_path) -> Answer:
    """A segmentation that says exactly the truth."""
    stack = small_phantom(5, 2)
    patient = Patient("p", tmp_path / "p.nii.gz", tmp_path / "truth.nii.gz", "p")
    write_nifti(stack, patient.image, patient.truth)
    view = load_view(patient, _config(MODELS[1]))
    findings = [{"box_lps_mm": box} for box in true_lesions(view, 0.0)]
    return Answer(MODELS[1], "segmentation", view, {"findings": findings}, view.truth, 0.1)


def test_a_perfect_answer_scores_perfectly(answer):
    result = score(answer, 0.0)
    assert (result.found, result.there, result.hit, result.false, result.dice) == (2, 2, 2, 0, 1.0)
    assert result.found_ml == pytest.approx(result.there_ml)
    assert summary(result) == "2 of 2 lesions hit, 0 false, Dice 1.00"


def test_misses_and_false_alarms_are_counted(answer):
    x0, y0, z0, x1, y1, z1 = answer.params["findings"][0]["box_lps_mm"]
    far = {"box_lps_mm": (x0 + 500, y0, z0, x1 + 500, y1, z1)}
    result = score(replace(answer, params={"findings": [answer.params["findings"][0], far]}, mask=None), 0.0)
    assert (result.found, result.hit, result.false, result.dice) == (2, 1, 1, None)
    nothing = score(replace(answer, params={"findings": []}, mask=np.zeros_like(answer.mask)), 0.0)
    assert (nothing.found, nothing.hit, nothing.false, nothing.dice) == (0, 0, 0, 0.0)


def test_true_specks_below_the_smallest_volume_do_not_count(answer):
    smallest_ml = min(lesion.volume_mm3 for lesion in small_phantom(5, 2).lesions) / 1000
    assert score(answer, smallest_ml + 0.01).there == 1


def test_without_a_truth_nothing_is_claimed(answer):
    blind = replace(answer, view=View(answer.view.patient, answer.view.frames, answer.view.geometry, None))
    result = score(blind, 0.0)
    assert (result.there, result.hit, result.dice) == (None, None, None)
    assert summary(Score(2)) == "2 found; no mask to compare with"


def test_pictures_show_the_frames_with_lesions(answer):
    with_lesion = [int(t) for t in np.flatnonzero(answer.view.truth.any(axis=(1, 2)))]
    assert frames_to_show(answer) == with_lesion
    empty = np.zeros_like(answer.mask)
    healthy = replace(answer, view=replace(answer.view, truth=empty), mask=empty)
    assert frames_to_show(healthy) == [2, 3, 4, 5]


DAYS, FACTORS = (0, 90, 200), (1.0, 1.5, 2.2)


@pytest.fixture(scope="module")
def visits(tmp_path_factory) -> list[View]:
    """Three visits of a small phantom with two lesions."""
    folder = tmp_path_factory.mktemp("visits")
    stacks = head_visits(
        4, DAYS, FACTORS, n_frames=10, size=96, spacing_mm=(2.5, 2.5, 8.0), n_lesions=2, new_lesion=False
    )
    views = []
    for number, stack in enumerate(stacks, start=1):
        name = f"p__visit{number}"
        patient = Patient(name, folder / f"{name}.nii.gz", folder / f"{name}-truth.nii.gz", name)
        write_nifti(stack, patient.image, patient.truth)
        views.append(load_view(patient, _config(MODELS[1])))
    return views


def answered(views: list[View], shown: list[View] | None = None) -> dict:
    """What a server says that finds what ``shown`` holds, by default the truth."""
    timeline = true_timeline(shown or views, DAYS)
    classes = [None, *(one.response.value for one in recist_response(timeline).visits)]
    visits = [
        {
            "image": view.patient.image_id,
            "days": float(DAYS[k]),
            "response": classes[k],
            "findings": [finding.to_json() for finding in timeline.findings_at(k)],
        }
        for k, view in enumerate(views)
    ]
    return {"visits": visits, "tracks": timeline.to_json()["tracks"], "warnings": []}


def test_a_perfect_follow_up_measures_what_is_true(visits):
    found = set_against("p", visits, answered(visits))
    assert len(found.lesions) == 2
    for lesion in found.lesions:
        assert lesion.found_ml == pytest.approx(lesion.true_ml, abs=1e-3)
        assert lesion.true_percent == pytest.approx(120, abs=8)
        assert lesion.found_percent == pytest.approx(lesion.true_percent, abs=0.1)
        assert lesion.found_spread == lesion.true_spread
    assert found.true_response == found.found_response
    assert (found.false, in_words(found)) == ((), [])


def test_what_the_model_misses_and_invents_is_said_in_words(visits, tmp_path):
    parts = [np.flatnonzero(view.truth.any(axis=(1, 2))) for view in visits]
    kept = visits[1].truth.copy()
    numbered, count = ndimage.label(kept)
    assert count == 2, parts
    kept[numbered == 1] = 0  # missed at the second visit
    kept[0, 2:8, 2:8] = 1  # and this one is not there
    shown = [visits[0], replace(visits[1], truth=kept), visits[2]]
    found = set_against("p", visits, answered(visits, shown))
    missed = next(lesion for lesion in found.lesions if lesion.found_ml[1] is None)
    assert missed.found_ml[0] is not None
    assert missed.found_percent == pytest.approx(missed.true_percent, abs=0.1), "found again from the first visit"
    assert in_words(found) == [
        f"Lesion {missed.number}: the model missed it at visit 2.",
        "1 of the lesions that the model reports is not there.",
    ]
    nothing = [replace(view, truth=np.zeros_like(view.truth)) for view in visits]
    blind = set_against("p", visits, answered(visits, nothing))
    assert [text.split(": ")[1] for text in in_words(blind)] == ["the model missed it at every visit."] * 2
    for name, one in (("some", found), ("none", blind)):
        draw_followup(one, tmp_path / f"{name}.png")
        assert np.asarray(Image.open(tmp_path / f"{name}.png")).shape[1] > 500
    table = followup_table(blind)
    assert [column.header.split()[0] for column in table.columns][:2] == ["lesion", "visit"]
    assert table.row_count == 3  # the lesions and the response


def test_a_timeline_of_other_visits_is_refused(visits):
    with pytest.raises(InputError, match="follows other visits of p"):
        set_against("p", visits[:2], answered(visits))


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_phantom_patient_s_true_growth_stands_beside_the_measured_one(tmp_path):
    command = [*COMMAND, "demo", "--folder", str(tmp_path), "--port", str(free_port()), "--exit"]
    command += ["--conf", f"model_dir={tmp_path / 'model'}"]
    run = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=850, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    table = run.stdout.partition("Follow-up of phantom-a")[2].partition("true / measured.")[0]
    lines = [line for line in table.splitlines() if re.match(r" *[123] ", line)]
    assert len(lines) == 3
    assert re.search(r"RECIST .*(CR|PR|SD|PD|NE) / (CR|PR|SD|PD|NE|non-CR/non-PD)", table)
    assert all("/" in line for line in lines)
    picture = np.asarray(Image.open(tmp_path / "pictures" / "phantom-a-followup.png"))
    assert picture.shape[1] > 800
