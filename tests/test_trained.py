"""What others may use of a trained model: names without places, files that are what they were."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from raybench import trained
from raybench.trained import intact_weights, portable_backbone
from tests.tracking.fake_ledger import final


@pytest.mark.parametrize(
    ("weights", "left"),
    [
        ("pretrained", "pretrained"),
        ("fb_in1k", "fb_in1k"),
        ("none", "none"),
        ("/home/me/my models/w.pt", "w.pt"),
        ("../w.safetensors", "w.safetensors"),
        ("https://${USER}:${TOKEN}@host/a/w.bin?sig=${S}#sha256=" + "0" * 64, "w.bin"),
        ("s3://bucket/private/w.pth", "w.pth"),
    ],
)
def test_a_backbones_spec_names_no_place(weights: str, left: str) -> None:
    spec = {"name": "timm:resnet18", "weights": weights, "kwargs": {"drop_rate": 0.1}}
    assert portable_backbone(spec) == spec | {"weights": left}


class _Bucket:
    """An object store with one file."""

    def __init__(self, place: Any) -> None:
        assert place == "s3://bucket/checkpoints"

    def get_file(self, name: str, target: Path) -> None:
        if name != "p/best.safetensors":
            raise FileNotFoundError(name)
        target.write_bytes(b"weights")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("p/best.safetensors", b"weights", True),
        ("p/best.safetensors", b"others", False),
        ("p/gone.safetensors", b"weights", False),
    ],
)
def test_a_file_of_an_object_store_is_fetched_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, found: bool
) -> None:
    monkeypatch.setattr(trained, "Store", _Bucket)
    sha256 = hashlib.sha256(content).hexdigest()
    row = final(0, 0.9, weights_path=name, weights_sha256=sha256)
    path = intact_weights(row, "s3://bucket/checkpoints", tmp_path)
    assert (path is not None) == found
    assert path is None or path.read_bytes() == b"weights"


def test_a_file_outside_of_the_checkpoints_is_not_taken(tmp_path: Path) -> None:
    """Even where it is, byte for byte, what the record names."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "secret").write_bytes(b"weights")
    (tmp_path / "checkpoints" / "link").symlink_to(tmp_path / "secret")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    for name in ("../secret", "link", str(tmp_path / "secret")):
        row = final(0, 0.9, weights_path=name, weights_sha256=sha256)
        assert intact_weights(row, tmp_path / "checkpoints", tmp_path) is None
