# SPDX-License-Identifier: Apache-2.0
"""A FLAIR-like head without lesions: pose, skull, folded brain, ventricles, cerebellum, and what is under it.

Head coordinates are mm from about the mid-commissural point: x to Left, y to Posterior, z to Superior.
Brightness is relative to white matter (1.0). Nothing is fitted to or copied from patients.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .face import face_map
from .fields import Field, Grid, add_capsule, as_field, ellipsoid, mix, sigmoid, smooth_noise, smoothstep, soft

HEAD_FOV_MM = 205.0
"""A field of view smaller than this shows the whole head shrunk to fit, lesions included."""
FAR_MM = -12.0


@dataclass(frozen=True)
class Head:
    """A head without lesions and without noise, at full resolution.

    Attributes:
        image: ``(T, H, W)`` brightness relative to white matter.
        parenchyma: ``(T, H, W)`` 0..1, how much of the voxel is brain tissue.
        depth_mm: ``(T, H, W)`` depth under the brain's surface, negative outside and in the ventricles.
        bias: ``(T, H, W)`` smooth coil sensitivity around 1.
        scale: image mm per anatomical mm (1 unless the field of view is smaller than a head).
        grid: the half-resolution grid, in anatomical mm.
    """

    image: Field
    parenchyma: Field
    depth_mm: Field
    bias: Field
    scale: float
    grid: Grid


def make_head(rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Head:
    """A random head seen on the given grid."""
    grid, scale = _pose(rng, shape, spacing_mm)
    outline = _outline(rng, grid)
    scalp_mm, skull_mm = rng.uniform(3, 6.5), rng.uniform(5, 8)
    under_scalp = outline - _scalp_mm(rng, grid, scalp_mm)
    inside = np.minimum(under_scalp - _skull_mm(grid, skull_mm), 0.7 * (grid.z - _floor_mm(grid)))
    gap_mm = rng.uniform(0.5, 2.5)
    brain = inside - np.clip(gap_mm * (1 + 0.5 * grid.noise(rng, 14)), 0.2, None)
    fluid = _fluid(rng, grid, gap_mm)
    tissue = _deep_tissue(rng, grid, fluid)
    around = _around_brain(rng, grid, under_scalp, inside)
    return _compose(rng, grid, scale, (outline, under_scalp, brain, fluid), (tissue, around), gap_mm)


def _pose(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> tuple[Grid, float]:
    """Random size, rotation, shift and tilt; the frames cover the brain as far as they reach."""
    frames, height, width = shape
    sx, sy, sz = spacing_mm
    fit = min(1.0, min(height * sy, width * sx * 1.15) / (HEAD_FOV_MM + 15))
    size = rng.uniform(0.9, 1.06)
    unit = fit * size
    z_mid = 12 - max(0.0, frames * sz / unit - 125) * 0.3 + rng.uniform(-6, 6)
    z_mm = (np.arange(frames) - (frames - 1) / 2) * sz / unit + z_mid
    y_mm = (np.arange(0, height + 1, 2) - (height - 1) / 2) * sy / unit
    x_mm = (np.arange(0, width + 1, 2) - (width - 1) / 2) * sx / unit
    angle, (tilt_x, tilt_y) = rng.normal(0, np.deg2rad(4)), rng.normal(0, (0.04, 0.12))
    shift = rng.normal(0, 3, 2)
    gy, gx = np.meshgrid(y_mm - shift[1], x_mm - shift[0], indexing="ij")
    x = np.cos(angle) * gx + np.sin(angle) * gy
    y = np.cos(angle) * gy - np.sin(angle) * gx
    z = z_mm[:, None, None] + tilt_x * gx + tilt_y * gy
    grid = Grid(
        shape=shape,
        z_mm=as_field(z_mm),
        y_mm=as_field(y_mm),
        x_mm=as_field(x_mm),
        x=as_field(x[None]),
        y=as_field(y[None]),
        z=as_field(z),
        pixel_mm=float(np.sqrt(sx * sy)) / unit,
        frame_mm=sz / unit,
    )
    return grid, unit


def _outline(rng: np.random.Generator, grid: Grid) -> Field:
    """Signed mm inside the skin: a cap above, the face and neck below, a nose and ears."""
    half_x, half_y, top = rng.normal((74, 97, 86), (3, 4, 3))
    theta = np.arctan2(grid.x, -grid.y)
    lumps = np.ones_like(theta)
    for k in range(2, 6):
        lumps += rng.normal(0, 0.008) * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    above = np.clip(1 - (np.clip(grid.z, 0, None) / top) ** 2.6, 0, None) ** (1 / 2.2)
    below = smoothstep(-(grid.z + 18) / 75)
    behind = smoothstep((grid.y + 20) / 60)
    narrow = above * (1 - below * (0.10 + 0.28 * behind)) * lumps
    power = 2.25
    rho = (np.abs(grid.x / half_x) ** power + np.abs(grid.y / half_y) ** power) ** (1 / power)
    radius = np.hypot(grid.x, grid.y)
    outline = narrow * (radius + 1) / (rho + 0.012) - radius
    outline = np.minimum(outline, 0.8 * (np.float32(top) - grid.z))
    nose = rng.normal(0, 3)
    add_capsule(outline, grid, ((nose / 2, -84, -16), (nose, -103, -50)), (7.0, 9.0))
    add_capsule(outline, grid, ((nose / 2, -82, -48), (nose, -104, -50)), (15.0, 9.0))
    for side in (-1, 1):
        add_capsule(outline, grid, ((side * 66, 8, -30), (side * 74, 24, -34)), (4.0, 3.0))
        add_capsule(outline, grid, ((side * 74, 24, -34), (side * 70, 16, -50)), (3.0, 4.0))
    return outline.astype(np.float32)


def _scalp_mm(rng: np.random.Generator, grid: Grid, thickness_mm: float) -> Field:
    behind = smoothstep((grid.y - 20) / 70) * rng.uniform(0.1, 0.8)
    low = smoothstep(-(grid.z + 10) / 60) * rng.uniform(0.2, 0.8)
    return as_field(thickness_mm * np.clip(1 + behind + low + 0.2 * grid.noise(rng, 25), 0.4, None))


def _skull_mm(grid: Grid, thickness_mm: float) -> Field:
    """Bone, and under the temporal bone and the occiput the muscle over it."""
    side = smoothstep((np.abs(grid.x) - 40) / 20) * smoothstep(-(grid.y + 5) / 30)
    low = smoothstep(-(grid.z + 22) / 45) * smoothstep((grid.y + 10) / 30)
    return thickness_mm + 7 * side * smoothstep(-(grid.z - 25) / 50) + 16 * low


def _floor_mm(grid: Grid) -> Field:
    """``(1, h, w)`` height of the skull base: anterior, middle and posterior fossa, petrous ridge between."""
    across = np.abs(grid.x)
    posterior, middle = sigmoid((grid.y - 12) / 3), sigmoid((grid.y + 24) / 3)
    lateral = sigmoid((across - 17) / 3)
    front = -8 - 10 * np.exp(-((grid.x / 9) ** 2)) + 0.10 * np.clip(-grid.y - 45, 0, None)
    petrous = 16 * np.exp(-(((grid.y - 12 - 0.2 * across) / 7) ** 2)) * lateral
    floor = mix(mix(front, mix(-16.0, -40.0, lateral), middle), -64.0, posterior)
    return as_field(floor + petrous)


def _fluid(rng: np.random.Generator, grid: Grid, gap_mm: float) -> Field:
    """Signed mm inside the ventricles, cisterns and the large fissures; dark on FLAIR."""
    fluid = np.full(grid.z.shape, FAR_MM, np.float32)
    size = rng.uniform(0.65, 1.5)
    wide = np.sqrt(size)
    for side in (-1, 1):
        r = size * rng.uniform(0.8, 1.2)
        points = [(6 * wide, -30, 8), (9 * wide, -18, 15), (11 * wide, 2, 23), (17 * wide, 26, 19), (24, 42, 8)]
        radii = [3.6 * r, 5.2 * r, 5.4 * r, 6.8 * r, 2.6 * r]
        horns = [(side * x, y, z) for x, y, z in points]
        for k in range(len(horns) - 1):
            add_capsule(fluid, grid, (horns[k], horns[k + 1]), (radii[k], radii[k + 1]))
        temporal = ((side * 28.0, 24.0, 4.0), (side * 32.0, -4.0, -17.0))
        add_capsule(fluid, grid, temporal, (2.8 * r, 2.0 * r))
        sylvian = ((side * 37.0, -19.0, -8.0), (side * 39.0, 6.0, 8.0), (side * 60.0, -14.0, 4.0))
        add_capsule(fluid, grid, (sylvian[0], sylvian[1]), (0.9 + 0.6 * gap_mm, 0.8))
        add_capsule(fluid, grid, (sylvian[0], sylvian[2]), (1.2 + 0.5 * gap_mm, 1.0 + 0.6 * gap_mm))
        add_capsule(fluid, grid, ((side * 4.0, 4.0, -16.0), (side * 21.0, -12.0, -14.0)), (3.5, 2.0))
        add_capsule(fluid, grid, ((side * 15.0, 8.0, -12.0), (side * 15.0, 26.0, -8.0)), (1.8, 2.2))
        add_capsule(fluid, grid, ((side * 19.0, 14.0, -38.0), (side * 30.0, 18.0, -40.0)), (4.0, 2.0))
    add_capsule(fluid, grid, ((0, -14, -2), (0, 12, 4)), (1.6 * size, 2.0 * size))
    add_capsule(fluid, grid, ((0, -8, -18), (0, 2, -20)), (7.0, 6.0))
    add_capsule(fluid, grid, ((0, 38, -24), (0, 42, -34)), (3.0 * size, 5.5 * size))
    add_capsule(fluid, grid, ((-6, 28, -4), (6, 28, -4)), (2.6, 2.6))
    add_capsule(fluid, grid, ((0, 62, -58), (0, 50, -60)), (7.0, 6.0))
    return np.maximum(fluid, _fissure(rng, grid, gap_mm)).astype(np.float32)


def _fissure(rng: np.random.Generator, grid: Grid, gap_mm: float) -> Field:
    """The cleft between the hemispheres, outside the corpus callosum and the middle brain."""
    opening = np.clip((_from_middle(grid) - 1) * 5, -3, 1) * np.clip((grid.z + 14) / 4, -3, 1)
    wobble = 1.3 * grid.noise(rng, 13, 30)
    width = (0.6 + 0.45 * gap_mm) * np.clip(1 + 0.5 * grid.noise(rng, 9), 0.2, None)
    return as_field(width * np.minimum(opening, 1) - np.abs(grid.x - wobble))


def _from_middle(grid: Grid) -> Field:
    """``(T, h, w)``, below 1 in the corpus callosum and the middle brain."""
    return np.sqrt(((grid.y - 2) / 42) ** 2 + ((grid.z - 4) / 27) ** 2)


def _deep_tissue(rng: np.random.Generator, grid: Grid, fluid: Field) -> Field:
    """Brightness of the brain below the cortex: white matter, deep grey, brain stem, cerebellum, caps."""
    tissue = 1 + 0.035 * grid.noise(rng, 22) + 0.02 * grid.noise(rng, 6)
    grey = rng.uniform(0.06, 0.18)
    nuclei = np.full(grid.z.shape, FAR_MM, np.float32)
    for side in (-1, 1):
        add_capsule(nuclei, grid, ((side * 8, 0, 8), (side * 13, 16, 8)), (5.0, 7.0))
        add_capsule(nuclei, grid, ((side * 13, -26, 6), (side * 16, -6, 20)), (5.5, 3.0))
        add_capsule(nuclei, grid, ((side * 23, -16, 3), (side * 28, 6, 6)), (5.0, 4.0))
    tissue += grey * smoothstep(nuclei / 4 + 0.5)
    callosum = ellipsoid(grid, (0, 2, 12), (13, 43, 19))
    tissue -= rng.uniform(0.02, 0.10) * smoothstep(callosum / 3)
    stem = np.full(grid.z.shape, FAR_MM, np.float32)
    add_capsule(stem, grid, ((0, 18, -2), (0, 16, -28)), (11.0, 13.0))
    add_capsule(stem, grid, ((0, 18, -30), (0, 30, -80)), (12.0, 6.0))
    tissue = mix(tissue, 1.02 + 0.03 * grid.noise(rng, 5), smoothstep(stem / 3 + 0.5))
    caps = rng.uniform(0, 0.45) * np.exp(-(((fluid + 1.2) / 1.3) ** 2)) * (np.abs(grid.x) > 4) * (np.abs(grid.x) < 32)
    ends = np.exp(-(((grid.y + 32) / 9) ** 2)) + np.exp(-(((grid.y - 38) / 12) ** 2)) + 0.15
    return as_field(tissue + caps * ends * ((grid.z > -4) & (grid.z < 32)))


def _around_brain(rng: np.random.Generator, grid: Grid, under_scalp: Field, inside: Field) -> Field:
    """Brightness between the scalp's fat and the brain: bone with marrow, muscle, and the face below."""
    bone = -inside
    marrow = rng.uniform(0.05, 0.5) * np.exp(-(((under_scalp - bone) / 2.5) ** 2)) * (bone > 0)
    around = 0.10 + marrow * np.clip(1 + 0.6 * grid.noise(rng, 8), 0, None)
    side = smoothstep((np.abs(grid.x) - 38) / 12) * smoothstep(-(grid.y + 4) / 22)
    muscle = side * smoothstep((30 - grid.z) / 20) * smoothstep((bone - 3) / 2)
    around = mix(around, 0.75 + 0.1 * grid.noise(rng, 5), muscle)
    low = sigmoid((_floor_mm(grid) - grid.z - 2) / 1.5)
    low = np.maximum(low, smoothstep(-(grid.z + 26) / 10) * smoothstep((bone - 3) / 2))
    if not (low > 0.01).any():
        return around.astype(np.float32)
    return mix(around, face_map(rng, grid), low * smoothstep((bone - 0.5) / 1.5)).astype(np.float32)


