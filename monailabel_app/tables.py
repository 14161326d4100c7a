# SPDX-License-Identifier: Apache-2.0
"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from .truth import HIT_IOU, Answer, Score

if TYPE_CHECKING:
    from lib.weights.versions import VersionRecord

    from .bench.reading import ReadingBenchmark
    from .demo_followup import FollowUp, TrueLesion
    from .demo_report import JudgedReport

NONE = "-"
STAGES = ("read", "infer", "post", "write")
COUNTS = ("\nfound", "\nthere", "\nhit", "\nfalse", "ml\nfound", "ml\nthere", "\nDice")
TIMES = (*(f"\n{stage}" for stage in STAGES), "\nHTTP")
FULL_WIDTH = 96
"""Columns of text from which counts and times fit side by side."""
Rows = Sequence[tuple[Answer, Score]]


def results_tables(rows: Rows, width: int) -> list[Table]:
    """Per model a line per image: what was found against what is there, and where the time went.

    Args:
        rows: Answers with their scores, those of a model together.
        width: Of the terminal; in a narrow one the times are a table of their own.
    """
    counts = (
        f"hit: true lesions that a found one overlaps (3D IoU {HIT_IOU} or more); false: found lesions that overlap "
    )
    counts += f"none; {NONE}: nothing to compare with."
    times = "Times in seconds; HTTP is the whole request."
    title = "Lesions found against truly there"
    if width >= FULL_WIDTH:
        both = [[*_count_cells(score), *_time_cells(answer)] for answer, score in rows]
        return [_by_model(title, (*COUNTS, *TIMES), rows, both, f"{counts} {times}")]
    return [
        _by_model(title, COUNTS, rows, [_count_cells(score) for _, score in rows], counts),
        _by_model("Where the time went", TIMES, rows, [_time_cells(answer) for answer, _ in rows], times),
    ]


def _by_model(title: str, headers: Iterable[str], rows: Rows, cells: Iterable[list[str]], caption: str) -> Table:
    table = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("model\n  image", overflow="fold")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    model = ""
    for (answer, _), line in zip(rows, cells, strict=True):
        if answer.model != model:
            model = answer.model
            table.add_row(f"[bold]{model}[/bold]")
        table.add_row(f"  {escape(answer.view.patient.name)}", *(["failed"] if answer.error else line))
    return table


def _count_cells(score: Score) -> list[str]:
    counts = [str(score.found), *(NONE if n is None else str(n) for n in (score.there, score.hit, score.false))]
    return [*counts, _number(score.found_ml, 1), _number(score.there_ml, 1), _number(score.dice, 3)]


def _time_cells(answer: Answer) -> list[str]:
    latencies = answer.params.get("latencies", {})
    return [*(_number(latencies.get(stage), 2) for stage in STAGES), _number(answer.seconds, 2)]


def followup_table(found: FollowUp) -> Table:
    """A line per true lesion: its volume at each visit, its change and where it has spread to, true and measured."""
    caption = (
        "true / measured. ml: volume; change: from the first to the last visit, +-: standard uncertainty; spread: side "
        f"of the patient that has moved outwards farthest; {NONE}: not there, not found, or too little to tell."
    )
    title = f"Follow-up of {escape(found.patient)}"
    table = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("lesion")
    for number, day in enumerate(found.days, start=1):
        table.add_column(f"visit {number}\nday {day:.0f}, ml", justify="right", no_wrap=True)
    table.add_column("\nchange, %", justify="right", no_wrap=True)
    table.add_column("\nspread to", no_wrap=True)
    for lesion in found.lesions:
        sizes = zip(lesion.true_ml, lesion.found_ml, strict=True)
        cells = [f"{_number(true, 1)} / {_number(measured, 1)}" for true, measured in sizes]
        spread = f"{lesion.true_spread or NONE} / {lesion.found_spread or NONE}"
        table.add_row(str(lesion.number), *cells, _change_cell(lesion), spread)
    responses = zip(found.true_response, found.found_response, strict=True)
    table.add_section()
    table.add_row("RECIST", NONE, *(f"{true} / {measured}" for true, measured in responses), "", "")
    return table


def _change_cell(lesion: TrueLesion) -> str:
    measured = NONE
    if lesion.found_percent is not None:
        measured = f"{lesion.found_percent:+.0f} +- {lesion.found_percent_error:.0f}"
    return f"{NONE if lesion.true_percent is None else format(lesion.true_percent, '+.0f')} / {measured}"


