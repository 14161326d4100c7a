# SPDX-License-Identifier: Apache-2.0
"""The chest report model as the app serves and trains it, and how its weights are made; all images are drawn."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from fastapi import HTTPException
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from typer.testing import CliRunner

from lib.configs import load_config, override
from lib.datastore.local import LocalStore
from lib.drafting.writer import ClinicalText, ReportWriter, StudyToReport
from lib.infers.predictors import Stopwatch
from lib.infers.report import ReportDrafting, VisitToReport
from lib.infers.report_inputs import Asked, RadiographInput
from lib.networks.report_net import ReportNet
from lib.registry import build_network
from lib.reports import saved, training_reports
from lib.tasks import Tasks
from lib.text import Vocabulary
from lib.trainers.report_chest_notes import sure_thresholds
from lib.trainers.report_corrections import CorrectedStudy
from lib.trainers.report_notes import CLASSES, load_image, told_findings
from lib.trainers.report_readers import RadiographReader
from lib.trainers.report_task import ReportTrainTask
from lib.transforms.load import load_study
from lib.transforms.radiograph import radiograph_of
from lib.types import InputError
from lib.types.report import Decision, Report, ReportStatus, Sentence
from lib.weights.files import read_metadata
from lib.weights.versions import VersionStore
from monailabel_app.cli import app
from monailabel_app.serving import report_visits

ROOT = Path(__file__).parents[2]
CHEST = "report_chest"
SIZE = 32
NOW = "2026-03-01T10:00:00+01:00"
TEXTS = [
    "There is a patchy opacity in the left lower lobe. No pleural effusion is seen. The heart is enlarged.",
    "Bilateral consolidation is seen. There is an opacity. There is no cardiomegaly. Clear lungs.",
]
SMALL = {
    "input.max_size_px": SIZE,
    "report.network.dim": 16,
    "report.network.text": {"vocabulary_size": 128, "hash_buckets": 16, "embedding": 16, "hidden": 8},
    "report.network.image": {"kind": "grid", "channels": [8, 16], "grids": [2]},
    "report.network.decoder": {"hidden": 24, "attention_hidden": 8, "prompt": 4},
    "report.beam.max_length": 24,
    "training.max_epochs": 2,
    "training.steps_per_epoch": 12,
    "training.batch_size": 4,
    "training.ema_decay": 0.5,
    "training.finetune_learning_rate": 0.02,
}


def drawn(seed: int = 0, height: int = 60, width: int = 44) -> np.ndarray:
    """A bright heap on a slope, off the middle, so that every mirror image differs."""
    rows, columns = np.mgrid[:height, :width]
    heap = np.exp(-((rows - 20 - seed) ** 2 + (columns - 12) ** 2) / 60)
    return (120 * heap + rows + 0.5 * columns).astype(np.uint8)


def write_cr(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", bits: int = 8) -> Path:
    """A Computed Radiography image (PS3.3 A.2) of one frame."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = ComputedRadiographyImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientID, image.Modality, image.InstanceNumber = path.stem, "CR", 1
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, photometric, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = (16 if bits > 8 else 8), bits, bits - 1
    image.ImagerPixelSpacing = [0.15, 0.15]
    image.PixelData = pixels.astype(np.uint16 if bits > 8 else np.uint8).tobytes()
    image.is_little_endian, image.is_implicit_VR = True, False
    image.save_as(path, write_like_original=False)
    return path


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the chest model alone, made small."""
    folder = tmp_path_factory.mktemp("configs")
    data = yaml.safe_load((ROOT / "configs" / f"{CHEST}.yaml").read_text(encoding="utf-8"))
    for key, value in SMALL.items():
        *parents, leaf = key.split(".")
        node = data
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    data.pop("pretrained", None)
    (folder / f"{CHEST}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def served(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """With an untrained model in service."""
    tasks = Tasks(configs, tmp_path_factory.mktemp("model"), ROOT / "monailabel_app" / "pretrained")
    torch.manual_seed(0)
    state = build_network(tasks.configs[CHEST]).state_dict()
    facts = {"vocabulary": Vocabulary.build(TEXTS, minimum_count=1, buckets=16).to_json()}
    tasks.versions[CHEST].add(state, publish=True, reason="random", parent="", details=facts)
    return tasks


def test_the_shipped_config_is_of_the_notes_classes_and_reads_the_image_itself() -> None:
    config = load_config(ROOT / "configs" / f"{CHEST}.yaml")
    assert config.class_names == CLASSES
    assert config.report is not None
    assert config.report.source == ""
    assert config.report.network.image.kind == "grid"
    with pytest.raises(InputError, match="labels names 4 classes"):
        override(config, {"report.network.heads.classes": 3})


def test_a_draft_of_a_radiograph(served: Tasks, tmp_path: Path) -> None:
    task = served.infers()[CHEST]
    assert isinstance(task, ReportDrafting)
    assert task.is_valid()
    assert task.info()["type"] == "report"
    assert "source" not in task.info()
    image = write_cr(tmp_path / "P1.dcm", drawn())
    file, params = task({"image": str(image), "indication": "Suspected COVID-19, cough."})
    assert file is None
    json.dumps(params)
    report = Report.from_json(params["report"])
    assert (report.status, report.model, report.model_version) == (ReportStatus.DRAFT, CHEST, "v0001")
    assert report.sections["indication"][0].text == "Suspected COVID-19, cough."
    assert set(params["class_probabilities"]) == set(CLASSES)
    assert sum(params["class_probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert set(params["opinions"].values()) == {"not assessed"}  # untrained: no thresholds
    assert params["findings"] == []
    assert "source" not in params
    assert not [problem for problem in params["warnings"] if "was made for" in problem]
    written = [sentence for part in report.sections.values() for sentence in part]
    assert written
    assert all(sentence.support for sentence in written)
    assert all(any(character.isalnum() for character in sentence.text) for sentence in written)
    assert all(set(sentence.frame_attention) <= {0} for sentence in written)
    assert saved(report, None, report.model, NOW).version == 1


def test_a_folder_of_pictures_is_drafted_and_learned(served: Tasks, tmp_path: Path) -> None:
    """As those of the training come: PNG files, without any header."""
    for seed in range(2):
        Image.fromarray(drawn(seed)).save(tmp_path / f"P{seed}.png")
    store = LocalStore(tmp_path)
    task = served.infers()[CHEST]
    assert task.is_valid()
    _, params = task({"image": store.get_image_uri("P1")})
    assert Report.from_json(params["report"]).sentences
    assert (params["kind"], params["n_frames"]) == ("stack", 1)
    assert any("No pixel spacing" in warning for warning in params["warnings"])
    sections = {"findings": (Sentence("There is an opacity in the left lower lobe."),)}
    put(store, "P1", saved(Report(sections, ReportStatus.CORRECTED), None, "Jane", NOW), tmp_path)
    study = RadiographReader(served.configs[CHEST]).study(store, training_reports(store)[0])
    assert np.array_equal(study.image, load_image(tmp_path / "P1.png", SIZE))


def test_names_of_diseases_are_not_read(served: Tasks, tmp_path: Path) -> None:
    task, image = served.infers()[CHEST], str(write_cr(tmp_path / "P1.dcm", drawn()))
    drafts = [task({"image": image, "history": f"Cough, {name} proven."})[1] for name in ("COVID-19", "influenza")]
    assert drafts[0]["class_probabilities"] == drafts[1]["class_probabilities"]
    other = task({"image": image, "history": "Cough, fever, pain proven."})[1]
    assert other["class_probabilities"] != drafts[0]["class_probabilities"]


def test_every_file_of_a_radiograph_looks_the_same_to_the_model(served: Tasks, tmp_path: Path) -> None:
    """PNG as in training, DICOM of both photometric interpretations, other bits, and NIfTI."""
    pixels, reads = drawn(), served.configs[CHEST].input
    Image.fromarray(pixels).save(tmp_path / "image.png")
    as_trained = load_image(tmp_path / "image.png", SIZE)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(pixels.T[:, :, None].astype(np.int16), affine), tmp_path / "image.nii.gz")
    files = [
        write_cr(tmp_path / "plain.dcm", pixels),
        write_cr(tmp_path / "inverted.dcm", 255 - pixels, "MONOCHROME1"),
        write_cr(tmp_path / "deep.dcm", pixels.astype(np.uint16) * 10, bits=12),
        tmp_path / "image.nii.gz",
        tmp_path / "image.png",
    ]
    for file in files:
        image = radiograph_of(load_study(file, reads), SIZE)
        assert image.shape == (1, 1, SIZE, SIZE)
        assert np.abs(image - as_trained).max() < 1e-3, file.name
    wrong = radiograph_of(load_study(write_cr(tmp_path / "wrong.dcm", 255 - pixels), reads), SIZE)
    assert np.abs(wrong - as_trained).max() > 1


def test_a_large_radiograph_is_that_of_its_small_copy(tmp_path: Path) -> None:
    small = drawn(height=200, width=180).astype(np.float32)
    Image.fromarray(small.astype(np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.kron(small, np.ones((8, 8))).astype(np.uint8)).save(tmp_path / "large.png")
    images = [load_image(tmp_path / f"{name}.png", SIZE) for name in ("small", "large")]
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.99


def test_what_cannot_be_drafted_is_said(served: Tasks, configs: Path, tmp_path: Path) -> None:
    task = served.infers()[CHEST]
    volume = nib.Nifti1Image(np.zeros((40, 40, 3), np.int16), np.diag([-1.0, -1.0, 5.0, 1.0]))
    nib.save(volume, tmp_path / "volume.nii.gz")
    with pytest.raises(InputError, match="reads one radiograph; this image has 3 frames"):
        task({"image": str(tmp_path / "volume.nii.gz")})
    image = str(write_cr(tmp_path / "P1.dcm", drawn()))
    with pytest.raises(InputError, match="knows of no visits"):
        task({"image": image, "visit": VisitToReport((), None, "before")})
    bare = Tasks(configs, tmp_path / "model", tmp_path / "nothing")
    assert not bare.infers()[CHEST].is_valid()
    with pytest.raises(InputError, match="'report_chest' has no weights yet"):
        bare.infers()[CHEST]({"image": image})


def test_a_model_without_lesions_follows_no_visits(served: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    infers = {CHEST: served.infers()[CHEST]}
    monkeypatch.setattr(report_visits, "label_app", lambda: SimpleNamespace(_infers=infers))
    with pytest.raises(HTTPException, match="follows no lesions: ask without followup") as caught:
        report_visits.check_follows_lesions(CHEST)
    assert caught.value.status_code == 400


def put(store: LocalStore, image: str, report: Report, folder: Path) -> None:
    path = folder / "report.json"
    path.write_text(json.dumps(report.to_json()), encoding="utf-8")
    store.save_label(image, str(path), "report", {})


def test_training_learns_a_corrected_report_and_the_next_draft_changes(
    served: Tasks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    for seed in range(2):
        image = nib.Nifti1Image(drawn(seed).T[:, :, None].astype(np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]))
        nib.save(image, folder / f"P{seed}.nii.gz")
    store, config = LocalStore(folder), served.configs[CHEST]
    versions = VersionStore(tmp_path / "model", config, tmp_path)
    versions.add(
        build_network(config).state_dict(),
        publish=True,
        reason="random",
        parent="",
        details={"vocabulary": Vocabulary.build(TEXTS, minimum_count=1, buckets=16).to_json()},
    )
    task = ReportTrainTask(config, versions)
    with pytest.raises(InputError, match="no report has been corrected or signed yet"):
        task({"device": "cpu"}, store)
    words = ("There is an opacity in the left lower lobe.", "The ribs are intact.")
    sections = {"indication": (Sentence("Cough."),), "findings": tuple(map(Sentence, words))}
    for seed in range(2):
        put(store, f"P{seed}", saved(Report(sections, ReportStatus.CORRECTED), None, "Jane", NOW), tmp_path)
    drafting = ReportDrafting(config, versions)
    before = drafting({"image": str(folder / "P0.nii.gz")})[1]
    record = task({"device": "cpu", "val_split": 0.5}, store)
    assert record["published"], record["reason"]
    details = record["details"]
    assert details["val_score"] > details["deployed_val_score"]
    assert {one["image"] for one in details["reports"]} == {"P0", "P1"}
    assert "ribs" in Vocabulary.from_json(read_metadata(versions.current()[0])["vocabulary"])
    after = drafting({"image": str(folder / "P0.nii.gz")})[1]
    assert after["version"] == "v0002"
    assert after["report"]["sections"] != before["report"]["sections"]
    assert after["class_probabilities"] == before["class_probabilities"]  # what reads stays as it was


def test_a_correction_is_learned_with_the_words_that_its_draft_was_written_with(served: Tasks, tmp_path: Path) -> None:
    config = served.configs[CHEST]
    asked = "Cough for 12 days, influenza suspected; opacity?"
    Image.fromarray(drawn()).save(tmp_path / "P0.png")
    store, reader = LocalStore(tmp_path), RadiographReader(config)
    struck = Sentence("Trauma.", decision=Decision.STRUCK)
    sections = {"indication": (Sentence(asked), struck), "findings": (Sentence("There is an opacity."),)}
    put(store, "P0", saved(Report(sections, ReportStatus.CORRECTED), None, "Jane", NOW), tmp_path)
    source = training_reports(store)[0]
    study = reader.study(store, source)
    assert not reader.is_compared(study)
    vocabulary = Vocabulary.build([*TEXTS, "cough for days"], minimum_count=1, buckets=16)
    [case] = reader.cases([CorrectedStudy(study, source, (("findings", "There is an opacity."),))], vocabulary)
    writer = ReportWriter(config, build_network(config), vocabulary)
    drafted = RadiographInput(config).see(
        Asked(tmp_path / "P0.png", None, None, ClinicalText(asked), VisitToReport(), torch.device("cpu"), {}),
        Stopwatch(),
    )
    inputs = writer.inputs(drafted.to_report)
    assert inputs.words.tolist() == [list(case.words)]
    assert [tuple(i for i in word if i >= 0) for word in inputs.groups[0].tolist()] == list(case.groups)
    assert vocabulary.id_of("cough") in case.words
    assert np.array_equal(inputs.image[0], case.image)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Twelve invented notes of twelve patients."""
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(12):
        Image.fromarray(drawn(i)).save(tmp_path / "images" / f"{i}.png")
        said = "The film shows a left opacity." if i % 2 else "There is no opacity. The heart is enlarged."
        finding = ("COVID-19", "Klebsiella", "Pneumocystis", "Influenza")[i % 4]
        note = f"A man of {i + 30} with cough. {said}"
        rows.append([f"images/{i}.png", f"p{i}", finding, "X-ray", note])
    with (tmp_path / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "patientid", "finding", "modality", "clinical_notes"], *rows])
    return tmp_path


