# SPDX-License-Identifier: Apache-2.0
"""Label files as masks on the grid of their image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from ..dicom.files import atomic_write
from ..types import FloatArray, InputError
from ..volumes.read import read_image_file
from .export import nifti_image
from .geometry import RAS_TO_LPS, VolumeGeometry, unsheared

MASK_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")
PLACE_TOLERANCE = 0.05
"""Of a voxel: how far label and image voxels may lie apart. Float32 headers are exact to about 0.0001."""
MAX_VALUE = 255


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie.

    Attributes:
        name: Of the image, for messages.
        geometry: Of its array (X, Y, Z) and of the frames that models see.
        frames_known: False for a file that does not say whether it is a stack or a cine: what models see then depends
            on the model.
        placed: False for a cine, which lies nowhere in particular: labels only need its size.
        n_times: Volumes that a label may have.
        origins_lps_mm: Centre of the first pixel of each frame that models see, (T, 3), where they are unevenly spaced.
    """

    name: str
    geometry: VolumeGeometry
    frames_known: bool = True
    placed: bool = True
    n_times: int = 1
    origins_lps_mm: FloatArray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z)."""
        return self.geometry.shape

    @property
    def affine_ras(self) -> FloatArray:
        """Voxel index to RAS mm, (4, 4)."""
        return np.asarray(RAS_TO_LPS @ self.geometry.array_affine_lps)


@dataclass(frozen=True)
class Mask:
    """A mask on the grid of its image.

    Attributes:
        values: (X, Y, Z), or (X, Y, Z, N) of a label of every time point; classes.
        complete: The file holds a voxel for each of the image; False for a part of it.
    """

    values: npt.NDArray[np.uint8]
    complete: bool


def mask_suffix(path: Path) -> str:
    """The suffix that says how a label file is written; "" when it is not that of a mask."""
    return next((suffix for suffix in MASK_SUFFIXES if path.name.lower().endswith(suffix)), "")


def file_grid(path: Path, name: str) -> Grid:
    """The grid of an image file; a 4D image's is that of its volumes.

    Raises:
        InputError: If the file cannot be read.
    """
    file = read_image_file(path)
    x, y, z = file.array.shape[:3]
    return Grid(name, VolumeGeometry.from_affine(file.affine_ras, (x, y, z)), frames_known=False)


def read_mask(path: Path, grid: Grid) -> Mask:
    """Read a label file onto the grid of its image.

    The file may store the axes in another order or direction, or hold a part of the image only (as 3D Slicer's
    segmentations do); voxels outside that part are 0.

    Args:
        path: .nii, .nii.gz, .nrrd, .seg.nrrd or .mha.
        grid: Of the image.

    Raises:
        InputError: If the file cannot be read, has several volumes, values that are not whole numbers in 0..255, or
            voxels that are not voxels of the image.
    """
    try:
        file = read_image_file(path)
    except InputError as error:  # the folder is the server's; the client knows the file by its name
        raise InputError(str(error).replace(str(path), path.name)) from error
    layers = file.array.shape[3] * file.array.shape[4]
    if layers not in (1, grid.n_times):
        raise InputError(f"{path.name}: {layers} layers or time points; a label is one volume whose values are classes")
    if file.n_not_finite:
        raise InputError(
            f"{path.name}: label values must be whole numbers in 0..{MAX_VALUE}; {file.n_not_finite} are no number"
        )
    volumes = _whole_numbers(file.array, path.name).reshape(*file.array.shape[:3], layers)
    complete = sorted(volumes.shape[:3]) == sorted(grid.shape)
    placed = [fitted(volumes[..., i], file.affine_ras, grid, path.name) for i in range(layers)]
    return Mask(placed[0] if layers == 1 else np.stack(placed, -1), complete)


def _whole_numbers(volume: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    with np.errstate(invalid="ignore"):
        values = volume.astype(np.uint8)
    if not np.array_equal(values, volume):
        raise InputError(f"{name}: label values must be whole numbers in 0..{MAX_VALUE}; this file holds others")
    return values


def fitted(volume: npt.NDArray[np.uint8], affine_ras: FloatArray, grid: Grid, name: str) -> npt.NDArray[np.uint8]:
    """Place a volume on a grid with the same voxels, by whole steps and turns of the axes.

    A label of tilted slices may come from a program that shows them straight above each other.

    Args:
        volume: (X, Y, Z) in an order of its own.
        affine_ras: Its voxel index to RAS mm, (4, 4).
        grid: Where it shall lie.
        name: Of the label, for messages.

    Raises:
        InputError: If the voxels do not coincide, or values other than 0 lie outside the grid.
    """
    steps, whole = _steps(affine_ras, grid.affine_ras, volume.shape)
    if not whole:
        steps, whole = _steps(affine_ras, unsheared(grid.affine_ras), volume.shape)
    if not grid.placed and volume.shape == grid.shape and not (whole and _covers(steps, grid.shape)):
        return volume
    if not whole:
        raise InputError(
            f"{name}: a label of {volume.shape} voxels that are not voxels of image '{grid.name}' {grid.shape}: it has "
            "another spacing, or lies elsewhere in space; export it in the geometry of the image"
        )
    return _placed(volume, steps.astype(int), grid, name)


def _steps(affine: FloatArray, grid_affine: FloatArray, shape: tuple[int, ...]) -> tuple[FloatArray, bool]:
    """From the indices of a volume to those of a grid, rounded, and whether they were whole steps and turns."""
    to_grid = np.linalg.inv(grid_affine) @ affine
    steps = np.rint(to_grid)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1)
    apart = np.abs((to_grid - steps)[:3, :3] @ corners + (to_grid - steps)[:3, 3:])
    turn = np.abs(steps[:3, :3])
    return steps, bool(apart.max() <= PLACE_TOLERANCE and (turn.sum(0) == 1).all() and (turn.sum(1) == 1).all())


def _covers(steps: FloatArray, shape: tuple[int, int, int]) -> bool:
    """Whether a volume of this shape, after whole steps and turns, lies exactly on a grid of the same shape."""
    ends = np.array([(0, 0, 0, 1), (*(n - 1 for n in shape), 1)]) @ steps.T
    return sorted(map(tuple, np.sort(ends[:, :3], axis=0))) == [(0, 0, 0), tuple(n - 1 for n in shape)]


def _placed(volume: npt.NDArray[np.uint8], steps: npt.NDArray[np.int_], grid: Grid, name: str) -> npt.NDArray[np.uint8]:
    """Copy what overlaps; ``steps`` maps indices of the volume to those of the grid."""
    axes = np.abs(steps[:3, :3]).argmax(axis=1)  # of each grid axis, the axis of the volume
    signs = steps[np.arange(3), axes]
    turned = volume.transpose(axes)[tuple(slice(None, None, int(sign)) for sign in signs)]
    start = steps[:3, 3] + np.where(signs < 0, 1 - np.array(turned.shape), 0)
    low = np.maximum(start, 0)
    high = np.maximum(np.minimum(start + turned.shape, grid.shape), low)
    inside = turned[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))]
    if np.count_nonzero(inside) != np.count_nonzero(turned):
        raise InputError(f"{name}: the label reaches beyond image '{grid.name}' of {grid.shape} voxels")
    placed = np.zeros(grid.shape, np.uint8)
    placed[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = inside
    return placed


def write_mask(mask: npt.NDArray[np.uint8], grid: Grid, path: Path, names: dict[str, int] | None = None) -> None:
    """Write a mask as NIfTI, whole or not at all.

    Args:
        mask: (X, Y, Z[, N]).
        grid: Of its image.
        path: Ends in .nii.gz.
        names: Class name -> value, kept in the header.
    """
    with atomic_write(path) as temporary:
        nib.save(nifti_image(mask, grid.affine_ras, names), temporary)
