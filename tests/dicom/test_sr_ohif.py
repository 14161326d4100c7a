# SPDX-License-Identifier: Apache-2.0
"""What clinicians draw in OHIF, and other systems, comes back as findings; what is no box is named.

The documents are built field for field as @cornerstonejs/adapters and dcmjs of OHIF 3.10 write them.
"""

import datetime
import json
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedSRStorage, ExplicitVRLittleEndian, generate_uid

from lib.dicom.sr import read_boxes
from lib.dicom.types import DicomSeries, SeriesFacts
from lib.dicom.write import Subject, write_mr_series
from lib.types import Finding, InputError, Measurement, Sequence, SequenceKind, Source

N_FRAMES, HEIGHT, WIDTH = 6, 64, 80
SPACING_MM = (0.5, 0.6, 3.0)
ORIGIN_MM = (-10.0, -20.0, 30.0)
RECTANGLE = "Cornerstone3DTools@^0.1.0:RectangleROI"


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> DicomSeries:
    volume = np.zeros((N_FRAMES, HEIGHT, WIDTH), np.uint16)
    subject, folder = Subject("P1", datetime.date(2026, 1, 2)), tmp_path_factory.mktemp("mr")
    paths = write_mr_series(volume, folder, subject, spacing_mm=SPACING_MM, origin_lps_mm=ORIGIN_MM)
    headers = [pydicom.dcmread(path) for path in paths]
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = ORIGIN_MM
    image = Sequence(
        frames=volume[:, None].astype(np.float32),
        kind=SequenceKind.STACK,
        positions=tuple(3.0 * i for i in range(N_FRAMES)),
        spacing_mm=SPACING_MM[:2],
        affine_lps=affine,
        sop_instance_uids=tuple(h.SOPInstanceUID for h in headers),
        frame_numbers=(1,) * N_FRAMES,
    )
    facts = SeriesFacts(series_instance_uid=headers[0].SeriesInstanceUID, sop_class_uid=headers[0].SOPClassUID)
    return DicomSeries(image, facts, {h.SOPInstanceUID: p for h, p in zip(headers, paths, strict=True)})


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CORNERSTONEFREETEXT is longer than an SH
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def item(relationship: str, value_type: str, name: tuple[str, str, str] | None = None, **values: object) -> Dataset:
    dataset = Dataset()
    dataset.RelationshipType, dataset.ValueType = relationship, value_type
    if name:
        dataset.ConceptNameCodeSequence = [code(*name)]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def ohif_number(name, graphic_type, points, image, value=None, unit=("mm2", "UCUM", "SquareMilliMeter")) -> Dataset:
    """A NUM of dcmjs' TID300 classes with its SCOORD; an absent value leaves only the unit."""
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image[:2]
    if len(image) > 2:
        reference.ReferencedFrameNumber = image[2]
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = [code(*unit)]
    if value is not None:
        measured.NumericValue = value
    scoord = item("INFERRED FROM", "SCOORD", GraphicType=graphic_type, GraphicData=[v for p in points for v in p])
    scoord.ContentSequence = [item("SELECTED FROM", "IMAGE", ReferencedSOPSequence=[reference])]
    return item("CONTAINS", "NUM", name, MeasuredValueSequence=[measured], ContentSequence=[scoord])