def _sulci(rng: np.random.Generator, grid: Grid) -> Field:
    """Signed mm to sulcal sheets: the zero set of noise, made about equally steep everywhere.

    One part of the noise depends on the direction from the middle only, so that most sulci run inwards.
    """
    axes = [np.arange(low, high, 3, dtype=np.float32) for low, high in ((-90, 140), (-200, 200))]
    spokes = smooth_noise(rng, (axes[0], axes[1], np.zeros(1, np.float32)), (15, 9.5, 1))[..., 0]
    theta = np.arctan2(grid.x, -grid.y) * np.float32(60)
    where = [(grid.z + 90) / 3, np.broadcast_to((theta + 200) / 3, grid.z.shape)]
    radial = ndimage.map_coordinates(spokes, where, order=1, mode="nearest", prefilter=False)
    radial *= smoothstep((np.hypot(grid.x, grid.y) - 18) / 30)
    phase = 0.9 * radial + 0.75 * grid.noise(rng, 9, 14) + 0.3 * grid.noise(rng, 5.5, 9)
    steps = [np.gradient(phase, 2 * grid.pixel_mm, axis=axis) for axis in (1, 2)]
    slope = np.sqrt(steps[0] ** 2 + steps[1] ** 2)
    return as_field(phase / (slope + 0.06))


