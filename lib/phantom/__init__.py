# SPDX-License-Identifier: Apache-2.0
"""Phantoms: head and chest stacks, visits and a cine made from a seed, with exact truth about every lesion."""

from .chest import CHEST_LABELS, chest_stack
from .cine import cine
from .io import write_cine_dicom, write_dicom, write_mask, write_nifti
from .stack import head_stack, head_visits
from .types import PhantomCine, PhantomLesion, PhantomStack

__all__ = [
    "CHEST_LABELS",
    "PhantomCine",
    "PhantomLesion",
    "PhantomStack",
    "chest_stack",
    "cine",
    "head_stack",
    "head_visits",
    "write_cine_dicom",
    "write_dicom",
    "write_mask",
    "write_nifti",
]
