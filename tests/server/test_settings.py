# SPDX-License-Identifier: Apache-2.0
"""The server's settings: what it refuses to start with, and the environment MONAI Label gets."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from monailabel_app.serving.auth import SESSION_S, BrowserSessions, LoginLimiter, Tokens
from monailabel_app.serving.guards import RequestGuard
from monailabel_app.serving.hosts import host_name, same_origin
from monailabel_app.serving.settings import ConfigurationError, ServerSettings, environment, is_loopback

ROOT = Path(__file__).resolve().parents[2]


def test_environment_holds_what_monailabel_reads(tmp_path):
    variables = environment(tmp_path / "app", tmp_path / "studies", {"models": "a", "n": 2}, port=8042, env={})
    assert variables["MONAI_LABEL_APP_DIR"] == str(tmp_path / "app")
    assert variables["MONAI_LABEL_STUDIES"] == str(tmp_path / "studies")
    assert json.loads(variables["MONAI_LABEL_APP_CONF"]) == {"models": "a", "n": "2"}
    assert variables["MONAI_LABEL_SERVER_PORT"] == "8042"
    assert variables["MONAI_LABEL_AUTO_UPDATE_SCORING"] == "false"
    assert variables["MONAI_LABEL_TRACKING_ENABLED"] == "false"
    assert variables["MONAI_LABEL_DICOMWEB_CACHE_EXPIRY"] == "0"
    assert variables["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"] == "{}"
    assert variables["PYTHONPATH"].endswith(str(tmp_path / "app"))
    assert variables["PATH"].startswith(str(Path(sys.executable).parent))


def test_environment_keeps_what_the_administrator_tuned(tmp_path):
    env = {"MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}', "MONAI_LABEL_AUTH_ENABLE": "true"}
    variables = environment(tmp_path, "https://pacs.example/dicom-web", env=env)
    assert variables["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"] == '{"Modality": "MR"}'
    assert variables["MONAI_LABEL_AUTH_ENABLE"] == "false"
    assert variables["MONAI_LABEL_STUDIES"] == "https://pacs.example/dicom-web"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.4", "server.example"])
def test_no_network_without_tokens(tmp_path, host):
    with pytest.raises(ConfigurationError, match="LESIONLOOP_TOKEN"):
        environment(tmp_path, tmp_path, host=host, env={})
    variables = environment(tmp_path, tmp_path, host=host, env={"LESIONLOOP_TOKEN": "x" * 16})
    assert variables["LESIONLOOP_HOSTS"] == ("" if host in ("0.0.0.0", "::") else host)


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"LESIONLOOP_TOKEN": "short"}, "16 characters"),
        ({"LESIONLOOP_TOKENS_FILE": "/no/such/file"}, "cannot read"),
        ({"LESIONLOOP_MAX_UPLOAD_MB": "-1"}, "LESIONLOOP_MAX_UPLOAD_MB"),
        ({"LESIONLOOP_INFER_WORKERS": "0"}, "LESIONLOOP_INFER_WORKERS"),
        ({"LESIONLOOP_INFER_QUEUE": "many"}, "LESIONLOOP_INFER_QUEUE"),
        ({"MONAI_LABEL_CORS_ORIGINS": '["*"]'}, "not an origin"),
        ({"MONAI_LABEL_CORS_ORIGINS": '["https://*.example"]'}, "not an origin"),
        ({"MONAI_LABEL_CORS_ORIGINS": '["https://a.example/path"]'}, "not an origin"),
        ({"MONAI_LABEL_CORS_ORIGINS": "https://a.example"}, "JSON list"),
    ],
)
def test_unusable_values_name_their_variable(env, names):
    with pytest.raises(ConfigurationError, match=names):
        ServerSettings.from_env(env)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "anna\n", ":token-without-a-name\n"])
def test_unusable_token_files(tmp_path, text):
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(ConfigurationError, match="name:token"):
        ServerSettings.from_env({"LESIONLOOP_TOKENS_FILE": str(tmp_path / "tokens")})


def test_keycloak_settings_stop_the_start(monkeypatch):
    """The stock server would start and refuse every token; ours would start open."""
    from monailabel.config import settings

    from monailabel_app.server import create_app

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    with pytest.raises(ConfigurationError, match="LESIONLOOP_TOKENS_FILE"):
        create_app(ServerSettings())


def ask(guard, **scope):
    """Send one request to a guard and return the status; 200 is what the app behind it answers."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    asyncio.run(guard({"type": "http", "method": "GET", "headers": [(b"host", b"localhost")], **scope}, receive, send))
    return sent[0]["status"]


async def behind(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


def test_strangers_are_refused_without_tokens():
    """Whatever address the server was bound to, such as by ``monailabel start_server``."""
    guard = RequestGuard(behind, frozenset({"localhost"}), (), local_only=True)
    assert ask(guard, client=("192.168.0.4", 1)) == 403
    assert ask(guard, client=("::ffff:10.0.0.1", 1)) == 403
    assert ask(guard, client=("127.0.0.1", 1)) == 200
    assert ask(guard, client=("::ffff:127.0.0.1", 1)) == 200
    assert ask(RequestGuard(behind, frozenset({"localhost"}), (), local_only=False), client=("192.168.0.4", 1)) == 200


def test_host_names_and_origins():
    assert [host_name(h) for h in ("LocalHost:80", "[::1]:8000", "a@b", "[", "")] == ["localhost", "::1", "b", "", ""]
    assert same_origin("http://localhost:8000", "localhost:8000")
    assert same_origin("https://a.example", "a.example:443")
    assert not same_origin("https://a.example", "a.example:8443")
    assert not same_origin("null", "localhost")
    assert not same_origin("http://localhost:port", "localhost")
    assert [is_loopback(h) for h in ("127.8.9.1", "::1", "localhost", "example", "10.0.0.1")] == [True] * 3 + [
        False
    ] * 2


def test_sessions_and_limits_run_out():
    now = [0.0]
    sessions = BrowserSessions(lambda: now[0])
    session_id = sessions.open("anna")
    assert sessions.user(session_id) == "anna"
    now[0] = SESSION_S + 1
    assert sessions.user(session_id) is None
    limiter = LoginLimiter(lambda: now[0])
    for _ in range(5):
        assert limiter.wait_s("a") == 0
        limiter.failed("a")
    assert limiter.wait_s("a") == 61
    assert limiter.wait_s("b") == 0
    now[0] += 61
    assert limiter.wait_s("a") == 0


def test_tokens_are_kept_as_hashes():
    tokens = Tokens({"x" * 20: "anna"})
    assert tokens.user("x" * 20) == "anna"
    assert tokens.user("") is None
    assert "x" * 20 not in repr(vars(tokens))


def operations():
    """Every route as (method, path): from the interface description, and the hidden ones from the routers."""
    from monailabel_app.server import ROUTES

    for routes in ROUTES:
        for route in routes.router.routes:
            yield from ((method, route.path) for method in getattr(route, "methods", ["WebSocket"]))


def test_reference_lists_every_route_and_variable():
    page = (ROOT / "docs" / "reference" / "server.md").read_text()
    listed = {(method, path) for method, path in re.findall(r"\| `(\w+)` \| `(/[^`]*)` \|", page)}
    assert listed == set(operations())
    sources = "".join(file.read_text() for file in (ROOT / "monailabel_app" / "serving").glob("*.py"))
    variables = set(re.findall(r"LESIONLOOP_[A-Z_]+", sources))
    assert variables == set(re.findall(r"LESIONLOOP_[A-Z_]+", page))
