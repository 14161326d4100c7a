# SPDX-License-Identifier: Apache-2.0
"""A DICOM file as Explicit VR Little Endian, the transfer syntax that every client reads (PS3.18 8.7.3.5.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from ..types import InputError
from .frames import is_compressed, number_of_frames
from .headers import Header
from .worker import isolated_raw_frames


def to_explicit_little(header: Header) -> Dataset:
    """Read an instance and convert it; compressed frames are decoded.

    Raises:
        InputError: If that is not possible.
    """
    try:
        dataset: Dataset = dcmread(header.path, force=True)
        if header.pixel_tag == 0x7FE00010 and (is_compressed(header.syntax) or header.syntax == ExplicitVRBigEndian):
            _decode(dataset, header)
        correct_ambiguous_vr(dataset, dataset.is_little_endian is not False)
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    except InputError:
        raise
    except Exception as error:  # pydicom raises anything on damaged files
        raise InputError(f"the instance cannot be converted to Explicit VR Little Endian: {error}") from error
    return dataset


def _decode(dataset: Dataset, header: Header) -> None:
    frames = list(isolated_raw_frames(header, range(1, number_of_frames(header) + 1)))
    data = b"".join(frame for frame, _ in frames)
    if int(dataset.get("BitsAllocated") or 8) == 1 and (len(frames) > 1 or is_compressed(header.syntax)):
        raise InputError("single-bit frames are not converted")
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if int(dataset.BitsAllocated) > 8 else "OB"
    dataset["PixelData"].is_undefined_length = False
    if is_compressed(header.syntax) and int(dataset.get("SamplesPerPixel") or 1) == 3:
        dataset.PhotometricInterpretation = frames[0][1]
