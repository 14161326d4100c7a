# SPDX-License-Identifier: Apache-2.0
"""Reading host names out of Host and Origin headers."""

from __future__ import annotations

from urllib.parse import urlsplit


def host_name(header: str) -> str:
    """Return the host of a ``Host`` header in lower case, without port and brackets; empty when malformed."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def same_origin(origin: str, host: str) -> bool:
    """Whether an ``Origin`` header names the server that the ``Host`` header names.

    The scheme is compared only through the default port, because a TLS proxy in front changes it.
    """
    try:
        parts, target = urlsplit(origin), urlsplit(f"//{host}")
        default = {"http": 80, "https": 443}.get(parts.scheme)
        if default is None or not parts.hostname:
            return False
        return (parts.hostname, parts.port or default) == (target.hostname, target.port or default)
    except ValueError:
        return False
