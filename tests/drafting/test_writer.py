# SPDX-License-Identifier: Apache-2.0
"""Drafts of an untrained network: whatever it says, the draft is true, complete and can be traced."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.configs import ModelConfig, load_config, override
from lib.drafting.measured import LESION_FEATURES, measured_study
from lib.drafting.opinions import FindingThresholds
from lib.drafting.sections import report_tokens, sentences_in
from lib.drafting.writer import ClinicalText, ReportWriter, StudyToReport, report_writer
from lib.networks.report_net import ReportNet
from lib.registry import build_network
from lib.text import Change, MeasuredLesion, MeasuredStudy, Side, Vocabulary
from lib.types import Finding, InputError, Measurement, Source
from lib.types.report import Report, ReportStatus, Support
from lib.weights.files import save_weights

BRAIN = (-70.0, -90.0, -60.0, 70.0, 90.0, 70.0)
TEXTS = [
    "There is a 3 x 2 mm lesion in the left frontal lobe with a volume of 2 ml. No new lesion is seen.",
    "The right parietal lesion has grown by 3 % in 4 days. There are two lesions. It measures 4 mm. Known glioma.",
    "Impression: Single lesion, no oedema.",
]


def small(**changes: object) -> ModelConfig:
    config = load_config(Path(__file__).parents[2] / "configs" / "report_brain_mr.yaml")
    sizes = {"dim": 16, "text.vocabulary_size": 80, "text.hash_buckets": 8, "text.embedding": 12, "text.hidden": 8}
    sizes |= {"image.features": 6, "decoder.hidden": 16, "decoder.attention_hidden": 8, "decoder.prompt": 4}
    settings = {f"report.network.{key}": value for key, value in sizes.items()}
    return override(config, {**settings, "report.beam.max_length": 60, **changes})


def writer(seed: int = 0, thresholds: FindingThresholds | None = None) -> ReportWriter:
    config = small()
    torch.manual_seed(seed)
    vocabulary = Vocabulary.build(TEXTS, minimum_count=1, buckets=8)
    return ReportWriter(config, build_network(config), vocabulary, thresholds)


def finding(number: int, center: tuple[float, float, float]) -> Finding:
    measured = {
        "long_axis": Measurement(31.7, "mm"),
        "short_axis": Measurement(20.2, "mm"),
        "volume": Measurement(7.5, "ml"),
    }
    return Finding(number, "lesion", 0.7, {2: (0, 0, 4, 4), 3: (0, 0, 4, 4)}, (0,) * 6, center, measurements=measured)


FINDINGS = (finding(1, (30, -70, 30)), replace(finding(2, (-30, 40, 50)), score=0.6))


def study(**changes: object) -> StudyToReport:
    image = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    clinical = ClinicalText("Known glioma.", "Seizure.")
    return replace(StudyToReport(image, FINDINGS, measured_study(FINDINGS, BRAIN), clinical), **changes)


@pytest.mark.parametrize("seed", range(4))
def test_an_untrained_network_still_gives_a_true_and_complete_draft(seed):
    draft = writer(seed).write(study(), Source("report_brain_mr", "v0001", "abc"))
    report = draft.report
    assert list(report.sections) == ["indication", "findings", "impression"]
    assert report.status is ReportStatus.DRAFT
    assert (report.model, report.model_version, report.weights_sha256) == ("report_brain_mr", "v0001", "abc")
    for section in ("findings", "impression"):
        for sentence in report.sections[section]:
            assert sentence.support is not Support.CONTRADICTED
            assert set(sentence.finding_ids) <= {1, 2}
            assert all(0 <= t < 5 for t in sentence.frame_attention)
            assert sum(sentence.frame_attention.values()) <= 1.001
            assert {word for word, _ in sentence.word_attention} <= {"known", "glioma", ".", "seizure"}
    sides = {
        fact.get("lesion"): fact["side"] for s in report.sections["findings"] for fact in s.facts if "side" in fact
    }
    assert sides[1] == "left"
    assert sides[2] == "right"
    assert Report.from_json(report.to_json()) == report
    assert draft.interventions


def test_the_same_draft_twice():
    one = writer()
    assert one.write(study()).report == one.write(study()).report


def test_what_the_guard_writes_is_as_sure_as_the_finding():
    sentences = [
        s
        for s in writer().write(study()).report.sentences
        if s.facts and s.facts[0].get("written_by") == "measurements"
    ]
    assert {s.confidence for s in sentences if s.finding_ids == (1,)} == {0.7}
    assert {s.confidence for s in sentences if s.finding_ids == (1, 2)} <= {0.6}


def test_an_earlier_visit_is_named_and_what_has_become_of_lesions_told():
    grown = MeasuredLesion(1, Side.LEFT, "frontal", 31.7, 20.2, 7.5, Change.GROWN, 40.0, 5.4)
    gone = MeasuredLesion(-1, Side.RIGHT, "temporal", change=Change.GONE)
    draft = writer().write(study(measured=MeasuredStudy((grown, gone), True, 92), prior_image="before"))
    assert [s.text for s in draft.report.sections["comparison"]] == ["Compared with the examination 92 days earlier."]
    assert draft.report.prior_image == "before"
    changes = {fact.get("change") for s in draft.report.sections["findings"] for fact in s.facts}
    assert {"grown", "gone"} <= changes
    assert all(number > 0 for s in draft.report.sentences for number in s.finding_ids)
    no_date = writer().write(study(measured=MeasuredStudy((grown,), True)))
    assert no_date.report.sections["comparison"][0].text == "Compared with an earlier examination."


def test_a_prior_report_alone_is_no_comparison():
    draft = writer().write(study(clinical=ClinicalText(prior_report="There was a lesion of 12 mm.")))
    assert "not compared" in draft.report.sections["comparison"][0].text
    assert not any("change" in fact for s in draft.report.sections["findings"] for fact in s.facts if fact["present"])


@pytest.mark.parametrize(("threshold", "support"), [(None, "not_assessed"), (0.999, "supported")])
def test_no_lesion_is_only_said_when_the_head_is_sure(threshold, support):
    one = writer(thresholds=FindingThresholds({"lesion": 0.2} if threshold else {}))
    with torch.no_grad():
        for parameter in one.network.finding_head.parameters():
            parameter.zero_()
        bias = next(p for n, p in one.network.finding_head.named_parameters() if n.endswith("bias"))
        bias.fill_(-6.0)
    draft = one.write(study(findings=(), measured=MeasuredStudy()))
    said = [s for s in draft.report.sections["findings"] if s.facts and s.facts[0]["present"] is False]
    assert {s.support.value for s in said if "change" not in s.facts[0]} == {support}
    assert draft.probabilities["lesion"] < 0.01
    assert all(s.confidence > 0.99 for s in said if s.facts[0]["written_by"] == "measurements")


def test_without_image_text_or_lesions():
    draft = writer().write(StudyToReport(measured=MeasuredStudy()))
    assert draft.report.sections["findings"]
    assert "indication" not in draft.report.sections


def test_frames_that_no_viewer_shows_are_no_evidence():
    image = np.zeros((40, 6), np.float32)
    sentences = writer().write(study(image=image, frames_are_shown=False)).report.sentences
    assert {t for s in sentences for t in s.frame_attention} <= {2, 3}


def test_parts_that_do_not_fit_are_named(tmp_path):
    config = small()
    network = build_network(config)
    assert isinstance(network, ReportNet)
    large = Vocabulary.build(
        [" ".join(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(90))], minimum_count=1
    )
    with pytest.raises(InputError, match="leaves room for 80"):
        ReportWriter(config, network, large)
    other = small(**{"report.network.decoder.lesion_features": LESION_FEATURES + 1})
    with pytest.raises(InputError, match=f"lesions have {LESION_FEATURES}"):
        ReportWriter(other, build_network(other), Vocabulary.build(TEXTS))
    save_weights(network.state_dict(), tmp_path / "w.safetensors", {})
    with pytest.raises(InputError, match="bring no vocabulary"):
        report_writer(config, network, torch.device("cpu"), tmp_path / "w.safetensors")


def test_weights_bring_their_vocabulary_and_thresholds(tmp_path):
    one = writer(thresholds=FindingThresholds({"lesion": 0.25}, 0.1, {"lesion": 20}))
    header = {"vocabulary": one.vocabulary.to_json(), "thresholds": one.thresholds.to_json()}
    save_weights(one.network.state_dict(), tmp_path / "w.safetensors", header)
    again = report_writer(small(), one.network, torch.device("cpu"), tmp_path / "w.safetensors")
    assert (again.vocabulary, again.thresholds) == (one.vocabulary, one.thresholds)
    assert again.write(study()).report == one.write(study()).report


def test_a_row_of_tokens_is_cut_into_sections_and_sentences():
    sentences = [("findings", "A lesion lies in the left frontal lobe."), ("findings", "It measures 3 x 2 mm."),
                 ("impression", "Single lesion."), ("indication", "Seizure.")]  # fmt: skip
    tokens = report_tokens(sentences)
    cut = [(one.section, tokens[one.start : one.end]) for one in sentences_in(tokens)]
    assert [section for section, _ in cut] == ["findings", "findings", "impression"]
    assert cut[2][1] == ("single", "lesion", ".")
    assert "<length_mm>" in cut[1][1]
    assert [one.section for one in sentences_in(("no", "end", "impression", ":", "none"))] == ["findings", "impression"]
    assert sentences_in(()) == []
