# SPDX-License-Identifier: Apache-2.0
"""DICOMweb where OHIF's bundled configuration looks for it: ``/proxy/dicom``, with or without wado, qido or stow.

MONAI Label's own proxy passes any path on, which opens the PACS's administration, and drops the query, which makes
OHIF list other patients' studies.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from . import dicomweb
from .dicomweb import Client, Refresh
from .dicomweb_paths import SERVICES
from .stock import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/proxy/dicom/{path:path}")
def read(request: Request, path: str, client: Client) -> Response:
    """Search (QIDO-RS) or retrieve (WADO-RS)."""
    return dicomweb.read(request, _without_service(path), client)


@router.post("/proxy/dicom/{path:path}")
async def write(request: Request, path: str, client: Client, refresh: Refresh) -> Response:
    """Store (STOW-RS)."""
    return await dicomweb.write(request, _without_service(path), client, refresh)


def _without_service(path: str) -> str:
    service, _, rest = path.partition("/")
    return rest if service in SERVICES else path
