# SPDX-License-Identifier: Apache-2.0
"""The two stores that the loop is tried on, each behind a live server: the embedded one and Orthanc."""

import lzma
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread

from tests.browser.conftest import Live, Phantom, copy_studies, serving
from tests.orthanc import Orthanc


@dataclass(frozen=True)
class Real:
    """A real series.

    Attributes:
        folder: Its files.
        patient: PatientID.
        study: Study Instance UID.
        image: Series Instance UID.
    """

    folder: Path
    patient: str
    study: str
    image: str


@dataclass(frozen=True)
class Store:
    """A live server, what it holds, and the DICOMweb interface of its store."""

    kind: str
    live: Live
    dicom_web: str

    def objects(self, study: str, modality: str) -> list[Dataset]:
        """The SEG or SR objects in a study."""
        client = DICOMwebClient(self.dicom_web)
        found = client.search_for_series(study, search_filters={"Modality": modality})
        uids = [one["0020000E"]["Value"][0] for one in found]
        return [dataset for uid in uids for dataset in client.retrieve_series(study, uid)]


def unpack_real(shared_data: Path, target: Path) -> dict[str, Real]:
    """The chest CT and the ultrasound cine of the shared data, each in a folder of its own."""
    chest, cine = target / "chest CT", target / "ultrasound cine"
    archive = shared_data / "dicom" / "ct_chest_lungcancer_A0002_B40f.tar.xz"
    with lzma.open(archive) as packed, tarfile.open(fileobj=packed) as files:
        files.extractall(chest, filter="data")
    shutil.copytree(shared_data / "dicom" / "us_multiframe", cine)
    return {folder.name: _described(folder) for folder in (chest, cine)}


def _described(folder: Path) -> Real:
    header = dcmread(next(iter(sorted(folder.rglob("*.dcm")))), stop_before_pixels=True)
    return Real(folder, str(header.PatientID), str(header.StudyInstanceUID), str(header.SeriesInstanceUID))


@contextmanager
def serving_store(
    kind: str, phantoms: dict[str, Phantom], real: dict[str, Real], folder: Path, pacs: Orthanc | None
) -> Iterator[Store]:
    """Serve phantoms and real series from the embedded store, or from Orthanc."""
    if pacs is None:
        studies = copy_studies(phantoms, folder / "studies")
        for name, series in real.items():
            shutil.copytree(series.folder, studies / name)
        with serving(phantoms, studies, folder) as live:
            yield Store(kind, live, f"{live.url}/dicom-web")
        return
    pacs.clear()
    folders = [phantom.folder for phantom in phantoms.values()] + [series.folder for series in real.values()]
    files = [dcmread(file) for one in folders for file in sorted(one.rglob("*.dcm"))]
    DICOMwebClient(pacs.dicom_web).store_instances(files)
    with serving(phantoms, pacs.dicom_web, folder) as live:
        yield Store(kind, live, pacs.dicom_web)
