# SPDX-License-Identifier: Apache-2.0
"""A model's card as a page: what ships with the weights, and which version is in service and how it came about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markdown_it.token import Token

from .pages import page
from .stock import GuardedRoute, label_app
from .versions import version_store

router = APIRouter(tags=["Versions"], route_class=GuardedRoute)
WEB = ("http://", "https://")
SCROLL = '<div style="overflow-x:auto" tabindex="0" role="group" aria-label="{}">\n'
"""Around what may be wider than the page: without it the page itself would scroll sideways."""
SETTINGS = ("max_epochs", "steps_per_epoch", "batch_size", "learning_rate", "finetune_learning_rate", "val_fraction")
UNKNOWN = "not recorded"


@router.get("/model/card/{model}", summary="Show a model's card and its version in service")
def model_card(model: str) -> HTMLResponse:
    """Return the page."""
    versions = version_store(model)
    config = label_app().tasks.configs[model]
    in_service = versions.in_service() or "none yet"
    head = (
        f"<h1>{escape(model)}</h1><p>{escape(config.description)}. In service: "
        f'<a href="#in-service">version {escape(in_service)}</a>.</p>'
    )
    body = head + _card(versions) + _model(config) + _in_service(versions)
    return page(f"Model card: {model}", f'<div style="overflow-wrap:break-word">{body}</div>')


def _card(versions: Any) -> str:
    """The card beside the shipped weights, one level of headings down."""
    file = versions.pretrained.with_suffix(".md") if versions.pretrained is not None else None
    if file is None or not file.is_file():
        return "<h2>Card</h2><p>No model card ships with this model.</p>"
    return to_html(file.read_text(encoding="utf-8"))


def to_html(markdown: str) -> str:
    """Return HTML for Markdown: HTML in it is shown as text, and links that lead to files become plain text.

    Args:
        markdown: CommonMark with tables.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    anchors = _name_headings(tokens)
    for token in tokens:
        token.children = list(_without_files(token.children, anchors)) if token.children else token.children
    html = str(parser.renderer.render(tokens, parser.options, {}))
    for tag, name in (("table", "Table"), ("pre", "Commands")):
        html = html.replace(f"<{tag}>", f"{SCROLL.format(name)}<{tag}>").replace(f"</{tag}>", f"</{tag}></div>")
    return html


def _name_headings(tokens: Sequence[Token]) -> set[str]:
    """Move headings one level down and give them the anchors that GitHub would; returns these."""
    anchors = set()
    for position, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        if token.type == "heading_open":
            anchor = re.sub(r"[^\w\- ]", "", tokens[position + 1].content.lower()).replace(" ", "-")
            token.attrSet("id", anchor)
            anchors.add(f"#{anchor}")
    return anchors


def _without_files(tokens: Iterable[Token], anchors: set[str]) -> Iterable[Token]:
    """Leave out links that lead neither to the web nor to a heading, and pictures, of which the text stays."""
    kept: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            kept.append(target.startswith(WEB) or target in anchors)
            if target.startswith(WEB):
                token.attrSet("rel", "noopener noreferrer")
        if token.type == "image":
            yield Token("text", "", 0, content=token.content)
        elif token.type not in ("link_open", "link_close") or kept[-1]:
            yield token
        if token.type == "link_close":
            kept.pop()


def _model(config: Any) -> str:
    """What the configuration says that a user needs to know."""
    reads = config.input
    labels = ", ".join(f"{name} ({value})" for name, value in config.labels.items())
    facts = {
        "Task": config.task,
        "Labels": labels,
        "Reads": f"{reads.kind.value}, channels {', '.join(reads.channels)}",
        "Modalities": ", ".join(reads.modalities) or "any",
        "Pixel size it works at": f"{reads.spacing_mm:g} mm",
        "Score threshold": f"{config.inference.score_threshold:g}",
        "Mask threshold": f"{config.inference.mask_threshold:g}",
    }
    return f"<h2>Settings</h2>{_facts(facts)}"


def _in_service(versions: Any) -> str:
    """The version in service, how it came about, and the other versions."""
    version = versions.in_service()
    records = {record.version: record for record in versions.records()}
    changes = versions.changes()
    facts = {"Version": version or "none: the model has to be trained first", "Since": _since(changes, version)}
    if version in records:
        facts |= _origin(records[version])
    elif version:
        facts["How it came about"] = "ships with the app"
    rows = [_version_row(name, records.get(name), name == version) for name in versions.versions()]
    columns = ("Version", "Trained", "In service", "Validation score", "Of the one in service then", "Why")
    history = _table("Versions", columns, rows)
    return f'<h2 id="in-service">In service</h2>{_facts(facts)}<h2>Training history</h2>{history}{_changes(changes)}'


def _origin(record: Any) -> dict[str, str]:
    """How a trained version came about."""
    details = record.details
    settings = details.get("settings", {})
    return {
        "Trained": _time(record.created_at),
        "Started from": f"version {record.parent}" if record.parent else "random weights",
        "How it came about": record.reason,
        f"Validation {details.get('score_name', 'score')}": f"{_number(details.get('val_score'))}; "
        f"of the version in service then {_number(details.get('deployed_val_score'))}",
        "Training studies": _cases(details.get("train")),
        "Validation studies": _cases(details.get("val")),
        "Seed": str(settings.get("seed", UNKNOWN)),
        "Training settings": ", ".join(f"{key} {settings[key]}" for key in SETTINGS if key in settings) or UNKNOWN,
        "Weights (SHA-256)": record.sha256,
    }


def _version_row(name: str, record: Any, in_service: bool) -> list[str]:
    here = "yes" if in_service else ""
    if record is None:
        return [name, "", here, "", "", "ships with the app"]
    scores = [_number(record.details.get(key)) for key in ("val_score", "deployed_val_score")]
    return [name, _time(record.created_at), here, *scores, record.reason]


def _changes(changes: Sequence[Any]) -> str:
    if not changes:
        return ""
    rows = [[_time(change.at), change.version, change.by] for change in reversed(changes)]
    return f"<h2>Put into service</h2>{_table('Changes of the version in service', ('When', 'Version', 'By'), rows)}"


def _since(changes: Sequence[Any], version: str) -> str:
    """When the version in service was put there the last time."""
    return _time(changes[-1].at) if changes and changes[-1].version == version else "the start"


def _cases(cases: Sequence[str] | None) -> str:
    return UNKNOWN if cases is None else f"{len(cases)}: {', '.join(cases)}" if cases else "none"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _time(utc: str) -> str:
    return utc.replace("T", " ").replace("Z", " UTC")


def _facts(facts: dict[str, str]) -> str:
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in facts.items())
    return f'<table style="overflow-wrap:anywhere">{"".join(rows)}</table>'


def _table(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"{SCROLL.format(escape(name))}{table}</div>"
