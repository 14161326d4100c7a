# SPDX-License-Identifier: Apache-2.0
"""What the labeller reads from sentences that people might write."""

import pytest

from lib.text.facts import Certainty, Change, Fact, Side
from lib.text.indiana import macro_f1, micro_f1, problems_of, read_reports, score_reports
from lib.text.labeller import label_sentence, label_text
from lib.text.lexicon_brain import BRAIN_MR
from lib.text.lexicon_chest import CHEST
from lib.text.sentences import sentence_spans, split_sentences
from lib.types.errors import InputError

LEFT, RIGHT, BOTH = Side.LEFT, Side.RIGHT, Side.BILATERAL
POSSIBLE = {"present": None, "certainty": Certainty.POSSIBLE}

BRAIN = [
    ("Left frontal lesion, 32 x 21 mm.", [Fact("lesion", side=LEFT, location="frontal", size_mm=(32.0, 21.0))]),
    ("The 2.1 x 3.2 cm lesion is stable.", [Fact("lesion", size_mm=(32.0, 21.0), change=Change.STABLE)]),
    ("No new lesion.", [Fact("lesion", False, change=Change.NEW)]),
    ("The lesion has not grown.", [Fact("lesion", change=Change.STABLE)]),
    ("No change of the lesion.", [Fact("lesion", change=Change.STABLE)]),
    ("The lesion is no longer seen.", [Fact("lesion", False, change=Change.GONE)]),
    ("The lesion shrank by 20 % in 30 days.", [Fact("lesion", change=Change.SHRUNK, percent=-20.0, days=30.0)]),
    ("It measures 12 mm (previously 10 mm).", [Fact("lesion", size_mm=(12.0,))]),
    ("Volume of the lesion 3.0 ml, compared with 2.0 ml.", [Fact("lesion", volume_ml=3.0)]),
    ("A lesion cannot be excluded.", [Fact("lesion", **POSSIBLE)]),
    ("Possible small lesion on the right.", [Fact("lesion", side=RIGHT, **POSSIBLE)]),
    ("Probable lesion.", [Fact("lesion", certainty=Certainty.LIKELY)]),
    ("History of a resected glioma.", []),
    ("Not only a lesion but also oedema.", [Fact("lesion"), Fact("oedema")]),
    ("No mass effect, but a lesion on the left.", [Fact("mass_effect", False), Fact("lesion", side=LEFT)]),
    ("No mass effect or midline shift.", [Fact("mass_effect", False), Fact("midline_shift", False)]),
    ("Mass effect is not seen.", [Fact("mass_effect", False)]),
    ("Midline shift of 4 mm to the right.", [Fact("midline_shift", side=RIGHT, size_mm=(4.0,))]),
    ("The midline is central.", [Fact("midline_shift", False)]),
    ("Three lesions.", [Fact("lesion", count=3)]),
    ("Solitary lesion.", [Fact("lesion", count=1)]),
    (
        "Two lesions in the left frontal and right parietal lobes.",
        [
            Fact("lesion", count=2),
            Fact("lesion", side=LEFT, location="frontal"),
            Fact("lesion", side=RIGHT, location="parietal"),
        ],
    ),
    (
        "One lesion lies in the left frontal lobe and another in the right insula.",
        [
            Fact("lesion", count=1, side=LEFT, location="frontal"),
            Fact("lesion", side=RIGHT, location="insular"),
        ],
    ),
    ("Left frontoparietal tumour.", [Fact("lesion", side=LEFT, location="frontal+parietal")]),
    ("Good image quality.", []),
    ("", []),
]
CHEST_SENTENCES = [
    ("No pleural effusion or pneumothorax.", [Fact("pleural_effusion", False), Fact("pneumothorax", False)]),
    ("Small left effusion.", [Fact("pleural_effusion", side=LEFT)]),
    ("Bibasilar atelectasis.", [Fact("atelectasis", side=BOTH, location="base")]),
    ("Heart size is normal.", [Fact("cardiomegaly", False)]),
    ("The heart is not enlarged.", [Fact("cardiomegaly", False)]),
    ("The heart is mildly enlarged.", [Fact("cardiomegaly")]),
    ("The lungs are clear.", [Fact("opacity", False)]),
    ("Right lower lobe opacity, possibly pneumonia.", [
        Fact("opacity", side=RIGHT, location="lower lobe"),
        Fact("pneumonia", **POSSIBLE),
    ]),
    ("Without evidence of consolidation.", [Fact("consolidation", False)]),
    ("Left effusion and atelectasis.", [Fact("pleural_effusion", side=LEFT), Fact("atelectasis", side=LEFT)]),
    ("Elevated right hemidiaphragm.", [Fact("elevated_diaphragm", side=RIGHT, location="diaphragm")]),
    ("Lingular scarring.", [Fact("scar", side=LEFT, location="lingula")]),
    ("Mild degenerative changes of the thoracic spine.", [Fact("thoracic_degeneration", location="spine")]),
    ("COVID-19 pneumonia.", [Fact("covid_pneumonia")]),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "facts"), BRAIN)
