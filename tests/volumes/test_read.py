# SPDX-License-Identifier: Apache-2.0
import bz2
import gzip
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from lib.types import InputError
from lib.volumes.read import read_image_file

OBLIQUE = np.array([[-0.88, 0.1, 0.2, 10.0], [0.1, -0.79, 0.4, -20.0], [0.05, 0.1, 4.9, 5.0], [0, 0, 0, 1]])
VOLUME = np.random.default_rng(0).integers(-1000, 1000, (7, 6, 5)).astype(np.int16)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = OBLIQUE, **header: object) -> Path:
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    if affine is not None:
        image.set_sform(affine, 1)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def oblique_itk(array: np.ndarray, **options: bool) -> sitk.Image:
    """(Z, Y, X[, C]) with a rotation about two axes."""
    image = sitk.GetImageFromArray(array, **options)
    turn = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.1).GetMatrix()
    image.SetDirection(turn)
    image.SetSpacing((0.7, 0.8, 4.0))
    image.SetOrigin((12.0, -30.0, 44.0))
    return image


def itk_affine_ras(image: sitk.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_nifti_keeps_its_type_and_place(tmp_path: Path, name: str) -> None:
    file = read_image_file(save_nifti(tmp_path / "x.nii", VOLUME).rename(tmp_path / name))  # packed or not by content
    assert file.array.shape == (7, 6, 5, 1, 1)
    assert file.array.dtype == np.int16
    assert np.array_equal(file.array[..., 0, 0], VOLUME)
    np.testing.assert_allclose(file.affine_ras, OBLIQUE, atol=1e-5)
    assert file.times == ()
    assert file.problems == ()


def test_nifti_2_and_big_endian(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VOLUME, OBLIQUE), tmp_path / "two.nii")
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(VOLUME, OBLIQUE, header), tmp_path / "big.nii.gz")
    for name in ("two.nii", "big.nii.gz"):
        array = read_image_file(tmp_path / name).array
        assert array.dtype == np.dtype("=i2")
        assert np.array_equal(array[..., 0, 0], VOLUME)


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.int16, np.float32), (np.uint8, np.float32), (np.int32, np.float64)]
)
def test_scaled_nifti_becomes_the_smallest_float_that_holds_it(tmp_path: Path, dtype: type, expected: type) -> None:
    image = nib.Nifti1Image(np.abs(VOLUME // 8).astype(dtype), OBLIQUE)
    image.header.set_slope_inter(0.5, -1024)
    path = tmp_path / "s.nii.gz"
    nib.save(image, path)
    array = read_image_file(path).array
    assert array.dtype == expected
    np.testing.assert_allclose(array[..., 0, 0], np.asarray(nib.load(path).dataobj), atol=1e-3)


def test_qform_is_used_where_the_sform_is_not_usable(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOLUME, None)
    image.set_qform(np.diag([-2.0, -3.0, 4.0, 1.0]), 1)
    image.set_sform(np.eye(4), 1)
    nib.save(image, tmp_path / "q.nii")
    data = bytearray((tmp_path / "q.nii").read_bytes())
    data[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    (tmp_path / "q.nii").write_bytes(data)
    file = read_image_file(tmp_path / "q.nii")
    np.testing.assert_allclose(file.affine_ras, np.diag([-2.0, -3.0, 4.0, 1.0]), atol=1e-6)
    assert "sform cannot be used" in file.problems[0]


def test_nifti_without_orientation_lies_where_itk_puts_it(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "n.nii.gz", VOLUME, None, sform_code=0, qform_code=0)
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[80:92] = struct.pack("<3f", 2, 3, 4)  # pixdim
    path.write_bytes(gzip.compress(data))
    file = read_image_file(path)
    np.testing.assert_allclose(file.affine_ras, itk_affine_ras(sitk.ReadImage(str(path))), atol=1e-6)
    assert "no orientation" in file.problems[0]


def test_units_become_mm_and_seconds(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4, 6), np.uint8), np.diag([0.001, 0.002, 0.003, 1.0]))
    image.header.set_xyzt_units("meter", "msec")
    image.header["pixdim"][4], image.header["toffset"] = 500, 250
    nib.save(image, tmp_path / "u.nii")
    file = read_image_file(tmp_path / "u.nii")
    np.testing.assert_allclose(np.diag(file.affine_ras), (1, 2, 3, 1), rtol=1e-5)
    assert file.array.shape == (4, 4, 4, 1, 6)
    assert file.times == pytest.approx((0.25, 0.75, 1.25, 1.75, 2.25, 2.75))


@pytest.mark.parametrize(
    ("shape", "header", "expected"),
    [
        ((4, 5), {}, (4, 5, 1, 1, 1)),
        ((4, 5, 3, 4), {}, (4, 5, 3, 4, 1)),
        ((4, 5, 3, 5), {}, (4, 5, 3, 1, 5)),
        ((4, 5, 3, 3), {"intent_code": 2001}, (4, 5, 3, 1, 3)),
        ((4, 5, 3, 3), {"xyzt_units": 10, "pixdim": [1, 1, 1, 1, 2.5, 0, 0, 0]}, (4, 5, 3, 1, 3)),
        ((4, 5, 3, 9), {"intent_code": 1007}, (4, 5, 3, 9, 1)),
        ((4, 5, 3, 1, 9), {}, (4, 5, 3, 9, 1)),
        ((4, 5, 3, 6, 2), {}, (4, 5, 3, 2, 6)),
        ((4, 5, 1, 1, 1, 1), {}, (4, 5, 1, 1, 1)),
    ],
)
def test_what_the_axes_of_a_nifti_hold(
    tmp_path: Path, shape: tuple[int, ...], header: dict[str, object], expected: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    file = read_image_file(save_nifti(tmp_path / "a.nii", array, np.eye(4), **header))
    assert file.array.shape == expected
    full = array.reshape((*shape[:3], *(1,) * (5 - len(shape)), *shape[3:])) if len(shape) < 4 else array
    assert (
        file.array[1, 2, 0].ravel().tolist()
        == (np.swapaxes(full, -1, -2) if len(shape) == 5 else full)[1, 2, 0].ravel().tolist()
    )


def test_rgb_nifti_has_three_channels(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (6, 5, 4, 3)).astype(np.uint8)
    packed = colours.copy().view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(packed, OBLIQUE), tmp_path / "rgb.nii.gz")
    assert np.array_equal(read_image_file(tmp_path / "rgb.nii.gz").array[..., 0], colours)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".nii.gz"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_what_itk_writes_is_read_at_the_same_place(tmp_path: Path, suffix: str, packed: bool, dtype: str) -> None:
    image = oblique_itk(np.abs(VOLUME.T).astype(dtype))
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path), packed)
    file = read_image_file(path)
    assert file.array.dtype == dtype
    assert np.array_equal(file.array[..., 0, 0], np.abs(VOLUME).astype(dtype))
    np.testing.assert_allclose(file.affine_ras, itk_affine_ras(image), atol=1e-4)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_vector_2d_and_4d_images_of_itk(tmp_path: Path, suffix: str) -> None:
    array = np.random.default_rng(2).integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    sitk.WriteImage(oblique_itk(array, isVector=True), str(tmp_path / f"v{suffix}"))
    assert np.array_equal(read_image_file(tmp_path / f"v{suffix}").array[..., 0], array.transpose(2, 1, 0, 3))
    flat = sitk.GetImageFromArray(array[0, :, :, 0])
    flat.SetSpacing((0.5, 0.6))
    sitk.WriteImage(flat, str(tmp_path / f"f{suffix}"))
    file = read_image_file(tmp_path / f"f{suffix}")
    assert np.array_equal(file.array[:, :, 0, 0, 0], array[0, :, :, 0].T)
    np.testing.assert_allclose(np.abs(np.diag(file.affine_ras)[:2]), (0.5, 0.6), rtol=1e-6)
    assert abs(np.linalg.det(file.affine_ras)) == pytest.approx(0.3)
    sitk.WriteImage(
        sitk.GetImageFromArray(np.moveaxis(array, 3, 0).repeat(2, axis=0), isVector=False), str(tmp_path / f"t{suffix}")
    )
    assert read_image_file(tmp_path / f"t{suffix}").array.shape == (6, 5, 4, 1, 6)


