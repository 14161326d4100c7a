# SPDX-License-Identifier: Apache-2.0
"""The visits of one patient: which series belong together, in which order, and registered to one of them."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable, Iterable
from collections.abc import Sequence as OrderedItems
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..transforms.registration import Registration, register, resample_to
from ..types import FloatArray, InputError, Sequence, SequenceKind, VolumeSeries
from .types import DicomSeries, SeriesFacts

ALIASES = {
    "ax": "axial",
    "tra": "axial",
    "trans": "axial",
    "transversal": "axial",
    "transverse": "axial",
    "cor": "coronal",
    "sag": "sagittal",
    "t1w": "t1",
    "mprage": "t1",
    "t2w": "t2",
    "diff": "dwi",
    "diffusion": "dwi",
    "gd": "contrast",
    "gad": "contrast",
    "gado": "contrast",
    "km": "contrast",
    "ce": "contrast",
    "post": "contrast",
    "postcontrast": "contrast",
}
WEIGHTINGS = {"t1", "t2", "pd", "flair", "stir", "dwi", "adc", "swi", "dti", "asl", "contrast"}
"""Words that say what a series shows; two visits are compared only where these are the same."""
SCOUTS = {"localizer", "localiser", "scout", "survey", "topogram", "loc"}
MIN_SIMILARITY = 0.3
SAME_NUMBER, SAME_MAKER = 0.1, 0.05


@dataclass(frozen=True)
class Visit:
    """A series of one patient and when it was taken.

    Attributes:
        series: As read.
        days: Since the first visit; whole days where a study does not say its time.
    """

    series: DicomSeries
    days: float


def order_visits(series: Iterable[DicomSeries]) -> list[Visit]:
    """Sort the visits of one patient by the date and time of their studies.

    Raises:
        InputError: If there are fewer than two, they are of several patients, of several modalities, show different
            things by their descriptions, or do not say when they were taken. The message names them.
    """
    given = list(series)
    if len(given) < 2:
        raise InputError(f"{len(given)} series: comparing visits needs a series from at least two")
    _check_same("patients", "patient id", [one.facts for one in given], lambda facts: facts.patient_id)
    _check_same("modalities", "modality", [one.facts for one in given], lambda facts: facts.modality)
    for one in given[1:]:
        if not comparable(given[0].facts, one.facts):
            raise InputError(
                f"{_name(given[0].facts)} and {_name(one.facts)} do not show the same by their descriptions; "
                "give the same sequence of each visit"
            )
    dates = [study_date(one.facts) for one in given]
    times = [_seconds(one.facts) for one in given]
    known = [0.0 if None in times else float(seconds or 0.0) for seconds in times]
    moments = [date.toordinal() + seconds / 86400 for date, seconds in zip(dates, known, strict=True)]
    order = sorted(range(len(given)), key=moments.__getitem__)
    for earlier, later in itertools.pairwise(order):
        if moments[earlier] == moments[later]:
            raise InputError(
                f"{_name(given[earlier].facts)} and {_name(given[later].facts)} were taken at the same time; "
                "give one series of each visit"
            )
    return [Visit(given[k], round(moments[k] - moments[order[0]], 4)) for k in order]


def read_visits(
    series: Iterable[DicomSeries],
    *,
    reference: int = 0,
    registered: bool = True,
    progress: Callable[[float], None] | None = None,
) -> VolumeSeries:
    """Put the visits of a patient together.

    Args:
        series: One of each visit, in any order.
        reference: Visit that the others are registered to, counted in order of time; negative from the end.
        registered: Find where the others lie on the reference; False leaves that open.
        progress: Called with the part that is done, 0 to 1.

    Returns:
        The stacks as they were taken, days from the first visit, and ``to_reference``.

    Raises:
        InputError: As :func:`order_visits`, or if a series is not a stack or there is no such reference.
    """
    visits = order_visits(series)
    if not -len(visits) <= reference < len(visits):
        raise InputError(f"reference {reference}: there are {len(visits)} visits, counted from 0")
    reference %= len(visits)
    stacks = [_stack(visit.series) for visit in visits]
    found = register_visits(stacks, reference, progress=progress) if registered else []
    return VolumeSeries(
        kind=SequenceKind.LONGITUDINAL,
        volumes=tuple(stacks),
        positions=tuple(visit.days for visit in visits),
        to_reference=tuple(one.to_fixed for one in found),
        reference=reference,
    )


def register_visits(
    stacks: OrderedItems[Sequence], reference: int, *, progress: Callable[[float], None] | None = None
) -> list[Registration]:
    """Register each stack to the one at ``reference``, which stays where it is."""
    report = progress or (lambda _: None)
    found = []
    for number, stack in enumerate(stacks):
        report(number / len(stacks))
        if number == reference:
            found.append(Registration(np.eye(4), "reference", 0.0, 0.0, 0.0))
        else:
            found.append(register(stacks[reference], stack))
    report(1.0)
    return found


def on_reference_grid(series: VolumeSeries) -> VolumeSeries:
    """Resample every visit onto the grid of the reference, so that a pixel is the same place at each.

    The frames are then no longer those of DICOM instances; the original keeps these and the transforms.

    Raises:
        InputError: If the visits have not been registered.
    """
    if not series.to_reference:
        raise InputError("the visits have not been registered: read them with registered=True")
    target = series.volumes[series.reference]
    volumes = tuple(_resampled(target, *pair) for pair in zip(series.volumes, series.to_reference, strict=True))
    return replace(series, volumes=volumes, to_reference=(np.eye(4),) * len(volumes))


def visit_chains(facts: Iterable[SeriesFacts]) -> list[list[SeriesFacts]]:
    """Find which series of a patient's visits belong together, from what the files say of themselves.

    The series of each study are matched with those of the studies before, one to one, by the words of their
    descriptions; series number and manufacturer decide between equals. Scouts and series without patient or date are
    left out.

    Returns:
        Series in order of time, at least two of each; by patient and first date.
    """
    chains: list[list[SeriesFacts]] = []
    for group in _groups(facts):
        open_chains: list[list[SeriesFacts]] = []
        for study in group:
            _extend(open_chains, study)
        chains += [chain for chain in open_chains if len(chain) > 1]
    return chains


def days_between(first: SeriesFacts, second: SeriesFacts) -> float:
    """Days from one study to another, negative backwards; whole days where one of them does not say its time.

    Raises:
        InputError: If one of them does not say its date.
    """
    days = float((study_date(second) - study_date(first)).days)
    started, ended = _seconds(first), _seconds(second)
    return days if started is None or ended is None else round(days + (ended - started) / 86400, 4)


def comparable(one: SeriesFacts, other: SeriesFacts) -> bool:
    """Whether two series can show the same at two visits: modality and weighting do not differ."""
    shown = [_words(facts.series_description) & WEIGHTINGS for facts in (one, other)]
    return one.modality == other.modality and (shown[0] == shown[1] or not all(_described(f) for f in (one, other)))


def _described(facts: SeriesFacts) -> bool:
    return bool(_words(facts.series_description))


def _groups(facts: Iterable[SeriesFacts]) -> list[list[list[SeriesFacts]]]:
    """By patient and modality: the studies in order of time, each with its series."""
    groups: dict[tuple[str, str], dict[tuple[float, str], list[SeriesFacts]]] = {}
    for one in facts:
        try:
            moment = study_date(one).toordinal() + (_seconds(one) or 0.0) / 86400
        except InputError:
            continue
        if one.patient_id and not _words(one.series_description) & SCOUTS:
            studies = groups.setdefault((one.patient_id, one.modality), {})
            studies.setdefault((moment, one.study_instance_uid), []).append(one)
    return [[studies[key] for key in sorted(studies)] for _, studies in sorted(groups.items())]


def _extend(chains: list[list[SeriesFacts]], study: list[SeriesFacts]) -> None:
    """Append each series of a study to the chain that it goes on, or begin one with it."""
    alike = np.array([[_similarity(chain[-1], one) for one in study] for chain in chains]).reshape(-1, len(study))
    taken = {}
    for row, column in zip(*linear_sum_assignment(-np.where(alike < MIN_SIMILARITY, 0, alike)), strict=True):
        if alike[row, column] >= MIN_SIMILARITY:
            taken[int(column)] = chains[row]
    for column, one in enumerate(study):
        if column in taken:
            taken[column].append(one)
        else:
            chains.append([one])


def _similarity(one: SeriesFacts, other: SeriesFacts) -> float:
    """0 where the two cannot be compared; else the share of words that both have, and a little for the rest."""
    if not comparable(one, other):
        return 0.0
    words = [_words(facts.series_description) for facts in (one, other)]
    shared = len(words[0] & words[1]) / len(words[0] | words[1]) if all(words) else MIN_SIMILARITY
    if all(words) and words[0] & WEIGHTINGS:
        shared = max(shared, MIN_SIMILARITY)
    number = SAME_NUMBER * (one.series_number != "" and one.series_number == other.series_number)
    return shared + number + SAME_MAKER * (one.manufacturer != "" and one.manufacturer == other.manufacturer)


def _words(description: str) -> set[str]:
    """Words of a series description with the usual short forms written out; a FLAIR is no T2."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", description.replace("+C", " contrast "))
    words = {ALIASES.get(word, word) for word in re.findall(r"[a-z0-9]+", split.lower())}
    return words - {"t2"} if "flair" in words else words


