# SPDX-License-Identifier: Apache-2.0
"""Which frame of a series each frame of a SEG belongs to, and how its rows and columns lie on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ...types import FloatArray, InputError, SequenceKind, volumes_of
from ..types import DicomSeries
from .frames import frame_value

SAME_PIXEL = 0.5
"""Pixels: how far any corner of a SEG frame may lie from the corner of the frame it belongs to."""
SINGLE_SLICE_TOLERANCE_MM = 0.5


@dataclass(frozen=True)
class Placement:
    """Where a SEG frame goes: frame ``index`` of the mask, after a transpose and flips of rows and columns."""

    index: int
    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Turn pixels (rows, columns) of the SEG into those of the series."""
        pixels = pixels.T if self.transpose else pixels
        pixels = pixels[::-1] if self.flip_rows else pixels
        return pixels[:, ::-1] if self.flip_columns else pixels


@dataclass(frozen=True)
class _Grid:
    """Pixel grid of every frame of the series.

    Attributes:
        origins: Centre of the first pixel, (T, 3) LPS mm.
        x_step: From a pixel to the next in its row, LPS mm.
        y_step: From a pixel to the next in its column, LPS mm.
        shape: Rows, columns.
        times: Number of each frame's time point, from 1.
        tolerance_mm: Along the normal; a quarter of the smallest gap between slices.
    """

    origins: FloatArray
    x_step: FloatArray
    y_step: FloatArray
    shape: tuple[int, int]
    times: tuple[int, ...]
    tolerance_mm: float

    @classmethod
    def of(cls, series: DicomSeries) -> _Grid | None:
        """The grid; None for a cine, whose frames lie nowhere in particular."""
        volumes = volumes_of(series.image)
        first = volumes[0]
        if first.kind is SequenceKind.CINE:
            return None
        origins, times = [], []
        for number, volume in enumerate(volumes, 1):
            steps = np.arange(len(volume.positions))[:, None] * volume.affine_lps[:3, 2]
            exact = volume.origins_lps_mm
            origins.append(volume.affine_lps[:3, 3] + steps if exact is None else exact)
            times += [number] * len(volume.positions)
        x_step, y_step = first.affine_lps[:3, 0], first.affine_lps[:3, 1]
        places = np.vstack(origins) @ _normal(x_step, y_step)
        gaps = np.diff(np.unique(places.round(3)))
        tolerance = float(gaps.min()) / 4 if len(gaps) else SINGLE_SLICE_TOLERANCE_MM
        rows, columns = first.frames.shape[2:]
        return cls(np.vstack(origins), x_step, y_step, (rows, columns), tuple(times), tolerance)

    @property
    def tolerance(self) -> float:
        """Largest angle (radians) and largest relative difference of spacings that keep all corners in place."""
        return SAME_PIXEL / max(self.shape)

    def turn(self, orientation: FloatArray) -> tuple[bool, bool, bool] | None:
        """Transpose, flip of rows, flip of columns that bring a frame of this orientation onto the grid."""
        x, y = self.x_step / np.linalg.norm(self.x_step), self.y_step / np.linalg.norm(self.y_step)
        row, column = orientation[:3], orientation[3:]
        for transpose, along_x, along_y in ((False, row @ x, column @ y), (True, column @ x, row @ y)):
            if min(abs(along_x), abs(along_y)) >= np.cos(self.tolerance):
                return transpose, bool(along_y < 0), bool(along_x < 0)
        return None

    def near(self, position: FloatArray, turn: tuple[bool, bool, bool]) -> FloatArray:
        """Which frames, (T,) of bool, have the first pixel of a so turned SEG frame at ``position``."""
        _, flip_rows, flip_columns = turn
        corner = flip_columns * (self.shape[1] - 1) * self.x_step + flip_rows * (self.shape[0] - 1) * self.y_step
        offset = position - (self.origins + corner)
        along = np.abs(offset @ _normal(self.x_step, self.y_step)) <= self.tolerance_mm
        columns = np.abs(offset @ self.x_step) <= 0.5 * (self.x_step @ self.x_step)
        rows = np.abs(offset @ self.y_step) <= 0.5 * (self.y_step @ self.y_step)
        return np.asarray(along & columns & rows)


def _normal(x_step: FloatArray, y_step: FloatArray) -> FloatArray:
    normal = np.cross(x_step, y_step)
    return np.asarray(normal / np.linalg.norm(normal))


