# SPDX-License-Identifier: Apache-2.0
"""What an installed LesionLoop holds: the whole app inside one package, and nothing beside it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = PROJECT["project"]["dependencies"]
BENCH_REQUIREMENTS = PROJECT["project"]["optional-dependencies"]["bench"]
DEV_REQUIREMENTS = PROJECT["project"]["optional-dependencies"]["dev"]
SOURCES = ("monailabel_app", "lib", "configs", "pyproject.toml", "README.md", "LICENSE")
# Folders that MONAI Label makes inside the app, and caches; anchored, so the top-level lib is kept.
LEFTOVERS = ("model", "logs", "bin", "lib")

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import monailabel_app.lib, monailabel_app.cli
for module in pkgutil.walk_packages(monailabel_app.lib.__path__, "monailabel_app.lib."):
    importlib.import_module(module.name)
    print(module.name)
assert "lib" not in sys.modules, "lib.x was imported under a second name"
"""


def skip_leftovers(folder: str, names: list[str]) -> set[str]:
    dropped = {name for name in names if name == "__pycache__"}
    return dropped | (set(LEFTOVERS) & set(names) if Path(folder) == ROOT / "monailabel_app" else set())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that no build folder is left in the checkout."""
    folder = tmp_path_factory.mktemp("a wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=skip_leftovers)
        else:
            shutil.copy(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_package_list_matches_the_folders():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    lib = {f"monailabel_app.lib.{name}" for name in find_packages(str(ROOT / "lib"))} | {"monailabel_app.lib"}
    app = {f"monailabel_app.{name}" for name in find_packages(str(ROOT / "monailabel_app"), exclude=["lib", "lib.*"])}
    assert set(listed) == lib | app | {"monailabel_app", "monailabel_app.configs"}
    assert listed == sorted(listed)


def test_every_folder_of_python_files_is_a_package():
    """find_packages passes over a folder without __init__.py, and the wheel would lack it."""
    folders = {path.parent for path in (ROOT / "lib").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_lock_pins_every_dependency_but_torch():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {canonical(line.split("==")[0]) for line in lock.splitlines() if line and not line.startswith("#")}
    assert declared(*REQUIREMENTS, *DEV_REQUIREMENTS) - locked == {"torch"}
    assert not {name for name in locked if name in {"torch", "torchvision", "sam2"} or name.startswith("nvidia-")}


def declared(*requirements: str) -> set[str]:
    return {canonical(re.split(r"[<>=~!\[; ]", requirement)[0]) for requirement in requirements}


def undeclared(files: list[Path], distributions: set[str]) -> set[str]:
    """Packages that files import and that none of the declared distributions provides."""
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {a.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for a in node.names}
    names |= {n.module.split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom) and not n.level and n.module}
    providers = packages_distributions()
    foreign = names - set(sys.stdlib_module_names) - {"lib", "main", "monailabel_app", "tests"}
    return {name for name in foreign if not distributions & {canonical(p) for p in providers.get(name, [])}}


def test_every_import_is_a_declared_dependency():
    product = [*(ROOT / "lib").rglob("*.py"), *(p for p in app_files() if p.suffix == ".py")]
    benches = {path for path in product if path.parent.name == "bench"}
    assert undeclared([path for path in product if path not in benches], declared(*REQUIREMENTS)) == set()
    assert undeclared(list(benches), declared(*REQUIREMENTS, *BENCH_REQUIREMENTS)) == set()
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert undeclared(tests, declared(*REQUIREMENTS, *DEV_REQUIREMENTS)) == set()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def app_files() -> list[Path]:
    """Files of the app, without what MONAI Label makes there when it starts."""
    app = ROOT / "monailabel_app"
    files = (p for p in app.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return [p for p in files if p.relative_to(app).parts[0] not in LEFTOVERS]


@pytest.mark.slow
def test_wheel_puts_one_package_into_site_packages(names):
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"monailabel_app"}


@pytest.mark.slow
def test_wheel_holds_every_module_config_weight_and_viewer_file(names):
    expected = {f"monailabel_app/{path.relative_to(ROOT)}" for path in (ROOT / "lib").rglob("*.py")}
    expected |= {f"monailabel_app/{path.relative_to(ROOT)}" for path in (ROOT / "configs").glob("*.yaml")}
    expected |= {str(path.relative_to(ROOT)) for path in app_files()}
    assert expected - names == set()


@pytest.mark.slow
def test_wheel_imports_without_a_top_level_lib(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "monailabel_app.lib.types" in ran.stdout.split()


def test_every_shipped_weight_has_a_card_and_fits_the_limit():
    weights = sorted((ROOT / "monailabel_app" / "pretrained").glob("*.safetensors"))
    for path in weights:
        assert path.with_suffix(".md").is_file(), f"{path.name} has no model card beside it"
        assert path.stat().st_size <= 10_000_000, f"{path.name} is over 10 MB"
    named = {
        m for p in (ROOT / "configs").glob("*.yaml") for m in re.findall(r"^pretrained: *(\S+)", p.read_text(), re.M)
    }
    assert named <= {path.name for path in weights}, "a config names weights that are not there"
