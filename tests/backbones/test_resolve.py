"""Where weights are looked for, in which order, and what is said when they are nowhere."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torchvision.models import ResNet18_Weights

from raybench.backbones.resolve import resolve_all, resolve_weights
from raybench.download import recorded_sha256
from raybench.errors import DataError, ResourceError
from raybench.spec import BackboneSpec
from tests.backbones.hub_server import use_hub
from tests.standin import standin_server

CONTENT = b"the weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def torch_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "checkpoints"


@pytest.fixture
def server(tmp_path, torch_folder, monkeypatch):
    monkeypatch.setattr("raybench.download._FIRST_WAIT_S", 0.01)
    (tmp_path / "served").mkdir()
    with standin_server(tmp_path / "served") as running:
        yield running


@pytest.fixture
def resnet(server, monkeypatch) -> tuple[BackboneSpec, str]:
    """torchvision's ResNet-18, as if it were published by our server; its file's name."""
    name = f"resnet18-{DIGEST[:8]}.pth"
    (server.folder / name).write_bytes(CONTENT)
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", server.url(name))
    return BackboneSpec(name="torchvision:resnet18"), name


def state_dict() -> bytes:
    file = io.BytesIO()
    torch.save({"0.weight": torch.ones(2)}, file)
    return file.getvalue()


def users(url: str) -> BackboneSpec:
    return BackboneSpec(name="timm:resnet18", weights=url)


def test_nothing_to_resolve():
    assert resolve_weights(BackboneSpec(name="timm:resnet18", weights="none")) is None
    assert resolve_weights(BackboneSpec(name="python:a:b")) is None


def test_the_order_of_places(resnet, server, torch_folder, tmp_path):
    """Each place is emptied in turn; the network comes last, and fills torch's own folder."""
    spec, name = resnet
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / name).write_bytes(CONTENT)
    (torch_folder / name).write_bytes(CONTENT)
    assert resolve_weights(spec, folder).path == folder / name
    (folder / name).unlink()
    found = resolve_weights(spec, folder)
    assert (found.path, found.source) == (torch_folder / name, "torch's hub folder")
    assert not server.requests
    (torch_folder / name).unlink()
    told: list[str] = []
    found = resolve_weights(spec, folder, told.append)
    assert (found.path, found.sha256, found.source) == (
        torch_folder / name,
        DIGEST,
        server.url(name),
    )
    assert told[-1] == f"weights: torchvision:resnet18: {name}, 0.0 MB, from {server.url(name)}"
    resolve_weights(spec, folder)
    assert server.requests[name] == 1


@pytest.mark.parametrize("place", ["w", "torch/checkpoints"])
def test_the_hash_in_a_published_name_is_checked(resnet, tmp_path, torch_folder, place):
    spec, name = resnet
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / name).write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=f"{tmp_path / place / name} are damaged.*{DIGEST[:8]}"):
        resolve_weights(spec, tmp_path / "w" if place == "w" else None)


def test_a_download_of_other_bytes_leaves_nothing(resnet, server, torch_folder):
    spec, name = resnet
    server.fault(name, body=b"an error page")
    with pytest.raises(ResourceError, match=f"published is {DIGEST[:8]}, and was thrown away"):
        resolve_weights(spec)
    assert [path.name for path in torch_folder.iterdir() if path.suffix != ".lock"] == []
    server.mend(name)
    assert resolve_weights(spec).sha256 == DIGEST


@pytest.mark.parametrize("fault", [{"truncate": 4}, {"statuses": [503, 503]}])
def test_passing_failures_are_waited_out(resnet, server, fault):
    spec, name = resnet
    server.fault(name, **fault)
    assert resolve_weights(spec).sha256 == DIGEST


def test_users_addresses_and_their_hashes(server, torch_folder):
    (server.folder / "w.pth").write_bytes(CONTENT)
    url = server.url("w.pth")
    assert resolve_weights(users(f"{url}#sha256={DIGEST.upper()}")).sha256 == DIGEST
    with pytest.raises(ResourceError, match=f"{DIGEST} instead of {'0' * 64}"):
        resolve_weights(users(f"{url}#sha256={'0' * 64}"))
    (server.folder / "w.pth").write_bytes(state_dict())
    told: list[str] = []
    found = resolve_weights(users(url), tell=told.append)
    assert any("recorded, not published" in text for text in told)
    found.path.write_bytes(b"another")
    with pytest.raises(DataError, match="damaged or another file"):
        resolve_weights(users(url))


PAGE = b"<!DOCTYPE html><title>Sign in</title>"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_an_error_page_sent_as_if_all_were_well_is_not_kept(server, torch_folder, name):
    """It has no published hash to differ from, and would be what later downloads are held to."""
    (server.folder / name).write_bytes(
        state_dict() if name == "w.pth" else save({"a": torch.ones(2)})
    )
    server.fault(name, body=PAGE)
    url = server.url(name)
    with pytest.raises(ResourceError) as error:
        resolve_weights(users(url))
    text = str(error.value)
    assert (
        f"; then asked {url}; what came cannot be read as plain tensors: it is a web page" in text
    )
    assert "was thrown away" in text and "weights_only" not in text and text.count("asked") == 1
    assert [path.name for path in torch_folder.iterdir() if path.suffix != ".lock"] == []
    server.mend(name)
    found = resolve_weights(users(url))
    assert recorded_sha256(found.path) == found.sha256
    assert resolve_weights(users(url)).source == "torch's hub folder"