def _cerebellum(rng: np.random.Generator, grid: Grid) -> tuple[Field, Field]:
    """Signed mm inside the cerebellum and its folia (-1..1)."""
    body = ellipsoid(grid, (0, 46, -38), (52, 38, 28)) * 1.2
    body = np.minimum(body, -10 - grid.z - 0.25 * np.abs(grid.x))
    arcs = np.hypot(grid.x * 0.8, grid.y - 22)
    folia = np.sin(2 * np.pi * (arcs / 5.2 + 0.35 * grid.noise(rng, 12)))
    return body.astype(np.float32), folia.astype(np.float32)


def _compose(
    rng: np.random.Generator,
    grid: Grid,
    scale: float,
    shapes: tuple[Field, Field, Field, Field],
    maps: tuple[Field, Field],
    gap_mm: float,
) -> Head:
    """Everything at full resolution, from outside in."""
    outline, under_scalp, brain, fluid = shapes
    tissue, around = maps
    body, folia = _cerebellum(rng, grid)
    in_body = smoothstep(body / 2 + 0.5)
    fluid = np.maximum(fluid, np.where(grid.y > 20, 0.3 - np.abs(body), FAR_MM))
    tissue = mix(tissue, 1.08 + 0.10 * folia, in_body)
    wide_mm = (0.5 + 0.55 * gap_mm) * np.clip(1 + 0.6 * grid.noise(rng, 20), 0.25, None)
    depth = np.minimum(brain, np.abs(grid.x) + 6 + 40 * smoothstep((1.3 - _from_middle(grid)) * 4))
    reach_mm = rng.uniform(15, 24)
    opening = wide_mm * np.clip(1.15 - depth / reach_mm, -2, 1) - 3 * in_body
    full = grid.refine
    sheet, brain_full = np.abs(full(_sulci(rng, grid))), full(brain)
    grey = rng.uniform(0.12, 0.32)
    cortex = np.maximum(
        np.clip(4.2 - brain_full, 0, 1.5), np.clip(3.4 + 2 * full(np.minimum(opening, 0.5)) - sheet, 0, 1.5)
    )
    cortex *= full((1 - in_body) * np.clip(1.4 - depth / (reach_mm + 6), 0, 1)) * np.float32(grey / 1.5)
    solid = full(tissue) + cortex
    sulcus = soft((full(opening) - sheet) / np.float32(grid.pixel_mm * 1.3))
    wet = np.maximum(sulcus, soft(full(grid.normalised(fluid))))
    parenchyma = soft(full(grid.normalised(brain))) * (1 - wet)
    image = mix(full(around), rng.uniform(0.10, 0.28), soft(full(grid.normalised(brain + gap_mm + 1))))
    image += (solid - image) * parenchyma
    image = mix(full(_scalp(rng, grid, outline, under_scalp)), image, soft(full(grid.normalised(under_scalp))))
    image *= soft(full(grid.normalised(outline)))
    _vessels(rng, grid, image, parenchyma)
    depth_mm = np.minimum(brain_full, -full(fluid))
    return Head(np.clip(image, 0.02, None), parenchyma, depth_mm, full(_bias(rng, grid)), scale, grid)


