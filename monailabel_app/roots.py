# SPDX-License-Identifier: Apache-2.0
"""Where the app, its library and its configs lie: beside each other in a checkout, inside the app in a wheel."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

APP_DIR = Path(__file__).resolve().parent
ROOT = APP_DIR if (APP_DIR / "lib" / "__init__.py").is_file() else APP_DIR.parent
CONFIGS_DIR = ROOT / "configs"
PRETRAINED_DIR = APP_DIR / "pretrained"


def lib_module(name: str) -> ModuleType:
    """Import a module of the library under the one name that MONAI Label also gives it, ``lib.NAME``."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"lib.{name}")
