# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/explanation/architecture.md that a reader of one file cannot see broken."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIB = sorted((ROOT / "lib").rglob("*.py"))
APP_LEFTOVERS = {"lib", "model", "logs", "bin"}  # folders MONAI Label makes inside the app
APP = sorted(
    path
    for path in (ROOT / "monailabel_app").rglob("*.py")
    if path.relative_to(ROOT / "monailabel_app").parts[0] not in APP_LEFTOVERS
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Imports go down, never up. What is not named here is in the middle.
BOTTOM, MIDDLE, UPPER, TOP = range(4)
LAYERS = {
    "configs": BOTTOM,
    "types": BOTTOM,
    "infers": UPPER,
    "trainers": UPPER,
    "activelearning": UPPER,
    "datastore": UPPER,
    "tasks": TOP,
}
MAY_IMPORT_MONAILABEL = {"tasks", "infers", "trainers", "activelearning", "datastore"}
PURE = {"networks", "losses", "metrics"}
PURE_MAY_IMPORT = {"torch", "monai", "torchmetrics", "numpy", "scipy", *sys.stdlib_module_names}

MAX_FILE_LINES = 400  # the aim is 300
MAX_FUNCTION_LINES = 80  # the aim is 12, rarely over 60
FILE_LIMITS = {"monailabel_app/main.py": 120}  # wiring only


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part_of(path: Path) -> str:
    """Module or package directly under lib that a file belongs to."""
    return path.relative_to(ROOT / "lib").with_suffix("").parts[0]


def imports(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def packages_imported(path: Path) -> set[str]:
    """First name of every absolute import in a file."""
    names: set[str] = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def is_module(parts: tuple[str, ...]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def modules_imported(path: Path) -> set[tuple[str, ...]]:
    """Modules of lib that a file of lib imports, as parts: ("lib", "networks", "encoder")."""
    package = path.relative_to(ROOT).parent.parts
    found: set[tuple[str, ...]] = set()
    for node in imports(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            found |= {(*base, a.name) if is_module((*base, a.name)) else base for a in node.names}
    return found


@pytest.mark.parametrize("path", LIB, ids=name_of)
def test_lib_imports_only_downwards(path):
    layer = LAYERS.get(part_of(path), MIDDLE)
    upwards = {".".join(m) for m in modules_imported(path) if len(m) > 1 and LAYERS.get(m[1], MIDDLE) > layer}
    assert not upwards, f"{name_of(path)} imports from a layer above it: {sorted(upwards)}"


@pytest.mark.parametrize("path", LIB, ids=name_of)
def test_lib_imports_itself_relatively(path):
    """The same file is lib.x under MONAI Label and monailabel_app.lib.x as a library."""
    absolute = packages_imported(path) & {"lib", "monailabel_app", "configs", "tests"}
    assert not absolute, f"{name_of(path)} imports {sorted(absolute)}; inside lib write `from .x import y`"


@pytest.mark.parametrize("path", LIB, ids=name_of)
def test_only_the_task_layers_import_monailabel(path):
    assert "monailabel" not in packages_imported(path) or part_of(path) in MAY_IMPORT_MONAILABEL


@pytest.mark.parametrize("path", [p for p in LIB if part_of(p) in PURE], ids=name_of)
def test_networks_losses_and_metrics_import_torch_and_monai_only(path):
    foreign = packages_imported(path) - PURE_MAY_IMPORT
    assert not foreign, f"{name_of(path)} imports {sorted(foreign)}"


def test_no_import_cycles_in_lib():
    graph = {}
    for path in LIB:
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = parts[:-1] if parts[-1] == "__init__" else parts
        graph[module] = modules_imported(path) - {module}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError naming the cycle


@pytest.mark.parametrize("path", LIB + APP, ids=name_of)
def test_file_length(path):
    limit = FILE_LIMITS.get(name_of(path), MAX_FILE_LINES)
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= limit, f"{name_of(path)} has {lines} lines; the limit is {limit}: split it by what it does"


@pytest.mark.parametrize("path", LIB + APP, ids=name_of)
def test_function_length(path):
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    long = {f.name: n for f in functions if (n := (f.end_lineno or f.lineno) - f.lineno + 1) > MAX_FUNCTION_LINES}
    assert not long, f"{name_of(path)}: over {MAX_FUNCTION_LINES} lines: {long}"


@pytest.mark.parametrize("path", LIB + APP + TESTS, ids=name_of)
def test_license_line_comes_first(path):
    assert path.read_text(encoding="utf-8").startswith("# SPDX-License-Identifier: Apache-2.0\n")