def test_mha_channels_beside_few_or_many_time_points(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.int16).reshape((2, 3, 4, 5, 3))  # (T, Z, Y, X, C)
    image = sitk.GetImageFromArray(array, isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert np.array_equal(read_image_file(tmp_path / "a.mha").array, array.transpose(3, 2, 1, 4, 0))


def sequence_nrrd(path: Path, axis: int, **extra: str) -> np.ndarray:
    """A volume sequence as 3D Slicer writes it: the list axis first (newer versions: last)."""
    array = np.random.default_rng(3).integers(0, 500, (3, 8, 7, 6)).astype(np.int16)
    directions = [[np.nan] * 3, [-1.5, 0, 0], [0, -1.5, 0], [0, 0, 4.0]]
    header = {
        "space": "right-anterior-superior",
        "space directions": np.array(directions if axis == 0 else directions[1:] + directions[:1]),
        "kinds": ["list", "domain", "domain", "domain"] if axis == 0 else ["domain", "domain", "domain", "list"],
        "labels": ["time", "", "", ""] if axis == 0 else ["", "", "", "time"],
        "units": ["s", "", "", ""] if axis == 0 else ["", "", "", "s"],
        "space origin": [90.0, 126.0, -72.0],
        "measurement frame": np.eye(3),
        f"axis {axis} index type": "numeric",
        f"axis {axis} index values": "0 1.5 4",
        "DataNodeClassName": "vtkMRMLScalarVolumeNode",
        **extra,
    }
    nrrd.write(str(path), array if axis == 0 else np.moveaxis(array, 0, 3), header)
    return array


@pytest.mark.parametrize("axis", [0, 3])
def test_a_sequence_of_3d_slicer(tmp_path: Path, axis: int) -> None:
    array = sequence_nrrd(tmp_path / "a.seq.nrrd", axis)
    file = read_image_file(tmp_path / "a.seq.nrrd")
    assert np.array_equal(file.array[..., 0, :], np.moveaxis(array, 0, 3))
    assert file.times == (0, 1.5, 4)
    expected = np.diag([-1.5, -1.5, 4.0, 1.0])
    expected[:3, 3] = 90, 126, -72
    np.testing.assert_allclose(file.affine_ras, expected)


def test_index_values_that_are_no_times_are_left_out(tmp_path: Path) -> None:
    sequence_nrrd(tmp_path / "a.seq.nrrd", 0, **{"axis 0 index values": "0 4 2"})
    file = read_image_file(tmp_path / "a.seq.nrrd")
    assert file.times == ()
    assert "ascending" in file.problems[0]
    sequence_nrrd(tmp_path / "b.seq.nrrd", 0, units=["", "", "", ""])  # type: ignore[arg-type]
    assert read_image_file(tmp_path / "b.seq.nrrd").times == ()


def test_multivolume_and_segment_layers(tmp_path: Path) -> None:
    array = np.random.default_rng(3).integers(0, 3, (2, 8, 7, 6)).astype(np.uint8)
    header = {
        "space": "left-posterior-superior",
        "space directions": np.array([[np.nan] * 3, *np.eye(3)]),
        "kinds": ["list", "domain", "domain", "domain"],
    }
    labels = {"MultiVolume.FrameLabels": "0,2500", "MultiVolume.FrameIdentifyingDICOMTagUnits": "ms"}
    nrrd.write(str(tmp_path / "m.nrrd"), array, header | labels)
    file = read_image_file(tmp_path / "m.nrrd")
    assert (file.array.shape, file.times) == ((8, 7, 6, 1, 2), (0, 2.5))
    nrrd.write(str(tmp_path / "a.seg.nrrd"), array, header | {"Segment0_Layer": "1", "Segment0_Name": "lesion"})
    file = read_image_file(tmp_path / "a.seg.nrrd")
    assert np.array_equal(file.array[..., 0], np.moveaxis(array, 0, 3))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bz2", "ascii"])
@pytest.mark.parametrize("detached", [False, True])
def test_nrrd_encodings(tmp_path: Path, encoding: str, detached: bool) -> None:
    path = tmp_path / ("a.nhdr" if detached else "a.nrrd")
    nrrd.write(str(path), VOLUME, {"encoding": encoding, "spacings": [1.0, 2.0, 3.0]}, detached_header=detached)
    file = read_image_file(path)
    assert np.array_equal(file.array[..., 0, 0], VOLUME)
    np.testing.assert_allclose(np.diag(file.affine_ras), (-1, -2, 3, 1))


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "LIST", "a%03d.raw 1 3 1", "gone.raw"])
def test_a_header_reads_no_other_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(210 * 2))
    (tmp_path / "in").mkdir()
    nhdr = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 5\nendian: little\nencoding: raw\ndata file: {name}\n\n"
    mhd = f"NDims = 3\nDimSize = 7 6 5\nElementType = MET_SHORT\nElementDataFile = {name}\n"
    for suffix, text in ((".nhdr", nhdr), (".mhd", mhd)):
        (tmp_path / "in" / f"a{suffix}").write_text(text)
        with pytest.raises(InputError, match=rf"a{suffix}: .*data file .* same folder"):
            read_image_file(tmp_path / "in" / f"a{suffix}")