def _check_same(plural: str, what: str, facts: list[SeriesFacts], value: Callable[[SeriesFacts], str]) -> None:
    """Raise an InputError if the value is missing or not the same everywhere."""
    missing = [_name(one) for one in facts if not value(one)]
    if missing:
        raise InputError(f"{', '.join(missing)}: no {what}, so it is not known that the visits belong together")
    values = sorted({value(one) for one in facts})
    if len(values) > 1:
        raise InputError(f"the series are of {len(values)} {plural} ({', '.join(values)}); give those of one")


def _name(facts: SeriesFacts) -> str:
    described = f" ({facts.series_description})" if facts.series_description else ""
    return f"series {facts.series_instance_uid or 'without UID'}{described}"


def study_date(facts: SeriesFacts) -> datetime.date:
    """The study date (PS3.5 6.2: YYYYMMDD, in old files YYYY.MM.DD).

    Raises:
        InputError: If it is missing or no day of the calendar.
    """
    text = facts.study_date.replace(".", "")
    if not text:
        raise InputError(f"{_name(facts)}: no study date, so its place among the visits is not known")
    if re.fullmatch(r"\d{8}", text):
        try:
            return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError:
            pass
    raise InputError(f"{_name(facts)}: study date {facts.study_date!r} is no day of the calendar")


def _seconds(facts: SeriesFacts) -> float | None:
    """The study time in s of the day (PS3.5 6.2: HH, HHMM or HHMMSS.FFFFFF); None where it is missing or wrong."""
    match = re.fullmatch(r"(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?", facts.study_time.replace(":", ""))
    if not match:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600.0 + minutes * 60.0 + seconds + float(match[4] or 0)


def _stack(series: DicomSeries) -> Sequence:
    image = series.image
    if isinstance(image, Sequence) and image.kind is SequenceKind.STACK:
        return image
    raise InputError(f"{_name(series.facts)} is {image.kind.value}, not a stack: visits are compared stack by stack")


def _resampled(target: Sequence, stack: Sequence, to_target: FloatArray) -> Sequence:
    return replace(
        target,
        frames=resample_to(target, stack, to_target),
        channels=stack.channels,
        channel_present=stack.channel_present,
        sop_instance_uids=(),
        frame_numbers=(),
        content_px=None,
    )
