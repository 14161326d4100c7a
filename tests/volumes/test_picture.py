# SPDX-License-Identifier: Apache-2.0
"""PNG and JPEG files as images: their grey values, and what bad ones say."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.configs import InputConfig
from lib.transforms.load import load_study
from lib.types import InputError, SequenceKind
from lib.volumes.picture import MOST_PIXELS, NO_SPACING
from lib.volumes.read import read_image_file

GREY = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
READS = InputConfig(kind=SequenceKind.STACK, channels=("radiograph",))


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def read(path: Path) -> np.ndarray:
    """(H, W)."""
    array = read_image_file(path).array
    assert array.shape[2:] == (1, 1, 1)
    return array[:, :, 0, 0, 0].T


@pytest.mark.parametrize("name", ["a.png", "A.PNG"])
def test_a_grey_picture_is_a_stack_of_one_frame_as_it_is_looked_at(tmp_path: Path, name: str) -> None:
    path = save(Image.fromarray(GREY), tmp_path / name, dpi=(300, 300))
    assert np.array_equal(read(path), GREY)
    assert read(path).dtype == np.uint8
    study = load_study(path, READS)
    assert study.sequence.kind is SequenceKind.STACK
    assert np.array_equal(study.sequence.frames, GREY[None, None].astype(np.float32))
    assert study.sequence.spacing_mm == (1, 1)  # 300 dots per inch of paper are no millimetres of a patient
    assert (study.modality, study.problems) == ("", (NO_SPACING,))
    assert np.array_equal(study.geometry.affine_lps, np.eye(4))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_colours_palettes_and_transparency_become_grey(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    path = save(Image.fromarray(np.kron(GREY, np.ones((8, 8), np.uint8))).convert(mode), tmp_path / name)
    assert np.abs(read(path).astype(int) - np.kron(GREY, np.ones((8, 8), int))).mean() < (8 if mode == "CMYK" else 1)
    assert any("read in grey" in problem for problem in read_image_file(path).problems)


def test_one_bit_and_sixteen_bits(tmp_path: Path) -> None:
    assert set(np.unique(read(save(Image.fromarray(GREY > 99), tmp_path / "one.png")))) == {0, 255}
    deep = GREY.astype(np.uint16) * 257
    values = read(save(Image.fromarray(deep), tmp_path / "deep.png"))
    assert values.dtype == np.uint16
    assert np.array_equal(values, deep)


def test_a_jpeg_is_turned_as_browsers_show_it(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (30, 1))  # (30, 60), brighter to the right
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is at the right
    plain = save(Image.fromarray(ramp), tmp_path / "plain.jpeg", quality=95)
    turned = save(Image.fromarray(ramp), tmp_path / "turned.jpg", quality=95, exif=exif)
    assert np.abs(read(plain).astype(int) - ramp).max() < 4
    assert np.abs(read(turned).astype(int) - np.rot90(ramp, -1)).max() < 4


def test_the_first_of_several_pictures_is_read(tmp_path: Path) -> None:
    others = [Image.fromarray(255 - GREY)]
    path = save(Image.fromarray(GREY), tmp_path / "a.png", save_all=True, append_images=others)
    assert np.array_equal(read(path), GREY)
    assert "It holds 2 pictures: the first is read." in read_image_file(path).problems


def png_that_says(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims a size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"no picture", "no PNG or JPEG file"),
        (b"GIF89a" + bytes(50), "no PNG or JPEG file"),
        (png_that_says(60_000, 60_000), f"at most {MOST_PIXELS}"),
        (png_that_says(10_000, 9_500), f"95.*at most {MOST_PIXELS}|10000 x 9500 pixels"),
        (png_that_says(9_001, 9_001), "9001 x 9001 pixels"),
        (png_that_says(500, 500), "cut short"),
        (png_that_says(0, 500), "no PNG or JPEG file|cut short"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.png: cannot be read as an image \((.|\n)*({said})"):
        read_image_file(path)


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 50)).astype(np.uint8))
    for suffix in (".png", ".jpg"):
        whole = save(noise, tmp_path / f"whole{suffix}").read_bytes()
        path = tmp_path / f"bad{suffix}"
        for _ in range(60):
            content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, len(content), 4):
                content[place] = rng.integers(0, 256)
            path.write_bytes(bytes(content))
            with suppress(InputError):
                read_image_file(path)
