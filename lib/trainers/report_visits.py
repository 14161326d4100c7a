# SPDX-License-Identifier: Apache-2.0
"""The images of a corrected report as the lesion model sees them, and what has changed since the visit before."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from ..dicom.types import SeriesFacts
from ..dicom.visits import days_between
from ..drafting.earlier import EarlierVisit, earlier_visit
from ..drafting.source import SourceView, view_study
from ..followup import VisitFindings, findings_of_labels, follow_visits
from ..prediction.predictor import Predictor
from ..transforms.load import load_label, load_study
from ..transforms.registration import register
from ..types import InputError, Source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadVisit:
    """An image of the store.

    Attributes:
        image_id: Of the store.
        view: As the lesion model sees it.
        found: The lesions of its final label where there is one, else those that the model finds.
    """

    image_id: str
    view: SourceView
    found: VisitFindings


def read_visit(datastore: Datastore, image_id: str, predictor: Predictor) -> ReadVisit:
    """Read an image and its lesions.

    Raises:
        InputError: If it cannot be used.
    """
    study = load_study(Path(datastore.get_image_uri(image_id)), predictor.config.input)
    view = view_study(predictor, study.sequence)
    label_id = datastore.get_label_by_image_id(image_id, DefaultLabelTag.FINAL)
    if not label_id:
        return ReadVisit(image_id, view, view.found)
    label = Path(datastore.get_label_uri(label_id, DefaultLabelTag.FINAL))
    mask = load_label(label, study.geometry, study.sequence.kind)
    return ReadVisit(image_id, view, findings_of_labels([("lesion", mask > 0)], study.sequence, Source()))


def since_before(datastore: Datastore, now: ReadVisit, prior_image: str, predictor: Predictor) -> EarlierVisit | None:
    """What has become of the lesions since the visit that a report compares with, measured as for its draft.

    Args:
        datastore: Where both are.
        now: The visit of the report.
        prior_image: Image of the earlier visit; "" for a report that compares with none.
        predictor: Of the lesion model.

    Returns:
        None where the report compares with none, or the earlier image cannot be read any more.
    """
    if not prior_image:
        return None
    try:
        if prior_image not in datastore.list_images():
            raise InputError("it is not in the store")
        before = read_visit(datastore, prior_image, predictor)
        days = _days(datastore, prior_image, now.image_id)
        to_before = register(before.found.sequence, now.found.sequence).to_fixed
    except InputError as error:
        logger.warning("'%s', which the report of '%s' compares with: %s", prior_image, now.image_id, error)
        return None
    maps = [np.eye(4), to_before]
    timeline = follow_visits([before.found, now.found], maps, [None if days is None else 0.0, days])
    return earlier_visit(timeline, 1, maps)


def _days(datastore: Datastore, first: str, second: str) -> float | None:
    """Days from an image to another; None where one does not say its date, or they are the other way round."""
    try:
        days = days_between(*(_facts(datastore, image_id) for image_id in (first, second)))
    except InputError:
        return None
    return days if days >= 0 else None


def _facts(datastore: Datastore, image_id: str) -> SeriesFacts:
    info = datastore.get_image_info(image_id) or {}
    return SeriesFacts(study_date=str(info.get("StudyDate") or ""), study_time=str(info.get("StudyTime") or ""))
