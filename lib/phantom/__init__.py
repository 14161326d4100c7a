# SPDX-License-Identifier: Apache-2.0
"""Phantoms: head stacks, visits and a cine made from a seed, with exact truth about every lesion."""

from .cine import cine
from .io import write_cine_dicom, write_dicom, write_mask, write_nifti
from .stack import head_stack, head_visits
from .types import PhantomCine, PhantomLesion, PhantomStack

__all__ = [
    "PhantomCine",
    "PhantomLesion",
    "PhantomStack",
    "cine",
    "head_stack",
    "head_visits",
    "write_cine_dicom",
    "write_dicom",
    "write_mask",
    "write_nifti",
]
