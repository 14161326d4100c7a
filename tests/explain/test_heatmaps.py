# SPDX-License-Identifier: Apache-2.0
"""Where a heatmap lies: on its image, in JSON and in volumes."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lib.explain import Explanation, Heatmap, explain, write_heatmap
from lib.transforms.geometry import RAS_TO_LPS, VolumeGeometry
from lib.transforms.prepare import FrameGrid
from lib.types import InputError

from .conftest import decoded, finding, model, noise, predictor_of, sequence_of


def spot(rows: int = 4, columns: int = 5) -> Explanation:
    """One warm cell: frame 1, row 2, column 3; cells of 8 pixels, seen from pixel (8, 16) on, twice as fine."""
    cells = np.zeros((3, rows, columns), np.float32)
    cells[1, 2, 3] = 1
    grid = FrameGrid((50, 70), (100, 140), (16, 48, 32, 70))
    return Explanation("hirescam", "layer", (Heatmap(None, None, cells),), grid, (32, 40))


def test_a_cell_lies_where_the_network_saw_it():
    explanation = spot()
    data = explanation.to_json()
    assert data["extent"] == [16, 8, 36, 24]
    assert (data["rows"], data["columns"]) == (4, 5)
    assert data["maps"][0]["peak"] == {"frame": 1, "x": 30.0, "y": 18.0}
    heat = explanation.on_frames(explanation.heatmaps[0])
    t, y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert t == 1
    assert abs(x + 0.5 - 30) <= 1
    assert abs(y + 0.5 - 18) <= 1
    assert not heat[[0, 2]].any()
    assert not heat[1, :8].any()
    assert not heat[1, :, :16].any()


def test_json_keeps_the_cells_to_a_byte():
    explanation = explain(predictor_of(model()), sequence_of(noise()), [finding({0: (1, 1, 20, 20)})])
    data = json.loads(json.dumps(explanation.to_json()))
    for i, heatmap in enumerate(explanation.heatmaps):
        np.testing.assert_allclose(decoded(data, i) / 255, heatmap.cells, atol=0.5 / 255 + 1e-6)
    assert decoded(spot().to_json()).sum() == 255
    assert [f is None for f in spot().to_json()["maps"][0]["frames"]] == [True, False, True]


@pytest.mark.parametrize("axes", [[(0, 1), (1, -1), (2, -1)], [(2, 1), (1, 1), (0, 1)], [(1, -1), (0, 1), (2, 1)]])
def test_on_other_frames_of_the_image_the_peak_is_the_same_voxel(axes):
    explanation, shape = spot(), (70, 50, 3)
    source = VolumeGeometry.as_stored(np.diag([1.0, 1.0, 5.0, 1.0]), shape)
    target = replace(source, to_frame_axes=np.array(axes, float))
    data = explanation.to_json_on(source, target)
    heat = target.to_frames(source.to_volume(explanation.on_frames(explanation.heatmaps[0])))
    expected = np.unravel_index(heat.argmax(), heat.shape)
    peak, cells = data["maps"][0]["peak"], decoded(data)
    assert peak["frame"] == expected[0]
    assert abs(peak["x"] - expected[2] - 0.5) <= heat.shape[2] / data["columns"]
    assert abs(peak["y"] - expected[1] - 0.5) <= heat.shape[1] / data["rows"]
    assert cells.shape[0] == heat.shape[0]
    assert data["extent"] == [0, 0, heat.shape[2], heat.shape[1]]
    assert max(data["rows"], data["columns"]) <= 64
    assert cells.max() == round(heat.max() * 255)


@pytest.mark.parametrize("name", ["heat.nrrd", "heat.nii.gz", "heat.nii"])
def test_a_volume_lies_on_its_image(tmp_path, name):
    affine = np.array([[0, 0, 5.0, -30], [-0.9, 0, 0, 40], [0, -0.9, 0, 25], [0, 0, 0, 1]])
    geometry = VolumeGeometry.from_affine(affine, (24, 20, 6))
    frames = np.random.default_rng(0).random(geometry.to_frames(np.zeros((24, 20, 6))).shape).astype(np.float32)
    nib.save(nib.Nifti1Image(geometry.to_volume(frames), affine), tmp_path / "image.nii")
    write_heatmap(frames, geometry, tmp_path / name)
    image, heat = sitk.ReadImage(tmp_path / "image.nii"), sitk.ReadImage(tmp_path / name)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(heat), sitk.GetArrayFromImage(image))
    for one, other in zip(
        (image.GetOrigin(), image.GetSpacing(), image.GetDirection()),
        (heat.GetOrigin(), heat.GetSpacing(), heat.GetDirection()),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_other_file_types_are_refused(tmp_path):
    geometry = VolumeGeometry.from_affine(RAS_TO_LPS, (4, 4, 2))
    with pytest.raises(InputError, match=r"heat\.png: a heatmap is written as \.nrrd, \.nii\.gz, \.nii"):
        write_heatmap(geometry.to_frames(np.zeros((4, 4, 2))), geometry, tmp_path / "heat.png")
