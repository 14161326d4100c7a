# SPDX-License-Identifier: Apache-2.0
"""Settings that must hold before MONAI Label or torch are imported, and what all tests share."""

import os

os.environ.update(
    {
        # MONAI Label would drop `lib` and import it again: every class would then exist twice.
        "MONAI_LABEL_RELOAD_APP_LIB": "false",
        # Its default MLflow address is one that MLflow refuses.
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        # No scoring process at start and at every next sample.
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MPLBACKEND": "Agg",
    }
)
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"))
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, str(THREADS))

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(THREADS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))


def shared_data_folder() -> Path:
    """Where the real data sets would be."""
    return Path(os.environ.get("LESIONLOOP_SHARED_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets that lie beside a checkout and are not part of the repository."""
    folder = shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set LESIONLOOP_SHARED_DATA to its folder")
    return folder
