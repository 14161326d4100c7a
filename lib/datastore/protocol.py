# SPDX-License-Identifier: Apache-2.0
"""What every store does, wherever it keeps things."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Store(Protocol):
    """Images with masks (``final``, ``original``), findings (``boxes``) and a report (``report``) each.

    Every store is also a MONAI Label ``Datastore``. Ids and tags are checked before they become part of a path or a
    query: what is malformed is an :class:`lib.types.InputError`, an unknown image MONAI Label's
    ``ImageNotFoundException``. A label's id is its image's. Saving replaces the label with the same tag; when it
    fails, the old one stays. What was saved reads back as it was: voxels and place of a mask, values of a document.
    """

    kind: str
    """``local``, ``embedded`` or ``dicomweb``."""
    image_suffixes: tuple[str, ...]
    """Of the files that can be added as images."""

    def list_images(self) -> list[str]:
        """Ids of all images."""

    def get_image_uri(self, image_id: str) -> str:
        """A local file, or a folder that holds one DICOM series."""

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known about an image; ``patient`` names whose it is."""

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label; returns its id."""

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """A local file with the label, "" when there is none."""

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Who made a label, when and how."""

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label."""

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the images with a label of this tag (``final`` unless given)."""

    def datalist(self) -> list[dict[str, Any]]:
        """Image and final mask of every image that has one."""

    def status(self) -> dict[str, Any]:
        """Counts, and which images have boxes or a report."""

    def refresh(self) -> None:
        """Look again at what is there."""
