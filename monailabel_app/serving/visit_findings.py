# SPDX-License-Identifier: Apache-2.0
"""The lesions of a visit: those that someone has stored, or what the model finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from ..roots import lib_module
from .stock import label_app, store, without_folders
from .visits import Side

STORED_TAGS = {"segmentation": ("final",), "detection": ("boxes", "final")}
"""Where clinicians' corrections of a type of model are, those that are preferred first."""
MODEL = "model"


class Use(StrEnum):
    """Whose findings are compared: those that someone stored, where there are any, or always the model's."""

    stored = "stored"
    model = "model"


@dataclass(frozen=True)
class Read:
    """A visit that has been read.

    Attributes:
        found: Its lesions (``lib.followup.VisitFindings``).
        source: ``model``, or who has stored them.
        warnings: About the image.
    """

    found: Any
    source: str
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """What an answer says of the visit's lesions."""
        stack = self.found.sequence
        return {
            "source": self.source,
            "findings": [finding.to_json() for finding in self.found.findings],
            "sop_instance_uids": list(stack.sop_instance_uids),
            "frame_numbers": list(stack.frame_numbers),
            "n_frames": len(stack.positions),
            "warnings": self.warnings,
        }


def read_stack(side: Side) -> Any:
    """The stack of a visit, with its frames as viewers count them.

    Raises:
        InputError: If it cannot be read or is no stack.
    """
    folder = Path(store().get_image_uri(side.image))
    image = lib_module("transforms.load").read_dicom(folder).image
    return lib_module("followup").shown_stack(image, side.image)


def lesions_of(model: str, side: Side, stack: Any, use: Use) -> Read:
    """The lesions of a visit.

    Args:
        model: Whose findings count where nothing is stored.
        side: The visit.
        stack: As :func:`read_stack` gives it.
        use: Whose findings are wanted.
    """
    stored = stored_lesions(model, side.image, stack) if use is Use.stored else None
    return model_lesions(model, side, stack) if stored is None else stored


def model_lesions(model: str, side: Side, stack: Any, params: Mapping[str, Any] | None = None) -> Read:
    """What a model finds at a visit now.

    Args:
        model: Which.
        side: The visit.
        stack: As :func:`read_stack` gives it.
        params: Of the inference.
    """
    path = store().get_image_uri(side.image)
    asked = {**(params or {}), "model": model, "image": path, "frame_mask": True, "result_write_to_file": False}
    answer = label_app().infer(asked)
    if answer is None:
        raise HTTPException(500, f"The model '{model}' gave no result.")
    return lesions_of_answer(answer["params"], stack)


def lesions_of_answer(params: Mapping[str, Any], stack: Any) -> Read:
    """The lesions of an answer to a request with ``frame_mask``."""
    found = lib_module("followup").findings_of_answer(params["findings"], params.get("mask"), stack)
    return Read(found, MODEL, [without_folders(text) for text in params["warnings"]])


def stored_lesions(model: str, image: str, stack: Any) -> Read | None:
    """What someone has stored for an image; None where there is nothing."""
    follow, frames = lib_module("followup"), lib_module("datastore.frames")
    for tag in STORED_TAGS.get(str(label_app()._infers[model].type), ("final",)):
        label = store().get_label_uri(image, tag)
        if not label:
            continue
        info = store().get_label_info(image, tag)
        who = str(info.get("user") or info.get("author") or "")
        folder = Path(store().get_image_uri(image))
        if tag == "boxes":
            document = frames.boxes_by_frames(folder, Path(label), info)
            found = follow.findings_of_answer(document["findings"], None, stack)
        else:
            source = lib_module("datastore.dicom_labels").source_of(info)
            found = follow.findings_of_mask(frames.mask_by_frames(folder, Path(label), info), stack, source)
        return Read(found, f"stored by {who}" if who else "stored", [])
    return None
