# SPDX-License-Identifier: Apache-2.0
"""Colour pixel data to 8 bit RGB (PS3.3 C.7.6.3.1.2, C.7.6.3.1.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixel_data_handlers.util import apply_color_lut

from ...types import InputError


def to_rgb(stored: npt.NDArray[Any], photometric: str, bits_stored: int) -> npt.NDArray[np.uint8]:
    """(N, H, W, 3) stored values -> (N, H, W, 3) RGB, 8 bit.

    Args:
        stored: Unsigned values.
        photometric: RGB, YBR_FULL or YBR_FULL_422 (already at full resolution).
        bits_stored: The highest of them are kept.

    Raises:
        InputError: For another colour space.
    """
    values = eight_bits(stored, bits_stored)
    if photometric == "RGB":
        return values
    if photometric not in ("YBR_FULL", "YBR_FULL_422"):
        raise InputError(f"colour space {photometric!r} is not read; convert the file to RGB")
    rgb = np.empty_like(values)
    for source, target in zip(values, rgb, strict=True):
        # Pillow's YCbCr is JFIF's: ITU-R BT.601 at full range, as YBR_FULL.
        target[...] = Image.fromarray(np.ascontiguousarray(source), "YCbCr").convert("RGB")
    return rgb


def eight_bits(values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Keep the highest eight of ``bits`` bits."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "u":
        raise InputError("signed or floating point colour samples are not read; convert the file to 8 bit RGB")
    return np.minimum(values >> max(bits - 8, 0), 255).astype(np.uint8)


def from_palette(stored: npt.NDArray[Any], dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Look up PALETTE COLOR: (N, H, W) indices -> (N, H, W, 3) RGB, or (N, H, W) where the palette is grey.

    Raises:
        InputError: If the indices do not fit a palette.
    """
    if stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"a palette needs unsigned 8 or 16 bit indices, got {stored.dtype}")
    every = np.arange(np.iinfo(stored.dtype).max + 1).astype(stored.dtype)
    table = np.asarray(apply_color_lut(every, dataset))
    # Some writers put 8 bit entries into 16 bit words.
    table = eight_bits(table, 16 if table.max() > 255 else 8)
    if (table == table[:, :1]).all():
        table = table[:, 0]
    found: npt.NDArray[np.uint8] = table[stored]
    return found