def test_values_that_are_not_finite_become_the_lowest(tmp_path: Path) -> None:
    array = VOLUME.astype(np.float32)
    array[0, 0, 0], array[1, 2, 3], array[2, 2, 2] = np.nan, np.inf, -np.inf
    file = read_image_file(save_nifti(tmp_path / "a.nii.gz", array))
    assert [float(file.array[i][0, 0]) for i in ((0, 0, 0), (1, 2, 3), (2, 2, 2))] == [
        array[np.isfinite(array)].min()
    ] * 3
    assert "3 voxels" in file.problems[0]
    with pytest.raises(InputError, match=r"b\.nii: .*no voxel holds a finite number"):
        read_image_file(save_nifti(tmp_path / "b.nii", np.full((3, 3, 3), np.nan, np.float32)))


NIFTI_EDITS: dict[str, tuple[int, bytes, str]] = {
    "no dimensions": (40, struct.pack("<h", 0), "0 dimensions"),
    "eight dimensions": (40, struct.pack("<h", 8), "8 dimensions"),
    "zero size": (42, struct.pack("<h", 0), "at least 1"),
    "negative size": (42, struct.pack("<h", -7), "at least 1"),
    "huge": (42, struct.pack("<3h", 32767, 32767, 32767), "GiB"),
    "larger than the file": (42, struct.pack("<h", 700), "cut short"),
    "complex": (70, struct.pack("<h", 32), "complex64 is not supported"),
    "unknown type": (70, struct.pack("<h", 999), "type code 999"),
    "bit type": (70, struct.pack("<h", 1), "not supported"),
    "offset": (108, struct.pack("<f", np.nan), "cannot start at byte nan"),
    "offset behind the end": (108, struct.pack("<f", 1e6), "cut short"),
    "singular sform": (280, struct.pack("<12f", *[1, 1, 0.5, 0] * 3), "singular"),
    "zero sform": (280, bytes(48), "spacing of 0"),
    "nan sform": (280, struct.pack("<f", np.nan), "not a number"),
    "magic": (344, b"xxxx", "magic"),
    "header size": (0, b"\0\0\0\0", "not a NIfTI header"),
}


