# SPDX-License-Identifier: Apache-2.0
"""The report routes: drafts and corrections saved, signed and amended, with every version kept and compared."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, HTTPException, Query, Request
from fastapi.responses import Response

from ..roots import lib_module
from .checks import NAME, bad_request, check_image
from .stock import STORE_LOCK, GuardedRoute, label_app, store, user_of

router = APIRouter(tags=["Reports"], route_class=GuardedRoute)
TAG = "report"
IfMatch = Annotated[str, Header(alias="If-Match")]
Sent = Annotated[dict[str, Any], Body()]
SUMMARY = ("version", "status", "author", "changed_at", "signer", "signed_at", "amendment_reason")


@router.get("/reports/{image}", summary="Get the report of an image, and which versions it has")
def get_report(image: str) -> Response:
    """Return the current version with its evidence, and a line for each version; ``ETag`` is the version's number."""
    return _answer(image, _current(image))


@router.get("/reports/{image}/versions/{number}", summary="Get a version of a report")
def get_version(image: str, number: int) -> Response:
    """Return a version as it was stored."""
    return _json({"image": image, "report": _plain(_version(_current(image), number))})


@router.put("/reports/{image}", summary="Save a draft or a corrected report")
def save_report(request: Request, image: str, body: Sent, if_match: IfMatch = "") -> Response:
    """Store the next version; an unchanged report stays as it is."""
    new = _report_of({"status": "corrected", **body})
    is_draft = new.status == "draft"
    author = (new.model or new.author) if is_draft else _person(request, body.get("author"), "author")

    def following(current: Any) -> Any:
        return lib_module("reports").saved(new, current, author, _now())

    return _stored(image, following, _expected(body, if_match), may_be_first=True)


@router.post("/reports/{image}/sign", summary="Sign a report")
def sign_report(request: Request, image: str, body: Sent, if_match: IfMatch = "") -> Response:
    """Store the current words as signed; they never change again."""
    signer = _person(request, body.get("name"), "name")
    return _stored(
        image, lambda current: lib_module("reports").signed(current, signer, _now()), _expected(body, if_match)
    )


@router.post("/reports/{image}/amend", summary="Amend a signed report")
def amend_report(request: Request, image: str, body: Sent, if_match: IfMatch = "") -> Response:
    """Store other words in place of signed ones, as a new signed version with its reason."""
    signer = _person(request, body.get("name"), "name")
    new, reason = _report_of({"sections": body.get("sections")}), body.get("reason")
    if not isinstance(reason, str) or len(reason) > 2000:
        raise bad_request('An amendment needs its reason, a text: {"reason": "..."}.')

    def following(current: Any) -> Any:
        return lib_module("reports").amended(new, current, signer, reason, _now())

    return _stored(image, following, _expected(body, if_match))


@router.get("/reports/{image}/diff", summary="Compare two versions of a report word by word")
def diff_report(
    image: str,
    before: Annotated[int | None, Query(alias="from")] = None,
    after: Annotated[int | None, Query(alias="to")] = None,
) -> Response:
    """Compare a version with another, or without ``from`` with the draft that it came from."""
    reports, current = lib_module("reports"), _current(image)
    later = current.alone if after is None else _version(current, after)
    if before is None:
        change = reports.change_from_draft(later)
    else:
        earlier = reports.with_ids(_version(current, before), later.draft)
        known = reports.texts_of(earlier)
        change = reports.compare_texts(known, reports.texts_of(reports.with_ids(later, known)))
    return _json({"image": image, "from": before or "draft", "to": later.version, **change.to_json()})


@router.get("/reports/{image}/fhir", summary="Get a report as a FHIR R4 DiagnosticReport")
def fhir_report(image: str, version: int | None = None) -> Response:
    """Return a version, the current one unless named, for a hospital system."""
    current = _current(image)
    report = current.alone if version is None else _version(current, version)
    latest = report.version == current.version
    uid = str(store().get_label_info(image, TAG).get("SOPInstanceUID", "")) if latest else ""
    resource = lib_module("reports").diagnostic_report(report, store().get_image_info(image), _findings(image), uid)
    return Response(json.dumps(resource), media_type="application/fhir+json")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _report_of(body: dict[str, Any]) -> Any:
    """What a client sent, without what the server alone knows."""
    sent = {key: value for key, value in body.items() if key not in ("version", "history")}
    return lib_module("types.report").Report.from_json(sent)