def run(*options: object) -> object:
    quick = ("training.max_epochs=1", "training.steps_per_epoch=2", "training.batch_size=4")
    settings = [part for one in quick for part in ("--set", one)]
    return CliRunner().invoke(app, ["train", CHEST, *map(str, options), *settings])


def test_weights_are_made_of_notes_with_vocabulary_and_thresholds(notes: Path, tmp_path: Path) -> None:
    output = tmp_path / "made.safetensors"
    result = run("--notes", notes, "--val-fraction", 0.5, "--output", output)
    assert result.exit_code == 0, result.output
    assert f"wrote {output}" in result.output
    header = read_metadata(output)
    assert "opacity" in Vocabulary.from_json(header["vocabulary"])
    assert (header["studies"], header["patients"], header["left_out"]["studies"]) == (12, 12, 12)
    assert header["thresholds"]["patients"]["opacity"] == 6
    assert header["thresholds"]["thresholds"].keys() == {"opacity"}  # nobody is told to have a heart of normal size
    config = load_config(ROOT / "configs" / f"{CHEST}.yaml")
    network = ReportNet(config.report.network)
    writer = ReportWriter(config, network, Vocabulary.from_json(header["vocabulary"]))
    draft = writer.write(StudyToReport(load_image(notes / "images" / "0.png", config.input.max_size_px)))
    assert set(draft.classes) == set(CLASSES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "x.safetensors"], "name their folder with --notes"),
        (["--output", "x.safetensors", "--phantoms", "3"], "reads the image; it takes no --phantoms"),
        (["--output", "x.safetensors", "--notes", "nowhere"], "is not there"),
    ],
)
def test_what_the_command_lacks_is_said(options: list[str], said: str) -> None:
    result = run(*options)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


