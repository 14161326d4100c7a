# SPDX-License-Identifier: Apache-2.0
"""An invented draft, and the same after a clinician has been at it."""

from dataclasses import replace

from lib.types.report import Alternative, Decision, Report, ReportStatus, Sentence, Support

T1, T2, T3 = (f"2026-03-0{day}T10:00:00+01:00" for day in (1, 2, 3))
SIZE = Sentence(
    "There is a lesion of 12 mm in the left frontal lobe.",
    (1,),
    0.83,
    Support.SUPPORTED,
    "f1",
    ({"finding": "lesion", "present": True, "side": "left", "size_mm": [12.0, 9.5], "location": "frontal"},),
    {3: 0.7, 4: 0.3},
    (("headache", 0.6), ("left", 0.4)),
    (Alternative("A left frontal lesion measures 12 mm.", 0.4),),
)
SHIFT = Sentence("The midline is shifted.", (), 0.3, Support.UNSUPPORTED, "f2", ({"finding": "shift"},))
SIDE = Sentence("The right ventricle is wide.", (2,), 0.5, Support.CONTRADICTED, "f3")
IMPRESSION = Sentence("One lesion on the left.", (1,), 0.9, id="i1")


def draft(**changes: object) -> Report:
    sections = {
        "indication": (Sentence("Headache for 3 weeks.", support=Support.NOT_ASSESSED, id="c1"),),
        "findings": (SIZE, SHIFT, SIDE),
        "impression": (IMPRESSION,),
    }
    report = Report(
        sections, ReportStatus.DRAFT, model="report_brain_mr", model_version="v0002", weights_sha256="ab" * 32
    )
    return replace(report, **changes)


def edited(report: Report, **texts: str | None) -> Report:
    """Other words by sentence id; None strikes the sentence."""

    def other(sentence: Sentence) -> Sentence:
        if sentence.id not in texts:
            return sentence
        words = texts[sentence.id]
        return replace(sentence, decision=Decision.STRUCK) if words is None else replace(sentence, text=words)

    sections = {name: tuple(map(other, part)) for name, part in report.sections.items()}
    return replace(report, sections=sections, status=ReportStatus.CORRECTED)