def _person(request: Request, given: Any, key: str) -> str:
    """Who sends this: the login where there is one, else what the request says."""
    name = user_of(request) or given
    if not isinstance(name, str) or not name.strip() or not NAME.fullmatch(name):
        raise bad_request(f'Say who you are, in at most 128 characters: {{"{key}": "..."}}.')
    return name.strip()


def _expected(body: dict[str, Any], if_match: str) -> int | None:
    """The version that a client has seen: of the header ``If-Match``, else of the body."""
    said = if_match.strip().removeprefix("W/").strip('"') or body.get("version")
    if said is None:
        return None
    if isinstance(said, bool) or not str(said).isdecimal() or len(str(said)) > 9:
        raise bad_request(f"The version {str(said)[:40]!r} is not a number.")
    return int(said)


def _stored(image: str, following: Callable[[Any], Any], seen: int | None, *, may_be_first: bool = False) -> Response:
    """Store what follows the current version, if that is the one that the client has seen."""
    check_image(image)
    with STORE_LOCK:
        current = lib_module("reports").stored_report(store(), image)
        if current is None and not may_be_first:
            raise _no_report(image)
        if current is not None:
            _check_seen(current, seen)
        report = following(current)
        if report is not current:
            _save(image, report)
    return _answer(image, report)


def _check_seen(current: Any, seen: int | None) -> None:
    if seen is None:
        raise bad_request(f'There is a report: say which version you have seen, {{"version": {current.version}}}.')
    if seen != current.version:
        who, when = current.signer or current.author or "somebody", current.changed_at
        raise HTTPException(
            409,
            f"The report was changed meanwhile: version {current.version} is {current.status.value} by {who}, {when}; "
            f"you have seen version {seen}. Read it again and repeat your change.",
        )


def _save(image: str, report: Any) -> None:
    user = "" if report.status == "draft" else report.signer or report.author
    info = {"user": user, "model": report.model, "version": report.model_version}
    known = {key: value for key, value in {**info, "weights_sha256": report.weights_sha256}.items() if value}
    with tempfile.TemporaryDirectory(prefix="lesionloop-") as folder:
        path = Path(folder) / "report.json"
        path.write_text(json.dumps(report.to_json()), encoding="utf-8")
        label_id = store().save_label(image, str(path), TAG, known)
    label_app().on_save_label(image, label_id)


def _current(image: str) -> Any:
    report = lib_module("reports").stored_report(store(), check_image(image))
    if report is None:
        raise _no_report(image)
    return report


def _no_report(image: str) -> HTTPException:
    return HTTPException(404, f"There is no report of image '{image}' yet; PUT /reports/{image} stores one.")


def _version(report: Any, number: int) -> Any:
    found = lib_module("reports").version_of(report, number)
    if found is None:
        known = ", ".join(str(one.version) for one in lib_module("reports").versions_of(report))
        raise HTTPException(404, f"The report has no version {number}; there are {known}.")
    return found


def _plain(version: Any) -> dict[str, Any]:
    values: dict[str, Any] = lib_module("reports").with_ids(version, version.draft).to_json()
    return {key: value for key, value in values.items() if key != "history"}


def _answer(image: str, report: Any) -> Response:
    reports = lib_module("reports")
    lines = [
        {**{key: getattr(one, key) for key in SUMMARY}, "changed": reports.change_from_draft(one).share}
        for one in reports.versions_of(report)
    ]
    answer = _json({"image": image, "report": _plain(report.alone), "versions": lines})
    answer.headers["etag"] = f'"{report.version}"'
    return answer


def _json(values: dict[str, Any]) -> Response:
    """Return JSON in ASCII, which also holds text that UTF-8 cannot."""
    return Response(json.dumps(values), media_type="application/json")


def _findings(image: str) -> list[Any]:
    """The lesions that someone has stored."""
    path = store().get_label_uri(image, "boxes")
    if not path:
        return []
    finding = lib_module("types").Finding
    return [finding.from_json(item) for item in json.loads(Path(path).read_text(encoding="utf-8"))["findings"]]
