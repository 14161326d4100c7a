# SPDX-License-Identifier: Apache-2.0
"""Stored grey values -> what they mean: stored bits, padding, Modality LUT (PS3.3 C.11.1), larger is brighter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixel_data_handlers.util import apply_modality_lut
from pydicom.uid import RTDoseStorage

from ...types import InputError
from .codecs import PixelFormat

# Their numbers are physical quantities: a MONOCHROME1 there is a wish for display, not an inverted scale.
_QUANTITATIVE_MODALITIES = ("CT", "PT", "NM", "RTDOSE")
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


def meant_bits(dataset: Dataset, form: PixelFormat, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Undo what old writers put around the stored bits: overlays above them, no sign extension, a shift.

    Values beyond the stored bits for which none of this can be the reason are kept: then the header is wrong.
    """
    bits, spare = form.bits_stored, stored.dtype.itemsize * 8 - form.bits_stored
    if spare == 0 or form.bits_allocated == 1:
        return stored
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if form.signed else (0, (1 << bits) - 1)
    smallest, largest = int(stored.min()), int(stored.max())
    if low <= smallest and largest <= high:
        return stored
    shift = whole_number(dataset, "HighBit", bits - 1) - (bits - 1)
    if 0 < shift <= spare:
        return np.asarray((stored << (spare - shift)) >> spare)
    overlay = any(
        (group, 0x0102) in dataset and (group, 0x3000) not in dataset and dataset[group, 0x0102].value >= bits
        for group in _OVERLAY_GROUPS
    )
    if overlay or (form.signed and smallest >= 0 and largest < 1 << bits):
        return np.asarray((stored << spare) >> spare)
    return stored


