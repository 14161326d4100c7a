# SPDX-License-Identifier: Apache-2.0
"""How bright a viewer shows the grey values of a radiograph: VOI LUT and window (PS3.3 C.11.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixel_data_handlers.util import apply_voi_lut

from ...types import FloatArray, InputError
from ..facts import text_of
from . import pixel_format
from .codecs import PixelFormat
from .modality import grey_values

_MODALITY = ("Modality", "SOPClassUID", "RescaleType", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
_VOI = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
_BITS = ("BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation")
_MOST_BITS = 16
_FITTING_SHAPE = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
"""Presentation LUT Shape by Photometric Interpretation (C.8.11.3.1.2)."""


def brightness_of(dataset: Dataset) -> tuple[FloatArray | None, list[str]]:
    """How bright a viewer shows each grey value of :func:`lib.dicom.pixels.frames_of`.

    The first window counts; a VOI LUT sequence only where there is none. MONOCHROME1 shows low stored values bright.

    Args:
        dataset: A single-frame grey image.

    Returns:
        (2, K): grey values, ascending, and their brightness in 0..1, to be interpolated; None where the file does not
        say. And what speaks against the image or its window.
    """
    problems = _problems(dataset)
    has_window = all(_is_there(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if not has_window and not _is_there(dataset, "VOILUTSequence"):
        return None, problems
    try:
        return _curve(dataset, pixel_format(dataset)), problems
    except Exception as error:  # damaged elements raise anything when they are first looked at
        return None, [*problems, f"Its window cannot be used ({error}): grey values are taken as they are."]


def _problems(dataset: Dataset) -> list[str]:
    problems = []
    if text_of(dataset, "PresentationIntentType") == "FOR PROCESSING":
        problems.append("It is an image FOR PROCESSING, not what people read: give the one FOR PRESENTATION.")
    photometric, shape = (text_of(dataset, name) for name in ("PhotometricInterpretation", "PresentationLUTShape"))
    if shape in _FITTING_SHAPE.values() and shape != _FITTING_SHAPE.get(photometric, shape):
        problems.append(f"Presentation LUT Shape {shape} contradicts {photometric}: it is read as {photometric}.")
    return problems


def _is_there(dataset: Dataset, keyword: str) -> bool:
    try:
        value = dataset.get(keyword)
        return value is not None and value != "" and len(value if isinstance(value, list) else [value]) > 0
    except Exception:  # a damaged element raises when it is first looked at; using it will say so
        return keyword in dataset


def _curve(dataset: Dataset, form: PixelFormat) -> FloatArray:
    """The brightness of every value that can be stored."""
    if form.keyword != "PixelData" or form.samples != 1 or not 1 < form.bits_stored <= _MOST_BITS:
        raise InputError(f"{form.bits_stored} bits of {form.photometric} in {form.keyword}")
    header = Dataset()  # without padding, which has no brightness of its own
    for keyword in (*_MODALITY, *_VOI, *_BITS):
        if keyword in dataset:
            header[keyword] = dataset[keyword]
    stored = _every_value(form)
    values = grey_values(header, form, stored).ravel()
    before = grey_values(header, replace(form, photometric="MONOCHROME2"), stored).ravel()
    shown = np.asarray(apply_voi_lut(before, header, prefer_lut=False), np.float64)
    low, high = float(shown.min()), float(shown.max())
    if not low < high:
        raise InputError("it shows all values alike")
    shown = (high - shown if form.photometric == "MONOCHROME1" else shown - low) / (high - low)
    order = np.argsort(values, kind="stable")
    return np.array([values[order], shown[order]], np.float32)


def _every_value(form: PixelFormat) -> npt.NDArray[Any]:
    """All values of the stored bits as one row of pixels, (1, 1, K)."""
    half = 1 << form.bits_stored - 1
    low, high = (-half, half) if form.signed else (0, 2 * half)
    kind = "i" if form.signed else "u"
    return np.arange(low, high).astype(f"{kind}{form.bits_allocated // 8}")[None, None]
