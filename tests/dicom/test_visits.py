# SPDX-License-Identifier: Apache-2.0
import dataclasses
import datetime

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lib.dicom.series import read_series
from lib.dicom.types import DicomSeries, SeriesFacts
from lib.dicom.visits import comparable, on_reference_grid, order_visits, read_visits, visit_chains
from lib.phantom import PhantomStack, head_visits, write_dicom
from lib.types import InputError, Sequence, SequenceKind, VolumeSeries

DAYS = (0, 90, 400)


@pytest.fixture(scope="module")
def phantoms() -> list[PhantomStack]:
    return head_visits(
        5, DAYS, (1.0, 1.6, 2.4), n_frames=24, size=112, spacing_mm=(2.0, 2.0, 5.0), n_lesions=2, new_lesion=False
    )


@pytest.fixture(scope="module")
def series(phantoms: list[PhantomStack], tmp_path_factory: pytest.TempPathFactory) -> list[DicomSeries]:
    """The visits, written to and read from DICOM, the second moved by a known motion; the last comes first."""
    folder = tmp_path_factory.mktemp("visits")
    read = [read_series(write_dicom(p, folder / str(p.day), patient_id="P1")) for p in phantoms]
    second = read[1].image
    assert isinstance(second, Sequence)
    read[1] = dataclasses.replace(
        read[1], image=dataclasses.replace(second, affine_lps=motion() @ second.affine_lps, origins_lps_mm=None)
    )
    return [read[2], read[0], read[1]]


def motion() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians((6, -4, 8))).as_matrix()
    matrix[:3, 3] = 12, -7, 20
    return matrix


def facts(**values: str) -> SeriesFacts:
    return SeriesFacts(**{"patient_id": "P1", "modality": "MR", "study_date": "20240101", **values})


def with_facts(one: DicomSeries, **values: str) -> DicomSeries:
    return dataclasses.replace(one, facts=dataclasses.replace(one.facts, **values))


def test_visits_come_in_order_of_time_with_their_days(series: list[DicomSeries]) -> None:
    visits = read_visits(series, registered=False)
    assert visits.kind is SequenceKind.LONGITUDINAL
    assert visits.positions == DAYS
    assert visits.position_unit == "days"
    assert visits.to_reference == ()
    assert [visit.series.facts.study_date for visit in order_visits(series)] == ["20240115", "20240414", "20250218"]


@pytest.mark.slow
def test_lesions_can_be_followed_after_registration(phantoms: list[PhantomStack], series: list[DicomSeries]) -> None:
    seen: list[float] = []
    visits = read_visits(series, progress=seen.append)
    assert np.array_equal(visits.to_reference[0], np.eye(4))
    for lesion in phantoms[1].lesions:  # where the second visit shows it, and where the reference has that place
        moved = motion() @ np.append(lesion.center_lps_mm, 1.0)
        back = visits.to_reference[1] @ moved
        assert np.linalg.norm(back[:3] - lesion.center_lps_mm) < 1.0
    assert seen[-1] == 1
    assert seen == sorted(seen)
    gridded = on_reference_grid(visits)
    assert {volume.frames.shape for volume in gridded.volumes} == {(24, 1, 112, 112)}
    over_time = gridded.at_slice(12)
    assert over_time.frames.shape == (3, 1, 112, 112)
    first, second = gridded.volumes[0].frames, gridded.volumes[1].frames
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97
    with pytest.raises(InputError, match="not been registered"):
        on_reference_grid(dataclasses.replace(visits, to_reference=()))


@pytest.mark.slow
def test_another_visit_can_be_the_reference(series: list[DicomSeries]) -> None:
    visits = read_visits(series, reference=-1)
    assert visits.reference == 2
    assert np.array_equal(visits.to_reference[2], np.eye(4))
    point = np.array([20.0, 30.0, 10.0, 1.0])
    assert np.linalg.norm((visits.to_reference[1] @ motion() @ point - point)[:3]) < 1.0
    for wrong in (3, -4):
        with pytest.raises(InputError, match=f"reference {wrong}: there are 3 visits"):
            read_visits(series, reference=wrong)


def test_visits_of_two_patients_are_refused(series: list[DicomSeries]) -> None:
    with pytest.raises(InputError, match=r"2 patients \(P1, P2\)"):
        read_visits([series[0], with_facts(series[1], patient_id="P2")])
    with pytest.raises(InputError, match="no patient id"):
        read_visits([series[0], with_facts(series[1], patient_id="")])
    with pytest.raises(InputError, match=r"2 modalities \(CT, MR\)"):
        read_visits([series[0], with_facts(series[1], modality="CT")])
    with pytest.raises(InputError, match=r"AX T1 POST\) do not show the same"):
        read_visits([series[0], with_facts(series[1], series_description="AX T1 POST")])
    with pytest.raises(InputError, match="at least two"):
        read_visits(series[:1])


