# SPDX-License-Identifier: Apache-2.0
"""SEG and SR of a PACS: which image each belongs to, which is current, which are ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ..dicom.codes import read_algorithm
from ..dicom.files import atomic_write
from ..dicom.sr import concepts as sr_codes
from ..dicom.sr.document import created_at, kind_of
from ..dicom.sr.items import children, read_observer, read_source, text_of
from ..dicom.write import MANUFACTURER, derived_uid
from ..types import Source
from .names import BOXES, FINAL, ORIGINAL, REPORT, TAGS
from .pacs_client import InstanceKey, Pacs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelFacts:
    """A SEG or SR.

    Attributes:
        key: Study, series and SOP Instance UID.
        modality: ``SEG`` or ``SR``.
        tag: The label's tag; "" for an object that is no label.
        images: Series Instance UIDs that it refers to.
        created: ISO 8601 content date and time; "" where there is none.
        number: Instance Number, which decides between two of the same time.
        ours: This app wrote it.
        author: The person who made it, as the object says.
        model: The model that did, or that the person corrected.
        description: Series Description.
        signed: A person has verified it (Verification Flag, PS3.3 C.17.2).
    """

    key: InstanceKey
    modality: str
    tag: str
    images: tuple[str, ...]
    created: str = ""
    number: int = 0
    ours: bool = False
    author: str = ""
    model: str = ""
    description: str = ""
    signed: bool = False

    @property
    def age(self) -> tuple[str, int, str]:
        """Sorts labels, the oldest first."""
        return self.created, self.number, self.key[2]


def label_series_uid(image_uid: str, tag: str, model: str, modality: str) -> str:
    """The series that holds every version of a label; the same for the same image, tag and model."""
    return str(derived_uid("label series", image_uid, tag, model, modality))


def facts_of(dataset: Dataset, key: InstanceKey) -> LabelFacts:
    """What the attributes of a SEG or SR say."""
    ours = str(dataset.get("Manufacturer", "")) == MANUFACTURER
    modality = str(dataset.get("Modality", ""))
    maker = _maker(dataset)
    return LabelFacts(
        key=key,
        modality=modality,
        tag=_tag(dataset, ours),
        images=tuple(dict.fromkeys(_referenced_series(dataset))),
        created=created_at(dataset),
        number=int(dataset.get("InstanceNumber") or 0),
        ours=ours,
        author=maker.author,
        model=maker.model,
        description=str(dataset.get("SeriesDescription", "") or ""),
        signed=str(dataset.get("VerificationFlag", "") or "") == "VERIFIED",
    )


def _tag(dataset: Dataset, ours: bool) -> str:
    """Ours say their tag; what others drew counts as a clinician's."""
    if dataset.get("Modality") == "SEG":
        own = str(dataset.get("ContentLabel", "") or "").lower()
        return own if ours and own in (FINAL, ORIGINAL) else FINAL
    kind = kind_of(dataset)
    own = text_of(dataset, sr_codes.TAG) if ours else ""
    return own if own in TAGS else {"boxes": BOXES, "report": REPORT}.get(kind, "")


def _maker(dataset: Dataset) -> Source:
    if dataset.get("Modality") == "SEG":
        segments = dataset.get("SegmentSequence") or [Dataset()]
        return read_algorithm(segments[0], str(dataset.get("ContentCreatorName", "") or ""))
    findings = children(dataset, "CONTAINER", codes.DCM.Findings)
    source = read_source(findings[0]) if findings else Source()
    return source if source != Source() else Source(author=read_observer(dataset))


def _referenced_series(dataset: Dataset) -> Iterable[str]:
    for series in dataset.get("ReferencedSeriesSequence") or ():
        yield str(series.get("SeriesInstanceUID", ""))
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in dataset.get(keyword) or ():
            for series in study.get("ReferencedSeriesSequence") or ():
                yield str(series.get("SeriesInstanceUID", ""))


class LabelIndex:
    """The labels of a PACS. An instance never changes, so each is looked at once, and remembered in a folder.

    Args:
        pacs: Where they are.
        folder: For what was learned.
    """

    def __init__(self, pacs: Pacs, folder: Path) -> None:
        self._pacs, self._folder = pacs, folder
        self._known: dict[str, LabelFacts] = {}

    def all(self) -> list[LabelFacts]:
        """Every label, the oldest first."""
        return sorted((self._facts(key) for key in self._pacs.label_instances()), key=lambda facts: facts.age)

    def of(self, image_uid: str, tag: str) -> list[LabelFacts]:
        """The labels of an image with a tag, the oldest first."""
        return [facts for facts in self.all() if facts.tag == tag and image_uid in facts.images]

    def current(self, image_uid: str, tag: str) -> LabelFacts | None:
        """The newest label of an image with a tag."""
        return next(iter(reversed(self.of(image_uid, tag))), None)

    def signed_report(self, image_uid: str) -> Dataset | None:
        """The current report of an image, if a person has signed it."""
        current = self.current(image_uid, REPORT)
        return self._pacs.instance(current.key) if current is not None and current.signed else None

    def by_image(self) -> dict[str, dict[str, LabelFacts]]:
        """The current label of each image and tag."""
        found: dict[str, dict[str, LabelFacts]] = {}
        for facts in self.all():
            for image_uid in facts.images if facts.tag else ():
                found.setdefault(image_uid, {})[facts.tag] = facts
        return found

    def learn(self, dataset: Dataset) -> None:
        """Remember an instance that was just stored, instead of asking for it."""
        key = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
        self._remember(facts_of(dataset, key))

    def _facts(self, key: InstanceKey) -> LabelFacts:
        if key[2] not in self._known:
            facts = _remembered(self._file(key), key)
            if facts is None:
                self._remember(self._asked(key))
            else:
                self._known[key[2]] = facts
        return self._known[key[2]]

    def _file(self, key: InstanceKey) -> Path:
        return self._folder / f"{key[2]}.json"

    def _remember(self, facts: LabelFacts) -> None:
        with atomic_write(self._file(facts.key)) as temporary:
            temporary.write_text(json.dumps(asdict(facts)), encoding="utf-8")
        self._known[facts.key[2]] = facts

    def _asked(self, key: InstanceKey) -> LabelFacts:
        """An object whose attributes make no sense is no label; it must not hide the others."""
        dataset = self._pacs.metadata(key)
        try:
            return facts_of(dataset, key)
        except Exception as error:  # elements are decoded when they are touched, and fail in many ways
            logger.warning("%s %s is left out: %s", dataset.get("Modality", "object"), key[2], error)
            return LabelFacts(key, "", "", ())


def _remembered(file: Path, key: InstanceKey) -> LabelFacts | None:
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return LabelFacts(**{**data, "key": key, "images": tuple(data["images"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: not usable (%s); asking the PACS again", file, error)
        return None