def test_brain_sentences(sentence, facts):
    assert list(label_sentence(sentence, BRAIN_MR)) == facts


@pytest.mark.parametrize(("sentence", "facts"), CHEST_SENTENCES)
def test_chest_sentences(sentence, facts):
    assert list(label_sentence(sentence, CHEST)) == facts


def test_facts_of_a_text_in_order():
    facts = label_text("1. No effusion. 2. Cardiomegaly.", CHEST)
    assert [(fact.finding, fact.present) for fact in facts] == [("pleural_effusion", False), ("cardiomegaly", True)]


@pytest.mark.parametrize(
    "fact",
    [
        Fact("lesion"),
        Fact("lesion", None, certainty=Certainty.POSSIBLE),
        Fact("lesion", False, LEFT, "frontal", (3.0, 2.0), 1.5, 2, Change.GONE, -100.0, Certainty.LIKELY, 30.0),
    ],
)
def test_fact_as_json(fact):
    assert Fact.from_json(fact.to_json()) == fact


@pytest.mark.parametrize("bad", [{}, {"finding": "lesion", "side": "up"}, {"finding": "lesion", "colour": 1}])
def test_bad_fact(bad):
    with pytest.raises(InputError, match="fact"):
        Fact.from_json(bad)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Seen by Dr. XXXX at XXXX. Stable.", ["Seen by Dr. XXXX at XXXX.", "Stable."]),
        ("1. No effusion. 2. Old scar.", ["No effusion.", "Old scar."]),
        ("A 3.2 cm mass, e.g. a cyst. Normal heart.", ["A 3.2 cm mass, e.g. a cyst.", "Normal heart."]),
        ("Heart is XXXX.There is no effusion", ["Heart is XXXX.", "There is no effusion"]),
        ("Findings\n\nNo effusion", ["Findings", "No effusion"]),
        ("IMPRESSION:\n1. Scar\n2. Mass", ["IMPRESSION:", "Scar", "Mass"]),
        ("It measures 3 cm. It is old.", ["It measures 3 cm.", "It is old."]),
        (" . ", []),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences
    assert [text[span.start : span.end] for span in sentence_spans(text)] == sentences


def test_problems_of_facts():
    assert problems_of([Fact("cardiomegaly", False)]) == {"normal"}
    assert problems_of([Fact("cardiomegaly"), Fact("nodule")]) == {"Cardiomegaly"}
    assert problems_of([Fact("nodule")]) == frozenset()


def test_labeller_against_the_coders_of_indiana(shared_data):
    """On the part that neither the lexicon was improved on nor its figures are reported from."""
    reports = read_reports(shared_data / "indiana_reports" / "indiana_reports.csv")
    parts = {part: sum(report.part == part for report in reports) for part in ("train", "val", "test")}
    assert 0.65 < parts["train"] / len(reports) < 0.75
    scores = score_reports(report for report in reports if report.part == "val")
    assert macro_f1(scores) > 0.85
    assert micro_f1(scores) > 0.86


def test_reports_of_another_table_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected the columns uid"):
        read_reports(path)
