# SPDX-License-Identifier: Apache-2.0
"""The routes of the app's other tasks: info, next sample, training, batch inference and scoring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Body, HTTPException, Request, Response
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType
from monailabel.utils.async_tasks.task import AsyncTask

from .checks import bad_request, check_model, check_name
from .downloads import nifti_of
from .params import BATCH_KEYS, SAMPLE_KEYS, SCORING_KEYS, TRAIN_KEYS, Check, check_params
from .stock import STORE_LOCK, GuardedRoute, label_app, settled_json, store, user_of

router = APIRouter(route_class=GuardedRoute)
Params = Annotated[dict[str, Any] | None, Body()]
info_threads = ThreadPoolExecutor(2, "info")
"""Threads of their own, so that uploads that fill the common pool do not hold up ``/info/``."""


@router.get("/info/", summary="Models, trainers, strategies and the state of the store", tags=["App"])
async def info() -> Response:
    """Tell what the app offers."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(info_threads, settled_json, label_app().info)


@router.post("/activelearning/{strategy}", summary="Get the next image to label", tags=["ActiveLearning"])
def next_sample(request: Request, strategy: str, params: Params = None) -> Response:
    """Choose the next image to label, and note in the store who was given it."""
    task = _known("strategy", strategy, label_app()._strategies)
    checked = check_params(params, SAMPLE_KEYS, task.info().get("config"))
    sample = label_app().next_sample({**checked, "strategy": strategy})
    if not sample:
        return settled_json(dict)
    info = store().get_image_info(sample["id"])
    given = {"ts": int(time.time()), "client_id": user_of(request) or checked.get("client_id")}
    with STORE_LOCK:
        store().update_image_info(sample["id"], {"strategy": {**info.get("strategy", {}), strategy: given}})
    return settled_json(lambda: _described(sample))


def _described(sample: dict[str, Any]) -> dict[str, Any]:
    """The image with what is known about it; a viewer opens a DICOM image by its study."""
    info = store().get_image_info(sample["id"])
    study = info.get("StudyInstanceUID") or info.get("study_instance_uid")
    known = {"patient": info.get("patient", ""), **({"study_instance_uid": study} if study else {})}
    return {**sample, **info, **known, **_as_file(sample)}


def _as_file(sample: dict[str, Any]) -> dict[str, str]:
    """Path and name of the image as one file: 3D Slicer's module opens neither folders nor names without an ending."""
    path = Path(sample["path"])
    if not path.is_dir():
        return {}
    file = nifti_of(sample["id"], path)
    return {"path": str(file), "name": file.name}


@router.get("/train/", summary="Get the state of the training", tags=["Train"])
def train_status(all: bool = False, check_if_running: bool = False) -> Response:
    """Return the latest training task, or all of them."""
    return _status("train", all, check_if_running)


@router.post("/train/", summary="Train every model", tags=["Train"])
def train_all(params: Params = None, run_sync: bool = False) -> Response:
    """Queue a training of each model; parameters may be given per model, under its name."""
    _no_sync(run_sync)
    trainers = label_app()._trainers
    shared = {key: value for key, value in (params or {}).items() if key not in trainers}
    requests = {model: _train_request(model, {**shared, **_own(params, model)}) for model in trainers}
    results = {}
    for model, request in requests.items():
        result, detail = AsyncTask.run("train", request=request, enqueue=True)
        results[model] = {"result": result, "detail": detail}
    return settled_json(lambda: results)


@router.post("/train/{model}", summary="Train a model", tags=["Train"])
def train_model(model: str, params: Params = None, run_sync: bool = False, enqueue: bool = False) -> Response:
    """Start a training in the background."""
    _no_sync(run_sync)
    return _started("train", _train_request(model, params), enqueue=enqueue)


@router.delete("/train/", summary="Stop the training", tags=["Train"])
def train_stop() -> Response:
    """Stop the training that runs."""
    return _stop("train")


@router.get("/batch/infer", summary="Get the state of the batch inference", tags=["Infer"])
def batch_status(all: bool = False, check_if_running: bool = False) -> Response:
    """Return the latest batch inference, or all of them."""
    return _status("batch_infer", all, check_if_running)


@router.post("/batch/infer/{model}", summary="Run a model on many images", tags=["Infer"])
def batch_infer(
    model: str,
    images: BatchInferImageType = BatchInferImageType.IMAGES_ALL,
    params: Params = None,
    run_sync: bool = False,
) -> Response:
    """Start a batch inference in the background; results are saved under ``label_tag``."""
    _no_sync(run_sync)
    task = label_app()._infers[check_model(model)]
    checked = {"save_label": True, "label_tag": "original", **check_params(params, BATCH_KEYS, task.config())}
    if not torch.cuda.is_available():
        checked["multi_gpu"] = False  # the stock task divides by the number of GPUs
    return _started("batch_infer", {**checked, "model": model, "images": images.value})


@router.delete("/batch/infer", summary="Stop the batch inference", tags=["Infer"])
def batch_stop() -> Response:
    """Stop the batch inference that runs."""
    return _stop("batch_infer")


@router.get("/scoring/", summary="Get the state of the scoring", tags=["Scoring"])
def scoring_status(all: bool = False, check_if_running: bool = False) -> Response:
    """Return the latest scoring task, or all of them."""
    return _status("scoring", all, check_if_running)


@router.post("/scoring/{method}", summary="Score the labels", tags=["Scoring"])
def scoring(method: str, params: Params = None, run_sync: bool = False) -> Response:
    """Start a scoring method in the background."""
    _no_sync(run_sync)
    task = _known("scoring method", method, label_app()._scoring_methods)
    return _started("scoring", {**check_params(params, SCORING_KEYS, task.info().get("config")), "method": method})


@router.delete("/scoring/", summary="Stop the scoring", tags=["Scoring"])
def scoring_stop() -> Response:
    """Stop the scoring that runs."""
    return _stop("scoring")


def _known(kind: str, name: str, tasks: Mapping[str, Any]) -> Any:
    if check_name(kind, name) not in tasks:
        raise HTTPException(404, f"There is no {kind} '{name}'; GET /info/ lists them.")
    return tasks[name]


def _own(params: dict[str, Any] | None, model: str) -> dict[str, Any]:
    own = (params or {}).get(model) or {}
    if not isinstance(own, dict):
        raise bad_request(f"The parameters of '{model}' must be a JSON object.")
    return own


def _train_request(model: str, params: dict[str, Any] | None) -> dict[str, Any]:
    """Check the parameters of a training; ``model`` among them must repeat the name."""
    trainer = _known("trainer", model, label_app()._trainers)
    same_model: dict[str, Check] = {"model": lambda value: value == model}
    return {**check_params(params, {**TRAIN_KEYS, **same_model}, trainer.info().get("config")), "model": model}


def _no_sync(run_sync: bool) -> None:
    if run_sync:
        raise bad_request("run_sync is not available: it would hold up the server. Start the task and ask its state.")


def _started(method: str, request: dict[str, Any], enqueue: bool = False) -> Response:
    result, detail = AsyncTask.run(method, request=request, enqueue=enqueue)
    if result is None:
        raise HTTPException(429, detail)
    return settled_json(lambda: result)


def _status(method: str, all: bool, check_if_running: bool) -> Response:
    def read() -> Any:
        result, detail = AsyncTask.status(method, all, check_if_running)
        if result is None:
            raise HTTPException(404, detail)
        return result

    return settled_json(read)


def _stop(method: str) -> Response:
    stopped = AsyncTask.stop(method)
    return settled_json(lambda: stopped)
