# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label app without weights, to test the server: tasks that sleep, compute or fail when asked."""

import logging
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.datastore.open import StoreSettings, open_store

logger = logging.getLogger(__name__)


class InputError(ValueError):
    """Stands for lib.types.InputError: the server goes by the class name."""


class Sleepy(InferTask):
    """Sleeps, or convolves, for ``threshold`` seconds; answers with who ran beside it."""

    running = 0
    lock = threading.Lock()

    def __init__(self, kind):
        super().__init__("segmentation", ["lesion"], 3, f"{kind}s for a while", {"device": ["cpu"], "depth": 3})
        self.kind = kind

    def is_valid(self):
        return True

    def __call__(self, request):
        with Sleepy.lock:
            Sleepy.running += 1
            beside = Sleepy.running
        try:
            self.work(float(request.get("threshold", 0)))
        finally:
            with Sleepy.lock:
                Sleepy.running -= 1
        with Path(os.environ["SLEEPY_LOG"]).open("a") as log:
            log.write(f"{request.get('client_id')}\n")
        return self.result_file(request), {"kind": self.kind, "beside": beside, "image": request["image"]}

    def work(self, seconds):
        end = time.monotonic() + seconds
        if self.kind == "sleep":
            time.sleep(seconds)
        elif self.kind == "convolve":
            image, weight = torch.rand(1, 16, 256, 256), torch.rand(16, 16, 3, 3)
            while time.monotonic() < end:
                torch.nn.functional.conv2d(image, weight, padding=1)
                np.sort(np.random.default_rng(0).random(100_000))
        elif self.kind == "refuse":
            try:
                raise InputError("case_0 has no frames; send a volume with at least one slice.")
            except InputError as error:  # as MONAI's Compose does
                raise RuntimeError("applying transform LoadSequenced") from error
        elif self.kind == "fail":
            raise ZeroDivisionError("secret detail of the server")

    def result_file(self, request):
        if request.get("explain"):
            return None
        extension = request.get("result_extension", ".nii.gz")
        descriptor, path = tempfile.mkstemp(suffix=extension)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"mask of " + request["image"].encode())
        return path


class First(Strategy):
    """Offers the first image that has no final label."""

    def __init__(self):
        super().__init__("First unlabelled image")

    def __call__(self, request, datastore):
        images = sorted(datastore.get_unlabeled_images())
        return {"id": images[0]} if images else None


class Napping(TrainTask):
    """A training that sleeps for ``max_epochs`` seconds."""

    def __init__(self):
        super().__init__("Sleeps")

    def config(self):
        return {"max_epochs": 1, "patience": 3, "device": ["cpu"]}

    def info(self):
        return {"description": self.description, "config": self.config()}

    def stats(self):
        return {}

    def __call__(self, request, datastore):
        logger.info("training for %s s", request["max_epochs"])
        time.sleep(float(request["max_epochs"]))
        return {"slept": request["max_epochs"]}


class SleepyApp(MONAILabelApp):
    """Wires the tasks, and a PACS to the project's own store: the stock one downloads a program at its start."""

    def init_remote_datastore(self):
        return open_store(self.studies, StoreSettings.from_monailabel(settings))

    def init_infers(self):
        return {kind: Sleepy(kind) for kind in ("sleep", "convolve", "refuse", "fail")}

    def init_trainers(self):
        return {"sleep": Napping()}

    def init_strategies(self):
        return {"first": First()}
