# SPDX-License-Identifier: Apache-2.0
"""Storing (STOW-RS, DICOM PS3.18 10.5) in the embedded PACS."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from .accept import DICOM_JSON
from .dicomweb_paths import Target
from .dicomweb_search import base_url
from .multipart import PartFiles


async def store_instances(request: Request, target: Target, pacs: Any) -> Response:
    """Receive instances into temporary files, then check and store each; nothing is stored of a broken message."""
    with tempfile.TemporaryDirectory(prefix="lesionloop-") as folder:
        parts = PartFiles(Path(folder), request.headers.get("content-type", ""), "application/dicom")
        try:
            async for chunk in request.stream():
                await run_in_threadpool(parts.write, chunk)
        finally:
            parts.close()
        return await run_in_threadpool(_store, parts.finish(), base_url(request), target.study or None, pacs)


def _store(files: list[Path], base: str, study: str | None, pacs: Any) -> Response:
    status, answer = pacs.store_files(files, base, study)
    return Response(json.dumps(answer.to_json_dict()), status, media_type=DICOM_JSON)
