# SPDX-License-Identifier: Apache-2.0
"""An answer for programs that show the stored frames of an image: masks by frames, everything on those frames."""

from __future__ import annotations

from typing import Any

from ..findings.lesions import OutlinedLesion
from ..tracking.lesion_tracks import Outline as TrackOutline
from ..tracking.lesion_tracks import tracks_of
from ..transforms.frame_masks import Outline, outlines_document
from ..transforms.load import Study
from ..transforms.shown import findings_on, region_on
from ..types import Finding


def params_by_frames(
    study: Study,
    findings: list[Finding],
    outlines: tuple[OutlinedLesion, ...] | None,
    labels: dict[str, int],
) -> dict[str, Any]:
    """The parameters of an answer that depend on the frames, for the frames that a viewer shows.

    Args:
        study: The image.
        findings: On the frames that models see.
        outlines: The voxels of the findings; None where the model gives boxes only.
        labels: Class name -> value.

    Returns:
        ``mask`` where there are outlines. Where models see other frames than the stored ones also ``findings``,
        their ``tracks`` and what tells of the frames; ``presence``, ``attention`` and ``modality_weights``, which are
        of the frames that models see, are then None unless the frames are the same slices.
    """
    shown, geometry = study.shown, study.geometry
    params: dict[str, Any] = {}
    if outlines is not None:
        params["mask"] = outlines_document([_outline(one) for one in outlines], labels, shown, geometry)
    if shown.same_as(geometry):
        return params
    moved = shown.to_json()
    params |= {key: moved[key] for key in ("positions", "position_unit", "sop_instance_uids", "frame_numbers")}
    moved_findings = findings_on(findings, geometry, shown.geometry)
    params |= {
        "findings": [finding.to_json() for finding in moved_findings],
        "tracks": tracks_json(moved_findings, shown.shape[0], outlines, study),
        "n_frames": shown.shape[0],
        "affine_lps": [[round(float(v), 6) for v in row] for row in shown.geometry.affine_lps],
        "spacing_mm": [round(v, 4) for v in shown.geometry.spacing_mm],
    }
    same = shown.same_order_as(geometry)
    return params if same else {**params, **dict.fromkeys(("presence", "attention", "modality_weights"))}


def tracks_json(
    findings: list[Finding], n_frames: int, outlines: tuple[OutlinedLesion, ...] | None, study: Study | None = None
) -> list[dict[str, Any]]:
    """The lesions over the frames, as JSON values.

    Args:
        findings: With their track ids.
        n_frames: Of what they are on.
        outlines: The voxels of the findings on the frames that models see; None for boxes.
        study: Where the findings are on the frames that viewers show; None where they are on those of the models.
    """
    found = None if outlines is None else [_followed(one, study) for one in outlines]
    return [track.to_json() for track in tracks_of(findings, n_frames, found)]


def _followed(lesion: OutlinedLesion, study: Study | None) -> TrackOutline:
    t, y, x = (part.start for part in lesion.region)
    mask, corner = lesion.mask, (t, y, x)
    if study is not None:
        mask, corner = region_on(mask, corner, study.geometry, study.shown.geometry)
    return TrackOutline(lesion.finding.id, mask, corner[0])


def _outline(lesion: OutlinedLesion) -> Outline:
    t, y, x = (part.start for part in lesion.region)
    return Outline(lesion.finding.label, lesion.finding.id, lesion.mask, (t, y, x))
