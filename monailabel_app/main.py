# SPDX-License-Identifier: Apache-2.0
"""The MONAI Label app: wiring only.

MONAI Label runs this file by its path, outside any package, so the library is put on ``sys.path`` here.
"""

import logging
import sys
from pathlib import Path

APP_DIR = Path(__file__).resolve().parent
ROOT = APP_DIR if (APP_DIR / "lib" / "__init__.py").is_file() else APP_DIR.parent  # wheel | checkout
sys.path.insert(0, str(ROOT))  # always: MONAI Label removes one entry, spawned workers need the other

from monailabel.config import settings  # noqa: E402
from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.datastore import Datastore  # noqa: E402
from monailabel.interfaces.tasks.infer_v2 import InferTask  # noqa: E402
from monailabel.interfaces.tasks.strategy import Strategy  # noqa: E402
from monailabel.interfaces.tasks.train import TrainTask  # noqa: E402

from lib.datastore.open import StoreSettings, open_store  # noqa: E402
from lib.tasks import Tasks  # noqa: E402

logger = logging.getLogger(__name__)


class LesionLoop(MONAILabelApp):  # type: ignore[misc]
    """Serves every model in configs/.

    Args:
        app_dir: This folder.
        studies: Folder of image files, folder of DICOM files, or URL of a DICOMweb server.
        conf: ``models`` (comma-separated, default all), ``model_dir`` (default ``APP_DIR/model``), ``store`` (``local``
            or ``embedded``, default ``auto``: by what the folder holds).
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        model_dir = Path(conf.get("model_dir") or Path(app_dir) / "model")
        self.tasks = Tasks(ROOT / "configs", model_dir, APP_DIR / "pretrained", conf.get("models", "all"))
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="LesionLoop",
            description="Finds, outlines and follows lesions in image sequences, and learns from corrections",
        )
        logger.info("models: %s", ", ".join(self.tasks.configs))

    def init_datastore(self) -> Datastore:
        """Where the studies are, by what they are."""
        return open_store(self.studies, StoreSettings.from_monailabel(settings), self.conf.get("store", "auto"))

    def init_infers(self) -> dict[str, InferTask]:
        """An infer task per configuration."""
        return self.tasks.infers()

    def init_trainers(self) -> dict[str, TrainTask]:
        """A train task per configuration."""
        return self.tasks.trainers()

    def init_strategies(self) -> dict[str, Strategy]:
        """Which study to label next."""
        return self.tasks.strategies()