class Matcher:
    """Finds the place of each frame of a SEG: by what it refers to first, by where it lies second.

    Args:
        dataset: The SEG.
        series: The series it is read for.
        name: Of the SEG, for messages.
    """

    def __init__(self, dataset: Dataset, series: DicomSeries, name: str) -> None:
        self.dataset, self.series, self.name = dataset, series, name
        self.grid = _Grid.of(series)
        self.by_frame: dict[tuple[str, int], int] = {}
        self.by_instance: dict[str, list[int]] = {}
        for volume in volumes_of(series.image):
            for uid, number in zip(volume.sop_instance_uids, volume.frame_numbers, strict=True):
                index = len(self.by_frame)
                self.by_frame[uid, number] = index
                self.by_instance.setdefault(uid, []).append(index)

    def placements(self, count: int) -> list[Placement]:
        """The place of each of the ``count`` frames.

        Raises:
            InputError: If images that the SEG refers to are not in the series, or a frame fits nowhere.
        """
        references = [self._references(number) for number in range(1, count + 1)]
        self._check_present(references)
        return [self._place(number, refs) for number, refs in enumerate(references, 1)]

    def _references(self, number: int) -> list[tuple[str, int | None]]:
        """(SOP Instance UID, frame number) of the images a frame was derived from."""
        groups = self.dataset.get("PerFrameFunctionalGroupsSequence") or []
        found: list[tuple[str, int | None]] = []
        for derivation in groups[number - 1].get("DerivationImageSequence") or []:
            for image in derivation.get("SourceImageSequence") or []:
                found += _reference(image)
        if found:
            return found
        shared = (self.dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        for derivation in shared.get("DerivationImageSequence") or []:
            images = derivation.get("SourceImageSequence") or []
            if len(images) == len(groups):  # one image per frame, as early cornerstone tools wrote it
                return _reference(images[number - 1])
            found += [ref for image in images for ref in _reference(image)]
        return found

    def _check_present(self, references: list[list[tuple[str, int | None]]]) -> None:
        wanted = {ref for refs in references for ref in refs}
        gone = sorted({_spoken(ref) for refs in references if refs and not self._indices(refs) for ref in refs})
        if gone:
            series = self.series.facts.series_instance_uid or "that was given"
            raise InputError(
                f"{self.name}: {len(gone)} of the {len({_spoken(ref) for ref in wanted})} images it refers to are "
                f"not in series {series} (the first: {gone[0]}); get the missing images, or open the series that the "
                f"SEG was made for"
            )

    def _indices(self, references: list[tuple[str, int | None]]) -> set[int]:
        found: set[int] = set()
        for uid, frame in references:
            if frame is None:
                found.update(self.by_instance.get(uid, []))
            elif (uid, frame) in self.by_frame:
                found.add(self.by_frame[uid, frame])
        return found

    def _place(self, number: int, references: list[tuple[str, int | None]]) -> Placement:
        indices = self._indices(references)
        position = self._value(number, "PlanePositionSequence", "ImagePositionPatient", 3)
        orientation = self._value(number, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        if self.grid is None or orientation is None:
            if len(indices) != 1:
                raise self._error(number, "does not say which one frame of the series it is of")
            return Placement(indices.pop())
        turn = self.grid.turn(orientation)
        if turn is None:
            raise self._error(number, "is oblique to the images; resample the SEG to the series")
        self._check_spacing(number, turn[0])
        if position is not None:
            indices = self._narrow(number, indices, self.grid, self.grid.near(position, turn))
        if len(indices) != 1:
            raise self._error(number, "does not say which one frame of the series it is of")
        return Placement(indices.pop(), *turn)

    def _narrow(self, number: int, indices: set[int], grid: _Grid, near: FloatArray) -> set[int]:
        """Of the frames referred to, or all, those at the place of the SEG frame and of its time."""
        there = {int(i) for i in np.flatnonzero(near)}
        if not there:
            raise self._error(number, "lies where the series has no slice")
        if indices and not indices & there:
            raise self._error(number, "refers to one image and lies at the place of another")
        there = indices & there or there
        time = self._time(number)
        if len(there) > 1 and time is not None:
            there = {i for i in there if grid.times[i] == time}
        return there

    def _check_spacing(self, number: int, transpose: bool) -> None:
        spacing = self._value(number, "PixelMeasuresSequence", "PixelSpacing", 2)
        if spacing is None or self.grid is None:
            return
        rows_mm, columns_mm = spacing[::-1] if transpose else spacing
        own = np.linalg.norm(self.grid.y_step), np.linalg.norm(self.grid.x_step)
        if not np.allclose((rows_mm, columns_mm), own, rtol=self.grid.tolerance):
            raise self._error(
                number,
                f"has pixels of {rows_mm:g} x {columns_mm:g} mm, the series of {own[0]:g} x "
                f"{own[1]:g} mm; resample the SEG to the series",
            )

    def _time(self, number: int) -> int | None:
        value = frame_value(self.dataset, number, "FrameContentSequence", "TemporalPositionIndex")
        return None if value is None else int(value)

    def _value(self, number: int, macro: str, keyword: str, count: int) -> FloatArray | None:
        value = frame_value(self.dataset, number, macro, keyword)
        if value is None or isinstance(value, str) or np.size(value) != count:
            return None
        return np.asarray([float(v) for v in value])

    def _error(self, number: int, what: str) -> InputError:
        return InputError(f"{self.name}: frame {number} {what}")


def _reference(image: Dataset) -> list[tuple[str, int | None]]:
    uid, frames = str(image.get("ReferencedSOPInstanceUID", "")), image.get("ReferencedFrameNumber")
    if frames is None or frames == "":
        return [(uid, None)]
    return [(uid, int(frame)) for frame in (frames if np.ndim(frames) else [frames])]


def _spoken(reference: tuple[str, int | None]) -> str:
    uid, frame = reference
    return uid if frame is None else f"{uid} frame {frame}"
