# SPDX-License-Identifier: Apache-2.0
"""What clients may put into an inference request, checked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from monailabel.utils.others.generic import name_to_device, strtobool

from ..configs import InferenceConfig
from ..types import InputError

Request = dict[str, Any]
THRESHOLDS = {"mask_threshold": 1.0, "score_threshold": 1.0, "min_volume_ml": math.inf}
"""Thresholds that a request may set, and their largest value; the smallest is 0."""


def thresholds(request: Request, default: InferenceConfig) -> InferenceConfig:
    """The model's inference settings with the thresholds that a request sets.

    Raises:
        InputError: If one is not a number in its range.
    """
    found: dict[str, Any] = {}
    for key, largest in THRESHOLDS.items():
        value = request.get(key)
        if value is None:
            continue
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= largest or math.isinf(number):
            limits = f"between 0 and {largest:g}" if math.isfinite(largest) else "0 or more"
            raise InputError(f"request key '{key}' is {value!r}; it must be a number, {limits}")
        found[key] = number
    return replace(default, **found)


def requested_device(request: Request) -> torch.device:
    """The device a request names (``cpu``, ``cuda``, ``cuda:1`` or a GPU's name), by default the GPU if there is one.

    Raises:
        InputError: If there is no such device.
    """
    name = request.get("device") or None
    try:
        device = torch.device(name_to_device(name))
    except (RuntimeError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise InputError(f"request key 'device' is {name!r}, which is no device of this server") from error
    known = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    if not known:
        raise InputError(f"request key 'device' is {name!r}, which is no device of this server")
    return device


def flag(request: Request, key: str, default: bool) -> bool:
    """A yes or no in a request.

    Raises:
        InputError: If it is neither.
    """
    value = request.get(key)
    if value is None:
        return default
    try:
        return bool(strtobool(value))
    except (AttributeError, ValueError) as error:
        raise InputError(f"request key '{key}' is {value!r}; it must be true or false") from error


def whole_number(request: Request, key: str) -> int | None:
    """A number of something in a request, 0 or more; None when it is not there.

    Raises:
        InputError: If it is something else.
    """
    value = request.get(key)
    if value is None or value == "":
        return None
    try:
        number = -1 if isinstance(value, bool | float) and value != int(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0 or isinstance(value, bool):
        raise InputError(f"request key '{key}' is {value!r}; it must be a whole number, 0 or more")
    return number
