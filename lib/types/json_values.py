# SPDX-License-Identifier: Apache-2.0
"""Values of a JSON document, checked one by one; errors name the place in the document."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .errors import InputError


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put the place in front of what is wrong there.

    Raises:
        InputError: In place of every error that a wrong value causes.
    """
    try:
        yield
    except (InputError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{place}: {error}") from error


def known_keys(value: Any, known: Collection[str] | None = None) -> dict[str, Any]:
    """Return an object whose keys are all known; of any keys where ``known`` is None.

    Raises:
        InputError: Otherwise.
    """
    if not isinstance(value, dict):
        raise InputError(f"must be an object, not {_kind(value)}")
    unknown = sorted(str(key) for key in value if known is not None and key not in known)
    if unknown:
        raise InputError(f"unknown key '{unknown[0]}'; known are {', '.join(sorted(known or ()))}")
    return value


def items_of(value: Any, *, one: bool = False) -> list[Any]:
    """Return a list; with ``one`` also a single value, as a list of it.

    Raises:
        InputError: If it is none.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if one:
        return [value]
    raise InputError(f"must be a list, not {_kind(value)}")


def text(value: Any) -> str:
    """Return a text.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(value, str):
        raise InputError(f"must be a text, not {_kind(value)}")
    return value


def texts(value: Any) -> dict[str, str]:
    """Return an object of texts.

    Raises:
        InputError: If it is none.
    """
    return {key: text(part) for key, part in known_keys(value).items()}


def number(value: Any) -> float:
    """Return a finite number.

    Raises:
        InputError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"must be a number, not {value!r}")
    return value


def share(value: Any) -> float:
    """Return a number in [0, 1].

    Raises:
        InputError: If it is none.
    """
    if not 0 <= number(value) <= 1:
        raise InputError(f"must lie between 0 and 1, not {value!r}")
    return float(value)


def whole(value: Any, least: int = 0) -> int:
    """Return a whole number.

    Raises:
        InputError: If it is none, or less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"must be a whole number from {least}, not {value!r}")
    return value


def timestamp(value: Any, key: str) -> str:
    """Return an ISO 8601 date and time with its zone, or "".

    Raises:
        InputError: If it is neither.
    """
    with at(key):
        if text(value) and datetime.fromisoformat(value).tzinfo is None:
            raise InputError(f"'{value}' does not say its time zone")
    return str(value)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
