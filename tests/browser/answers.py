# SPDX-License-Identifier: Apache-2.0
"""Made-up answers of the server for tests of the panel's state: a stack of six slices, two lesions."""

import json
from typing import Any

import numpy as np
from playwright.sync_api import Page

from lib.transforms.geometry import sequence_box_lps
from lib.types import Finding, Sequence, SequenceKind

SIZE, FRAMES = 32, 6
SPACING = (0.5, 0.8, 4.0)
AFFINE = [[0.5, 0.0, 0.0, -10.0], [0.0, 0.8, 0.0, 20.0], [0.0, 0.0, 4.0, -30.0], [0.0, 0.0, 0.0, 1.0]]
START = """async ([frames, steps]) => {
  const { Session } = await import('/ohif/lesionloop/state/session.js');
  const session = new Session('1.2.3', frames);
  const plain = value => JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Map ? Object.fromEntries(v) : v)));
  const run = new Function('session', 'plain', `return (async () => { ${steps} })()`);
  return plain((await run(session, plain)) ?? null);
}"""


def frames(**changes: Any) -> dict[str, Any]:
    """What /datastore/image/frames says of a stack of six slices."""
    stack = {
        "kind": "stack",
        "positions": [4.0 * i for i in range(FRAMES)],
        "position_unit": "mm",
        "sop_instance_uids": [f"1.2.{i}" for i in range(FRAMES)],
        "frame_numbers": [1] * FRAMES,
        "rows": SIZE,
        "columns": SIZE,
        "spacing_mm": list(SPACING),
        "affine_lps": AFFINE,
        "origins_lps_mm": None,
        "time_point": None,
        "time_points": 1,
        "warnings": [],
    }
    return {**stack, **changes}


def finding(number: int, boxes: dict[int, list[float]], score: float, **changes: Any) -> dict[str, Any]:
    """A finding as /infer/ gives it."""
    stack = sequence(None)
    box = sequence_box_lps(stack, {t: tuple(b) for t, b in boxes.items()})
    known = Finding(
        id=number,
        label="lesion",
        score=score,
        boxes={t: tuple(b) for t, b in boxes.items()},
        box_lps_mm=box,
        center_lps_mm=tuple((np.array(box[:3]) + np.array(box[3:])) / 2),
        frame_scores={t: score - 0.01 * i for i, t in enumerate(boxes)},
    ).to_json()
    return {**known, **changes}


def sequence(origins: Any) -> Sequence:
    """The same stack as the server knows it."""
    return Sequence(
        frames=np.zeros((FRAMES, 1, SIZE, SIZE), np.float32),
        kind=SequenceKind.STACK,
        positions=tuple(4.0 * i for i in range(FRAMES)),
        spacing_mm=SPACING[:2],
        affine_lps=np.array(AFFINE),
        origins_lps_mm=origins,
    )


def detected(*findings: dict[str, Any]) -> dict[str, Any]:
    return answer("det", list(findings))


def outlined(*findings: dict[str, Any]) -> dict[str, Any]:
    """A segmentation's answer; the pixels of each finding fill its boxes."""
    parts = [
        {"label": f["label"], "finding": f["id"], "frames": {t: runs(box) for t, box in f["boxes"].items()}}
        for f in findings
    ]
    return {**answer("seg", list(findings)), "mask": mask(parts)}


def answer(model: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
    source = {"model": model, "version": "v0001", "weights_sha256": "ab", "author": ""}
    return {
        "label_names": {"lesion": 1},
        "findings": [{**f, "source": source} for f in findings],
        "presence": [0.1 * i for i in range(FRAMES)],
        "attention": [1 / FRAMES] * FRAMES,
        "model": model,
        "warnings": [f"{model} noticed something"],
    }


def runs(box: list[float]) -> list[int]:
    x0, y0, x1, y1 = map(round, box)
    return [value for y in range(y0, y1) for value in (y * SIZE + x0, x1 - x0)]


def mask(parts: list[dict[str, Any]], **labels: int) -> dict[str, Any]:
    uids = [f"1.2.{i}" for i in range(FRAMES)]
    known = {"rows": SIZE, "columns": SIZE, "sop_instance_uids": uids, "frame_numbers": [1] * FRAMES}
    return {**known, "labels": labels or {"lesion": 1}, "parts": parts}


def pixels(document: dict[str, Any]) -> np.ndarray:
    """A mask document as an array (T, H, W)."""
    array = np.zeros((FRAMES, SIZE * SIZE), np.uint8)
    for part in document["parts"]:
        for t, values in part["frames"].items():
            for start, length in zip(values[::2], values[1::2], strict=True):
                assert not array[int(t), start : start + length].any(), "parts overlap"
                array[int(t), start : start + length] = document["labels"][part["label"]]
    return array.reshape(FRAMES, SIZE, SIZE)


def run(page: Page, steps: str, shown: dict[str, Any] | None = None) -> Any:
    return page.evaluate(START, [shown or frames(), steps])


def apply(*answers: dict[str, Any]) -> str:
    return "".join(f"session.applyAnswer({json.dumps(a)});" for a in answers)


LEFT = {1: [4.0, 4.0, 10.0, 10.0], 2: [4.0, 4.0, 10.0, 10.0]}
LEFT_PIXELS = {1: [5.0, 5.0, 9.0, 9.0], 2: [5.0, 5.0, 9.0, 9.0], 3: [6.0, 6.0, 8.0, 8.0]}
RIGHT = {4: [20.0, 20.0, 28.0, 26.0]}
AXES = {"long_axis": {"value": 5.31, "unit": "mm"}, "short_axis": {"value": 2.2, "unit": "mm"}}
OUTLINE = {**AXES, "volume": {"value": 12.34, "unit": "ml"}}
BOX_SIZE = {"width": {"value": 46.01, "unit": "mm"}, "height": {"value": 46.66, "unit": "mm"}}
