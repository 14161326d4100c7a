# SPDX-License-Identifier: Apache-2.0
"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from .truth import HIT_IOU, Answer, Score

if TYPE_CHECKING:
    from lib.versions import VersionRecord

NONE = "-"
STAGES = ("read", "infer", "post", "write")


def results_table(rows: Iterable[tuple[Answer, Score]]) -> Table:
    """One line per answer: what was found against what is there, and where the time went."""
    table = Table(
        title="Lesions found against truly there",
        caption=f"hit: a true lesion whose box overlaps a found one (3D IoU {HIT_IOU} or more); false: a found lesion "
        f"that hits none; {NONE}: nothing to compare with. Times in seconds; HTTP is the whole request.",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("model", no_wrap=True)
    table.add_column("image", overflow="fold")
    numbers = ("found", "there", "hit", "false", "ml found", "ml there", "Dice", *STAGES, "HTTP")
    for name in numbers:
        table.add_column(name, justify="right")
    for answer, score in rows:
        cells = ["failed"] if answer.error else [*_score_cells(score), *_time_cells(answer)]
        table.add_row(answer.model, escape(answer.view.patient.image_id), *cells)
    return table


def _score_cells(score: Score) -> list[str]:
    counts = [str(score.found), *(NONE if n is None else str(n) for n in (score.there, score.hit, score.false))]
    return [*counts, _number(score.found_ml, 1), _number(score.there_ml, 1), _number(score.dice, 3)]


def _time_cells(answer: Answer) -> list[str]:
    latencies = answer.params.get("latencies", {})
    return [*(_number(latencies.get(stage), 2) for stage in STAGES), _number(answer.seconds, 2)]


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


def versions_table(model: str, versions: list[str], records: Iterable[VersionRecord], in_service: str) -> Table:
    """All versions of a model, oldest first."""
    caption = "Dice: mean volume Dice over the validation patients"
    table = Table(title=f"Versions of {model}", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    for name in ("version", "made (UTC)", "in service", "published"):
        table.add_column(name, no_wrap=True)
    for name in ("Dice", "Dice of the one in service then"):
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
    dice = [_number(record.details.get(key), 4) for key in ("val_dice", "deployed_val_dice")]
    return [made, here, published, *dice, escape(record.reason)]


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