def grey_values(dataset: Dataset, form: PixelFormat, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pad, look up or rescale, and invert integer values, (N, H, W).

    Raises:
        InputError: If the rescale is not a number or gives numbers that are too large.
    """
    inverted = form.photometric == "MONOCHROME1" and not _is_quantitative(dataset)
    if form.bits_allocated > 1:
        stored = _without_padding(stored, _padding(dataset, form), highest=inverted)
    if dataset.get("ModalityLUTSequence"):
        values = np.asarray(apply_modality_lut(stored, dataset))
        return _inverted(values, int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])) if inverted else values
    if inverted:
        stored = _inverted(stored, form.bits_stored)
    return _rescaled(stored, _rescale(dataset, form.frames))


def _is_quantitative(dataset: Dataset) -> bool:
    return dataset.get("Modality") in _QUANTITATIVE_MODALITIES or dataset.get("RescaleType") == "HU"


def _inverted(values: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Turn the range of ``bits`` stored bits upside down."""
    if values.dtype.kind == "i":
        return np.asarray(np.invert(values))
    bits = max(bits, int(values.max()).bit_length())
    return np.asarray(np.subtract(np.array((1 << bits) - 1, values.dtype), values))


def _padding(dataset: Dataset, form: PixelFormat) -> tuple[int, int] | None:
    """Lowest and highest stored value that means "no image here" (PS3.3 C.7.5.1.1.2)."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    ends = [whole_number(dataset, "PixelPaddingValue")]
    ends.append(whole_number(dataset, "PixelPaddingRangeLimit", ends[0]))
    # In implicit syntax the sign of these is lost now and then.
    half, full = 1 << form.bits_allocated - 1, 1 << form.bits_allocated
    ends = [v - full if form.signed and v >= half else v + full if not form.signed and v < 0 else v for v in ends]
    return min(ends), max(ends)


def _without_padding(stored: npt.NDArray[Any], padding: tuple[int, int] | None, *, highest: bool) -> npt.NDArray[Any]:
    """Give padding the lowest of the other values, or the highest where the scale will be inverted."""
    limits = np.iinfo(stored.dtype)
    if padding is None or padding[1] < limits.min or padding[0] > limits.max:
        return stored
    low, high = max(padding[0], limits.min), min(padding[1], limits.max)
    mask = stored == low if low == high else (stored >= low) & (stored <= high)
    if not mask.any() or mask.all():
        return stored
    if highest:
        return np.where(mask, np.where(mask, limits.min, stored).max(), stored).astype(stored.dtype, copy=False)
    lowest = np.where(mask, stored.dtype.type(limits.max), stored).min()
    if high < lowest:
        return np.maximum(stored, lowest)
    return np.where(mask, lowest, stored).astype(stored.dtype, copy=False)


def _rescale(dataset: Dataset, frames: int) -> list[tuple[float, float]]:
    """Slope and intercept: one pair, or one per frame where the frames differ."""
    if dataset.get("SOPClassUID") == RTDoseStorage:
        return [(_float(dataset, "DoseGridScaling", 1.0), 0.0)]
    if "RescaleSlope" in dataset or "RescaleIntercept" in dataset:
        return [(_float(dataset, "RescaleSlope", 1.0), _float(dataset, "RescaleIntercept", 0.0))]
    shared = _group_rescale(dataset.get("SharedFunctionalGroupsSequence"), 0)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    found = [_group_rescale(per_frame, k) or shared or (1.0, 0.0) for k in range(min(frames, len(per_frame)))]
    if len(found) < frames or len(set(found)) == 1:
        return found[:1] or [shared or (1.0, 0.0)]
    return found


def _group_rescale(groups: Any, index: int) -> tuple[float, float] | None:
    items = groups[index].get("PixelValueTransformationSequence") if groups else None
    if not items:
        return None
    return _float(items[0], "RescaleSlope", 1.0), _float(items[0], "RescaleIntercept", 0.0)


def _float(dataset: Dataset, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    try:
        number = default if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        raise InputError(f"{keyword} is {value!r}, not a number") from None
    if not math.isfinite(number):
        raise InputError(f"{keyword} is {value!r}")
    return number


def _rescaled(stored: npt.NDArray[Any], pairs: list[tuple[float, float]]) -> npt.NDArray[Any]:
    """Slope * stored + intercept, in the smallest integers that hold it or in float32."""
    if all(pair == (1.0, 0.0) for pair in pairs):
        return stored
    if stored.dtype.kind != "f" and len(pairs) == 1 and all(number.is_integer() for number in pairs[0]):
        slope, intercept = (int(number) for number in pairs[0])
        ends = [slope * int(stored.min()) + intercept, slope * int(stored.max()) + intercept]
        dtype = next((d for d in (np.int16, np.int32, np.int64) if _holds(d, min(ends), max(ends))), None)
        if dtype is not None and _holds(dtype, slope, slope) and _holds(dtype, intercept, intercept):
            # Casts and sums wrap around, and the result is known to fit.
            scaled: Any = stored if slope == 1 else np.multiply(stored, dtype(slope), dtype=dtype, casting="unsafe")
            return np.asarray(np.add(scaled, dtype(intercept), dtype=dtype, casting="unsafe"))
    with np.errstate(over="ignore", invalid="ignore"):
        slopes, intercepts = (np.array(part, np.float32).reshape(-1, 1, 1) for part in zip(*pairs, strict=True))
        values: npt.NDArray[Any] = np.multiply(stored, slopes, dtype=np.float32, casting="unsafe")
        values += intercepts
    if not np.isfinite([values.min(), values.max()]).all():
        raise InputError(f"the rescale {pairs[0]} gives numbers that are too large")
    return values


def _holds(dtype: type[np.signedinteger[Any]], low: int, high: int) -> bool:
    limits = np.iinfo(dtype)
    return bool(limits.min <= low and high <= limits.max)


def float_values(dataset: Dataset, form: PixelFormat, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Float and Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25) as finite float32."""
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32)
    prefix = form.keyword.removesuffix("PixelData")
    no_image = ~np.isfinite(values)
    if dataset.get(f"{prefix}PixelPaddingValue") is not None:
        one = _float(dataset, f"{prefix}PixelPaddingValue", 0.0)
        other = _float(dataset, f"{prefix}PixelPaddingRangeLimit", one)
        no_image |= (stored >= min(one, other)) & (stored <= max(one, other))
    if no_image.all():
        raise InputError("no pixel holds a finite number")
    if no_image.any():
        values[no_image] = values[~no_image].min()
    if form.photometric == "MONOCHROME1" and not _is_quantitative(dataset):
        values = -values
    return _rescaled(values, _rescale(dataset, form.frames))


def whole_number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """An element's value as an integer.

    Raises:
        InputError: If it is no number, or is missing and there is no default.
    """
    try:
        value = dataset.get(keyword)
    except Exception as error:  # a damaged element raises anything when it is first looked at
        raise InputError(f"{keyword} is damaged ({type(error).__name__})") from error
    if value is None or value == "":
        if default is None:
            raise InputError(f"{keyword} is missing")
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f"{keyword} is {value!r}, not a number") from None