def test_notes_are_for_report_models_that_read_images() -> None:
    for model, said in (("report_brain_mr", "it takes no --notes"), ("mr_lesion_segmentation", "for report models")):
        result = CliRunner().invoke(app, ["train", model, "--notes", "x", "--output", "x.safetensors"])
        assert isinstance(result.exception, InputError)
        assert said in str(result.exception)


def test_findings_are_known_where_a_text_tells_them() -> None:
    names = ("opacity", "pleural_effusion", "cardiomegaly")
    told = told_findings("Opacity on the left, no opacity on the right. No pleural effusion.", names)
    assert told[:2].tolist() == [1, 0]
    assert np.isnan(told[2])
    assert np.isnan(told_findings("", names)).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_finding_that_is_nearly_always_told_is_not_taken_for_sure(seed: int) -> None:
    """A head that says the same of everyone is sure of nothing, one that tells apart is."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((200, 2)) < 0.9).astype(np.float32)
    chances = np.column_stack([np.full(200, 0.9) + rng.normal(0, 0.01, 200), np.where(targets[:, 1] > 0, 0.9, 0.1)])
    patients = [f"p{i}" for i in range(200)]
    thresholds = sure_thresholds(("same", "apart"), chances, targets, patients, 0.2)
    said = thresholds.opinions(("same", "apart"), np.array([0.9, 0.9]))
    assert (said["same"].value, said["apart"].value) == ("not assessed", "there")
    assert thresholds.patients["same"] == int((targets[:, 0] == 0).sum())
