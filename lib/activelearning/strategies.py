# SPDX-License-Identifier: Apache-2.0
"""Strategies that choose the next study to label.

OHIF's panel of MONAI Label asks for ``random`` by name; ``first`` goes through the store in order, for reading lists.
"""

from __future__ import annotations

import random
import time
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from ..datastore.names import BOXES, FINAL


class First(Strategy):  # type: ignore[misc]
    """The first unlabelled study in the order of the ids."""

    def __init__(self) -> None:
        super().__init__("The first study without a label, in the order of the ids")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose.

        Args:
            request: As for :func:`waiting_images`.
            datastore: Where the studies are.

        Returns:
            ``{"id": image id}``, or None when every study has a label.
        """
        images = waiting_images(request, datastore)
        return {"id": images[0]} if images else None


class Random(Strategy):  # type: ignore[misc]
    """Any unlabelled study; the longer ago one was given out, the likelier it is."""

    def __init__(self) -> None:
        super().__init__("Any study without a label, rather one that nobody was given lately")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose.

        Args:
            request: As for :func:`waiting_images`; ``strategy`` is the name under which the store notes who was given
                a study.
            datastore: Where the studies are.

        Returns:
            ``{"id": image id, "weight": s since it was given out}``, or None when every study has a label.
        """
        images = waiting_images(request, datastore)
        if not images:
            return None
        name, now = str(request.get("strategy")), int(time.time())
        given = [datastore.get_image_info(image).get("strategy", {}).get(name, {}).get("ts", 0) for image in images]
        weights = [max(1, now - when) for when in given]
        chosen = random.choices(range(len(images)), weights=weights)[0]
        return {"id": images[chosen], "weight": weights[chosen]}


def waiting_images(request: dict[str, Any], datastore: Datastore) -> list[str]:
    """Images to label, in the order of their ids.

    Args:
        request: May hold ``label_tag`` and ``labels``, as the platform's own strategies take them. Without a tag, an
            image is done when it has a final mask, or boxes that a person saved.
        datastore: Where the studies are.
    """
    tag = request.get("label_tag")
    images = sorted(datastore.get_unlabeled_images(tag or FINAL, request.get("labels")))
    if tag:
        return images
    boxed = set(datastore.get_labeled_images(BOXES))
    return [image for image in images if image not in boxed or not _by_a_person(datastore, image)]


def _by_a_person(datastore: Datastore, image: str) -> bool:
    """Whether the boxes of an image were saved by someone, and not only by a model."""
    info = datastore.get_label_info(datastore.get_label_by_image_id(image, BOXES), BOXES)
    return bool(info.get("user")) or not info.get("model")


def build_strategies() -> dict[str, Strategy]:
    """All strategies by the name clients use."""
    return {"random": Random(), "first": First()}