def _scalp(rng: np.random.Generator, grid: Grid, outline: Field, under_scalp: Field) -> Field:
    """Skin, then bright fat, with dark septa and vessels."""
    fat = rng.uniform(1.6, 3.0) * np.clip(1 + 0.12 * grid.noise(rng, 7) + 0.1 * grid.noise(rng, 30), 0.2, None)
    skin = mix(0.8, 1.0, smoothstep(outline / 2.5)) * mix(1.0, 0.45, smoothstep((-grid.y - 84) / 8) * (grid.z < -10))
    return (fat * skin * mix(0.7, 1.0, smoothstep(-under_scalp / 2))).astype(np.float32)


def _vessels(rng: np.random.Generator, grid: Grid, image: Field, parenchyma: Field) -> None:
    """Dots in the brain, in place: flow voids, bright slow flow and choroid, small spots; none is a lesion."""
    spots = np.argwhere(parenchyma[:, 2:-2, 2:-2] > 0.6)
    if not len(spots):
        return
    count = int(len(spots) * grid.pixel_mm**2 * grid.frame_mm * 2e-5 * rng.uniform(0.3, 1.6)) + 1
    yy, xx = np.mgrid[-2:3, -2:3].astype(np.float32)
    for frame, row, col in spots[rng.integers(len(spots), size=count)]:
        radius = rng.uniform(0.6, 1.3) / max(grid.pixel_mm, 0.6)
        dot = np.exp(-(yy**2 + xx**2) / (2 * radius**2)) * rng.choice([-0.5, -0.3, 0.3, 0.6, 0.9])
        block = image[frame, row : row + 5, col : col + 5]
        block += (dot * np.minimum(1, parenchyma[frame, row : row + 5, col : col + 5] * 2)).astype(np.float32)


def _bias(rng: np.random.Generator, grid: Grid) -> Field:
    """Coil sensitivity: slow noise, brighter to the rim, and a slope along the slices."""
    rim = (grid.x**2 + grid.y**2) / 90**2
    slope = rng.normal(0, 0.0012) * grid.z
    return as_field(np.exp(rng.uniform(0.03, 0.13) * grid.noise(rng, 75) + rng.uniform(0, 0.2) * rim + slope))
