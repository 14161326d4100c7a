# SPDX-License-Identifier: Apache-2.0
"""Run the served models through the REST interface, as a viewer does."""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from requests_toolbelt.multipart.decoder import MultipartDecoder

from .process import Server
from .roots import lib_module
from .truth import Answer, View

INFER_LIMIT_S = 600
FILE_NAME = re.compile(rb'filename="[^"]*?((?:\.nii)?\.[a-z]+)"')


def server_info(server: Server) -> dict[str, Any]:
    """What ``GET /info/`` says."""
    response = server.session.get(f"{server.url}/info/", timeout=60)
    response.raise_for_status()
    info: dict[str, Any] = response.json()
    return info


def infer(server: Server, model: str, kind: str, view: View) -> Answer:
    """Run a model on an image of the store.

    Args:
        server: A healthy server.
        model: Its name in ``/info/``.
        kind: Its type in ``/info/``.
        view: The image.

    Returns:
        The answer; one with ``error`` when the server could not give a result.
    """
    start = time.perf_counter()
    image_id = view.patient.image_id
    try:
        response = server.session.post(
            f"{server.url}/infer/{model}", params={"image": image_id, "output": "all"}, timeout=INFER_LIMIT_S
        )
    except requests.RequestException as error:
        return Answer(model, kind, view, {}, None, time.perf_counter() - start, f"no answer ({error})")
    seconds = time.perf_counter() - start
    if not response.ok:
        return Answer(model, kind, view, {}, None, seconds, f"HTTP {response.status_code}: {_detail(response)}")
    params, content, suffix = parts_of(response)
    mask = read_mask(content, suffix, view) if kind == "segmentation" and content else None
    return Answer(model, kind, view, params, mask, seconds)


def parts_of(response: requests.Response) -> tuple[dict[str, Any], bytes, str]:
    """Parameters, file and the suffix of its name; without a file the answer is plain JSON."""
    if not response.headers["Content-Type"].startswith("multipart/"):
        return response.json(), b"", ""
    params: dict[str, Any] = {}
    content, suffix = b"", ""
    for part in MultipartDecoder.from_response(response).parts:
        disposition = part.headers[b"Content-Disposition"]
        if b'name="params"' in disposition:
            params = json.loads(part.content)
        else:
            match = FILE_NAME.search(disposition)
            content, suffix = part.content, match.group(1).decode() if match else ".nii.gz"
    return params, content, suffix


def read_mask(content: bytes, suffix: str, view: View) -> Any:
    """Read a labelmap that came over HTTP, (T, H, W)."""
    with tempfile.TemporaryDirectory(prefix="lesionloop-") as folder:
        path = Path(folder) / f"answer{suffix}"
        path.write_bytes(content)
        return lib_module("transforms.load").load_label(path, view.geometry)


def _detail(response: requests.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def follow(server: Server, model: str, image_id: str) -> dict[str, Any]:
    """The lesions of a patient over all visits, as the model finds them at each.

    Args:
        server: A healthy server.
        model: Its name in ``/info/``.
        image_id: Of one of the visits.

    Raises:
        InputError: If the server gives no answer; the message is the server's.
    """
    params = {"image": image_id, "use": "model"}
    return _posted(server, f"/followup/{model}/timeline", "follow-up", params=params)


def draft_report(server: Server, model: str, image_id: str, indication: str) -> dict[str, Any]:
    """The draft of an image's report, compared with the patient's earlier visits.

    Args:
        server: A healthy server.
        model: A report model in ``/info/``.
        image_id: Of the visit to report.
        indication: Why the image was taken.

    Raises:
        InputError: If the server gives no answer; the message is the server's.
    """
    asked = {"indication": indication, "followup": True, "followup_use": "model"}
    params, data = {"image": image_id, "output": "json"}, {"params": json.dumps(asked)}
    return _posted(server, f"/infer/{model}", "draft", params=params, data=data)


def _posted(server: Server, path: str, wanted: str, **request: Any) -> dict[str, Any]:
    """The JSON that a route answers, or an error with the server's words."""
    try:
        response = server.session.post(f"{server.url}{path}", timeout=INFER_LIMIT_S, **request)
    except requests.RequestException as error:
        raise lib_module("types").InputError(f"no {wanted}: no answer ({error})") from error
    if not response.ok:
        raise lib_module("types").InputError(f"no {wanted}: HTTP {response.status_code}: {_detail(response)}")
    answer: dict[str, Any] = response.json()
    return answer
