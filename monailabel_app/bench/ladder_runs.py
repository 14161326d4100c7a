# SPDX-License-Identifier: Apache-2.0
"""Runs of the ladder on real studies, and the files that keep them: what is there already is not done again."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..roots import lib_module
from .toy import OneRun

if TYPE_CHECKING:
    from lib.evaluation.evaluate import CaseScores
    from lib.trainers.scoring import SequenceScores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudiesRun(OneRun):
    """One training of one arm on real studies.

    Attributes:
        cases: The studies judged as ``lesionloop evaluate`` does.
        without: As ``cases``, with one channel taken away; by its name.
    """

    cases: tuple[CaseScores, ...]
    without: dict[str, tuple[CaseScores, ...]] = field(default_factory=dict)


def write_run(run: StudiesRun, facts: dict[str, Any], file: Path) -> None:
    """Keep a run.

    Args:
        run: What came out.
        facts: What it depends on, as JSON values.
        file: To write.
    """
    file.write_text(json.dumps({"facts": facts, **_plain(run)}), encoding="utf-8")


def read_run(file: Path, facts: dict[str, Any]) -> StudiesRun:
    """Read what :func:`write_run` has written.

    Raises:
        InputError: If the file is none of its, or the run depends on other facts.
    """
    error = lib_module("types").InputError
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise error(f"{file}: cannot be read as JSON ({problem}); delete it to have the run done again") from problem
    if data.pop("facts", None) != facts:
        raise error(f"{file}: is of a comparison with other settings; choose another output folder or delete it")
    logger.info("%s: done before", file)
    return StudiesRun(
        **{key: data[key] for key in ("arm", "seed", "parameters", "cpu_seconds")},
        cases=tuple(_case(one) for one in data["cases"]),
        without={name: tuple(_case(one) for one in ones) for name, ones in data["without"].items()},
        scores=_sequences(data["scores"]),
        changed={name: _sequences(ones) for name, ones in data["changed"].items()},
    )


def _plain(value: Any) -> Any:
    """Dataclasses, arrays, tuples and numpy's numbers as JSON values."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _case(data: dict[str, Any]) -> CaseScores:
    arrays = {
        "presence": np.array(data["presence"], np.float32),
        "holds_lesion": np.array(data["holds_lesion"], bool),
        "frame_matches": _matches(data["frame_matches"]),
        "lesion_matches": _matches(data["lesion_matches"]),
    }
    return lib_module("evaluation.evaluate").CaseScores(**{**data, **arrays})  # type: ignore[no-any-return]


def _sequences(data: Iterable[dict[str, Any]]) -> tuple[SequenceScores, ...]:
    make = lib_module("trainers.scoring").SequenceScores
    return tuple(
        make(
            one["patient"],
            tuple(_matches(frame) for frame in one["frames"]),
            np.array(one["distance"], np.intp),
            np.array(one["area_px"], np.intp),
        )
        for one in data
    )


def _matches(data: dict[str, dict[str, list[Any]]]) -> dict[int, dict[str, Any]]:
    return {int(c): {key: np.array(values) for key, values in part.items()} for c, part in data.items()}