@pytest.mark.parametrize("fragment", ["sha265=" + "0" * 64, "sha256=12", "sha256=zz"])
def test_a_mistyped_hash_does_not_switch_the_check_off(server, fragment):
    (server.folder / "w.pth").write_bytes(state_dict())
    with pytest.raises(DataError, match=f"'#{fragment}' behind it is no hash"):
        resolve_weights(users(f"{server.url('w.pth')}#{fragment}"))
    assert not server.requests


def test_what_to_do_without_a_network_names_file_and_folder(server, tmp_path, monkeypatch):
    use_hub(monkeypatch, server.address, tmp_path / "cache", offline=True)
    tagged = BackboneSpec(name="timm:resnet18.a1_in1k")
    theirs = users(server.url("w.pth"))
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", server.url("r-0123abcd.pth"))
    with pytest.raises(ResourceError) as error:
        resolve_all([tagged, theirs, BackboneSpec(name="torchvision:resnet18")])
    hub, address, published = error.value.sentences
    kinds = "(or .bin, .pth, .pt, as its kind is)"
    ending = "in a folder and name that in RAYBENCH_WEIGHTS"
    assert hub.endswith(f"put the file as resnet18.a1_in1k.safetensors {kinds} {ending}")
    assert address.endswith(f"put the file as w.pth {ending}")
    assert published.endswith(f"put the file as r-0123abcd.pth {ending}")
    for sentence in error.value.sentences:
        assert "asked http" not in sentence and "HF_HUB_OFFLINE is set, so http" in sentence
        assert "\n" not in sentence
    with pytest.raises(ResourceError, match=rf"as w.pth in {tmp_path} \(RAYBENCH_WEIGHTS\)$"):
        resolve_weights(theirs, tmp_path)
    assert not server.requests


def test_secrets_in_an_address_are_not_repeated(server):
    url = server.url("w.pth").replace("http://", "http://me:pass@") + "?signature=abc"
    with pytest.raises(ResourceError) as error:
        resolve_weights(users(url))
    assert "pass" not in str(error.value) and "signature" not in str(error.value)


def test_stores_that_fsspec_knows(torch_folder):
    from fsspec import filesystem

    filesystem("memory").pipe("/bucket/w.pth", CONTENT)
    url = "memory://bucket/w.pth"
    assert resolve_weights(users(f"{url}#sha256={DIGEST}")).sha256 == DIGEST
    with pytest.raises(ResourceError, match="thrown away"):
        resolve_weights(users(f"{url}#sha256={'0' * 64}"))
    with pytest.raises(ResourceError, match="bucket/w.pth holds cannot be read .* was thrown away"):
        resolve_weights(users(url))
    filesystem("memory").pipe("/bucket/w.pth", state_dict())
    found = resolve_weights(users(url))
    assert recorded_sha256(found.path) == found.sha256 == hashlib.sha256(state_dict()).hexdigest()
    with pytest.raises(ResourceError, match="memory://bucket/gone.pth cannot be read"):
        resolve_weights(users("memory://bucket/gone.pth"))
    with pytest.raises(ResourceError, match="nostore:// needs fsspec's driver|cannot be read"):
        resolve_weights(users("nostore://bucket/w.pth"))


def test_a_weights_folder_that_is_none(resnet, tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path / 'gone'} is no folder; correct"):
        resolve_weights(resnet[0], tmp_path / "gone")


def test_all_at_once_with_every_mistake(resnet, server, tmp_path, monkeypatch):
    use_hub(monkeypatch, server.address, tmp_path / "cache", offline=True)
    (tmp_path / "w.pt").write_bytes(CONTENT)
    here = BackboneSpec(name="timm:resnet18", weights=str(tmp_path / "w.pt"))
    nothing = BackboneSpec(name="timm:resnet18", weights="none")
    far = BackboneSpec(name="timm:resnet34")
    gone = BackboneSpec(name="timm:resnet18", weights=str(tmp_path / "gone.pt"))
    found = resolve_all([here, nothing])
    assert found.keys() == {here.model_dump_json()}
    assert found[here.model_dump_json()].sha256 == DIGEST
    with pytest.raises(ResourceError) as unreachable:
        resolve_all([far, resnet[0], here])
    assert [s.count("HF_HUB_OFFLINE is set") for s in unreachable.value.sentences] == [1, 1]
    with pytest.raises(DataError) as mistakes:
        resolve_all([far, gone, here])
    assert len(mistakes.value.mistakes) == 2 and "no such file" in mistakes.value.mistakes[1]


def test_many_processes_worth_of_threads_fetch_once(resnet, server):
    spec, name = resnet
    threads = [threading.Thread(target=resolve_weights, args=(spec,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests[name] == 1