@pytest.mark.parametrize("case", NIFTI_EDITS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_nifti_header_is_refused(tmp_path: Path, case: str, packed: bool) -> None:
    start, value, reason = NIFTI_EDITS[case]
    data = bytearray(save_nifti(tmp_path / "ok.nii", VOLUME).read_bytes())
    data[start : start + len(value)] = value
    data[252:254] = b"\0\0"  # qform_code: nothing else to fall back on
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError, match=rf"bad\.nii\.gz: .*{reason}"):
        read_image_file(path)


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan])
@pytest.mark.parametrize("code", [0, 1])
def test_a_voxel_size_that_cannot_be(tmp_path: Path, spacing: float, code: int) -> None:
    path = save_nifti(tmp_path / "a.nii", VOLUME, None, sform_code=0, qform_code=code)
    data = bytearray(path.read_bytes())
    data[84:88] = struct.pack("<f", spacing)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.nii: .*each must be above 0"):
        read_image_file(path)


def nrrd_file(path: Path, change: Callable[[bytes], bytes]) -> Path:
    sitk.WriteImage(oblique_itk(VOLUME.T), str(path))
    path.write_bytes(change(path.read_bytes()))
    return path


TEXT_EDITS: dict[str, tuple[str, bytes, bytes, str]] = {
    "nrrd dimension": (".nrrd", rb"dimension: 3", b"dimension: 17", "dimension 17"),
    "nrrd huge": (".nrrd", rb"sizes: [\d ]+", b"sizes: 2147483648 2147483648 2147483648", "GiB"),
    "nrrd too large": (".nrrd", rb"sizes: [\d ]+", b"sizes: 70 60 50", "cut short"),
    "nrrd zero": (".nrrd", rb"sizes: [\d ]+", b"sizes: 7 0 5", "at least 1"),
    "nrrd words": (".nrrd", rb"sizes: [\d ]+", b"sizes: seven", "not a NRRD header"),
    "nrrd nan sizes": (".nrrd", rb"sizes: [\d ]+", b"sizes: nan 6 5", "at least 1"),
    "nrrd type": (".nrrd", rb"type: short", b"type: quark", "quark"),
    "nrrd block": (".nrrd", rb"type: short", b"type: block", "block"),
    "nrrd no type": (".nrrd", rb"type: short\n", b"", "type"),
    "nrrd encoding": (".nrrd", rb"encoding: raw", b"encoding: hex", "hex"),
    "nrrd says gzip": (".nrrd", rb"encoding: raw", b"encoding: gzip", "damaged"),
    "nrrd singular": (".nrrd", rb"space directions: .*", b"space directions: (1,0,0) (1,0,0) (0,0,1)", "singular"),
    "nrrd zero step": (".nrrd", rb"space directions: .*", b"space directions: (0,0,0) (0,1,0) (0,0,1)", "spacing of 0"),
    "nrrd part nan": (
        ".nrrd",
        rb"space directions: .*",
        b"space directions: (nan,0,1) (0,1,0) (0,0,1)",
        "not a number",
    ),
    "nrrd origin": (".nrrd", rb"space origin: .*", b"space origin: (nan,0,0)", "not a number"),
    "nrrd magic": (".nrrd", rb"NRRD0004", b"NRRD9999", "not a NRRD header"),
    "nrrd skip": (".nrrd", rb"endian", b"byte skip: -7\nendian", "byte skip -7"),
    "nrrd skip far": (".nrrd", rb"endian", b"byte skip: 1000\nendian", "cut short"),
    "mha negative dims": (".mha", rb"NDims = 3", b"NDims = -3", "NDims is -3"),
    "mha dims": (".mha", rb"NDims = 3", b"NDims = 50", "NDims is 50"),
    "mha no dims": (".mha", rb"NDims = 3\n", b"", "ndims is missing"),
    "mha huge": (".mha", rb"DimSize = [\d ]+", b"DimSize = 2147483647 2147483647 9", "GiB"),
    "mha too large": (".mha", rb"DimSize = [\d ]+", b"DimSize = 70 60 50", "cut short"),
    "mha zero": (".mha", rb"DimSize = [\d ]+", b"DimSize = 7 0 5", "at least 1"),
    "mha channels": (".mha", rb"ElementType", b"ElementNumberOfChannels = 9999999\nElementType", "cut short"),
    "mha no channels": (".mha", rb"ElementType", b"ElementNumberOfChannels = 0\nElementType", "at least 1"),
    "mha spacing": (".mha", rb"ElementSpacing = [\d. ]+", b"ElementSpacing = 0 1 1", "above 0"),
    "mha negative spacing": (".mha", rb"ElementSpacing = [\d. ]+", b"ElementSpacing = -1 1 1", "above 0"),
    "mha nan spacing": (".mha", rb"ElementSpacing = [\d. ]+", b"ElementSpacing = nan 1 1", "finite"),
    "mha singular": (".mha", rb"TransformMatrix = .*", b"TransformMatrix = 1 0 0 1 0 0 0 0 1", "singular"),
    "mha type": (".mha", rb"MET_SHORT", b"MET_QUARK", "MET_QUARK"),
    "mha text": (".mha", rb"BinaryData = True", b"BinaryData = False", "not supported"),
    "mha says packed": (".mha", rb"CompressedData = False", b"CompressedData = True", "damaged"),
}


