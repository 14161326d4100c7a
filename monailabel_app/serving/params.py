# SPDX-License-Identifier: Apache-2.0
"""Allow-lists for the parameters of inference, training and the other tasks.

A key passes when it is listed here or when the task's own ``config()`` has it (3D Slicer and OHIF send back what
``/info/`` gave them). Every value is checked: no text that could be a path reaches a task.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.utils.others.generic import device_list

from .checks import NAME, RUN_NAME, TAG, bad_request

Check = Callable[[Any], bool]

PLAIN_TEXT = re.compile(r"[\w .,:;+()#\[\]=-]{0,128}")
DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")
DTYPE = re.compile(r"u?int(8|16|32)|float(32)?")
GPUS = re.compile(r"all|[0-9]{1,2}(,[0-9]{1,2}){0,15}")
EXTENSIONS = (".nii.gz", ".nrrd", ".nii", ".json", ".seg.nrrd")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MAX_ITEMS = 10_000


def _text(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _one_of(*choices: str) -> Check:
    return lambda value: value in choices


def _number(value: Any) -> bool:
    """A finite number, also as text: OHIF's option table sends what was typed."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _flag(value: Any) -> bool:
    return isinstance(value, bool) or value in (0, 1, "0", "1", "true", "false", "True", "False")


def _scalar(value: Any) -> bool:
    return value is None or _flag(value) or _number(value) or _text(PLAIN_TEXT)(value)


def _person(value: Any) -> bool:
    """A name as people have them, with an apostrophe or none; still nothing that could be a path."""
    return _scalar(value) or _text(NAME)(value)


def _device(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and len(value) == 1 else value
    return _text(DEVICE)(first) or first in device_list()


def _numbers(value: Any) -> bool:
    """Numbers in lists (points, regions of interest), at most two levels deep."""
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        return False
    return all(_number(v) or (isinstance(v, list) and len(v) <= 64 and all(map(_number, v))) for v in value)


def _label_info(value: Any) -> bool:
    """Segment descriptions: a list of flat dictionaries, whose text is only ever shown or written into a file."""
    if not isinstance(value, list) or len(value) > 1000:
        return False
    return all(isinstance(item, dict) and all(map(_label_field, item.values())) for item in value)


def _label_field(value: Any) -> bool:
    return _scalar(value) or _numbers(value) or (isinstance(value, str) and len(value) <= 256)


def _texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) <= 1000 and all(map(_text(PLAIN_TEXT), value)))


CLIENT_KEYS: dict[str, Check] = {"client_id": _scalar, "user": _person}
COMMON_KEYS: dict[str, Check] = {
    **CLIENT_KEYS,
    "device": _device,
    "logging": lambda value: isinstance(value, str) and value.upper() in LOG_LEVELS,
}
INFER_KEYS: dict[str, Check] = {
    **COMMON_KEYS,
    "label_info": _label_info,
    "label_tag": _text(TAG),
    "save_label": _flag,
    "result_extension": _one_of(*EXTENSIONS),
    "result_dtype": _text(DTYPE),
    "result_compress": _flag,
    "restore_label_idx": _flag,
    "threshold": _number,
    "score_threshold": _number,
    "mask_threshold": _number,
    "min_volume_ml": _number,
    "time_point": _number,
    "part": _text(PLAIN_TEXT),
    "min_volume_mm3": _number,
    "explain": _flag,
    "tta": _flag,
    "largest_cc": _flag,
    "foreground": _numbers,
    "background": _numbers,
    "points": _numbers,
    "point_labels": _numbers,
    "label_prompt": _numbers,
    "roi": _numbers,
    "slice": _number,
    "reset_state": _flag,
    "selected_label_name": _text(PLAIN_TEXT),
}
TRAIN_KEYS: dict[str, Check] = {
    **COMMON_KEYS,
    "name": _text(RUN_NAME),
    "pretrained": _flag,
    "max_epochs": _number,
    "early_stop": _number,
    "early_stop_patience": _number,
    "learning_rate": _number,
    "val_split": _number,
    "batch_size": _number,
    "train_batch_size": _number,
    "val_batch_size": _number,
    "dataset": _text(PLAIN_TEXT),
    "dataloader": _text(PLAIN_TEXT),
    "multi_gpu": _flag,
    "gpus": _text(GPUS),
    "tracking": _one_of("", "None"),
    "seed": _number,
}
BATCH_KEYS: dict[str, Check] = {
    **INFER_KEYS,
    "multi_gpu": _flag,
    "gpus": _text(GPUS),
    "max_workers": _number,
    "max_batch_size": _number,
}
SCORING_KEYS: dict[str, Check] = {**COMMON_KEYS, "y": _text(TAG), "y_pred": _text(TAG), "gpus": _text(GPUS)}
SAMPLE_KEYS: dict[str, Check] = {**CLIENT_KEYS, "label_tag": _text(TAG), "labels": _texts}


def parse_params(text: str) -> dict[str, Any]:
    """Read the ``params`` form field.

    Raises:
        HTTPException: 400 when it is not a JSON object.
    """
    try:
        params = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise bad_request("params is not valid JSON.") from error
    if not isinstance(params, dict):
        raise bad_request("params must be a JSON object.")
    return params


def check_params(
    params: Mapping[str, Any] | None, allowed: Mapping[str, Check], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the parameters when every key is allowed and every value fits its key.

    Args:
        params: What the client sent.
        allowed: Key to the check of its value.
        config: The task's own configuration; its further keys may have a scalar value, or the value it lists.

    Raises:
        HTTPException: 400 naming the key, and the allowed keys or that its value does not fit.
    """
    config = config or {}
    checked = {}
    for key, value in (params or {}).items():
        if key not in allowed and key not in config:
            names = ", ".join(sorted({*allowed, *config}))
            raise bad_request(f"The parameter '{key[:80]}' is not allowed. Allowed are: {names}.")
        fits = allowed[key](value) if key in allowed else _scalar(value)
        if not fits and not _listed(value, config.get(key)):
            raise bad_request(f"The parameter '{key}' does not accept the value {str(value)[:80]!r}.")
        checked[key] = _converted(value, allowed.get(key), config.get(key))
    return checked


def _converted(value: Any, check: Check | None, configured: Any) -> Any:
    """Return typed text as the number or flag it stands for, as the check or the configured value says."""
    if not isinstance(value, str):
        return value
    if check is _flag or isinstance(configured, bool):
        return value.lower() in ("true", "1") if _flag(value) else value
    if check is _number or isinstance(configured, int | float):
        return (int(value) if value.isdecimal() else float(value)) if _number(value) else value
    return value


def _listed(value: Any, configured: Any) -> bool:
    """Whether a value is what the task itself offered; a viewer sends the first of a list, or the whole."""
    return configured is not None and (value == configured or (isinstance(configured, list) and value in configured))


def infer_keys(labels: Any) -> dict[str, Check]:
    """Return the allowed inference keys, with what depends on a model's labels.

    ``label`` names one of the labels, and interactive models take points under each label's name.
    """
    names = [str(name) for name in (labels or [])]
    points = {name: _numbers for name in names if name not in ("image", "model", "session", "file")}
    with_others = {"followup": _flag, "followup_use": _one_of("stored", "model")}
    return {**points, "label": _one_of(*names), **INFER_KEYS, "frame_mask": _flag, **with_others}
