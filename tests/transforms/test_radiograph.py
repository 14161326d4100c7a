# SPDX-License-Identifier: Apache-2.0
"""A radiograph is the same to a report model whatever file it comes from, and however its grey values are stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from lib.configs import InputConfig
from lib.dicom.series import read_series
from lib.trainers.report_notes import load_image
from lib.transforms.load import load_study
from lib.transforms.radiograph import radiograph, radiograph_of
from lib.types import SequenceKind

SIZE = 48
READS = InputConfig(kind=SequenceKind.STACK, channels=("radiograph",), max_size_px=SIZE)
CENTER, WIDTH = 2000, 2400
"""Of the window through which the picture was taken from the 12 bits."""


def chest(height: int = 300, width: int = 260) -> np.ndarray:
    """Two dark lungs, a bright heart and spine, ribs, noise: 0..1, with nothing at its ends."""
    rows, columns = np.mgrid[:height, :width]
    y, x = rows / height, columns / width

    def blob(cy: float, cx: float, ry: float, rx: float) -> np.ndarray:
        return np.exp(-(((y - cy) / ry) ** 4) - (((x - cx) / rx) ** 4))

    image = 0.55 + 0.2 * blob(0.5, 0.5, 0.6, 0.06) + 0.3 * blob(0.62, 0.58, 0.16, 0.14)
    image -= 0.42 * blob(0.45, 0.26, 0.3, 0.14) + 0.36 * blob(0.45, 0.75, 0.3, 0.13)
    image += 0.03 * np.sin(40 * y + 6 * (x - 0.5) ** 2) + 0.15 * blob(0.3, 0.24, 0.05, 0.05)
    image += np.random.default_rng(0).normal(0, 0.01, image.shape)
    return image.clip(0.02, 0.98)


def twelve_bits() -> np.ndarray:
    """As a detector gives it: the window's values, and a little beyond both of its ends."""
    values = CENTER + (chest() - 0.5) * WIDTH * 1.05
    return values.round().clip(0, 4095).astype(np.uint16)


def picture() -> np.ndarray:
    """What a viewer shows of the 12 bits, 8 bit."""
    return ((twelve_bits() - (CENTER - WIDTH / 2)) / WIDTH * 255).clip(0, 255).astype(np.uint8)


def write_dx(path: Path, pixels: np.ndarray, **elements: Any) -> Path:
    """A Digital X-Ray image (PS3.3 A.26) of 12 of 16 bits."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        DigitalXRayImageStorageForPresentation,
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientID, image.Modality, image.InstanceNumber = path.stem, "DX", 1
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(image, name, value)
    image.PixelData = pixels.tobytes()
    image.is_little_endian, image.is_implicit_VR = True, False
    image.save_as(path, write_like_original=False)
    return path


def voi_lut(function: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """An item of a VOI LUT sequence (PS3.3 C.11.2.1.1) for 12 bits: brightness 0..1 of values 0..1."""
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = (function(np.arange(4096) / 4095) * 4095).astype(np.uint16).tolist()
    item["LUTData"].VR = "US"
    return item


def with_marker(pixels: np.ndarray, value: int, side: int = 12) -> np.ndarray:
    """A burned-in letter and a line of defect detector cells."""
    marked = pixels.copy()
    marked[40 : 40 + side, 200 : 200 + side] = value
    return marked


WINDOW = {"WindowCenter": CENTER, "WindowWidth": WIDTH}
FILES: dict[str, tuple[Callable[[], np.ndarray], dict[str, Any]]] = {
    "no window": (twelve_bits, {}),
    "window": (twelve_bits, WINDOW),
    "two windows": (twelve_bits, {"WindowCenter": [CENTER, 100], "WindowWidth": [WIDTH, 50]}),
    "sigmoid": (twelve_bits, {**WINDOW, "VOILUTFunction": "SIGMOID"}),
    "MONOCHROME1": (lambda: 4095 - twelve_bits(), {"PhotometricInterpretation": "MONOCHROME1"}),
    "MONOCHROME1, window": (
        lambda: 4095 - twelve_bits(),
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 4095 - CENTER, "WindowWidth": WIDTH},
    ),
    "rescaled, window": (
        twelve_bits,
        {"RescaleSlope": 0.5, "RescaleIntercept": -100, "WindowCenter": CENTER / 2 - 100, "WindowWidth": WIDTH / 2},
    ),
    "rescaled MONOCHROME1, window": (
        lambda: 4095 - twelve_bits(),
        {
            "PhotometricInterpretation": "MONOCHROME1",
            "PresentationLUTShape": "INVERSE",
            "RescaleSlope": 2,
            "RescaleIntercept": 10,
            "WindowCenter": 2 * (4095 - CENTER) + 10,
            "WindowWidth": 2 * WIDTH,
        },
    ),
    "signed, window": (
        lambda: twelve_bits().astype(np.int16) - 2048,
        {"WindowCenter": CENTER - 2048, "WindowWidth": WIDTH},
    ),
    "VOI LUT": (
        twelve_bits,
        {"VOILUTSequence": [voi_lut(lambda v: ((v * 4095 - CENTER) / WIDTH + 0.5).clip(0, 1))]},
    ),
    "padding, window": (
        lambda: with_marker(twelve_bits(), 4000, 2),
        {**WINDOW, "PixelPaddingValue": 4000},
    ),
    "marker, no window": (lambda: with_marker(twelve_bits(), 4095), {}),
    "marker, window": (lambda: with_marker(twelve_bits(), 4095), WINDOW),
    "a window that shows nothing": (twelve_bits, {"WindowCenter": 20, "WindowWidth": 10}),
    "a window without width": (twelve_bits, {"WindowCenter": CENTER, "WindowWidth": 0}),
    "half a window": (twelve_bits, {"WindowCenter": CENTER}),
    "an empty window": (twelve_bits, {"WindowCenter": None, "WindowWidth": None}),
}


@pytest.fixture(scope="module")
def as_trained(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The 8 bit PNG file of the same radiograph."""
    path = tmp_path_factory.mktemp("png") / "chest.png"
    Image.fromarray(picture()).save(path)
    return load_image(path, SIZE)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("name", FILES)
