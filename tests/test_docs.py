# SPDX-License-Identifier: Apache-2.0
"""Documentation that cannot lag the code: its links lead somewhere, its commands and options exist."""

import re
from pathlib import Path

import pytest
import typer

from monailabel_app.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "monailabel_app").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.S | re.M)
COMMAND = re.compile(r"\blesionloop ([a-z][a-z-]*)([^\n`]*)")
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(page: Path) -> str:
    """The code of a page, inline and in blocks; a command continued on the next line becomes one line."""
    return "\n".join(CODE.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")


def heading_anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them: lower case, punctuation dropped, blanks to hyphens."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def commands() -> dict[str, set[str]]:
    """Options of every `lesionloop` command, by name."""
    group = typer.main.get_command(app)
    found = group.commands.items() if hasattr(group, "commands") else [(group.name, group)]
    return {name: {"--help"} | options(command) for name, command in found}


def options(command) -> set[str]:
    """Of a command, or of all commands of a group."""
    own = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    return own.union(*(options(one) for one in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_resolve(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link} leads nowhere"
        assert not anchor or target.suffix != ".md" or anchor in heading_anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    known = commands()
    for command, rest in COMMAND.findall(code_of(page)):
        assert command in known, f"{name_of(page)}: there is no `lesionloop {command}`"
        options = set(OPTION.findall(rest.split(" #")[0]))
        assert options <= known[command], f"{name_of(page)}: lesionloop {command} has no {options - known[command]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page):
    missing = set(MAKE.findall(code_of(page))) - make_targets()
    assert not missing, f"{name_of(page)}: the Makefile has no {sorted(missing)}"


def test_every_page_is_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link.split("#")[0]).resolve() for link in LINK.findall(index)}
    unreached = {name_of(page) for page in (ROOT / "docs").rglob("*.md")} - {
        name_of(path) for path in linked if path.is_relative_to(ROOT)
    }
    assert unreached == {"docs/index.md"}
