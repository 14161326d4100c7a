# SPDX-License-Identifier: Apache-2.0
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lib.types import InputError
from lib.weights.files import file_sha256, load_weights, read_metadata, save_weights


def network(width: int = 3) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def test_round_trip_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "w.safetensors"
    source, target = network(), nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    facts = {"model": "läsion", "val": ["a", "b"], "dice": 0.5, "best": None}
    digest = save_weights(source.state_dict(), path, facts)
    load_weights(target, path)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
    assert read_metadata(path) == facts
    assert digest == file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_views_and_channels_last_tensors_can_be_saved(tmp_path: Path) -> None:
    conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    base = torch.arange(12.0).reshape(3, 4)
    save_weights({**conv.state_dict(), "view": base.T}, tmp_path / "w.safetensors", {})
    other = nn.Conv2d(3, 4, 3)
    other.register_buffer("view", torch.zeros(4, 3))
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other.weight, conv.weight)
    assert torch.equal(other.view, base.T)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network().state_dict(), path, {"version": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(network().state_dict(), path, {"version": object()})
    with pytest.raises(AttributeError):
        save_weights({"weight": "not a tensor"}, path, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_readers_see_the_old_or_the_new_file_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights({"w": torch.zeros(1000)}, path, {"version": 1})
    with path.open("rb") as open_before:
        save_weights({"w": torch.ones(2000)}, path, {"version": 2})
        (tmp_path / "old").write_bytes(open_before.read())
    assert read_metadata(tmp_path / "old") == {"version": 1}
    assert read_metadata(path) == {"version": 2}


def test_weights_of_another_network_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(3).state_dict(), path, {})
    with pytest.raises(InputError, match=r"w\.safetensors: these weights do not fit .* size mismatch for 0\.weight"):
        load_weights(network(4), path)
    with pytest.raises(InputError, match=r"Missing key.*2\.weight"):
        load_weights(nn.Sequential(*network(3), nn.Linear(1, 1)), path)
    with pytest.raises(InputError, match=r"Unexpected key.*1\.weight"):
        load_weights(nn.Sequential(nn.Linear(2, 3)), path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a pickle in a zip", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "[:10]]
)
def test_what_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.safetensors: not a readable safetensors file"):
        load_weights(network(), path)
    with pytest.raises(InputError, match=r"w\.safetensors: not a readable safetensors file"):
        read_metadata(path)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.save(network().state_dict(), path)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_weights(network(), path)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network().state_dict(), path, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_weights(network(), path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match=path.name):
            load_weights(network(), path)
        with pytest.raises(InputError, match=path.name):
            read_metadata(path)


def test_metadata_of_a_foreign_file_is_empty(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "plain.safetensors")
    assert read_metadata(tmp_path / "plain.safetensors") == {}