def test_a_radiograph_is_toned_as_the_pictures_of_the_training(
    name: str, as_trained: np.ndarray, tmp_path: Path
) -> None:
    pixels, elements = FILES[name]
    seen = radiograph_of(load_study(write_dx(tmp_path / "chest.dcm", pixels(), **elements), READS), SIZE)
    assert seen.shape == as_trained.shape
    assert (float(seen.mean()), float(seen.std())) == pytest.approx((0, 1), abs=1e-3)
    assert correlation(seen, as_trained) > 0.98


def test_a_curve_is_applied_as_it_is(tmp_path: Path) -> None:
    """An S-shaped VOI LUT and a window darken what a viewer darkens: not every curve is a straight line."""
    curve = voi_lut(lambda v: v**4)
    plain = radiograph_of(load_study(write_dx(tmp_path / "plain.dcm", twelve_bits()), READS), SIZE)
    curved = radiograph_of(
        load_study(write_dx(tmp_path / "lut.dcm", twelve_bits(), VOILUTSequence=[curve]), READS), SIZE
    )
    wanted = radiograph((twelve_bits() / 4095.0) ** 4, SIZE)
    assert correlation(curved, wanted) > 0.999
    assert correlation(plain, wanted) < 0.98
    both = write_dx(tmp_path / "both.dcm", twelve_bits(), VOILUTSequence=[curve], **WINDOW)
    windowed = radiograph_of(load_study(both, READS), SIZE)
    assert correlation(windowed, radiograph(picture().astype(np.float32), SIZE)) > 0.999  # as the viewers here do


@pytest.mark.parametrize("seed", range(4))
def test_an_8_bit_picture_stays_as_it_is(seed: int) -> None:
    """What the shipped weights were trained on: mean 0, standard deviation 1, and nothing else."""
    from skimage.transform import resize

    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (rng.integers(60, 150), rng.integers(60, 150))).astype(np.float32)
    side = min(pixels.shape)
    top, left = ((length - side) // 2 for length in pixels.shape)
    small = resize(pixels[top : top + side, left : left + side], (SIZE, SIZE), anti_aliasing=True)
    assert np.array_equal(radiograph(pixels, SIZE)[0, 0], ((small - small.mean()) / small.std()).astype("float32"))


def test_deep_values_without_outliers_are_only_scaled() -> None:
    pixels = picture().astype(np.float32)
    assert np.abs(radiograph(pixels * 16, SIZE) - radiograph(pixels, SIZE)).max() < 1e-3
    assert np.abs(radiograph(pixels - 1000, SIZE) - radiograph(pixels, SIZE)).max() < 1e-3


def test_an_empty_radiograph_is_none_of_numbers() -> None:
    for value in (0, 3000):
        assert not radiograph(np.full((50, 60), value, np.float32), SIZE).any()
    one = np.full((50, 60), 3000, np.float32)
    one[20, 20] = 9000
    assert np.isfinite(radiograph(one, SIZE)).all()


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING, not what people read"),
        ({"PresentationLUTShape": "INVERSE"}, "Presentation LUT Shape INVERSE contradicts MONOCHROME2"),
        ({"WindowCenter": CENTER, "WindowWidth": 0}, "Its window cannot be used"),
    ],
)
def test_what_speaks_against_the_tones_is_said(elements: dict[str, Any], said: str, tmp_path: Path) -> None:
    problems = load_study(write_dx(tmp_path / "chest.dcm", twelve_bits(), **elements), READS).problems
    assert [problem for problem in problems if said in problem]


def test_only_radiographs_have_a_brightness(tmp_path: Path) -> None:
    path = write_dx(tmp_path / "chest.dcm", twelve_bits(), **WINDOW)
    brightness = read_series([path]).brightness
    assert brightness is not None
    assert brightness.shape == (2, 4096)
    assert (np.diff(brightness[0]) > 0).all()
    assert (brightness[1].min(), brightness[1].max()) == (0, 1)
    assert read_series([write_dx(tmp_path / "plain.dcm", twelve_bits())]).brightness is None
    slice_ = write_dx(tmp_path / "slice.dcm", twelve_bits(), Modality="MR", **WINDOW)
    assert read_series([slice_]).brightness is None
