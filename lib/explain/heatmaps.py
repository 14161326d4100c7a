# SPDX-License-Identifier: Apache-2.0
"""Heatmaps: on the network's coarse grid for a browser, on the image's own grid as a volume for 3D Slicer."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import torch
from torch.nn.functional import adaptive_max_pool2d, interpolate

from ..transforms.export import nifti_image
from ..transforms.geometry import RAS_TO_LPS, VolumeGeometry, unsheared
from ..transforms.prepare import FrameGrid
from ..types import Box, FloatArray, InputError

VOLUME_EXTENSIONS = (".nrrd", ".nii.gz", ".nii")
MOST_CELLS = 64
"""Rows and columns of a heatmap on frames that the network has not seen."""


@dataclass(frozen=True)
class Heatmap:
    """Evidence for one target.

    Attributes:
        finding: Id of the lesion; None for the whole study.
        label: The class that the evidence is for: that of the lesion, or of the study; None for any lesion.
        cells: (T, rows, columns), 0..1: 1 is the strongest evidence on any frame. Not scaled per frame: an empty frame
            would light up. All 0 where nothing speaks for the target.
    """

    finding: int | None
    label: str | None
    cells: FloatArray


@dataclass(frozen=True)
class Explanation:
    """The heatmaps of a study.

    Attributes:
        method: Key in :data:`lib.explain.METHODS`.
        layer: Whose features were weighed.
        heatmaps: Of the study, then of lesions, best first.
        grid: Leads from the network's pixels to those of the image.
        seen: (h, w), what the network saw, in its pixels: the crop of the grid and its padding. The cells cover it.
    """

    method: str
    layer: str
    heatmaps: tuple[Heatmap, ...]
    grid: FrameGrid
    seen: tuple[int, int]

    @property
    def extent(self) -> Box:
        """What the cells cover (x0, y0, x1, y1) in pixels of the image; may reach beyond its right and lower edge."""
        top, _, left, _ = self.grid.crop
        sy = self.grid.original[0] / self.grid.resampled[0]
        sx = self.grid.original[1] / self.grid.resampled[1]
        return left * sx, top * sy, (left + self.seen[1]) * sx, (top + self.seen[0]) * sy

    def on_frames(self, heatmap: Heatmap) -> FloatArray:
        """A heatmap on the pixels of the image, (T, H, W) float32; 0 where the network did not look."""
        y0, y1, x0, x1 = self.grid.crop
        fine = interpolate(_tensor(heatmap.cells), self.seen, mode="bilinear", align_corners=False)
        return self.grid.restore(fine[..., : y1 - y0, : x1 - x0])[:, 0].numpy()

    def to_json(self) -> dict[str, Any]:
        """As plain values, on the frames that models see."""
        return self._document([one.cells for one in self.heatmaps], self.extent)

    def to_json_on(self, source: VolumeGeometry, target: VolumeGeometry) -> dict[str, Any]:
        """As :meth:`to_json` on other frames of the image.

        Args:
            source: Of the frames that models see.
            target: Of the frames wanted.
        """
        moved = [target.to_frames(source.to_volume(self.on_frames(one))) for one in self.heatmaps]
        rows, columns = moved[0].shape[1:]
        size = (min(rows, MOST_CELLS), min(columns, MOST_CELLS))
        cells = [adaptive_max_pool2d(_tensor(frames), size)[:, 0].numpy() for frames in moved]
        return self._document(cells, (0.0, 0.0, float(columns), float(rows)))

    def _document(self, cells: list[FloatArray], extent: Box) -> dict[str, Any]:
        _, rows, columns = cells[0].shape
        return {
            "method": self.method,
            "layer": self.layer,
            "rows": rows,
            "columns": columns,
            "extent": [round(v, 2) for v in extent],
            "maps": [
                {"finding": one.finding, "label": one.label, "peak": _peak(values, extent), "frames": _frames(values)}
                for one, values in zip(self.heatmaps, cells, strict=True)
            ],
        }


def _tensor(frames: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))[:, None]


def _frames(cells: FloatArray) -> list[str | None]:
    """Each frame's cells as bytes, row after row, in base64; None for a frame without evidence."""
    levels = np.rint(cells * 255).astype(np.uint8)
    return [base64.b64encode(frame.tobytes()).decode("ascii") if frame.any() else None for frame in levels]


def _peak(cells: FloatArray, extent: Box) -> dict[str, float] | None:
    """Where the evidence is strongest: frame, and the centre of the cell in pixels of the image; None without any."""
    if not cells.any():
        return None
    frame, row, column = (int(i) for i in np.unravel_index(int(cells.argmax()), cells.shape))
    _, rows, columns = cells.shape
    x = extent[0] + (column + 0.5) / columns * (extent[2] - extent[0])
    y = extent[1] + (row + 0.5) / rows * (extent[3] - extent[1])
    return {"frame": frame, "x": round(x, 2), "y": round(y, 2)}


def write_heatmap(frames: FloatArray, geometry: VolumeGeometry, path: Path) -> None:
    """Write a heatmap as a scalar volume in the geometry of the image file: same shape, same place.

    Args:
        frames: (T, H, W), from :meth:`Explanation.on_frames`.
        geometry: Of the image.
        path: Ends in one of :data:`VOLUME_EXTENSIONS`.

    Raises:
        InputError: If it does not.
    """
    volume = np.asfortranarray(geometry.to_volume(frames).astype(np.float32))
    affine_ras = np.asarray(RAS_TO_LPS @ geometry.array_affine_lps)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nifti_image(volume, affine_ras), path)
        return
    if path.suffix != ".nrrd":
        raise InputError(f"{path}: a heatmap is written as {', '.join(VOLUME_EXTENSIONS)}")
    affine_lps = RAS_TO_LPS @ unsheared(affine_ras)  # as 3D Slicer shows the image
    header = {
        "space": "left-posterior-superior",
        "space directions": affine_lps[:3, :3].T,
        "space origin": affine_lps[:3, 3],
        "kinds": ["domain", "domain", "domain"],
        "encoding": "gzip",
    }
    nrrd.write(str(path), volume, header=header, compression_level=1)
