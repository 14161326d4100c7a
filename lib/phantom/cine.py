# SPDX-License-Identifier: Apache-2.0
"""An ultrasound-like clip: a curved probe's sector, speckle that moves with the tissue, one dark lesion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import Field, as_field, smooth_noise, smoothstep
from .types import PhantomCine, frame_boxes

BEAMS, SAMPLES = 144, 320
DYNAMIC_RANGE_DB = 55.0


@dataclass(frozen=True)
class _Sector:
    """The probe's view: x to the right and y down from the middle of the probe's face, mm."""

    apex_mm: float
    half_angle: float
    depth_mm: float
    spacing_mm: float
    size: tuple[int, int]

    def polar(self) -> tuple[Field, Field]:
        """``(SAMPLES, BEAMS)`` x and y of the samples along the beams."""
        radius = self.apex_mm + np.linspace(0, self.depth_mm, SAMPLES, dtype=np.float32)[:, None]
        angle = np.linspace(-self.half_angle, self.half_angle, BEAMS, dtype=np.float32)[None]
        return radius * np.sin(angle), radius * np.cos(angle) - self.apex_mm

    def pixels(self) -> tuple[Field, Field]:
        """``(H, W)`` x and y of the pixels; the probe's face touches the top."""
        height, width = self.size
        y, x = np.mgrid[:height, :width].astype(np.float32)
        top = self.apex_mm * (1 - np.cos(self.half_angle))
        return (x - (width - 1) / 2) * self.spacing_mm, (y - 2) * self.spacing_mm - np.float32(top)

    def beam_index(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Sample and beam numbers at positions in mm."""
        sample = (np.hypot(x, y + self.apex_mm) - self.apex_mm) * ((SAMPLES - 1) / self.depth_mm)
        beam = (np.arctan2(x, y + self.apex_mm) / self.half_angle + 1) * ((BEAMS - 1) / 2)
        return sample, beam


@dataclass(frozen=True)
class _Motion:
    """Where tissue and lesion are at each frame: breathing, a pulse, and the probe sweeping over the lesion."""

    shift_mm: Field
    pulse: Field
    elevation: Field


@dataclass(frozen=True)
class _Lesion:
    """A lobed ellipsoid: in-plane axes and lobes, and its place at rest."""

    x_mm: float
    y_mm: float
    axes_mm: tuple[float, float]
    turn: float
    lobes: tuple[tuple[float, float], ...]

    def level(self, x: Field, y: Field, motion: _Motion, frame: int) -> Field:
        """In radii: positive inside the cross-section seen at a frame."""
        dx, dy = x - self.x_mm - motion.shift_mm[frame, 0], y - self.y_mm - motion.shift_mm[frame, 1]
        along = np.cos(self.turn) * dx + np.sin(self.turn) * dy
        across = np.cos(self.turn) * dy - np.sin(self.turn) * dx
        squeeze = 1 + 0.10 * motion.pulse[frame]
        u, v = along / (self.axes_mm[0] * squeeze), across / (self.axes_mm[1] / squeeze)
        angle = np.arctan2(v, u)
        rim = np.ones_like(angle)
        for k, (amplitude, phase) in enumerate(self.lobes, start=2):
            rim += amplitude * np.cos(k * angle + phase + 0.4 * motion.elevation[frame])
        seen = np.sqrt(np.clip(1 - motion.elevation[frame] ** 2, 0, None))
        return as_field(rim * seen - np.hypot(u, v))


def cine(
    seed: int, *, n_frames: int = 48, size: tuple[int, int] = (240, 320), frame_time_ms: float = 33.3
) -> PhantomCine:
    """A sector ultrasound clip in which a dark lesion moves, deforms, enters the plane and leaves it again.

    Args:
        seed: the same seed and arguments give the same bytes.
        n_frames: at least 1; from 5 frames on, the first and the last show no lesion.
        size: (H, W) pixels, at least 32.
        frame_time_ms: time between frames; motion is in real time, the sweep takes the whole clip.

    Raises:
        ValueError: for an impossible size or count.
    """
    if n_frames < 1 or min(size) < 32 or frame_time_ms <= 0:
        raise ValueError(f"a cine needs 1 frame of 32x32 pixels and time, got {n_frames}, {size}, {frame_time_ms} ms")
    rng = np.random.default_rng(seed)
    sector = _sector(rng, size)
    lesion = _lesion(rng, sector)
    motion = _motion(rng, n_frames, frame_time_ms)
    x, y = sector.pixels()
    where = sector.beam_index(x, y)
    inside = (where[0] >= 0) & (where[0] <= SAMPLES - 1) & (where[1] >= 0) & (where[1] <= BEAMS - 1)
    tissue = _Tissue(rng, sector, lesion)
    image = np.zeros((n_frames, *size), np.uint8)
    mask = np.zeros((n_frames, *size), np.uint8)
    index = [part[inside] for part in where]
    for frame in range(n_frames):
        lines = tissue.scan(rng, motion, frame)
        image[frame][inside] = ndimage.map_coordinates(lines, index, order=1, mode="nearest", prefilter=False)
        mask[frame] = (lesion.level(x, y, motion, frame) > 0) & inside
    return PhantomCine(image, mask, float(frame_time_ms), (sector.spacing_mm,) * 2, frame_boxes(mask > 0))


def _sector(rng: np.random.Generator, size: tuple[int, int]) -> _Sector:
    """A random convex probe whose sector fills the picture."""
    height, width = size
    apex_mm, half_angle, depth_mm = rng.uniform(40, 65), rng.uniform(0.48, 0.62), rng.uniform(90, 140)
    tall = depth_mm + apex_mm * (1 - np.cos(half_angle))
    wide = 2 * (apex_mm + depth_mm) * np.sin(half_angle)
    spacing_mm = max(tall / (height - 4), wide / (width - 4))
    return _Sector(float(apex_mm), float(half_angle), float(depth_mm), float(spacing_mm), size)


def _lesion(rng: np.random.Generator, sector: _Sector) -> _Lesion:
    depth = sector.depth_mm * rng.uniform(0.38, 0.62)
    lateral = (sector.apex_mm + depth) * np.sin(rng.uniform(-0.45, 0.45) * sector.half_angle)
    radius = rng.uniform(9, 18)
    flat = rng.uniform(1.0, 1.35)
    lobes = tuple((float(rng.normal(0, 0.07)), float(rng.uniform(0, 2 * np.pi))) for _ in range(4))
    return _Lesion(float(lateral), float(depth), (radius * flat, radius / flat), float(rng.normal(0, 0.4)), lobes)


def _motion(rng: np.random.Generator, n_frames: int, frame_time_ms: float) -> _Motion:
    seconds = np.arange(n_frames) * frame_time_ms / 1000
    breath = 2 * np.pi * (seconds / rng.uniform(2.5, 4.5) + rng.random())
    beat = 2 * np.pi * (seconds / rng.uniform(0.7, 1.1) + rng.random())
    amplitude = rng.uniform((2, 2), (5, 6))
    shift = amplitude * np.stack([np.sin(breath), np.cos(breath)], axis=1)
    reach = rng.uniform(1.25, 1.6)
    sweep = np.linspace(-reach, reach, n_frames) if n_frames > 1 else np.zeros(1)
    return _Motion(shift.astype(np.float32), np.sin(beat).astype(np.float32), sweep.astype(np.float32))


class _Tissue:
    """Echo strength and scatterers of the tissue, scanned along the beams."""

    def __init__(self, rng: np.random.Generator, sector: _Sector, lesion: _Lesion) -> None:
        self.sector, self.lesion = sector, lesion
        self.x, self.y = sector.polar()
        self.scatter = _scatterers(rng)
        self.echo = self._echo_map(rng)
        self.lesion_db = float(rng.uniform(-17, -8))
        self.enhancement_db = float(rng.uniform(1, 5))
        self.gain_db = float(rng.uniform(-3, 4))
        self.shadows = _shadows(rng)
        self.inner = smooth_noise(rng, (np.zeros(1, np.float32), self.y[:, BEAMS // 2], self.x[-1]), (1, 4, 4))[0]

    def _echo_map(self, rng: np.random.Generator) -> Field:
        """Echo strength at rest, dB, over a margin-free beam grid: layers, parenchyma, vessels, a diaphragm."""
        depth = self.y[:, BEAMS // 2]
        beams = np.linspace(0, 100, BEAMS, dtype=np.float32)
        flat = np.zeros(1, np.float32)
        bend = smooth_noise(rng, (flat, flat, beams), (1, 1, 30))[0]
        map_db = 2.2 * smooth_noise(rng, (flat, depth, beams), (1, 16, 16))[0]
        map_db += 1.2 * smooth_noise(rng, (flat, depth, beams), (1, 4, 5))[0]
        level = self.y + 1.5 * bend
        for top in np.cumsum(rng.uniform(3, 8, 4)):
            map_db += rng.uniform(3, 11) * np.exp(-(((level - top) / rng.uniform(0.5, 1.2)) ** 2))
        map_db -= rng.uniform(1, 5) * (1 - smoothstep((level - top + 3) / 3))
        for _ in range(int(rng.integers(2, 6))):
            map_db += self._vessel(rng)
        arc = np.hypot(self.x - rng.uniform(-30, 30), self.y - 0.15 * self.sector.depth_mm)
        radius = rng.uniform(0.62, 0.85) * self.sector.depth_mm
        map_db += rng.uniform(6, 16) * np.exp(-(((arc - radius - 2 * bend) / 1.4) ** 2))
        return as_field(map_db - 4 * smoothstep((arc - radius) / 3))

    def _vessel(self, rng: np.random.Generator) -> Field:
        """A short dark tube with brighter walls; a distractor, never in the mask."""
        x0, y0 = rng.uniform(-45, 45), rng.uniform(25, self.sector.depth_mm - 10)
        angle, length, radius = rng.uniform(-0.9, 0.9), rng.uniform(2, 22), rng.uniform(1.2, 3.2)
        dx, dy = self.x - x0, self.y - y0
        dy = dy + rng.uniform(1, 4) * np.sin(dx / rng.uniform(5, 12))
        along = np.clip(np.cos(angle) * dx + np.sin(angle) * dy, -length, length)
        off = np.hypot(dx - along * np.cos(angle), dy - along * np.sin(angle))
        wall = rng.uniform(1, 5) * np.exp(-(((off - radius - 0.7) / 0.7) ** 2))
        vessel: Field = wall - 22 * (1 - smoothstep((off - radius + 0.6) / 1.2))
        return vessel

    def scan(self, rng: np.random.Generator, motion: _Motion, frame: int) -> Field:
        """One frame's ``(SAMPLES, BEAMS)`` grey values, log-compressed."""
        dx, dy = motion.shift_mm[frame]
        where = self.sector.beam_index(self.x - dx, self.y - dy)
        echo = ndimage.map_coordinates(self.echo, where, order=1, mode="nearest", prefilter=False)
        level = self.lesion.level(self.x, self.y, motion, frame)
        inside = smoothstep(level / 0.10 + 0.5)
        echo += inside * (self.lesion_db + 1.5 * self.inner - echo * 0.7)
        echo += 4.0 * np.exp(-((level / 0.07) ** 2)) * (level.max() > 0)
        path = np.cumsum(inside, axis=0) / max(1.0, float(inside.sum(axis=0).max()))
        echo += self.enhancement_db * path * (1 - inside)
        phase = 1.6 * motion.elevation[frame]
        wide = [
            part * ((n - 1 + 2 * 40) / (n - 1)) for part, n in zip((where[0], where[1]), (SAMPLES, BEAMS), strict=True)
        ]
        parts = [ndimage.map_coordinates(s, wide, order=1, mode="grid-wrap", prefilter=False) for s in self.scatter]
        real = np.cos(phase) * parts[0] + np.sin(phase) * parts[1]
        imaginary = np.cos(phase) * parts[2] + np.sin(phase) * parts[3]
        amplitude_db = 10 * np.log10(real**2 + imaginary**2 + 1e-3) + echo + self._depth_db() + self.shadows
        noise = rng.standard_normal(echo.shape, dtype=np.float32) * smoothstep(self.y / self.sector.depth_mm)
        grey = 255 * (0.50 + (amplitude_db + self.gain_db + 0.8 * noise) / DYNAMIC_RANGE_DB)
        return as_field(np.clip(grey, 0, 255))

    def _depth_db(self) -> Field:
        """What time-gain compensation leaves: a little too much in the middle, a loss at depth."""
        part = self.y / self.sector.depth_mm
        return (2.0 - 14.0 * (part - 0.45) ** 2 - 6 * smoothstep((part - 0.75) * 4)).astype(np.float32)


def _scatterers(rng: np.random.Generator) -> list[Field]:
    """Four fields with the point spread of the probe: narrow along the beam, wider across it."""
    fields = []
    for _ in range(4):
        white = rng.standard_normal((SAMPLES + 80, BEAMS + 80), dtype=np.float32)
        field = ndimage.gaussian_filter(white, (1.3, 1.7), mode="wrap")
        fields.append((field / (field.std() * np.sqrt(2))).astype(np.float32))
    return fields


def _shadows(rng: np.random.Generator) -> NDArray[np.float32]:
    """``(1, BEAMS)`` dB: poor contact at an edge, now and then a dropped beam group."""
    beams = np.linspace(-1, 1, BEAMS, dtype=np.float32)
    loss = -rng.uniform(2, 8) * np.clip(np.abs(beams) - 0.75, 0, None) / 0.25
    for _ in range(int(rng.integers(0, 3))):
        loss -= rng.uniform(2, 9) * np.exp(-(((beams - rng.uniform(-1, 1)) / rng.uniform(0.03, 0.1)) ** 2))
    return loss[None].astype(np.float32)
