# SPDX-License-Identifier: Apache-2.0
"""Coded terms and identification of the maker, shared by SEG and SR.

Codes are SNOMED CT and DICOM terms from PS3.16 (CID 7150 to 7159, 7162), as pydicom's dictionary holds them.
"""

from __future__ import annotations

import importlib.metadata
import re

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ..types import Source
from .write import MANUFACTURER

MODEL_NAME = "LesionLoop"
"""Manufacturer's Model Name (0008,1090) of what we write."""
DEVICE_SERIAL_NUMBER = "0"
"""Device Serial Number (0018,1000): type 1 in the Enhanced General Equipment module, and software has none."""
UNKNOWN_VERSION = "unknown"

ABNORMAL_STRUCTURE: Code = codes.SCT.MorphologicallyAbnormalStructure
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
TISSUE: Code = codes.SCT.Tissue
LESION: Code = codes.SCT.Lesion
ARTIFICIAL_INTELLIGENCE: Code = codes.cid7162.ArtificialIntelligence

# What a word in a label's name means. "lesion" comes last: "cystic lesion" has no code of its own, "nodule" has.
_ABNORMAL: dict[str, Code] = {
    "abscess": codes.SCT.Abscess,
    "cyst": codes.SCT.Cyst,
    "edema": codes.SCT.Edema,
    "oedema": codes.SCT.Edema,
    "haemorrhage": codes.SCT.Hemorrhage,
    "hemorrhage": codes.SCT.Hemorrhage,
    "mass": Code("4147007", "SCT", "Mass"),
    "metastasis": codes.SCT.Metastasis,
    "necrosis": codes.SCT.Necrosis,
    "neoplasm": codes.SCT.Neoplasm,
    "nodule": codes.SCT.Nodule,
    "tumor": codes.SCT.Neoplasm,
    "tumour": codes.SCT.Neoplasm,
    "lesion": LESION,
    "lesions": LESION,
}
_ANATOMY: dict[str, Code] = {
    "brain": codes.SCT.Brain,
    "breast": codes.SCT.Breast,
    "heart": codes.SCT.Heart,
    "kidney": codes.SCT.Kidney,
    "liver": codes.SCT.Liver,
    "lung": codes.SCT.Lung,
    "pancreas": codes.SCT.Pancreas,
    "prostate": codes.SCT.Prostate,
    "spleen": codes.SCT.Spleen,
    "thyroid": codes.SCT.Thyroid,
}


def property_codes(label: str) -> tuple[Code, Code]:
    """Category and type of what a label marks (PS3.16 CID 7150, 7159): from the words of its name.

    A name that says nothing known is coded Tissue / Tissue, as OHIF does, rather than as a lesion it may not be.
    """
    words = set(re.split(r"[\W_]+", label.lower()))
    for word, code in _ABNORMAL.items():
        if word in words:
            return ABNORMAL_STRUCTURE, code
    for word, code in _ANATOMY.items():
        if word in words:
            return ANATOMICAL_STRUCTURE, code
    return TISSUE, TISSUE


def software_version() -> str:
    """Version of the installed package; ``unknown`` where it only lies in a folder."""
    try:
        return importlib.metadata.version("lesionloop")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN_VERSION


def algorithm_type(source: Source) -> str:
    """Segment Algorithm Type (0062,0008): a model, a person, or a person who corrected a model."""
    if not source.model:
        return "MANUAL"
    return "SEMIAUTOMATIC" if source.author else "AUTOMATIC"


def algorithm_parameters(source: Source) -> dict[str, str]:
    """What, beside name and version, says which model it was."""
    return {"weights_sha256": source.weights_sha256} if source.weights_sha256 else {}


def algorithm_identification(source: Source) -> hd.AlgorithmIdentificationSequence | None:
    """Algorithm Identification Macro (PS3.3 10.16); None where a person made it."""
    if not source.model:
        return None
    return hd.AlgorithmIdentificationSequence(
        name=source.model[:64],
        family=ARTIFICIAL_INTELLIGENCE,
        version=source.version[:64] or UNKNOWN_VERSION,
        source=MANUFACTURER,
        parameters=algorithm_parameters(source) or None,
    )


def read_algorithm(segment: Dataset, author: str) -> Source:
    """Who made a segment, from an item of the Segment Sequence; ``author`` counts unless a model did it alone."""
    kind = str(segment.get("SegmentAlgorithmType", "MANUAL")).upper()
    author = "" if kind == "AUTOMATIC" else author
    identification = segment.get("SegmentationAlgorithmIdentificationSequence")
    if not identification:
        # MANUAL may carry the name of a drawing tool here, which is no model
        name = "" if kind == "MANUAL" else str(segment.get("SegmentAlgorithmName", "") or "")
        return Source(model=name, author=author)
    item = identification[0]
    version = str(item.get("AlgorithmVersion", "") or "")
    weights = re.search(r"weights_sha256=(\w+)", str(item.get("AlgorithmParameters", "") or ""))
    return Source(
        model=str(item.get("AlgorithmName", "") or ""),
        version="" if version == UNKNOWN_VERSION else version,
        weights_sha256=weights[1] if weights else "",
        author=author,
    )


def person_name(name: str) -> str:
    """A Person Name (PS3.5 6.2): at most 64 characters, no backslash, equals sign or control characters."""
    return re.sub(r"[\\=\x00-\x1f]", " ", name).strip()[:64].strip()