@pytest.mark.parametrize("case", TEXT_EDITS)
def test_a_wrong_text_header_is_refused(tmp_path: Path, case: str) -> None:
    suffix, old, new, reason = TEXT_EDITS[case]
    path = nrrd_file(tmp_path / f"a{suffix}", lambda data: re.sub(old, lambda _: new, data, count=1))
    with pytest.raises(InputError, match=rf"a{suffix}: .*{reason}"):
        read_image_file(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"hello\n", b"\x1f\x8b broken", b"NRRD0004\n", b"NDims = 3\n", bytes(600)]
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_files_that_are_something_else(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=rf"a{suffix}: cannot be read"):
        read_image_file(tmp_path / f"a{suffix}")


def test_names_that_are_no_image_file(tmp_path: Path) -> None:
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for name, reason in (("folder.nii", "a folder"), ("a.txt", "by its name"), ("gone.nii", "no such file")):
        with pytest.raises(InputError, match=rf"{name}: .*{reason}"):
            read_image_file(tmp_path / name)


def valid_files(folder: Path) -> list[Path]:
    """One of each format, packed and not."""
    paths = [save_nifti(folder / "a.nii", VOLUME), save_nifti(folder / "b.nii.gz", VOLUME)]
    for name, packed in (("c.nrrd", False), ("d.nrrd", True), ("e.mha", False), ("f.mha", True)):
        sitk.WriteImage(oblique_itk(VOLUME.T), str(folder / name), packed)
        paths.append(folder / name)
    sequence_nrrd(folder / "g.seq.nrrd", 0)
    return [*paths, folder / "g.seq.nrrd"]


