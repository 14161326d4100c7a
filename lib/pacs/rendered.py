# SPDX-License-Identifier: Apache-2.0
"""Frames as PNG or JPEG, as a viewer would show them (PS3.18 8.3.5, 10.4.1.1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi

from ..dicom.pixels.colour import from_palette, to_rgb
from ..types import InputError
from .frames import decoded, number_of_frames, stored_frames
from .headers import Header

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}
THUMBNAIL_PX = 128
MAX_SIDE_PX = 4096
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
_MODALITY = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """How to render.

    Attributes:
        window: Centre and width, in values after the Modality LUT; None for the file's own, else all values.
        function: VOI LUT function (0028,1056).
        size_px: Largest width and height; None for the size of the image.
        region_px: Part to show: x, y, width, height; a negative width or height mirrors.
        quality: Of JPEG, 1 to 100.
    """

    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    size_px: tuple[int, int] | None = None
    region_px: tuple[int, int, int, int] | None = None
    quality: int = 90


def parse_look(params: Mapping[str, Any]) -> Look:
    """Read the query parameters ``window``, ``viewport`` and ``quality``; others are ignored.

    Raises:
        InputError: If one is malformed.
    """
    try:
        window, function = _window(str(params.get("window") or ""))
        size_px, region_px = _viewport(str(params.get("viewport") or ""))
        quality = int(params.get("quality") or 90)
    except (TypeError, ValueError) as error:
        raise InputError(
            "rendering takes window=centre,width,function (linear, linear-exact, sigmoid),"
            f" viewport=width,height[,x,y,width,height] up to {MAX_SIDE_PX} pixels, and quality=1..100"
        ) from error
    if not 1 <= quality <= 100:
        raise InputError("quality goes from 1 to 100")
    return Look(window, function, size_px, region_px, quality)


def _window(text: str) -> tuple[tuple[float, float] | None, str]:
    if not text:
        return None, "LINEAR"
    center, width, *rest = text.split(",")
    function = (rest[0] if rest else "linear").upper().replace("-", "_")
    if len(rest) > 1 or function not in _FUNCTIONS or not np.isfinite([float(center), float(width)]).all():
        raise ValueError(text)
    if float(width) < (1 if function == "LINEAR" else 1e-9):
        raise ValueError(width)
    return (float(center), float(width)), function


def _viewport(text: str) -> tuple[tuple[int, int] | None, tuple[int, int, int, int] | None]:
    if not text:
        return None, None
    parts = [round(float(part)) if part.strip() else 0 for part in text.split(",")]
    if len(parts) not in (2, 6) or not all(1 <= side <= MAX_SIDE_PX for side in parts[:2]):
        raise ValueError(text)
    region = (parts[2], parts[3], parts[4], parts[5]) if len(parts) == 6 and parts[4] and parts[5] else None
    return (parts[0], parts[1]), region


def render(header: Header, number: int | None, look: Look, media_type: str = "image/jpeg") -> bytes:
    """Render one frame.

    Args:
        header: Of an image.
        number: Which frame, from 1; None for the representative one (0028,6010), else the middle.
        look: How.
        media_type: One of :data:`FORMATS`.

    Raises:
        InputError: If there is no such frame or it cannot be decoded.
    """
    if number is None:
        count = number_of_frames(header)
        number = int(header.dataset.get("RepresentativeFrameNumber") or (count + 1) // 2)
    stream = next(stored_frames(header, [number]))
    stored, photometric = decoded(header, stream)
    picture = Image.fromarray(_eight_bit(header, number, stored, photometric, look))
    return _encoded(_placed(picture, look), FORMATS[media_type], look.quality)


def _eight_bit(header: Header, number: int, stored: npt.NDArray[Any], photometric: str, look: Look) -> Picture:
    if stored.ndim == 3:
        bits = int(header.dataset.get("BitsStored") or 8)
        return np.asarray(to_rgb(stored[None], photometric, bits)[0])
    if photometric == "PALETTE COLOR":
        return np.asarray(from_palette(stored[None], header.dataset)[0])
    attributes = _frame_attributes(header.dataset, number - 1)
    if header.dataset.get("BitsAllocated") == 1:
        shown = stored.astype(np.float64)
    else:
        values = np.asarray(apply_modality_lut(stored, attributes))
        shown = _windowed(values, attributes, header, look)
    if photometric == "MONOCHROME1":
        shown = 1 - shown
    return np.asarray(np.round(np.clip(np.nan_to_num(shown), 0, 1) * 255), np.uint8)


def _frame_attributes(dataset: Dataset, index: int) -> Dataset:
    """Modality and VOI LUT of a frame, in enhanced objects from the functional groups (C.7.6.16.2)."""
    found = Dataset()
    per_frame, shared = (dataset.get(f"{name}FunctionalGroupsSequence") for name in ("PerFrame", "Shared"))
    groups = [dataset, *(shared or [])[:1], *(per_frame or [])[index : index + 1]]
    groups += [item for group in groups[1:] for name in _GROUPS for item in (group.get(name) or [])[:1]]
    for group in groups:
        for keyword in (*_MODALITY, *_WINDOW):
            if keyword in group:
                found[keyword] = group[keyword]
    return found


def _windowed(values: npt.NDArray[Any], attributes: Dataset, header: Header, look: Look) -> npt.NDArray[np.float64]:
    if look.window:
        return window(values, *look.window, look.function)
    center, width = (_first(attributes.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None and width >= 1:
        function = str(attributes.get("VOILUTFunction") or "LINEAR")
        return window(values, center, width, function if function in _FUNCTIONS else "LINEAR")
    if attributes.get("VOILUTSequence") and values.dtype.kind in "iu":
        item = attributes.VOILUTSequence[0]
        return np.asarray(apply_voi(values, attributes), np.float64) / ((1 << int(item.LUTDescriptor[2])) - 1)
    maximum = header.dataset.get("MaximumFractionalValue")
    if maximum:
        return values.astype(np.float64) / float(maximum)
    real = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = np.percentile(real, (0.5, 99.5)) if real.size else (0.0, 1.0)
    if high <= low:
        low, high = float(real.min(initial=0)), float(real.max(initial=0))
    return (values.astype(np.float64) - low) / max(high - low, 1e-9)


def _first(value: Any) -> float | None:
    try:
        return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value)
    except (TypeError, ValueError, IndexError):
        return None


def window(values: npt.NDArray[Any], center: float, width: float, function: str) -> npt.NDArray[np.float64]:
    """Map values to 0..1 (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    values = values.astype(np.float64)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width <= 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _placed(picture: Image.Image, look: Look) -> Image.Image:
    if look.region_px:
        x, y, width, height = look.region_px
        box = (x, y, min(x + abs(width), picture.width), min(y + abs(height), picture.height))
        if x < 0 or y < 0 or box[2] <= x or box[3] <= y:
            raise InputError(
                f"the viewport's region lies outside the image ({picture.width} x {picture.height} pixels)"
            )
        picture = picture.crop(box)
        if width < 0:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if height < 0:
            picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if look.size_px:
        scale = min(look.size_px[0] / picture.width, look.size_px[1] / picture.height)
        size = tuple(max(round(side * scale), 1) for side in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return picture


def _encoded(picture: Image.Image, form: str, quality: int) -> bytes:
    out = BytesIO()
    if form == "JPEG":
        picture.save(out, form, quality=quality)
    else:
        picture.save(out, form)
    return out.getvalue()
