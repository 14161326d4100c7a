# SPDX-License-Identifier: Apache-2.0
"""Result files: labelmaps with segment names, boxes as Slicer Markups, findings as JSON.

Labelmaps go back into the array geometry of the image file: same shape, same affine. NRRD carries the segment names
as 3D Slicer's segmentation files do (``Segment0_Name`` ...), NIfTI in a header extension.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import numpy.typing as npt

from ..transforms.export import nifti_image
from ..transforms.geometry import RAS_TO_LPS, VolumeGeometry, unsheared
from ..types import Finding, FloatArray, MaskArray

LABELMAP_EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd")
FINDINGS_EXTENSION = ".findings.json"
MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
ROI_ORIENTATION = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]
"""Slicer's axes (right, anterior, superior) in LPS: what Slicer itself writes for an axis-aligned ROI."""
COLORS = ((0.90, 0.10, 0.14), (0.97, 0.75, 0.10), (0.16, 0.62, 0.90), (0.55, 0.27, 0.80), (0.20, 0.70, 0.33))


@cache
def results_dir() -> Path:
    """A folder of this process for result files, removed with it.

    Not the temporary folder itself: clients save a result there under the server's file name, and on one machine the
    server, which removes its own file after sending, would remove theirs.
    """
    folder = Path(tempfile.mkdtemp(prefix="lesionloop-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def volume_affine_ras(geometry: VolumeGeometry) -> FloatArray:
    """The affine of the image file's array (X, Y, Z): voxel index to RAS mm, (4, 4)."""
    return np.asarray(RAS_TO_LPS @ geometry.array_affine_lps)


def write_labelmap(
    labelmap: MaskArray,
    geometry: VolumeGeometry,
    labels: dict[str, int],
    path: Path,
    dtype: str = "uint8",
    compress: bool = False,
) -> None:
    """Write a labelmap in the geometry of the image it belongs to.

    Args:
        labelmap: Class values, (T, H, W).
        geometry: Of the image file.
        labels: Class name -> value.
        path: Ends in one of :data:`LABELMAP_EXTENSIONS`.
        dtype: NumPy type of the voxels in the file.
        compress: Gzip the voxels of an NRRD; off by default because OHIF's reader takes raw ones.
    """
    volume = np.asfortranarray(geometry.to_volume(labelmap).astype(dtype))
    if path.name.endswith(".nrrd"):
        straight = unsheared(volume_affine_ras(geometry))  # as 3D Slicer shows the image
        _write_nrrd(volume, straight, labels, path, compress)
    else:
        nib.save(nifti_image(volume, volume_affine_ras(geometry), labels), path)


def _write_nrrd(
    volume: npt.NDArray[Any], affine_ras: FloatArray, labels: dict[str, int], path: Path, compress: bool
) -> None:
    affine_lps = RAS_TO_LPS @ affine_ras
    header = {
        "space": "left-posterior-superior",
        "space directions": affine_lps[:3, :3].T,  # one row per array axis
        "space origin": affine_lps[:3, 3],
        "kinds": ["domain", "domain", "domain"],
        "encoding": "gzip" if compress else "raw",
        **segment_fields(labels, volume.shape),
    }
    nrrd.write(str(path), volume, header=header, compression_level=1)


def segment_fields(labels: dict[str, int], shape: tuple[int, ...]) -> dict[str, str]:
    """The NRRD fields from which 3D Slicer takes segment names, values and colours.

    Args:
        labels: Class name -> value.
        shape: Of the volume (X, Y, Z).
    """
    extent = " ".join(f"0 {n - 1}" for n in shape)
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for i, (name, value) in enumerate(sorted(labels.items(), key=lambda item: item[1])):
        fields |= {
            f"Segment{i}_ID": name,
            f"Segment{i}_Name": name,
            f"Segment{i}_LabelValue": str(value),
            f"Segment{i}_Layer": "0",
            f"Segment{i}_Extent": extent,
            f"Segment{i}_Color": " ".join(str(c) for c in COLORS[i % len(COLORS)]),
        }
    return fields


def write_markups(findings: list[Finding], path: Path) -> None:
    """Write the boxes in space as 3D Slicer Markups ROIs, one per lesion.

    Without a lesion there is one ROI named "no lesion found" that has no control point: Slicer refuses a file with an
    empty list and shows an error, and an ROI without a control point draws nothing.
    """
    document = {"@schema": MARKUPS_SCHEMA, "markups": [_roi(finding) for finding in findings] or [_nothing()]}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _nothing() -> dict[str, Any]:
    return {
        "name": "no lesion found",
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "roiType": "Box",
        "size": [0.0, 0.0, 0.0],
        "controlPoints": [],
    }


def _roi(finding: Finding) -> dict[str, Any]:
    """One ROI; label and score go into the names, because Slicer does not keep the description."""
    low, high = np.array(finding.box_lps_mm[:3]), np.array(finding.box_lps_mm[3:])
    name = f"{finding.label} {finding.id} {finding.score:.2f}"
    center = [round(float(v), 4) for v in (low + high) / 2]
    control_point = {
        "id": "1",
        "label": name,
        "description": "",
        "associatedNodeID": "",
        "position": center,
        "orientation": ROI_ORIENTATION,
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
    }
    return {
        "name": name,
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N",
        "lastUsedControlPointNumber": 1,
        "roiType": "Box",
        "center": center,
        "orientation": ROI_ORIENTATION,
        "size": [round(float(v), 4) for v in high - low],
        "insideOut": False,
        "controlPoints": [control_point],
    }


def write_findings(findings: list[dict[str, Any]], path: Path) -> None:
    """Write findings that are already JSON values."""
    path.write_text(json.dumps({"findings": findings}, indent=1), encoding="utf-8")
