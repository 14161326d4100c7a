# SPDX-License-Identifier: Apache-2.0
"""Put a stack in the place of another of the same patient: rigid, then affine, by mutual information.

Mattes mutual information (Mattes et al., IEEE TMI 2003) and scales from physical shift (Avants et al., Front
Neuroinform 2014), through SimpleITK. Both stacks come to a coarse isotropic grid first, which also straightens tilted
and unevenly spaced slices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from ..types import FloatArray, InputError, Sequence, SequenceKind

TARGET_VOXELS = 6e5
"""About as many voxels are registered; a head then has voxels of 2 mm."""
MIN_SLICES, MIN_SIDE_PX = 4, 8
HISTOGRAM_BINS = 48
SHRINK, SMOOTH_VOXELS, SAMPLED = (4, 2, 1), (2.0, 1.0, 0.0), (0.8, 0.4, 0.15)
RIGID_STEPS, AFFINE_STEPS = 100, 80
THREADS = 1
"""A server registers beside other work; and the fewer threads, the less the order of sums changes the last digits."""
MARGIN_VOXELS = 3
FLATTEN_MM = 15.0
"""Brightness that varies slower is divided out: coils differ between visits and mutual information follows them.

Two FLAIR from two scanners, against their published transform: 1.15 mm without, 0.65 mm with; 10 to 40 mm were tried on
that same pair.
"""
MIN_BRIGHTNESS = 0.1
MAX_ROTATION_DEG = 45.0
MAX_SHIFT = 0.25
"""Of the diagonal of the moving stack, from where the search began."""
MAX_STRETCH = 0.1
"""Change of size of the same patient, in any direction, between two scanners."""
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Registration:
    """How a moving stack comes to lie on a fixed one.

    Attributes:
        to_fixed: Maps LPS mm of the moving stack to LPS mm of the fixed one, (4, 4).
        method: What was done, and why not more where something did not work.
        metric_before: Mutual information where the scanners placed the two; higher is better.
        metric_after: The same with ``to_fixed``.
        seconds: Time it took.
    """

    to_fixed: FloatArray
    method: str
    metric_before: float
    metric_after: float
    seconds: float


def register(fixed: Sequence, moving: Sequence, *, seed: int = 0, progress: Progress | None = None) -> Registration:
    """Find the affine transform that puts a stack in the place of another of the same part of the body.

    Where registration makes things worse or moves implausibly far, the result falls back to rigid only or to identity
    and ``method`` says so.

    Args:
        fixed: A stack; it stays where it is.
        moving: A stack of the same patient, of the same or another contrast.
        seed: Of the sampling; the same seed gives the same transform (to 1e-6; ITK's sums vary in their last digits).
        progress: Called with the part that is done, 0 to 1.

    Raises:
        InputError: If one of the two is not a stack.
    """
    started = time.perf_counter()
    for sequence in (fixed, moving):
        if sequence.kind is not SequenceKind.STACK:
            raise InputError(f"only stacks can be registered, not a {sequence.kind.value}")
    if min(_sides(fixed)) < 1 or min(_sides(moving)) < 1:
        reason = f"identity (a stack has fewer than {MIN_SLICES} slices or {MIN_SIDE_PX} pixels a side)"
        return Registration(np.eye(4), reason, 0.0, 0.0, time.perf_counter() - started)
    channels = _same_channel(fixed, moving)
    search = _Search(_image(fixed, channels[0]), _image(moving, channels[1]), seed, progress or (lambda _: None))
    affine, method, before, after = search.run()
    return Registration(np.linalg.inv(affine), method, before, after, time.perf_counter() - started)


def resample_to(fixed: Sequence, moving: Sequence, to_fixed: FloatArray, *, labels: bool = False) -> npt.NDArray[Any]:
    """Bring a stack onto the grid of another.

    Args:
        fixed: Gives the grid.
        moving: Gives the values.
        to_fixed: Maps LPS mm of ``moving`` to LPS mm of ``fixed``, (4, 4).
        labels: The frames hold label values: the nearest is taken and outside is 0; else they are interpolated
            linearly and outside is the channel's lowest value.

    Returns:
        (T, C, H, W) with T, H and W of ``fixed``; the type of ``moving``'s frames for labels, else float32.
    """
    n_frames, _, height, width = fixed.frames.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height), [0.0], [1.0], indexing="ij"), axis=-1)
    in_plane = (grid.reshape(width, height, 4) @ fixed.affine_lps.T)[..., :3] - fixed.affine_lps[:3, 3]
    back = np.linalg.inv(to_fixed)
    lowest = [0.0 if labels else float(channel.min()) for channel in np.moveaxis(moving.frames, 1, 0)]
    dtype = moving.frames.dtype if labels else np.dtype(np.float32)
    out = np.empty((n_frames, len(lowest), height, width), dtype)
    for t, origin in enumerate(frame_origins(fixed)):
        points = (in_plane + origin) @ back[:3, :3].T + back[:3, 3]
        index = frame_indices(moving, points.transpose(1, 0, 2))
        for c, low in enumerate(lowest):
            out[t, c] = _sampled(moving.frames[:, c], index, order=0 if labels else 1, outside=low)
    return out


def _sides(stack: Sequence) -> tuple[int, int, int]:
    n_frames, _, height, width = stack.frames.shape
    return n_frames // MIN_SLICES, height // MIN_SIDE_PX, width // MIN_SIDE_PX


def _same_channel(fixed: Sequence, moving: Sequence) -> tuple[int, int]:
    """The first channel that both have; else the first that each has."""
    present = [[c for c, there in enumerate(s.channel_present) if there] or [0] for s in (fixed, moving)]
    for index in present[0]:
        for other in present[1]:
            if fixed.channels[index] == moving.channels[other]:
                return index, other
    return present[0][0], present[1][0]


def frame_origins(stack: Sequence) -> FloatArray:
    """Centre of the first pixel of each frame in LPS mm, (T, 3)."""
    if stack.origins_lps_mm is not None:
        return stack.origins_lps_mm
    return stack.affine_lps[:3, 3] + np.arange(len(stack.frames))[:, None] * stack.affine_lps[:3, 2]


def frame_indices(stack: Sequence, points: FloatArray) -> FloatArray:
    """LPS mm (..., 3) -> frame, row and column indices (3, ...), whatever the spacing and tilt of the slices."""
    x, y = stack.affine_lps[:3, 0], stack.affine_lps[:3, 1]
    normal = np.cross(x, y) / np.linalg.norm(np.cross(x, y))
    origins = frame_origins(stack)
    ends = (stack.affine_lps[:3, 2],) * 2 if len(origins) < 2 else (origins[1] - origins[0], origins[-1] - origins[-2])
    origins = np.concatenate([origins[:1] - ends[0], origins, origins[-1:] + ends[1]])
    heights, numbers = origins @ normal, np.arange(-1.0, len(origins) - 1)
    if heights[0] > heights[-1]:
        heights, numbers, origins = heights[::-1], numbers[::-1], origins[::-1]
    height = points @ normal
    frame = np.interp(height, heights, numbers)
    start = np.stack([np.interp(height, heights, origins[:, k]) for k in range(3)], axis=-1)
    column, row = np.moveaxis((points - start) @ np.linalg.pinv(np.stack([x, y], axis=1)).T, -1, 0)
    return np.stack([frame, row, column])


def _sampled(volume: npt.NDArray[Any], index: FloatArray, *, order: int, outside: float) -> npt.NDArray[Any]:
    """Values at (3, ...) indices; a voxel reaches half a step around its centre."""
    last = np.reshape(volume.shape, (3, *(1,) * (index.ndim - 1))) - 1.0
    missed = ((index < -0.5) | (index > last + 0.5)).any(axis=0)
    values: npt.NDArray[Any] = ndimage.map_coordinates(
        volume, np.clip(index, 0, last), order=order, mode="nearest", prefilter=False
    )
    values[missed] = outside
    return values


def _image(stack: Sequence, channel: int) -> sitk.Image:
    """A channel on an isotropic grid along rows, columns and the slice normal, smoothed to it, values 0 to 1."""
    height, width = stack.frames.shape[2:]
    x, y = stack.affine_lps[:3, 0], stack.affine_lps[:3, 1]
    normal = np.cross(x, y)
    axes = np.stack([x, np.cross(normal, x), normal])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    ends = frame_origins(stack)[[0, -1]]
    corners = [end + i * x + j * y for end in ends for i in (0, width - 1) for j in (0, height - 1)]
    low, high = (np.array(corners) @ axes.T).min(axis=0), (np.array(corners) @ axes.T).max(axis=0)
    step = max(float(np.prod(high - low) / TARGET_VOXELS) ** (1 / 3), min(stack.spacing_mm))
    sizes = np.maximum(np.ceil((high - low) / step).astype(int) + 1, MIN_SLICES)
    sigma = [0.0, *(0.5 * np.sqrt(max((step / mm) ** 2 - 1, 0.0)) for mm in stack.spacing_mm[::-1])]
    frames = ndimage.gaussian_filter(stack.frames[:, channel].astype(np.float32), sigma)
    bottom, top = np.percentile(frames[:, ::2, ::2], (0.5, 99.5))
    frames = np.clip((frames - bottom) / max(top - bottom, 1e-9), 0, 1)
    values = np.empty(sizes[::-1], np.float32)
    rows, columns = np.meshgrid(*(np.arange(sizes[k]) * step + low[k] for k in (1, 0)), indexing="ij")
    for k in range(sizes[2]):
        points = np.stack([columns, rows, np.full_like(rows, low[2] + k * step)], axis=-1) @ axes
        values[k] = _sampled(frames, frame_indices(stack, points), order=1, outside=0.0)
    image = sitk.GetImageFromArray(_flattened(values, FLATTEN_MM / step))
    image.SetSpacing((step,) * 3)
    image.SetDirection(axes.T.ravel().tolist())
    image.SetOrigin((low @ axes).tolist())
    return image


def _flattened(values: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Divide by the mean brightness of what is bright around; the result is 0 to 1 again."""
    bright = (values > MIN_BRIGHTNESS).astype(np.float32)
    mean = ndimage.gaussian_filter(values * bright, sigma) / np.maximum(ndimage.gaussian_filter(bright, sigma), 1e-3)
    flat = values / np.maximum(mean, MIN_BRIGHTNESS)
    return np.asarray(np.clip(flat / max(float(np.percentile(flat, 99.8)), 1e-6), 0, 1), np.float32)


def _foreground(image: sitk.Image) -> sitk.Image:
    """The body: brighter than half the mean, filled, with a margin; everything where nothing is bright."""
    values = sitk.GetArrayViewFromImage(image)
    body = ndimage.gaussian_filter(values, 1.0) > 0.5 * values.mean()
    body = ndimage.binary_fill_holes(ndimage.binary_opening(body))
    body = ndimage.binary_dilation(body, iterations=MARGIN_VOXELS) if body.any() else np.ones_like(body)
    mask = sitk.GetImageFromArray(body.astype(np.uint8))
    mask.CopyInformation(image)
    return mask


class _Search:
    """Registration of two isotropic images. Transforms map points of the fixed image to the moving one, as in ITK."""

    def __init__(self, fixed: sitk.Image, moving: sitk.Image, seed: int, progress: Progress) -> None:
        self.fixed, self.moving, self.seed, self.progress = fixed, moving, seed, progress
        self.mask, self.moving_mask = _foreground(fixed), _foreground(moving)
        self.center = _centroid(self.mask)

    def run(self) -> tuple[FloatArray, str, float, float]:
        """Return the matrix (4, 4), what was done, and the mutual information before and after."""
        before = self.information(sitk.Transform(3, sitk.sitkIdentity))
        start = max(self.starts(), key=self.information)
        self.progress(0.1)
        rigid = self.optimised(start, RIGID_STEPS)
        self.progress(0.55)
        found = self.information(rigid)
        wrong = _implausible(_matrix(rigid), self.center, _matrix(start), self.reach_mm)
        if found <= before:
            wrong = "no better"
        if wrong:
            return np.eye(4), f"identity (rigid registration is {wrong})", before, before
        affine = self.optimised(_as_affine(rigid), AFFINE_STEPS)
        self.progress(1.0)
        after = self.information(affine)
        stretch = np.abs(np.linalg.svd(_matrix(affine)[:3, :3], compute_uv=False) - 1).max()
        wrong = "no better" if after <= found else f"stretched by {stretch:.0%}" if stretch > MAX_STRETCH else ""
        if wrong:
            return _matrix(rigid), f"rigid (affine registration is {wrong})", before, found
        return _matrix(affine), "rigid, then affine", before, after

    @property
    def reach_mm(self) -> float:
        """Largest plausible shift."""
        return MAX_SHIFT * float(np.linalg.norm(np.multiply(self.moving.GetSize(), self.moving.GetSpacing())))

    def starts(self) -> list[sitk.Transform]:
        """Where the scanners placed the two; centre of grid on centre of grid; centre of body on centre of body."""
        found = []
        shifts = (np.zeros(3), _middle(self.moving) - _middle(self.fixed), _centroid(self.moving_mask) - self.center)
        for shift in shifts:
            start = sitk.Euler3DTransform()
            start.SetCenter(self.center.tolist())
            start.SetTranslation(shift.tolist())
            found.append(start)
        return found

    def information(self, transform: sitk.Transform) -> float:
        """Mutual information over the whole foreground; 0 where the two do not overlap."""
        method = self._method()
        method.SetInitialTransform(transform)
        try:
            return -float(method.MetricEvaluate(self.fixed, self.moving))
        except RuntimeError:  # all samples map outside
            return 0.0

    def optimised(self, start: sitk.Transform, steps: int) -> sitk.Transform:
        """The best transform of the same type near ``start``; ``start`` itself where the search fails."""
        method = self._method()
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel(SAMPLED, self.seed + 1)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0, minStep=0.01, numberOfIterations=steps, relaxationFactor=0.6
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(SHRINK)
        method.SetSmoothingSigmasPerLevel([s * self.fixed.GetSpacing()[0] for s in SMOOTH_VOXELS])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        transform = type(start)(start)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError:  # it walked out of the moving image
            return start
        return transform

    def _method(self) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(THREADS)
        method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
        method.SetMetricFixedMask(self.mask)
        method.SetInterpolator(sitk.sitkLinear)
        return method


def _middle(image: sitk.Image) -> FloatArray:
    return np.asarray(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))


def _centroid(mask: sitk.Image) -> FloatArray:
    index = ndimage.center_of_mass(sitk.GetArrayViewFromImage(mask))
    return np.asarray(mask.TransformContinuousIndexToPhysicalPoint([float(i) for i in index[::-1]]))


def _as_affine(rigid: sitk.Euler3DTransform) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _matrix(transform: sitk.Transform) -> FloatArray:
    """(4, 4) of a transform with centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    center = np.asarray(transform.GetCenter())
    matrix[:3, 3] = center + transform.GetTranslation() - matrix[:3, :3] @ center
    return matrix


def _implausible(rigid: FloatArray, center: FloatArray, start: FloatArray, reach_mm: float) -> str:
    """What is wrong with a rigid transform; "" where nothing is."""
    angle = float(np.degrees(np.arccos(np.clip((np.trace(rigid[:3, :3]) - 1) / 2, -1, 1))))
    shift = float(np.linalg.norm((rigid - start) @ np.append(center, 1.0)))
    if angle > MAX_ROTATION_DEG:
        return f"implausible: a rotation by {angle:.0f} degrees"
    return f"implausible: a shift by {shift:.0f} mm" if shift > reach_mm else ""
