# SPDX-License-Identifier: Apache-2.0
"""Strategies that choose the next study to label.

OHIF's panel asks for ``random`` by name; ``first`` goes through the store in order, for reading lists.
"""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.random import Random


class First(Strategy):  # type: ignore[misc]
    """The first unlabelled study in the order of the ids."""

    def __init__(self) -> None:
        super().__init__("The first study without a label, in the order of the ids")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose.

        Args:
            request: May hold ``label_tag`` and ``labels``, as the platform's own strategies take them.
            datastore: Where the studies are.

        Returns:
            ``{"id": image id}``, or None when every study has a label.
        """
        images = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        return {"id": sorted(images)[0]} if images else None


def build_strategies() -> dict[str, Strategy]:
    """All strategies by the name clients use."""
    return {"random": Random(), "first": First()}