def test_no_cut_file_is_read(tmp_path: Path) -> None:
    for path in valid_files(tmp_path):
        data = path.read_bytes()
        for part in (0.02, 0.3, 0.9):
            path.write_bytes(data[: int(len(data) * part)])
            with pytest.raises(InputError, match=path.name):
                read_image_file(path)
        path.write_bytes(data[:-1])
        with pytest.raises(InputError, match=path.name):
            read_image_file(path)


def test_damaged_packed_data_is_seen(tmp_path: Path) -> None:
    for path in valid_files(tmp_path):
        data = bytearray(path.read_bytes())
        if path.name[0] in "bdfg":  # packed: these have checksums
            data[-30] ^= 0x55
            path.write_bytes(data)
            with pytest.raises(InputError, match=path.name):
                read_image_file(path)


def outcome(path: Path, size: int) -> str:
    """Read a file that may be wrong; it must be an image that makes sense, or an InputError with the file's name."""
    try:
        file = read_image_file(path)
    except InputError as error:
        return "refused" if path.name in str(error) else f"refused without its name: {error}"
    assert file.array.ndim == 5
    assert file.array.nbytes <= 16 * size
    assert np.isfinite(file.array).all()
    assert abs(np.linalg.det(file.affine_ras)) > 0
    return "read"


@pytest.mark.parametrize("seed", range(8))
def test_mutated_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = {"read": 0, "refused": 0}
    for path in valid_files(tmp_path):
        original = path.read_bytes()
        packed = path.name == "b.nii.gz"
        whole = gzip.decompress(original) if packed else original
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), 420), int(rng.integers(1, 5))):
                data[at] = int(rng.choice([0, 255, 0x20, 0x2D, 0x30, 0x39, int(rng.integers(256))]))
            path.write_bytes(gzip.compress(data, 1) if packed else data)
            outcomes[outcome(path, len(whole))] += 1
    assert min(outcomes.values()) > 20, outcomes


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """64 MiB of zeros behind a header of 210 voxels, and a header of 4 GiB before 1 KiB of data."""
    zeros = bytes(2**26)
    nii = save_nifti(tmp_path / "a.nii", VOLUME).read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nii + zeros))
    assert np.array_equal(read_image_file(tmp_path / "a.nii.gz").array[..., 0, 0], VOLUME)
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nencoding: %b\nsizes: %b\n\n"
    for encoding, pack in ((b"gzip", gzip.compress), (b"bz2", bz2.compress)):
        (tmp_path / "a.nrrd").write_bytes(head % (encoding, b"7 6 5") + pack(zeros))
        assert read_image_file(tmp_path / "a.nrrd").array.size == 210
        (tmp_path / "a.nrrd").write_bytes(head % (encoding, b"2048 2048 1024") + pack(bytes(1024)))
        with pytest.raises(InputError, match="cut short"):
            read_image_file(tmp_path / "a.nrrd")
    mha = b"NDims = 3\nDimSize = %b\nElementType = MET_UCHAR\nCompressedData = True\nElementDataFile = LOCAL\n"
    for sizes in (b"7 6 5", b"2048 2048 1024"):
        (tmp_path / "a.mha").write_bytes(mha % sizes + zlib.compress(zeros))
        with pytest.raises(InputError, match=r"goes on after the image|cut short"):
            read_image_file(tmp_path / "a.mha")