@pytest.mark.parametrize(
    ("date", "reason"), [("", "no study date"), ("20240230", "no day"), ("yesterday", "no day"), ("2024", "no day")]
)
def test_a_date_that_is_missing_or_impossible(series: list[DicomSeries], date: str, reason: str) -> None:
    wrong = with_facts(series[1], study_date=date)
    with pytest.raises(InputError, match=rf"{wrong.facts.series_instance_uid}.*{reason}"):
        order_visits([series[0], wrong])


def test_time_of_day_counts_where_all_say_it(series: list[DicomSeries]) -> None:
    times = ("080000", "200000.5")
    morning, evening = (with_facts(series[0], study_date="20240115", study_time=time) for time in times)
    assert [visit.days for visit in order_visits([evening, morning])] == [0, 0.5]
    old = with_facts(series[0], study_date="2024.01.20", study_time="")
    assert [visit.days for visit in order_visits([old, evening])] == [0, 5]
    for time in ("", "995959", "noon", "080000"):
        with pytest.raises(InputError, match="at the same time"):
            order_visits([morning, with_facts(series[0], study_date="20240115", study_time=time)])


def test_only_stacks_are_visits(series: list[DicomSeries]) -> None:
    image = series[0].image
    assert isinstance(image, Sequence)
    dynamic = VolumeSeries(SequenceKind.DYNAMIC, (image, image), (0.0, 1.0))
    cine = dataclasses.replace(image, kind=SequenceKind.CINE)
    for other in (dynamic, cine):
        with pytest.raises(InputError, match=f"is {other.kind.value}, not a stack"):
            read_visits([dataclasses.replace(series[0], image=other), series[1]], registered=False)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("AX FLAIR", "t2_flair_tra", True),
        ("T1 MPRAGE", "Sag T1w 3D", True),
        ("T1 MPRAGE", "T1 MPRAGE post", False),
        ("AX T1+C", "AX T1", False),
        ("AX T2", "AX FLAIR", False),
        ("", "AX FLAIR", True),
        ("Chest 5mm", "Thorax B30f", True),
    ],
)
def test_what_can_be_compared(one: str, other: str, expected: bool) -> None:
    assert comparable(facts(series_description=one), facts(series_description=other)) is expected


def study(date: datetime.date, *descriptions: str, patient: str = "P1", numbers: str = "") -> list[SeriesFacts]:
    day = date.strftime("%Y%m%d")
    return [
        facts(
            patient_id=patient,
            study_date=day,
            study_instance_uid=f"1.{day}",
            series_instance_uid=f"1.{day}.{k}",
            series_description=description,
            series_number=numbers[k] if numbers else str(k),
        )
        for k, description in enumerate(descriptions)
    ]


def test_chains_find_the_same_sequence_at_each_visit() -> None:
    first = study(datetime.date(2023, 1, 5), "Localizer", "Ax FLAIR", "Ax T1", "Ax T1 post", "Ax T2", "ADC")
    second = study(datetime.date(2023, 7, 5), "t1_tra_km", "t1_tra", "flair_tra", "localizer")
    third = study(datetime.date(2024, 1, 2), "AX FLAIR", "AX T2", "SWI")
    other = study(datetime.date(2023, 3, 1), "Ax FLAIR", patient="P2")
    undated = [facts(study_date="", series_description="Ax FLAIR"), facts(patient_id="", series_description="Ax T2")]
    chains = visit_chains([*third, *other, *second, *undated, *first])
    found = sorted([f"{one.study_date[:6]} {one.series_description}" for one in chain] for chain in chains)
    assert found == [
        ["202301 Ax FLAIR", "202307 flair_tra", "202401 AX FLAIR"],
        ["202301 Ax T1", "202307 t1_tra"],
        ["202301 Ax T1 post", "202307 t1_tra_km"],
        ["202301 Ax T2", "202401 AX T2"],
    ]


def test_series_number_decides_between_equal_descriptions() -> None:
    first = study(datetime.date(2023, 1, 5), "Chest", "Chest", numbers="23")
    second = study(datetime.date(2023, 2, 5), "Chest", "Chest", numbers="32")
    chains = visit_chains([*first, *second])
    assert [[one.series_number for one in chain] for chain in chains] == [["2", "2"], ["3", "3"]]


def test_series_without_description_go_on_only_where_nothing_fits_better() -> None:
    first = study(datetime.date(2023, 1, 5), "", "AX FLAIR")
    second = study(datetime.date(2023, 2, 5), "AX FLAIR", "")
    assert [[one.series_description for one in chain] for chain in visit_chains([*first, *second])] == [
        ["", ""],
        ["AX FLAIR", "AX FLAIR"],
    ]
    assert visit_chains([]) == []
    assert visit_chains(study(datetime.date(2023, 1, 5), "AX FLAIR", "AX FLAIR")) == []


def test_another_study_of_the_same_day_is_no_visit_of_its_own_patient_twice() -> None:
    """Two series of one study are not matched with each other."""
    same = study(datetime.date(2023, 1, 5), "AX FLAIR", "AX FLAIR repeat")
    later = study(datetime.date(2023, 5, 5), "AX FLAIR")
    chains = visit_chains([*same, *later])
    assert [[one.series_instance_uid for one in chain] for chain in chains] == [["1.20230105.0", "1.20230505.0"]]
