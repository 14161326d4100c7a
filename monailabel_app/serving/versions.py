# SPDX-License-Identifier: Apache-2.0
"""The versions of a model's weights: which there are, which is in service, and how to put another into service."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request, Response

from .checks import TAG, check_model
from .params import CLIENT_KEYS, Check, check_params
from .stock import GuardedRoute, label_app, settled_json, user_of

router = APIRouter(tags=["Versions"], route_class=GuardedRoute)
KEYS: dict[str, Check] = {
    **CLIENT_KEYS,
    "version": lambda value: value is None or (isinstance(value, str) and TAG.fullmatch(value) is not None),
}


@router.get("/versions/{model}", summary="List the versions of a model's weights")
def list_versions(model: str) -> Response:
    """Return the version in service, all versions, how each came about, and what was put into service when."""
    versions = version_store(model)
    return settled_json(
        lambda: {
            "version": versions.in_service(),
            "versions": versions.versions(),
            "records": [asdict(record) for record in versions.records()],
            "changes": [asdict(change) for change in versions.changes()],
        }
    )


@router.post("/versions/{model}", summary="Put a version into service")
def use_version(
    request: Request, model: str, params: Annotated[dict[str, Any] | None, Body()] = None
) -> dict[str, str]:
    """Put the named version into service, or the one before; the next inference uses it."""
    versions = version_store(model)
    checked = check_params(params, KEYS)
    by = str(user_of(request) or checked.get("user") or "")
    return {"version": versions.rollback(checked.get("version"), by)}


def version_store(model: str) -> Any:
    """Return the ``lib.weights.versions.VersionStore`` of a model.

    Raises:
        HTTPException: 404 when there is no such model, or its app keeps no versions.
    """
    tasks = getattr(label_app(), "tasks", None)
    versions = getattr(tasks, "versions", {}).get(check_model(model))
    if versions is None:
        raise HTTPException(404, f"The app keeps no versions of the model '{model}'.")
    return versions
