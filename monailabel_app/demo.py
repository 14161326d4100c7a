# SPDX-License-Identifier: Apache-2.0
"""``lesionloop demo``: serve the models, run each one on the demo patients, show what they found, keep serving."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from .client import infer, server_info
from .demo_followup import FOLLOWER, FollowUp, follow_up, in_words, patients_with_visits
from .demo_report import REPORTER, report_last_visit
from .patients import Patient, is_volume, own_patients, phantom_patients
from .process import Server, launch_server, signals_end_the_block
from .roots import APP_DIR, CONFIGS_DIR, lib_module
from .tables import followup_table, models_table, report_table, results_tables
from .truth import Answer, Score, View, load_view, score

if TYPE_CHECKING:
    from lib.configs import ModelConfig

STEPS = 7
LESION_FINDERS = ("segmentation", "detection")
"""Types of models that the demo patients are for."""
PLAIN_WIDTH = 120
OHIF_STEPS = "click a patient, then LesionLoop: find lesions, correct, submit, train, all in the browser"
OHIF_FILES = "shows DICOM: it lists nothing of a folder of NIfTI or NRRD files such as this one"


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        folder: Where phantoms, pictures and the server's log go.
        studies: The user's own studies; None for phantoms.
        host: Address to serve on.
        port: Port to serve on.
        limit: Images to run, of the user's own.
        conf: The app's configuration.
        exit: End after the tables instead of serving on.
    """

    folder: Path
    studies: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    limit: int = 3
    conf: dict[str, str] = field(default_factory=dict)
    exit: bool = False


