# SPDX-License-Identifier: Apache-2.0
"""The server's own settings, and the environment that MONAI Label needs before it is imported."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .hosts import host_name

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
MEBIBYTE = 1024 * 1024


class ConfigurationError(RuntimeError):
    """The server must not start like this. The message names the variable and what to do."""


@dataclass(frozen=True)
class ServerSettings:
    """What the administrator can set, each by one environment variable.

    Attributes:
        hosts: Host names a request may be addressed to (``LESIONLOOP_HOSTS``, comma separated, added to the
            loopback names). Guards against DNS rebinding.
        cors_origins: Origins of other web pages that may read answers (``MONAI_LABEL_CORS_ORIGINS``, a JSON list).
        max_upload_bytes: Largest request body (``LESIONLOOP_MAX_UPLOAD_MB``, MiB).
        infer_workers: Inferences that run at the same time (``LESIONLOOP_INFER_WORKERS``).
        infer_queue: Inferences that may wait (``LESIONLOOP_INFER_QUEUE``).
        streams: Streams that may be open at the same time (``LESIONLOOP_STREAMS``); 0 for none.
        tokens: Access tokens, token to user name (``LESIONLOOP_TOKEN`` or ``LESIONLOOP_TOKENS_FILE``); empty means
            no authentication, and then only this machine may connect.
    """

    hosts: frozenset[str] = frozenset(LOCAL_HOSTS)
    cors_origins: tuple[str, ...] = ()
    max_upload_bytes: int = 2048 * MEBIBYTE
    infer_workers: int = 2
    infer_queue: int = 8
    streams: int = 4
    tokens: Mapping[str, str] | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ServerSettings:
        """Read the settings from environment variables.

        Args:
            env: The variables; None for those of this process.

        Raises:
            ConfigurationError: When a value cannot be used.
        """
        env = os.environ if env is None else env
        extra_hosts = {host_name(host.strip()) for host in env.get("LESIONLOOP_HOSTS", "").split(",") if host.strip()}
        return cls(
            hosts=frozenset(LOCAL_HOSTS) | extra_hosts,
            cors_origins=_origins(env.get("MONAI_LABEL_CORS_ORIGINS", "")),
            max_upload_bytes=_positive(env, "LESIONLOOP_MAX_UPLOAD_MB", 2048) * MEBIBYTE,
            infer_workers=_positive(env, "LESIONLOOP_INFER_WORKERS", 2),
            infer_queue=_positive(env, "LESIONLOOP_INFER_QUEUE", 8, least=0),
            streams=_positive(env, "LESIONLOOP_STREAMS", 4, least=0),
            tokens=load_tokens(env),
        )


def _positive(env: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    text = env.get(name, "").strip() or str(default)
    if not text.isdecimal() or int(text) < least:
        raise ConfigurationError(f"{name} is '{text}'; it must be a whole number, {least} or more.")
    return int(text)


def _origins(text: str) -> tuple[str, ...]:
    """Read a JSON list of origins; a path or a wildcard is refused because it would open more than it says."""
    try:
        values = json.loads(text) if text.strip() else []
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise ConfigurationError('MONAI_LABEL_CORS_ORIGINS must be a JSON list such as ["https://viewer.example"].')
    origins = []
    for value in values:
        parts = urlsplit(str(value))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or "*" in str(value):
            raise ConfigurationError(f"MONAI_LABEL_CORS_ORIGINS: '{value}' is not an origin (scheme://host[:port]).")
        origins.append(f"{parts.scheme}://{parts.netloc}".lower())
    return tuple(origins)


def load_tokens(env: Mapping[str, str]) -> dict[str, str]:
    """Read the access tokens, as token to user name.

    ``LESIONLOOP_TOKENS_FILE`` names a file with one ``name:token`` per line (``#`` starts a comment);
    ``LESIONLOOP_TOKEN`` is one token for the user name ``user``.

    Raises:
        ConfigurationError: When the file is missing, empty or has a line that cannot be used, or a token is shorter
            than 16 characters.
    """
    tokens: dict[str, str] = {}
    file = env.get("LESIONLOOP_TOKENS_FILE", "").strip()
    if file:
        tokens.update(_tokens_of(Path(file)))
    single = env.get("LESIONLOOP_TOKEN", "").strip()
    if single:
        tokens[single] = "user"
    if any(len(token) < 16 for token in tokens):
        raise ConfigurationError(
            "An access token is shorter than 16 characters. Make one with:"
            ' python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return tokens


def _tokens_of(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"LESIONLOOP_TOKENS_FILE: cannot read {file}: {error.strerror}.") from error
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, token = line.partition(":")
        if not (separator and name.strip() and token.strip()):
            raise ConfigurationError(f"{file}, line {number}: expected name:token.")
        tokens[token.strip()] = name.strip()
    if not tokens:
        raise ConfigurationError(f"LESIONLOOP_TOKENS_FILE: {file} holds no name:token line.")
    return tokens


def is_loopback(host: str) -> bool:
    """Whether an address (or name) means this machine only."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def environment(
    app_dir: str | Path,
    studies: str | Path,
    conf: Mapping[str, Any] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    env: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Build the environment variables that must be set before ``monailabel`` is imported.

    Args:
        app_dir: The MONAI Label app folder (it holds main.py).
        studies: The studies folder, or the URL of a DICOMweb server.
        conf: The app's configuration, as ``--conf key value`` of ``monailabel start_server``.
        host: The address to bind; anything but this machine needs access tokens.
        port: The port to bind.
        env: The variables already set, which win for what an administrator may tune; None for this process's.

    Returns:
        The variables to add to the environment of the server process.

    Raises:
        ConfigurationError: When ``host`` can be reached from elsewhere and no access token is configured.
    """
    env = os.environ if env is None else env
    if not is_loopback(host) and not load_tokens(env):
        raise ConfigurationError(
            f"Refusing to serve on {host} without access tokens: everyone on the network could read the studies. "
            "Set LESIONLOOP_TOKEN or LESIONLOOP_TOKENS_FILE, or serve on 127.0.0.1."
        )
    app = str(Path(app_dir).resolve())
    location = str(studies)
    if not location.startswith(("http://", "https://")):
        location = str(Path(location).resolve())
    return {
        **{name: env.get(name, default) for name, default in _TUNABLE.items()},
        "MONAI_LABEL_APP_DIR": app,
        "MONAI_LABEL_STUDIES": location,
        "MONAI_LABEL_APP_CONF": json.dumps({key: str(value) for key, value in (conf or {}).items()}),
        "MONAI_LABEL_SERVER_PORT": str(port),
        "MONAI_LABEL_AUTH_ENABLE": "false",
        "LESIONLOOP_HOSTS": ",".join(filter(None, [env.get("LESIONLOOP_HOSTS", ""), _named_host(host)])),
        "PYTHONPATH": _joined(env.get("PYTHONPATH", ""), app),
        "PATH": _joined(str(Path(sys.executable).parent), env.get("PATH", "")),
    }


_TUNABLE = {
    "MONAI_LABEL_TRACKING_ENABLED": "false",  # the stock MLflow tracking fails on a file:// URI
    "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",  # else a subprocess starts at each next sample
    "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "0",  # else a labelled image is offered again for two hours
    "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": "{}",  # else only CT is listed
    "MONAI_LABEL_CORS_ORIGINS": "[]",
}


def _named_host(host: str) -> str:
    return "" if host in ("0.0.0.0", "::", "[::]") else host


def _joined(*paths: str) -> str:
    return os.pathsep.join(path for path in paths if path)