def report_table(found: JudgedReport) -> Table:
    """A line per sentence of a draft, with each fact that it states ticked or crossed."""
    share = f"{found.true} of {found.stated} facts are true"
    untold = f"; not told: {', '.join(found.untold)}" if found.untold else "; nothing is left out"
    caption = f"{share}{untold}. Side, region, size and change are set against the true masks."
    title = f"Draft of the report of {escape(found.patient)}, last visit"
    table = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("sentence", "support", "facts"):
        table.add_column(name)
    section = ""
    for one in found.sentences:
        if one.section != section:
            section = one.section
            table.add_row(f"[bold]{section.capitalize()}[/bold]")
        facts = "  ".join(f"{_tick(fact.is_true)} {escape(fact.words)}" for fact in one.facts)
        table.add_row(f"  {escape(one.text)}", one.support.replace("_", " "), facts or NONE)
    return table


def _tick(is_true: bool) -> str:
    return "[green]\u2713[/green]" if is_true else "[red]\u2717[/red]"


def models_table(info: Mapping[str, Any]) -> Table:
    """The served models: which version is in service, which are kept, what became of the last training."""
    table = Table(title="Models and their versions", box=SIMPLE_HEAD)
    for name in ("model", "type", "in service", "kept"):
        table.add_column(name, no_wrap=True)
    table.add_column("last training")
    for model, about in info["models"].items():
        stats = info.get("train_stats", {}).get(model, {})
        last = stats.get("last_training") or {}
        told = f"{last['version']} {last['reason']}" if last else "none on this machine yet"
        kept = str(len(stats.get("versions", []))) if stats else NONE
        table.add_row(model, str(about.get("type", NONE)), str(about.get("version", NONE)), kept, escape(told))
    return table


def reading_table(measured: ReadingBenchmark) -> Table:
    """How fast each reader reads one series, and how ours compares."""
    title = f"Reading {measured.n_slices} raw slices of {measured.size} x {measured.size}, medians"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for header in ("reader", "seconds", "slices/s", "ours is faster by"):
        table.add_column(header, justify="left" if header == "reader" else "right")
    ours = next(iter(measured.seconds.values()))
    for reader, seconds in measured.seconds.items():
        ratio = f"{seconds / ours:.1f} x"
        table.add_row(reader, f"{seconds:.3f}", f"{measured.slices_per_s[reader]:.0f}", ratio)
    return table


def versions_table(model: str, versions: list[str], records: Iterable[VersionRecord], in_service: str) -> Table:
    """All versions of a model, oldest first."""
    caption = (
        "Score: over the validation patients; mean volume Dice of models that outline, box AP50 of those that box, "
        "macro-F1 of those that classify"
    )
    table = Table(title=f"Versions of {model}", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    for name in ("version", "made (UTC)", "in service", "published"):
        table.add_column(name, no_wrap=True)
    for name in ("score", "score of the one in service then"):
        table.add_column(name, justify="right")
    table.add_column("why")
    by_name = {record.version: record for record in records}
    for version in versions:
        table.add_row(version, *_record_cells(by_name.get(version), version == in_service))
    return table


def _record_cells(record: VersionRecord | None, in_service: bool) -> list[str]:
    here = "<- in service" if in_service else ""
    if record is None:
        return [NONE, here, "yes", NONE, NONE, "ships with the app"]
    made = record.created_at.replace("T", " ").removesuffix("Z")
    published = "yes" if record.published else "no"
    scores = [_number(record.details.get(key), 4) for key in ("val_score", "deployed_val_score")]
    return [made, here, published, *scores, escape(record.reason)]


def evaluation_table(result: Mapping[str, Any]) -> Table:
    """One line per study and one for all of them; undefined numbers show as a dash."""
    title = f"{result['model']} {result['version']}: {result['n']} patients, {result['n_studies']} studies"
    table = Table(title=title, caption=_evaluation_caption(result), caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("image", overflow="fold")
    for name in ("Dice", "slice AUC", "lesions", "found", "false slices", "ml there", "ml found", "s"):
        table.add_column(name, justify="right")
    for case in result["cases"]:
        counts = [str(case[key]) for key in ("lesions_true", "lesions_found", "false_positive_slices")]
        volumes = [_number(case[key], 1) for key in ("volume_true_ml", "volume_pred_ml")]
        rates = [_number(case["dice"], 3), _number(case["slice_auc"], 3)]
        table.add_row(escape(case["image"]), *rates, *counts, *volumes, _number(case["seconds"], 2))
    return table


def _evaluation_caption(result: Mapping[str, Any]) -> str:
    """The pooled numbers with their 95 % intervals over patients."""
    shown = []
    keys = ("dice", "slice_auc", "ap10", "ap30", "ap50", "froc", "false_positive_slices_per_volume")
    of_classes = [key for key in result if key.startswith("class_") and f"{key}_ci95" in result]
    for key in (*keys, *of_classes):
        interval = result.get(f"{key}_ci95")
        spread = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        shown.append(f"{key} {_number(result[key], 3)}{spread}")
    return ", ".join(shown) + f", seconds_per_case {result['seconds_per_case']:.2f}"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
