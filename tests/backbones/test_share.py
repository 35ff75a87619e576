"""Weights on a storage: a node without file and network builds the driver's model, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from raybench.backbones.build import build_backbone
from raybench.backbones.resolve import resolve_weights
from raybench.backbones.share import publish_weights, pull_weights, pulled_weights
from raybench.errors import DataError
from raybench.spec import BackboneSpec
from raybench.storage import Store
from tests.backbones.hub_server import HubServer, hub_server, use_hub
from tests.backbones.test_hub import MINE, my_model


def quiet(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def storage(tmp_path: Path) -> Store:
    return Store(tmp_path / "storage")


@pytest.fixture
def spec(tmp_path: Path) -> BackboneSpec:
    """Of a weights file that only the driver has."""
    torch.manual_seed(7)
    path = tmp_path / "driver" / "mine.safetensors"
    path.parent.mkdir()
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), str(path))
    return BackboneSpec(name="timm:test_resnet", weights=str(path))


def digest(spec: BackboneSpec) -> str:
    return hashlib.sha256(Path(spec.weights).read_bytes()).hexdigest()


def tensors(spec: BackboneSpec, sha256: str, cache_dir: Path | None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    built = build_backbone(spec, 3, 32, expected_sha256=sha256, cache_dir=cache_dir)
    return dict(built.model.state_dict())


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_node_without_the_file_builds_the_same(
    spec: BackboneSpec, storage: Store, tmp_path: Path
) -> None:
    sha256, node = digest(spec), tmp_path / "node"
    expected = tensors(spec, sha256, None)
    publish_weights(spec, sha256, storage, None, quiet)
    Path(spec.weights).unlink()
    with pytest.raises(DataError, match="no such file"):
        tensors(spec, sha256, node)
    said: list[str] = []
    for _ in range(2):
        assert pull_weights(spec, sha256, "mine.safetensors", storage, node, said.append)
    assert len(said) == 1, "once per node"
    assert_equal(tensors(spec, sha256, node), expected)


def test_the_drivers_file_counts_where_the_nodes_has_changed(
    spec: BackboneSpec, storage: Store, tmp_path: Path
) -> None:
    sha256, node = digest(spec), tmp_path / "node"
    publish_weights(spec, sha256, storage, None, quiet)
    assert pull_weights(spec, sha256, "mine.safetensors", storage, node, quiet)
    expected = tensors(spec, sha256, node)
    Path(spec.weights).write_bytes(b"another")
    assert_equal(tensors(spec, sha256, node), expected)
    with pytest.raises(DataError, match="have just changed"):
        publish_weights(spec, sha256, storage, None, quiet)


def test_what_is_damaged_is_not_taken(spec: BackboneSpec, storage: Store, tmp_path: Path) -> None:
    sha256, node = digest(spec), tmp_path / "node"
    name = f"weights/{sha256}-mine.safetensors"
    assert not pull_weights(spec, sha256, "mine.safetensors", storage, node, quiet)
    storage.put(name, b"damaged")
    said: list[str] = []
    assert not pull_weights(spec, sha256, "mine.safetensors", storage, node, said.append)
    assert "was damaged and is removed; the next start puts it there again" in said[-1]
    assert pulled_weights(node, sha256) is None
    assert not storage.exists(name)
    publish_weights(spec, sha256, storage, None, quiet)
    assert pull_weights(spec, sha256, "mine.safetensors", storage, node, quiet)
    (node / name).write_bytes(b"damaged here")
    assert pulled_weights(node, sha256) is None
    assert pull_weights(spec, sha256, "mine.safetensors", storage, node, quiet)
    assert pulled_weights(node, sha256) is not None


def test_a_stump_on_the_storage_is_replaced(
    spec: BackboneSpec, storage: Store, tmp_path: Path
) -> None:
    sha256, whole = digest(spec), Path(spec.weights).read_bytes()
    name = f"weights/{sha256}-mine.safetensors"
    storage.put(name, whole[:400])  # of a driver that was killed while it was uploading
    said: list[str] = []
    for _ in range(2):
        publish_weights(spec, sha256, storage, None, said.append)
    assert storage.get(name) == whole
    assert len(said) == 1, "once, and then no more"
    assert pull_weights(spec, sha256, "mine.safetensors", storage, tmp_path / "node", quiet)


def test_random_weights_are_nobodys(storage: Store, tmp_path: Path) -> None:
    publish_weights(BackboneSpec(name="timm:test_resnet", weights="none"), "", storage, None, quiet)
    assert storage.sizes() == {}
    assert pulled_weights(tmp_path, "") is None and pulled_weights(None, "0") is None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        use_hub(monkeypatch, server.address, tmp_path / "driver-cache")
        yield server


def test_a_model_of_a_hub_comes_with_what_it_is(
    hub: HubServer, storage: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    my_model(hub)
    found = resolve_weights(MINE, None, quiet)
    assert found is not None
    node = tmp_path / "node"
    expected = tensors(MINE, found.sha256, None)
    publish_weights(MINE, found.sha256, storage, None, quiet)
    use_hub(monkeypatch, "http://127.0.0.1:1", tmp_path / "node-cache")
    assert pull_weights(MINE, found.sha256, found.path.name, storage, node, quiet)
    assert_equal(tensors(MINE, found.sha256, node), expected)
