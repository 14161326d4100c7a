# SPDX-License-Identifier: Apache-2.0
"""Choose the store for what the user points at: a folder of files, a folder of DICOM, or a PACS."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.interfaces.datastore import Datastore

from ..dicom.files import remove_leftovers
from ..dicom.headers import NotDicomError, read_file
from ..pacs import INDEX_FOLDER, open_pacs
from ..types import InputError
from .dicom import DicomStore
from .local import LocalStore
from .local_index import VOLUME_SUFFIXES

logger = logging.getLogger(__name__)

STORES = ("auto", "local", "embedded")
RETRIES, RETRY_WAIT_MS = 2, 100
"""The client's own settings make a user wait half a minute to learn that a PACS is down."""
LOOK_AT = 2000
"""Files that are looked at to find out whether a folder holds DICOM."""


@dataclass(frozen=True)
class StoreSettings:
    """What MONAI Label's settings say about stores.

    Attributes:
        auto_reload: Of a local store: notice files that come or go.
        read_only: Of a local store: write only what a client saves.
        username: For a PACS with basic authentication.
        password: The same.
        qido_prefix: Path for queries, after the address.
        wado_prefix: Path for retrieval.
        stow_prefix: Path for storing.
        search_filter: Attributes that images of a PACS must have; none for every image series.
        cache_folder: For downloaded series; by default in the user's cache folder.
        timeout_s: For a PACS to begin to answer, and between two parts of an answer.
    """

    auto_reload: bool = True
    read_only: bool = False
    username: str = ""
    password: str = ""
    qido_prefix: str | None = None
    wado_prefix: str | None = None
    stow_prefix: str | None = None
    search_filter: dict[str, Any] = field(default_factory=dict)
    cache_folder: str = ""
    timeout_s: float = 20.0

    @classmethod
    def from_monailabel(cls, settings: Any) -> StoreSettings:
        """Read ``monailabel.config.settings``.

        MONAI Label's own default filter, CT only, counts as none: every image series is listed.
        """
        search_filter = dict(settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER or {})
        default = type(settings).model_fields["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"].default
        return cls(
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
            username=settings.MONAI_LABEL_DICOMWEB_USERNAME or settings.MONAI_LABEL_DATASTORE_USERNAME,
            password=settings.MONAI_LABEL_DICOMWEB_PASSWORD or settings.MONAI_LABEL_DATASTORE_PASSWORD,
            qido_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_prefix=settings.MONAI_LABEL_STOW_PREFIX,
            search_filter={} if search_filter == default else search_filter,
            cache_folder=(
                settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or settings.MONAI_LABEL_DATASTORE_CACHE_PATH or ""
            ).strip(),
        )


def open_store(studies: str, settings: StoreSettings, store: str = "auto") -> Datastore:
    """Open the store for a folder or an address.

    Args:
        studies: http(s) address of a DICOMweb server, or a folder. A folder is a ``local`` store if it is empty or
            new, or has image files (NIfTI, NRRD, MetaImage) at its top; else, if there are DICOM files anywhere in it,
            an ``embedded`` one.
        settings: What the administrator has set.
        store: ``auto``, or ``local`` or ``embedded`` to choose for a folder.

    Raises:
        InputError: If ``store`` is unknown, or there is no such folder to be an embedded store.
    """
    if store not in STORES:
        raise InputError(f"store '{store}' is unknown; use {', '.join(STORES)}")
    if studies.startswith(("http://", "https://")):
        if store != "auto":
            raise InputError(f"store '{store}' is for a folder, but {studies} is an address")
        return _open_dicomweb(studies.strip().rstrip("/"), settings)
    folder = Path(studies)
    kind = kind_of_folder(folder) if store == "auto" else store
    logger.info("%s: %s store", folder, kind)
    if folder.is_dir() and (left := remove_leftovers(folder)):
        logger.warning("%s: removed %d half-written files of an earlier run", folder, len(left))
    if kind == "local":
        return LocalStore(folder, auto_reload=settings.auto_reload, read_only=settings.read_only)
    cache = Path(settings.cache_folder) / _digest(str(folder.resolve())) if settings.cache_folder else None
    client = open_pacs(folder)
    return DicomStore(client, cache or folder / INDEX_FOLDER / "cache", kind="embedded")


def kind_of_folder(folder: Path) -> str:
    """``local`` or ``embedded``."""
    if not folder.is_dir() or (folder / "datastore_v2.json").is_file():
        return "local"
    if any(path.name.lower().endswith(VOLUME_SUFFIXES) for path in folder.iterdir()):
        return "local"
    files = (p for p in folder.rglob("*") if p.is_file() and not any(part.startswith(".") for part in p.parts[-8:]))
    for number, path in enumerate(files):
        if number >= LOOK_AT:
            break
        if _is_dicom(path):
            return "embedded"
    return "local"


def _is_dicom(path: Path) -> bool:
    try:
        return bool(read_file(path, ("SOPClassUID",)).get("SOPClassUID"))
    except (NotDicomError, InputError, OSError):
        return False


def _open_dicomweb(url: str, settings: StoreSettings) -> DicomStore:
    session = _google_session() if "googleapis.com" in url else TimedSession(settings.timeout_s)
    if settings.username and settings.password:
        session.auth = (settings.username, settings.password)
    client = DICOMwebClientX(
        url=url,
        session=session,
        qido_url_prefix=settings.qido_prefix,
        wado_url_prefix=settings.wado_prefix,
        stow_url_prefix=settings.stow_prefix,
    )
    client.set_http_retry_params(retry=True, max_attempts=RETRIES, wait_exponential_multiplier=RETRY_WAIT_MS)
    root = Path(settings.cache_folder) if settings.cache_folder else Path.home() / ".cache" / "lesionloop" / "dicom"
    return DicomStore(client, root / _digest(url), search_filter=settings.search_filter)


def _google_session() -> Any:
    from dicomweb_client.ext.gcp.session_utils import create_session_from_gcp_credentials

    return create_session_from_gcp_credentials()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TimedSession(requests.Session):
    """A session whose requests end when the server stops answering.

    Args:
        timeout_s: For connecting, and between two parts of an answer.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request."""
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout_s
        return super().request(*args, **kwargs)
