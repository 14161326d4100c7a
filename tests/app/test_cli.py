# SPDX-License-Identifier: Apache-2.0
"""The command line: help, exit codes, versions and rollback."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests
import typer
from typer.testing import CliRunner

from lib.configs import load_configs
from lib.registry import build_network
from lib.types import InputError
from lib.weights.versions import VersionStore
from monailabel_app.cli import app, main
from monailabel_app.process import free_port
from monailabel_app.roots import CONFIGS_DIR, PRETRAINED_DIR, ROOT

MODEL = "mr_lesion_segmentation"
TOKEN = "a-token-of-these-tests-0123456789"
COMMANDS = sorted(typer.main.get_command(app).commands)


@pytest.fixture
def store(tmp_path) -> VersionStore:
    """Two trained versions, the second in service."""
    config = load_configs(CONFIGS_DIR)[MODEL]
    store = VersionStore(tmp_path / "model", config, PRETRAINED_DIR)
    state = build_network(config).state_dict()
    for number, dice in (("one", 0.61), ("two", 0.72)):
        details = {"val_score": dice, "deployed_val_score": dice - 0.1}
        store.add(state, publish=True, reason=f"reason {number}", parent="", details=details)
    return store


def run(*arguments: str | Path):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(a) for a in arguments])


def test_the_commands():
    assert {"demo", "rollback", "serve", "train", "versions"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_versions_lists_them_all(store):
    result = run("versions", MODEL, "--model-dir", store.folder.parent)
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.strip().startswith("v0002"))
    assert re.search(r"in service.*yes.*0\.7200.*0\.6200.*reason two", line)
    assert "in service" not in next(line for line in result.output.splitlines() if line.strip().startswith("v0001"))


def test_rollback_goes_back_and_to_a_named_version(store):
    folder = store.folder.parent
    result = run("rollback", MODEL, "--model-dir", folder)
    assert result.output == f"{MODEL}: version v0001 is in service\n"
    assert store.current()[1] == "v0001"
    assert run("rollback", MODEL, "--to", "v0002", "--model-dir", folder).exit_code == 0
    assert store.current()[1] == "v0002"


def test_versions_can_be_listed_when_the_weights_in_service_are_gone(store):
    (store.folder / "v0002.safetensors").unlink()
    result = run("versions", MODEL, "--model-dir", store.folder.parent)
    assert result.exit_code == 0
    assert "lesionloop rollback" in result.output
    assert "v0001" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rollback", MODEL, "--to", "v0099", "--model-dir", "MODELS"], "no version 'v0099'"),
        (["rollback", "../secret"], r"no model '\.\./secret'; known: .*mr_lesion_detection"),
        (["versions", "unknown"], "no model 'unknown'"),
        (["demo", "--studies", "missing", "--exit"], "missing: no such folder"),
        (["demo", "--conf", "novalue"], "novalue: expected KEY=VALUE"),
        (["serve", "--studies", "missing"], "missing: no such folder"),
        (["serve", "--studies", ".", "--host", "0.0.0.0"], "Refusing to serve on 0.0.0.0 without access tokens"),
        (["serve", "--studies", ".", "--token-file", "none.txt"], "cannot read .*none.txt"),
    ],
)
def test_wrong_input_ends_with_exit_code_2_and_no_trace(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LESIONLOOP_TOKEN", raising=False)
    monkeypatch.delenv("LESIONLOOP_TOKENS_FILE", raising=False)
    monkeypatch.setattr(sys, "argv", ["lesionloop", *(a.replace("MODELS", str(tmp_path)) for a in arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    errors = capsys.readouterr().err
    assert end.value.code == 2
    assert re.search(message, errors)
    assert "Traceback" not in errors


def test_an_unknown_model_is_an_input_error():
    assert isinstance(run("versions", "unknown").exception, InputError)


@pytest.mark.e2e
def test_serve_runs_in_the_foreground_with_tokens(tmp_path):
    (tmp_path / "studies").mkdir()
    tokens = tmp_path / "tokens.txt"
    tokens.write_text(f"anna:{TOKEN}\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", "from monailabel_app.cli import main; main()", "serve", "--studies", "studies"]
    options = ["--port", str(port), "--token-file", "tokens.txt", "--conf", f"model_dir={tmp_path / 'model'}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([*command, *options], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=-2, text=True)
    try:
        wait_until_healthy(url, server)
        assert requests.get(f"{url}/info/", timeout=30).status_code == 401
        answer = requests.get(f"{url}/info/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert answer.json()["name"] == "LesionLoop"
    finally:
        server.terminate()
        output, _ = server.communicate(timeout=30)
    assert f"LesionLoop on {url}/" in output
    assert not psutil.pid_exists(server.pid)


def wait_until_healthy(url: str, server: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail("the server did not start")
