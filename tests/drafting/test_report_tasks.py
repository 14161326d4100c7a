# SPDX-License-Identifier: Apache-2.0
"""The report model as the app serves and trains it: with the shipped lesion model, on phantom heads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lib.datastore.local import LocalStore
from lib.drafting.earlier import EarlierVisit, History
from lib.drafting.measured import lesion_vectors
from lib.drafting.writer import LEXICONS, report_writer
from lib.infers.report import VisitToReport
from lib.phantom import head_stack, head_visits, write_nifti
from lib.registry import build_network
from lib.reports import saved, training_reports
from lib.tasks import Tasks
from lib.text import Change, Vocabulary
from lib.trainers.report_corrections import CorrectedStudy, grown, sentences_to_learn
from lib.trainers.report_readers import LesionReader
from lib.trainers.report_studies import load_studies, phantom_pair, save_studies
from lib.trainers.report_task import ReportTrainTask
from lib.trainers.report_writing import LONGEST, BrainWriting, grammar_vocabulary
from lib.types import Finding, InputError
from lib.types.report import Report, ReportStatus, Sentence
from lib.weights.files import load_weights, read_metadata
from lib.weights.versions import VersionStore

ROOT = Path(__file__).parents[2]
REPORT, LESIONS = "report_brain_mr", "mr_lesion_segmentation"
SMALL = {"dim": 16, "text": {"vocabulary_size": 256, "hash_buckets": 16, "embedding": 16, "hidden": 8}}
NOW = "2026-03-01T10:00:00+01:00"
PLACE = {"spacing_mm": (1.7, 1.7, 7.0)}
FINDINGS = "There is a lesion in the left frontal lobe. The sulci are narrow."


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lesion model as it ships, and a small report model."""
    folder = tmp_path_factory.mktemp("configs")
    shutil.copy(ROOT / "configs" / f"{LESIONS}.yaml", folder)
    data = yaml.safe_load((ROOT / "configs" / f"{REPORT}.yaml").read_text(encoding="utf-8"))
    network = data["report"]["network"]
    network |= SMALL | {"decoder": {**network["decoder"], "hidden": 24, "attention_hidden": 8, "prompt": 4}}
    data["report"]["beam"] |= {"max_length": 40}
    data["training"] |= {"max_epochs": 2, "steps_per_epoch": 15, "ema_decay": 0.5, "finetune_learning_rate": 0.01}
    (folder / f"{REPORT}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    for seed in (3, 5):
        stack = head_stack(seed, n_frames=16, size=128, spacing_mm=(1.7, 1.7, 7.0), n_lesions=1)
        write_nifti(stack, folder / f"P{seed}.nii.gz")
    return folder


def tasks_of(configs: Path, model_dir: Path, models: str = "all") -> Tasks:
    return Tasks(configs, model_dir, ROOT / "monailabel_app" / "pretrained", models)


@pytest.fixture(scope="module")
def served(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """With an untrained report model in service."""
    tasks = tasks_of(configs, tmp_path_factory.mktemp("model"))
    torch.manual_seed(0)
    state = build_network(tasks.configs[REPORT]).state_dict()
    facts = {"vocabulary": grammar_vocabulary(16).to_json()}
    tasks.versions[REPORT].add(state, publish=True, reason="random", parent="", details=facts)
    return tasks


def test_a_draft_of_an_image(served: Tasks, studies: Path) -> None:
    task = served.infers()[REPORT]
    assert task.is_valid()
    info = task.info()
    assert (info["type"], info["source"], info["version"]) == ("report", LESIONS, "v0001")
    file, params = task({"image": str(studies / "P3.nii.gz"), "indication": "Seizure.", "history": "Glioma."})
    assert file is None
    json.dumps(params)
    report = Report.from_json(params["report"])
    assert (report.status, report.model, report.model_version) == (ReportStatus.DRAFT, REPORT, "v0001")
    assert report.sections["indication"][0].text == "Seizure."
    found = {Finding.from_json(finding).id for finding in params["findings"]}
    assert found
    assert {number for s in report.sections["findings"] for number in s.finding_ids} == found
    assert params["source"]["model"] == LESIONS
    assert params["opinions"] == {"lesion": "not assessed"}
    assert {"read", "lesions", "write", "total"} <= set(params["latencies"])
    assert saved(report, None, report.model, NOW).version == 1
    visit = VisitToReport(
        tuple(Finding.from_json(finding) for finding in params["findings"]),
        EarlierVisit(92.0, dict.fromkeys(found, History(Change.STABLE))),
        "the earlier one",
    )
    _, later = task({"image": str(studies / "P3.nii.gz"), "visit": visit})
    compared = Report.from_json(later["report"])
    assert compared.prior_image == "the earlier one"
    assert "92 days earlier" in compared.sections["comparison"][0].text
    changes = {fact.get("change") for s in compared.sections["findings"] for fact in s.facts if fact["present"]}
    assert changes - {None} == {"stable"}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "'image' must be the path"),
        ({"image": "x.nii.gz", "indication": 3}, "'indication' must be a text"),
        ({"image": "x.nii.gz", "prior_report": "x" * 20_001}, "at most 20000"),
        ({"image": "x.nii.gz", "visit": {"earlier": 1}}, "the server's own code only"),
        ({"image": "x.nii.gz", "score_threshold": 7}, "score_threshold"),
    ],
)
def test_a_wrong_request_is_named(served: Tasks, request_: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        served.infers()[REPORT](request_)


def test_the_lesion_model_must_be_served_have_weights_and_fit(configs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"'{LESIONS}' finds, which is not served: add it to conf 'models'"):
        tasks_of(configs, tmp_path, REPORT)
    bare = Tasks(configs, tmp_path / "model", tmp_path / "nothing")
    assert not bare.infers()[REPORT].is_valid()
    with pytest.raises(InputError, match="'report_brain_mr' has no weights yet"):
        bare.infers()[REPORT]({"image": "x.nii.gz"})
    with pytest.raises(InputError, match=f"'{LESIONS}' finds, and it has no weights yet"):
        bare.trainers()[REPORT].source.current()
    other = tmp_path / "other"
    shutil.copytree(configs, other)
    path = other / f"{LESIONS}.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "network: {channels: [8, 16, 24]}\n", encoding="utf-8")
    with pytest.raises(InputError, match="reads 640 features of each frame"):
        tasks_of(other, tmp_path)


def put(store: LocalStore, image: str, report: Report, folder: Path) -> None:
    path = folder / "report.json"
    path.write_text(json.dumps(report.to_json()), encoding="utf-8")
    store.save_label(image, str(path), "report", {})


def report_of(text: str, status: ReportStatus = ReportStatus.CORRECTED) -> Report:
    sentences = tuple(Sentence(part.strip() + ".", (1,)) for part in text.split(".") if part.strip())
    return Report({"findings": sentences, "impression": (Sentence("Single lesion.", (1,)),)}, status, model=REPORT)


def test_training_learns_what_people_corrected_and_says_how_much(
    served: Tasks, configs: Path, studies: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "studies"
    shutil.copytree(studies, folder)
    store = LocalStore(folder)
    versions = VersionStore(tmp_path / "model", served.configs[REPORT], tmp_path)
    shutil.copytree(served.versions[REPORT].folder, versions.folder)
    task = ReportTrainTask(served.configs[REPORT], versions, served.trainers()[REPORT].source)
    draft = saved(
        replace(report_of("There is a lesion in the left frontal lobe", ReportStatus.DRAFT)), None, REPORT, NOW
    )
    put(store, "P3", draft, tmp_path)
    with pytest.raises(InputError, match="no report has been corrected or signed yet"):
        task({"device": "cpu"}, store)
    put(store, "P3", saved(report_of(FINDINGS), draft, "Jane", NOW), tmp_path)
    put(store, "P5", saved(report_of(FINDINGS), None, "Jane", NOW), tmp_path)
    with caplog.at_level("INFO"):
        record = task({"device": "cpu", "val_split": 0.5}, store)
    details = record["details"]
    assert record["published"], record["reason"]
    assert details["val_score"] > 2 * details["deployed_val_score"]  # the words of corrections are twice as likely
    shares = {one["image"]: one["share"] for one in details["reports"]}
    assert shares["P5"] == 1.0
    assert 0 < shares["P3"] < 1
    assert "of the words changed" in caplog.text
    assert details["new_words"] >= 2
    path, version = versions.current()
    assert version == "v0002"
    assert "sulci" in Vocabulary.from_json(read_metadata(path)["vocabulary"])
    old, new = (_draft(served, studies, versions.path(v)) for v in ("v0001", "v0002"))
    assert old != new


def test_a_correction_is_learned_with_its_indication_and_what_has_changed(
    served: Tasks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stacks = head_visits(3, (0, 92), (1.0, 2.4), n_frames=16, size=128, **PLACE, n_lesions=1, new_lesion=False)
    for i, stack in enumerate(stacks):
        label = tmp_path / "labels" / "final" / f"P3__{i}.nii.gz"
        write_nifti(stack, tmp_path / f"P3__{i}.nii.gz", label)
    store, source = LocalStore(tmp_path), served.trainers()[REPORT].source
    for i, day in enumerate(("20260101", "20260403")):
        store.update_image_info(f"P3__{i}", {"StudyDate": day})
    reader = LesionReader(served.configs[REPORT], source)
    told = report_of("There is a left frontal lesion. It has grown")
    told = replace(told, sections={"indication": (Sentence("Seizure."),), **told.sections}, prior_image="P3__0")
    put(store, "P3__1", saved(told, None, "Jane", NOW), tmp_path)
    [found] = training_reports(store)
    study = reader.study(store, found)
    assert reader.is_compared(study)
    [lesion] = study.found.lesions
    assert (lesion.change, study.found.days) == (Change.GROWN, 92)
    assert lesion.percent == pytest.approx(140, abs=40)
    sentences = sentences_to_learn(found.report, LEXICONS["brain_mr"], compared=True)
    assert ("findings", "It has grown.") in sentences
    vocabulary = grammar_vocabulary(16)
    [case] = reader.cases([CorrectedStudy(study, found, tuple(sentences))], vocabulary)
    assert case.words == tuple(vocabulary.encode("Seizure.").ids)
    assert np.array_equal(case.lesions, lesion_vectors(study.found))
    assert vocabulary.id_of("grown") in case.report
    for prior in ("", "P9"):
        alone = replace(found, report=replace(found.report, prior_image=prior))
        assert not reader.is_compared(reader.study(store, alone))
    assert "'P9', which the report of 'P3__1' compares with: it is not in the store" in caplog.text


def _draft(served: Tasks, studies: Path, path: Path) -> list[str]:
    """The model's own words for a study, before the guard."""
    config = served.configs[REPORT]
    network = build_network(config)
    load_weights(network, path)
    writer = report_writer(config, network, torch.device("cpu"), path)
    inputs = writer.inputs(replace(_study()))
    return writer.vocabulary.tokens_of(writer.network.write(inputs, writer.beam)[1][0][0].ids)


def _study():
    from tests.drafting.test_writer import study

    return study(image=None)


def test_sentences_of_change_are_not_learned_nor_struck_ones() -> None:
    report = report_of("There is a left frontal lesion. It has grown. No new lesion is seen.")
    learned = sentences_to_learn(report, LEXICONS["brain_mr"])
    assert learned == [("findings", "There is a left frontal lesion."), ("impression", "Single lesion.")]


def test_a_vocabulary_grows_as_far_as_there_is_room() -> None:
    known = Vocabulary.build(["There is a lesion."], minimum_count=1)
    assert len(grown(known, [], 100)) == len(known)


def test_phantom_studies_are_cases_and_can_be_kept(served: Tasks, tmp_path: Path) -> None:
    source = served.trainers()[REPORT].source
    from lib.infers.predictors import PredictorCache, lesion_predictor

    predictor = PredictorCache(source.config, lesion_predictor).get(torch.device("cpu"), source.current()[0])
    pair = phantom_pair(30_003, predictor)
    save_studies(pair, tmp_path / "kept.npz")
    again = load_studies(tmp_path / "kept.npz")
    assert [one.truth for one in again] == [one.truth for one in pair]
    assert again[1].prior == pair[0].truth
    assert again[0].features.shape[1] == 640
    with pytest.raises(InputError, match="no file of report studies"):
        load_studies(tmp_path / "none.npz")
    writing = BrainWriting({one.image_id: one for one in pair}, grammar_vocabulary(16), ("lesion",))
    cases, rng = writing.cases([one.image_id for one in pair]), np.random.default_rng(0)
    drawn = [writing.change(cases[1], rng) for _ in range(12)]
    assert len({case.report for case in drawn}) == 12
    assert np.mean([len(case.report) <= LONGEST for case in drawn]) > 0.8
    assert all(1 not in case.report for case in drawn)  # no unknown word
