"""Weights: every key arrives, or the user is told which did not."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from raybench.backbones.weights import (
    file_sha256,
    load_weights,
    read_weights,
    weights_fault,
    weights_sha256,
)
from raybench.errors import DataError
from raybench.spec import BackboneSpec

HEAD = ("1.weight", "1.bias")


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 2))


@pytest.fixture
def state(model) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, 0.5) for name, tensor in model.state_dict().items()}


def test_all_but_the_head_is_loaded(model, state):
    before = model[1].weight.clone()
    load_weights(model, state, HEAD, "file")
    assert torch.all(model[0].weight == 0.5) and torch.equal(model[1].weight, before)


def test_files_without_a_head_or_with_another_number_of_classes(model, state):
    load_weights(model, {k: v for k, v in state.items() if k not in HEAD}, HEAD, "file")
    load_weights(model, state | {"1.weight": torch.zeros(9, 4)}, HEAD, "file")
    assert torch.all(model[0].weight == 0.5)


def test_missing_unknown_and_misshapen_are_told_at_once(model, state):
    del state["0.bias"]
    state |= {"extra.weight": torch.ones(1), "0.weight": torch.ones(4, 3, 3, 3)}
    before = model[0].weight.clone()
    with pytest.raises(DataError) as error:
        load_weights(model, state, HEAD, "w.pt")
    assert [m.partition("model: it ")[2] for m in error.value.mistakes] == [
        "lacks 0.bias",
        "holds unknown extra.weight",
        "has another shape of 0.weight (4, 3, 3, 3) for (4, 3, 1, 1)",
    ]
    assert torch.equal(model[0].weight, before)


def test_batch_counters_may_be_missing():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Linear(2, 2))
    state = model.state_dict()
    del state["0.num_batches_tracked"]
    load_weights(model, dict(state), HEAD, "file")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"module." + name: tensor for name, tensor in state.items()}},
        lambda state: {"model_state_dict": state},
        lambda state: {"_orig_mod." + name: tensor for name, tensor in state.items()},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == state.keys()


def test_safetensors(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(tmp_path / "w.safetensors")["0.bias"], state["0.bias"])


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_payload_is_refused_and_never_runs(tmp_path):
    torch.save({"state_dict": Payload(tmp_path / "marker")}, tmp_path / "w.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    for name in ("w.pt", "p.pt"):
        with pytest.raises(
            DataError, match="cannot be read as plain tensors: it holds Python"
        ) as e:
            read_weights(tmp_path / name)
        assert "weights_only" not in str(e.value)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>", bytes(200)])
def test_damaged_files_are_refused_in_words(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as plain tensors"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\n <!DOCTYPE HTML><title>404", "it is a web page"),
        (b"<html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b'{"error":\n "Zugriff verweigert \xc3\xbc"}', 'text, which begins with \'{"error": "Zu'),
        (bytes(200), "damaged, cut short or of another kind"),
        (b"PK\3\4 cut", "or it is damaged"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_what_came_instead_is_said_and_no_advice_of_torch_s(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_weights(tmp_path / name)
    assert words in str(error.value) and "weights_only" not in str(error.value)
    assert weights_fault(tmp_path / name) in str(error.value)


def test_safetensors_are_known_by_their_header(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors.part")
    assert weights_fault(tmp_path / "w.safetensors.part") == ""
    assert read_weights(tmp_path / "w.safetensors.part").keys() == state.keys()


def test_a_missing_file_is_said_as_such(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_weights(tmp_path / "gone.pt")


def test_what_is_no_state_dict_is_refused(tmp_path):
    for content in ({"a": 1}, [torch.ones(1)], {}):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(DataError, match="holds no state dict"):
            read_weights(tmp_path / "w.pt")


def test_sha256_of_files_only(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"abc")
    spec = BackboneSpec(name="timm:resnet18", weights=str(tmp_path / "w.pt"))
    assert weights_sha256(spec) == hashlib.sha256(b"abc").hexdigest()
    assert weights_sha256(BackboneSpec(name="timm:resnet18", weights="none")) == ""
    with pytest.raises(DataError, match="No such file"):
        weights_sha256(BackboneSpec(name="timm:resnet18", weights=str(tmp_path / "gone.pt")))


def test_a_file_is_hashed_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    path, hashed = tmp_path / "w.pt", []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: hashed.append(a) or digest(*a))
    for content in (b"abc", b"abcd"):
        path.write_bytes(content)
        for _ in range(2):
            assert file_sha256(path) == hashlib.sha256(content).hexdigest()
    assert len(hashed) == 2
