# SPDX-License-Identifier: Apache-2.0
"""Read PNG and JPEG files as one grey frame; their headers are checked before any pixel is unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..types import InputError
from .data import LPS_FLIP, AnyArray, FileParts

PICTURES = (".png", ".jpg", ".jpeg")
"""How the names of such files end."""
FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 80_000_000
"""Largest picture that is read; the largest detectors have some 20 million cells. Below Pillow's own limit."""
NO_SPACING = "No pixel spacing: 1 mm is assumed, so sizes are not measured."


def read_picture(path: Path) -> FileParts:
    """Read a picture; what it says of print sizes is no pixel spacing of a patient.

    Colours and palettes become grey (ITU-R BT.601), transparency is not looked at, 16 bit grey values are kept. The
    picture is turned as its Exif orientation says, as browsers show it, and lies in an axial plane for want of another.

    Raises:
        InputError: If it is no PNG or JPEG file, is damaged, or has more than :data:`MOST_PIXELS`.
    """
    problems = [NO_SPACING]
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(f"{image.width} x {image.height} pixels; a picture has at most {MOST_PIXELS}")
            if (count := getattr(image, "n_frames", 1)) > 1:
                problems.append(f"It holds {count} pictures: the first is read.")
            pixels = _grey(ImageOps.exif_transpose(image), problems)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"too many pixels; a picture has at most {MOST_PIXELS}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"no {' or '.join(FORMATS)} file, whatever its name says") from error
    except (SyntaxError, ValueError, OSError) as error:
        raise InputError(f"damaged or cut short: {error}") from error
    return pixels.T[:, :, None, None, None], LPS_FLIP.copy(), (), problems


def _grey(image: Image.Image, problems: list[str]) -> AnyArray:
    """(H, W), 8 or 16 bit."""
    if image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode not in ("1", "L"):
        problems.append(f"A picture in {image.mode}: it is read in grey.")
    return np.asarray(image.convert("L"))