class Steps:
    """Prints numbered steps, a spinner with the time while one runs, and how long it took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Progress]:
        """Time a step; the block may add a task with a total to the progress display it gets."""
        self.number += 1
        self.console.print(f"[bold]\\[{self.number}/{STEPS}][/bold] {title}")
        start = time.perf_counter()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            yield progress
        self.console.print(f"      [dim]{time.perf_counter() - start:.1f} s[/dim]")


def run_demo(options: Options) -> int:
    """Run the demo until Ctrl-C, or until the tables with ``options.exit``.

    Returns:
        Exit code: 1 when a model gave no result for an image.

    Raises:
        InputError: If the folder or the port cannot be used, or the server does not start.
    """
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    steps = Steps(console)
    with signals_end_the_block():
        try:
            patients, studies = _patients(options, steps)
            log = options.folder / "server.log"
            with launch_server(APP_DIR, studies, options.conf, host=options.host, port=options.port, log=log) as server:
                answers = _try_models(server, patients, options, steps)
                _tell_addresses(console, server, options)
                if not options.exit:
                    _serve_on(console, server)
        except KeyboardInterrupt:
            console.print("\nStopped before the end.")
            return 128 + signal.SIGINT
    return int(any(answer.error for answer in answers))


def _patients(options: Options, steps: Steps) -> tuple[list[Patient], Path]:
    if options.studies is not None:
        with steps.step(f"Studies in {escape(str(options.studies))}"):
            patients = own_patients(options.studies, options.limit, options.folder / "series")
            names = ", ".join(f"{p.name}{'' if p.truth else ' (no mask)'}" for p in patients)
            steps.console.print(f"      chosen: {escape(names)}")
        return patients, options.studies
    with steps.step(f"Phantom patients in {escape(str(options.folder / 'studies'))}") as progress:
        task = None

        def tell(done: int, total: int) -> None:
            nonlocal task
            task = progress.add_task("making phantoms", total=total) if task is None else task
            progress.update(task, completed=done)

        patients = phantom_patients(options.folder, tell)
        steps.console.print(
            "      " + ("there from an earlier run" if task is None else f"made {len(patients)} images")
        )
    return patients, options.folder / "studies"


def _try_models(server: Server, patients: list[Patient], options: Options, steps: Steps) -> list[Answer]:
    """Wait for the server and run every model on every patient; prints the tables and draws the pictures."""
    with steps.step(f"Server on {server.url}, log in {escape(str(server.log))}") as progress:
        progress.add_task("loading the models", total=None)
        warm = threading.Thread(target=lib_module, args=("transforms.load",), daemon=True)
        warm.start()  # imports what reads images while the server does the same
        server.wait_until_healthy()
        warm.join()
    info = server_info(server)
    types = {name: str(about["type"]) for name, about in info["models"].items()}
    models = {name: kind for name, kind in types.items() if kind in LESION_FINDERS}
    if not models:
        raise lib_module("types").InputError(
            f"no lesion model is served: none has weights in {APP_DIR / 'pretrained'} or in the model folder; "
            "train one first"
        )
    answers = _infer_all(server, models, patients, steps)
    rows = [(answer, _scored(answer)) for answer in answers]
    steps.console.print(*results_tables(rows, steps.console.width), models_table(info))
    for answer in answers:
        if answer.error:
            steps.console.print(f"[red]{answer.model} on {answer.view.patient.name}:[/red] {escape(answer.error)}")
    _tell_warnings(answers, steps.console)
    followed = _follow_all(server, models, answers, steps)
    _report_all(server, types, answers, followed, steps)
    _draw_all(rows, followed, options.folder / "pictures", steps)
    return answers


def _follow_all(server: Server, models: dict[str, str], answers: list[Answer], steps: Steps) -> list[FollowUp]:
    """Ask for the timelines of phantom patients with several visits; prints the truth beside what was measured."""
    patients = _visits(answers) if FOLLOWER in models else {}
    found = []
    with steps.step("Follow-up through the REST interface") as progress:
        for name, visits in progress.track(patients.items(), description="comparing visits"):
            found.append(follow_up(server, name, visits))
        if not patients:
            steps.console.print("      no patient with several visits and known lesions")
    for one in found:
        steps.console.print(followup_table(one))
        for text in (*in_words(one), *one.warnings):
            steps.console.print(f"      [yellow]note:[/yellow] {escape(text)}")
    return found


def _visits(answers: list[Answer]) -> dict[str, list[View]]:
    """By patient the visits of phantoms that have several."""
    return patients_with_visits({answer.view.patient.image_id: answer.view for answer in answers}.values())


def _report_all(
    server: Server, types: dict[str, str], answers: list[Answer], followed: list[FollowUp], steps: Steps
) -> None:
    """Let the report model draft the last visit of each followed patient; prints each fact beside the truth."""
    days, views = {one.patient: one.days for one in followed}, _visits(answers)
    with steps.step("Draft reports through the REST interface") as progress:
        found = []
        if REPORTER in types:
            for name in progress.track(days, description="drafting"):
                found.append(report_last_visit(server, name, views[name], days[name]))
    if not found:
        steps.console.print("      no report model is served, or no patient with several visits and known lesions")
    for one in found:
        steps.console.print(report_table(one))


def _tell_warnings(answers: list[Answer], console: Console) -> None:
    """What the server had to say about an image, each thing once."""
    notes = [(a.view.patient.name, note) for a in answers for note in a.params.get("warnings", [])]
    for text in dict.fromkeys(f"{name}: {note}" for name, note in notes):
        console.print(f"      [yellow]note:[/yellow] {escape(text)}")


def _config(model: str) -> ModelConfig:
    config: ModelConfig = lib_module("configs").load_config(CONFIGS_DIR / f"{model}.yaml")
    return config


def _infer_all(server: Server, models: dict[str, str], patients: list[Patient], steps: Steps) -> list[Answer]:
    """Every model on every patient that can be read and that it was made for.

    Raises:
        InputError: If none can be read.
    """
    answers = []
    with steps.step(f"Running {len(models)} models on {len(patients)} images through the REST interface") as progress:
        configs = {model: _config(model) for model in models}
        views = _views(patients, list(configs.values()), steps.console)
        pairs = [(model, view) for model in models for view in views if view.suits(configs[model])]
        task = progress.add_task("", total=len(pairs))
        for model, view in pairs:
            progress.update(task, description=escape(f"{model} on {view.patient.name}"))
            answers.append(infer(server, model, models[model], view))
            progress.advance(task)
    return answers


def _views(patients: list[Patient], configs: list[ModelConfig], console: Console) -> list[View]:
    """Each image as a stack, or else as what another model reads; one that reads several images does not count."""
    input_error = lib_module("types").InputError
    by_kind = {config.input.kind: config for config in configs if len(config.input.required) < 2}
    stack_first = sorted(by_kind.values(), key=lambda config: config.input.kind != "stack")
    views, problems = [], []
    for patient in patients:
        errors = []
        for config in stack_first:
            try:
                views.append(load_view(patient, config))
                break
            except input_error as error:
                errors.append(str(error))
        else:
            problems += errors[:1]
            console.print(f"      [yellow]left out:[/yellow] {escape(errors[0])}")
    if not views:
        raise input_error(f"none of the chosen images can be read: {'; '.join(problems)}")
    return views


def _scored(answer: Answer) -> Score:
    return Score(0) if answer.error else score(answer, _config(answer.model).inference.min_volume_ml)


def _draw_all(rows: list[tuple[Answer, Score]], followed: list[FollowUp], folder: Path, steps: Steps) -> None:
    with steps.step(f"Pictures in {escape(str(folder))}") as progress:
        from .followup_pictures import draw_followup
        from .pictures import draw

        for one in followed:
            draw_followup(one, folder / f"{_file_name(one.patient)}-followup.png")

        for answer, found in progress.track(rows, description="drawing"):
            if not answer.error:
                draw(answer, found, folder / f"{_file_name(answer.view.patient.name)}-{answer.model}.png")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.[]() " else "_" for c in name)


def _tell_addresses(console: Console, server: Server, options: Options) -> None:
    url = server.url
    studies = options.studies or options.folder / "studies"
    files = any(is_volume(path) for path in studies.iterdir())
    console.print(f"[bold]\\[{STEPS}/{STEPS}][/bold] Where to look")
    lines: list[tuple[str, Any]] = [
        ("Start page", f"{url}/"),
        ("REST interface", f"{url}/docs"),
        ("OHIF", f"{url}/ohif/"),
        ("", OHIF_FILES if files else OHIF_STEPS),
        ("3D Slicer", f"module MONAI Label, server address {url}; then Next Sample, then Run"),
        ("DICOMweb", f"{url}/dicom-web/" if not files else "only for folders of DICOM files"),
        ("Studies", f"{studies}  (what you submit is kept there)"),
    ]
    for name, text in lines:
        console.print(f"      {name:<15} {escape(text)}", soft_wrap=True)


def _serve_on(console: Console, server: Server) -> None:
    console.print("[bold]Serving until Ctrl-C[/bold]")
    try:
        code = server.process.wait()
    except KeyboardInterrupt:
        console.print("\nEnding the server ...")
        return
    raise lib_module("types").InputError(f"the server ended by itself with exit code {code}; see {server.log}")
