# SPDX-License-Identifier: Apache-2.0
"""A report as plain text, for programs that show nothing else."""

from __future__ import annotations

from ..types.report import Report, ReportStatus

SECTIONS = ("impression", "findings")
"""Where the conclusion stands, the best place first."""


def plain_text(report: Report) -> str:
    """Sections with their headings, then who answers for it; doubtful sentences say that they are."""
    spoken = {name: words for name in report.standing if (words := section_text(report, name))}
    parts = [f"{name.upper()}\n{words}".lstrip("\n") for name, words in spoken.items()]
    return "\n\n".join([*parts, status_line(report)])


def section_text(report: Report, name: str) -> str:
    """The sentences of a section; "" where it has none."""
    return " ".join(sentence.shown for sentence in report.standing.get(name, ()) if sentence.text.strip())


def conclusion(report: Report) -> str:
    """The impression; the findings where there is none."""
    return next((words for name in SECTIONS if (words := section_text(report, name))), "")


def status_line(report: Report) -> str:
    """How far the report has come, by whom and when."""
    if report.status.is_final:
        reason = f" Reason: {report.amendment_reason}" if report.amendment_reason else ""
        done = "Amended and signed" if report.status is ReportStatus.AMENDED else "Signed"
        return f"{done} by {report.signer or report.author}, {report.signed_at or report.changed_at}.{reason}"
    if report.status is ReportStatus.CORRECTED:
        return f"Not signed. Corrected by {report.author or 'unknown'}, {report.changed_at}."
    model = " ".join(part for part in (report.model or report.author, report.model_version) if part)
    return f"Draft by {model or 'unknown'}; no person has read it."