def ohif_group(tool: str, label: str | None, numbers: list[Dataset], lesion: int | None = None) -> Dataset:
    """TID300Measurement.getMeasurement of dcmjs: tracking, finding sites, numbers."""
    site = ("363698007", "SCT", "Finding Site")
    content = [
        item("HAS OBS CONTEXT", "TEXT", ("112039", "DCM", "Tracking Identifier"), TextValue=tool),
        item("HAS OBS CONTEXT", "UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), UID=generate_uid()),
    ]
    if label is not None:
        free = code("CORNERSTONEFREETEXT", "CORNERSTONEJS", label)
        content.append(item("CONTAINS", "CODE", site, ConceptCodeSequence=[free]))
    if lesion is not None:
        ours = code(f"F{lesion}", "99LESIONLOOP", f"Finding {lesion}: lesion")
        content.append(item("CONTAINS", "CODE", site, ConceptCodeSequence=[ours]))
    return item(
        "CONTAINS",
        "CONTAINER",
        ("125007", "DCM", "Measurement Group"),
        ContinuityOfContent="SEPARATE",
        ContentSequence=content + numbers,
    )


def ohif_rectangle(box, image, label="lesion", lesion=None) -> Dataset:
    x0, y0, x1, y1 = box
    points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    perimeter = ohif_number(
        ("131191004", "SCT", "Perimeter"), "POLYLINE", points, image, unit=("mm", "UCUM", "millimeter")
    )
    area = ohif_number(("G-A166", "SRT", "Area"), "POLYLINE", points, image)
    return ohif_group(RECTANGLE, label, [perimeter, area], lesion)


def ohif_report(groups: list[Dataset], person: str = "unknown^unknown") -> Dataset:
    """TID1500MeasurementReport of dcmjs: an Enhanced SR, although its adapters call it comprehensive."""
    unknown = item("CONTAINS", "CONTAINER", ("111028", "DCM", "Image Library"), ContinuityOfContent="SEPARATE")
    language = item("HAS CONCEPT MOD", "CODE", ("121049", "DCM", "Language of Content Item and Descendants"))
    language.ConceptCodeSequence = [code("eng", "RFC5646", "English")]
    observer = item("HAS OBS CONTEXT", "PNAME", ("121008", "DCM", "Person Observer Name"), PersonName=person)
    procedure = item("HAS CONCEPT MOD", "CODE", ("121058", "DCM", "Procedure reported"))
    procedure.ConceptCodeSequence = [code("1", "99dcmjs", "Unknown procedure")]
    measurements = item("CONTAINS", "CONTAINER", ("126010", "DCM", "Imaging Measurements"), ContentSequence=groups)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedSRStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.ValueType, dataset.ContinuityOfContent = "SR", "CONTAINER", "SEPARATE"
    dataset.ContentDate, dataset.ContentTime = "20260102", "030405.006000"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    dataset.ContentTemplateSequence = [template]
    dataset.ContentSequence = [language, observer, procedure, unknown, measurements]
    return dataset


def on_disk(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.save_as(path, write_like_original=False)
    return path


@pytest.fixture(scope="module")
def image(series):
    """Reference to a frame as OHIF writes it for single-frame images."""
    return lambda frame: (series.facts.sop_class_uid, series.image.sop_instance_uids[frame])


def test_a_box_from_ohif(series, image, tmp_path):
    box = (10.125, 11.5, 20.75, 22.0)
    path = on_disk(ohif_report([ohif_rectangle(box, image(2), "nodule")], "Doe^Jane"), tmp_path / "ohif.dcm")
    result = read_boxes(path, series)
    (finding,) = result.findings
    assert finding.boxes == {2: box}
    assert (finding.id, finding.label, finding.score) == (1, "nodule", 1.0)
    assert finding.source == result.source == Source(author="Jane Doe")
    assert finding.measurements == {}  # the numbers are empty
    assert result.created == "2026-01-02T03:04:05.006000"
    assert result.problems == ()
    # outer edges in mm: x = -10 + (x - 0.5) * 0.5, slice 2 from 34.5 to 37.5
    assert finding.box_lps_mm == pytest.approx((-5.1875, -13.4, 34.5, 0.125, -7.1, 37.5))
    assert finding.center_lps_mm == pytest.approx((-2.53125, -10.25, 36.0))
    assert finding.to_json() == Finding.from_json(json.loads(json.dumps(finding.to_json()))).to_json()


def test_boxes_that_kept_their_lesion_stay_together(series, image):
    groups = [
        ohif_rectangle((10, 10, 20, 20), image(1), "lesion", lesion=4),
        ohif_rectangle((60, 40, 70, 50), image(3), "lesion", lesion=4),  # dragged away, frame 2 deleted
        ohif_rectangle((10, 10, 20, 20), image(2), "lesion"),  # a new one beside it
        ohif_rectangle((30, 30, 40, 40), image(0), "vessel", lesion=2),
    ]
    result = read_boxes(ohif_report(groups), series)
    assert [(f.id, f.label, sorted(f.boxes)) for f in result.findings] == [
        (4, "lesion", [1, 3]),
        (2, "vessel", [0]),
        (5, "lesion", [2]),
    ]
    assert {f.source.author for f in result.findings} == {"unknown"}


def test_boxes_of_one_label_on_neighbouring_frames_are_one_lesion(series, image):
    groups = [ohif_rectangle((10 + t, 10, 20 + t, 20), image(t), "lesion") for t in range(4)]
    groups.append(ohif_rectangle((10, 10, 20, 20), image(1), "nodule"))
    groups.append(ohif_rectangle((50, 40, 60, 50), image(1), "lesion"))
    result = read_boxes(ohif_report(groups), series)
    assert [(f.id, f.label, sorted(f.boxes)) for f in result.findings] == [
        (1, "lesion", [0, 1, 2, 3]),
        (2, "lesion", [1]),
        (3, "nodule", [1]),
    ]


def test_two_boxes_of_a_lesion_on_one_frame_are_two_lesions(series, image):
    groups = [ohif_rectangle((x, 10, x + 5, 20), image(1), "lesion", lesion=1) for x in (10, 40)]
    findings = read_boxes(ohif_report(groups), series).findings
    assert [f.boxes for f in findings] == [{1: (10.0, 10.0, 15.0, 20.0)}, {1: (40.0, 10.0, 45.0, 20.0)}]


def test_labels_that_disagree_are_reported(series, image):
    groups = [ohif_rectangle((10, 10, 20, 20), image(t), name, lesion=1) for t, name in enumerate("aab")]
    result = read_boxes(ohif_report(groups), series)
    assert [f.label for f in result.findings] == ["a"]
    assert "['a', 'b']" in result.problems[0]


def test_other_drawings_become_boxes_or_are_named(series, image):
    tool = "Cornerstone3DTools@^0.1.0:"
    length = ("G-D7FE", "SRT", "Length")
    mm = ("mm", "UCUM", "millimeter")
    axes = [
        ohif_number(("G-A185", "SRT", "Long Axis"), "POLYLINE", [(10, 50), (30, 50)], image(3), 10.25, mm),
        ohif_number(("G-A186", "SRT", "Short Axis"), "POLYLINE", [(20, 45), (20, 55)], image(3), 6.5, mm),
    ]
    ellipse = ohif_number(
        ("G-D7FE", "SRT", "AREA"), "ELLIPSE", [(50, 20), (50, 40), (44, 30), (56, 30)], image(4), 12.0
    )
    circle = ohif_number(("G-A166", "SRT", "Area"), "CIRCLE", [(30, 30), (33, 34)], image(4))
    groups = [
        ohif_group(tool + "EllipticalROI", "ell", [ellipse]),
        ohif_group(tool + "CircleROI", "circle", [circle]),
        ohif_group(tool + "Bidirectional", "axes", axes),
        ohif_group(tool + "Length", "line", [ohif_number(length, "POLYLINE", [(1, 2), (11, 22)], image(0), 3)]),
        ohif_group(tool + "Probe", "point", [ohif_number(length, "POINT", [(1, 2)], image(0))]),
        ohif_group(tool + "ArrowAnnotate", "no region", []),
    ]
    result = read_boxes(ohif_report(groups), series)
    boxes = {f.label: f.boxes for f in result.findings}
    assert boxes == {"ell": {4: (44, 20, 56, 40)}, "circle": {4: (25, 25, 35, 35)}, "axes": {3: (10, 45, 30, 55)}}
    measured = {f.label: f.measurements for f in result.findings}
    assert measured["axes"] == {"long_axis": Measurement(10.25, "mm"), "short_axis": Measurement(6.5, "mm")}
    assert measured["ell"] == {}
    said = " | ".join(result.problems)
    for word in (
        "EllipticalROI",
        "CircleROI",
        "Bidirectional",
        "Length is no box",
        "Probe is no box",
        "marks no region",
    ):
        assert word in said


def test_an_oblique_ellipse_is_enclosed(series, image):
    # half axes 10 and 5 at 45 degrees: half width = sqrt((100 + 25) / 2)
    a, b = 10 / np.sqrt(2), 5 / np.sqrt(2)
    points = [(40 - a, 30 - a), (40 + a, 30 + a), (40 - b, 30 + b), (40 + b, 30 - b)]
    group = ohif_group("x:EllipticalROI", "e", [ohif_number(("G-A166", "SRT", "Area"), "ELLIPSE", points, image(0))])
    (finding,) = read_boxes(ohif_report([group]), series).findings
    half = np.sqrt(62.5)
    assert finding.boxes[0] == pytest.approx((40 - half, 30 - half, 40 + half, 30 + half), abs=1e-3)


def test_boxes_beyond_the_image_are_cut(series, image):
    result = read_boxes(ohif_report([ohif_rectangle((-5, 60, 10, 70), image(0))]), series)
    assert result.findings[0].boxes == {0: (0.0, 60.0, 10.0, float(HEIGHT))}
    assert "cut at its edge" in result.problems[0]
    outside = read_boxes(ohif_report([ohif_rectangle((-5, -5, -1, -1), image(0))]), series)
    assert outside.findings == ()
    assert "no area within the image" in outside.problems[0]


def test_regions_of_tid_1410_and_coded_findings_are_read(series, image):
    """highdicom's own layout: the SCOORD at the top of the group, the finding a real code."""
    group = ohif_rectangle((10, 10, 20, 20), image(1), label=None)
    region = group.ContentSequence[-1].ContentSequence[0]
    region.RelationshipType = "CONTAINS"
    nodule = item(
        "CONTAINS", "CODE", ("121071", "DCM", "Finding"), ConceptCodeSequence=[code("27925004", "SCT", "Nodule")]
    )
    group.ContentSequence = [*group.ContentSequence[:2], nodule, region]
    (finding,) = read_boxes(ohif_report([group]), series).findings
    assert (finding.label, finding.boxes) == ("Nodule", {1: (10.0, 10.0, 20.0, 20.0)})


def test_images_that_are_gone(series, image, tmp_path):
    gone = (series.facts.sop_class_uid, generate_uid())
    some = read_boxes(ohif_report([ohif_rectangle((1, 1, 5, 5), gone), ohif_rectangle((1, 1, 5, 5), image(0))]), series)
    assert len(some.findings) == 1
    assert "1 of 2 boxes refer to images that are not in the series" in some.problems[0]
    path = on_disk(ohif_report([ohif_rectangle((1, 1, 5, 5), gone)] * 3), tmp_path / "gone.dcm")
    with pytest.raises(InputError, match=r"gone\.dcm: all 3 boxes refer to images that are not in series"):
        read_boxes(path, series)


def test_damaged_groups_are_left_out_with_a_word(series, image):
    short = ohif_rectangle((1, 1, 5, 5), image(0))
    for number in short.ContentSequence[-2:]:
        number.ContentSequence[0].GraphicData = [1.0, 2.0, 3.0]
    bare = item("CONTAINS", "CONTAINER", ("125007", "DCM", "Measurement Group"))
    nan = ohif_rectangle((1, 1, 5, float("nan")), image(0))
    good = ohif_rectangle((1, 1, 5, 5), image(0), label=None)
    result = read_boxes(ohif_report([short, bare, nan, good]), series)
    assert [f.label for f in result.findings] == [""]
    said = " | ".join(result.problems)
    for word in ("cannot be read (ValueError)", "marks no region", "not numbers", "no label was given"):
        assert word in said
