"""Weights and models from a hub: fetched once, checked, or refused in one plain sentence."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save

from raybench.backbones.build import build_backbone
from raybench.backbones.resolve import resolve_weights
from raybench.errors import DataError, ResourceError
from raybench.spec import BackboneSpec
from tests.backbones.hub_server import COMMIT, HubServer, hub_server, use_hub

TAGGED = BackboneSpec(name="timm:resnet18.a1_in1k")
FILE = "timm/resnet18.a1_in1k/model.safetensors"
MINE = BackboneSpec(name="timm:hf-hub:me/my-model")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server() as server:
        use_hub(monkeypatch, server.address, tmp_path / "cache")
        yield server


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def my_model(hub: HubServer, **config: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    model = timm.create_model("test_resnet", num_classes=11)
    hub.files["me/my-model/config.json"] = json.dumps(
        {
            "architecture": "test_resnet",
            "num_classes": 11,
            "pretrained_cfg": {
                "input_size": [3, 160, 160],
                "mean": [0.1, 0.2, 0.3],
                "std": [0.5, 0.5, 0.5],
                "num_classes": 11,
                "first_conv": "conv1.0",
                "classifier": "fc",
            },
            **config,
        }
    ).encode()
    hub.files["me/my-model/model.safetensors"] = save(model.state_dict())
    return model.state_dict()


def test_fetched_once_and_then_never_asked_for(hub, no_network_after, tmp_path):
    hub.files[FILE] = b"weights"
    told: list[str] = []
    found = resolve_weights(TAGGED, tell=told.append)
    assert found.sha256 == sha256(b"weights") and found.path.read_bytes() == b"weights"
    assert told[0].startswith("fetching model.safetensors from http://127.0.0.1")
    assert told[1].startswith(
        "weights: timm:resnet18.a1_in1k: model.safetensors, 0.0 MB, from http"
    )
    no_network_after()
    assert resolve_weights(TAGGED).source == "the Hugging Face cache"


@pytest.fixture
def no_network_after(request):
    return lambda: request.getfixturevalue("no_network")


def test_the_older_file_name_is_tried_after_the_safe_one(hub):
    hub.files["timm/resnet18.a1_in1k/pytorch_model.bin"] = b"older"
    assert resolve_weights(TAGGED).path.name == "pytorch_model.bin"


def test_a_gated_repository_wants_its_licence_accepted(hub, monkeypatch):
    hub.files[FILE] = b"weights"
    hub.gated.add("timm/resnet18.a1_in1k")
    with pytest.raises(ResourceError, match="it is gated: accept its licence .* set HF_TOKEN"):
        resolve_weights(TAGGED)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_secret")
    with pytest.raises(ResourceError, match="it is gated") as error:
        resolve_weights(TAGGED)
    assert "hf_wrong_secret" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert resolve_weights(TAGGED).sha256 == sha256(b"weights")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("me/unknown", "no such repository, or it is private"),
        ("me/my-model@nowhere", "no such revision"),
    ],
)
def test_names_that_the_hub_does_not_know_are_the_users_mistake(hub, name, words):
    my_model(hub)
    with pytest.raises(DataError, match=f"asked {hub.address}/me/.*{words}"):
        resolve_weights(BackboneSpec(name=f"timm:hf-hub:{name}"))


def test_a_repository_without_weights(hub):
    hub.files["me/my-model/README.md"] = b"soon"
    with pytest.raises(DataError, match=r"none of model.safetensors, pytorch_model.bin"):
        resolve_weights(MINE)


@pytest.mark.parametrize("cut", [b"", b"weig"])
def test_a_truncated_answer_is_refused(hub, cut):
    hub.files[FILE], hub.sent[FILE] = b"weights", cut
    with pytest.raises(ResourceError, match=r"'pretrained' of 'timm:resnet18.a1_in1k': not found"):
        resolve_weights(TAGGED)
    del hub.sent[FILE]
    assert resolve_weights(TAGGED).sha256 == sha256(b"weights")


def test_other_bytes_of_the_same_length_are_refused_and_never_loaded(hub):
    hub.files[FILE], hub.sent[FILE] = b"weights", b"WEIGHTS"
    for _ in range(2):  # the client's cache holds it now
        with pytest.raises(DataError, match="damaged or another file: SHA-256 .*delete the file"):
            resolve_weights(TAGGED)


def test_no_connection_names_every_place(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://user:secret@127.0.0.1:{free.getsockname()[1]}"
    use_hub(monkeypatch, address, tmp_path / "cache")
    (tmp_path / "w").mkdir()
    with pytest.raises(ResourceError) as error:
        resolve_weights(TAGGED, tmp_path / "w")
    text = str(error.value)
    for place in (
        f"{tmp_path / 'w'} (as resnet18.a1_in1k.safetensors, ",
        ", timm__resnet18.a1_in1k.pth,",
        tmp_path / "w" / "models--timm--resnet18.a1_in1k",
        tmp_path / "cache" / "models--timm--resnet18.a1_in1k",
    ):
        assert f"{place}" in text
    assert "/timm/resnet18.a1_in1k; it does not answer" in text and text.count("then asked") == 1
    assert "secret" not in text
    assert "raybench fetch FILE" in text and "RAYBENCH_WEIGHTS" in text


def test_offline_is_respected_at_once(hub, tmp_path, monkeypatch):
    hub.files[FILE] = b"weights"
    use_hub(monkeypatch, hub.address, tmp_path / "cache", offline=True)
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE is set"):
        resolve_weights(TAGGED)
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE is set"):
        resolve_weights(BackboneSpec(name="timm:resnet18", weights=f"{hub.address}/w.pth"))
    assert not hub.requests
    use_hub(monkeypatch, hub.address, tmp_path / "cache")
    resolve_weights(TAGGED)
    hub.requests.clear()
    use_hub(monkeypatch, hub.address, tmp_path / "cache", offline=True)
    assert resolve_weights(TAGGED).sha256 == sha256(b"weights") and not hub.requests


def test_a_weights_folder_may_be_a_copy_of_the_cache(hub, tmp_path, monkeypatch):
    hub.files[FILE] = b"weights"
    resolve_weights(TAGGED)
    use_hub(monkeypatch, hub.address, tmp_path / "empty", offline=True)
    found = resolve_weights(TAGGED, tmp_path / "cache")
    assert found.source == "the weights folder" and found.sha256 == sha256(b"weights")
    blob = Path(os.path.realpath(found.path))
    blob.write_bytes(b"cut")
    with pytest.raises(DataError, match="damaged"):
        resolve_weights(TAGGED, tmp_path / "cache")


def test_a_model_of_the_hub_is_built_as_its_configuration_says(hub, tmp_path, monkeypatch):
    state = my_model(hub)
    for classes in (3, 11):
        backbone = build_backbone(MINE, classes, 32)
        own = backbone.model.state_dict()
        assert backbone.mean == (0.1, 0.2, 0.3)
        assert backbone.head_parameter_names == ("fc.weight", "fc.bias")
        for name in own.keys() - {"fc.weight", "fc.bias"}:
            assert torch.equal(own[name], state[name])
        assert own["fc.weight"].shape[0] == classes
        assert not torch.equal(own["fc.weight"], state["fc.weight"])
    use_hub(monkeypatch, hub.address, tmp_path / "cache", offline=True)
    hub.requests.clear()
    pinned = BackboneSpec(name=f"{MINE.name}@{COMMIT}")
    assert build_backbone(pinned, 3, 32).facts == build_backbone(MINE, 3, 32).facts
    assert build_backbone(MINE.model_copy(update={"weights": "none"}), 3, 32).mean[0] == 0.1
    assert not hub.requests


def test_a_model_of_the_hub_from_a_weights_folder(hub, tmp_path, monkeypatch):
    my_model(hub)
    folder = tmp_path / "w" / "me__my-model"
    folder.mkdir(parents=True)
    for name, content in hub.files.items():
        (folder / Path(name).name).write_bytes(content)
    use_hub(monkeypatch, hub.address, tmp_path / "empty", offline=True)
    built = build_backbone(MINE, 3, 32, weights_dir=tmp_path / "w")
    assert built.mean == (0.1, 0.2, 0.3) and not hub.requests


@pytest.mark.parametrize(
    ("architecture", "words"),
    [("test_convnext", "it lacks 'fc.weight'"), ("resnet10t", "Unexpected key")],
)
def test_weights_of_another_model_are_refused_not_ignored(hub, architecture, words):
    my_model(hub, architecture=architecture)
    with pytest.raises(DataError, match=f"do not fit the model: .*{words}"):
        build_backbone(MINE, 3, 32)


def test_a_file_that_lacks_a_weight_is_refused_not_filled_by_chance(hub):
    state = my_model(hub)
    del state["layer1.0.conv1.weight"]
    hub.files["me/my-model/model.safetensors"] = save(state)
    with pytest.raises(DataError, match=r"do not fit .*Missing key.*layer1.0.conv1.weight"):
        build_backbone(MINE, 3, 32)
