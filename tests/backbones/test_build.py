"""Models from every library: their classifier, normalisation, size, and what they refuse."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from raybench.backbones.build import Backbone, build_backbone
from raybench.backbones.weights import file_sha256
from raybench.errors import DataError, ResourceError
from raybench.spec import BackboneSpec, DatasetSpec

FAMILIES = {  # every way in which torchvision ends a classifier
    "alexnet": "classifier.6",
    "convnext_tiny": "classifier.2",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "googlenet": "fc",
    "inception_v3": "fc",
    "maxvit_t": "classifier.5",
    "mnasnet0_5": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "regnet_y_400mf": "fc",
    "resnet18": "fc",
    "shufflenet_v2_x0_5": "fc",
    "squeezenet1_1": "classifier.1",
    "swin_t": "head",
    "swin_v2_t": "head",
    "vgg11": "classifier.6",
    "vit_b_32": "heads.head",
}

LARGE = ("alexnet", "maxvit_t", "swin_v2_t", "vgg11", "vit_b_32")


def build(name: str, weights: str = "none", classes: int = 3, size: int = 32, **keys) -> Backbone:
    kwargs = keys.pop("kwargs", {})
    torch.manual_seed(0)
    return build_backbone(
        BackboneSpec(name=name, weights=weights, kwargs=kwargs), classes, size, **keys
    )


def head_modules(backbone: Backbone) -> set[str]:
    return {name.rpartition(".")[0] for name in backbone.head_parameter_names}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
        for name in sorted(FAMILIES)
    ],
)
def test_torchvision_families(name):
    size = {"inception_v3": 75, "alexnet": 64, "maxvit_t": 224}.get(name, 32)
    backbone = build(f"torchvision:{name}", size=size)
    assert head_modules(backbone) == {FAMILIES[name]}
    assert backbone.facts["parameters"] == sum(p.numel() for p in backbone.model.parameters())
    assert backbone.facts["library"] == "torchvision"
    assert backbone.mean == pytest.approx((0.485, 0.456, 0.406))
    backbone.model.train()
    if name not in ("googlenet", "inception_v3"):
        return
    assert isinstance(backbone.model(torch.zeros(2, 3, 96, 96)), torch.Tensor)


@pytest.mark.parametrize(
    ("name", "head", "size"),
    [
        ("resnet10t", {"fc"}, 32),
        ("convnext_atto", {"head.fc"}, 32),
        ("vit_tiny_patch16_224", {"head"}, 48),
        ("deit_tiny_distilled_patch16_224", {"head", "head_dist"}, 32),
        ("mobilenetv3_small_050", {"classifier"}, 32),
        ("swin_tiny_patch4_window7_224", {"head.fc"}, 56),
        ("mixer_s32_224", {"head"}, 64),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.searchsorted:UserWarning")
def test_timm_families_in_any_size(name, head, size):
    backbone = build(f"timm:{name}", size=size)
    assert head_modules(backbone) == head and backbone.facts["library"] == "timm"


def test_normalisation_is_the_models_own_with_and_without_weights():
    assert build("timm:vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)
    assert build("timm:resnet10t").mean == pytest.approx((0.485, 0.456, 0.406))
    overlay = {"pretrained_cfg_overlay": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}
    assert build("timm:resnet10t", kwargs=overlay).mean == (0.1, 0.2, 0.3)
    assert build("timm:efficientnet_b0", load=False).mean == pytest.approx((0.485, 0.456, 0.406))
    tagged = build("timm:efficientnet_b0", "ra4_e3600_r224_in1k", load=False)
    assert tagged.mean == (0.5, 0.5, 0.5)


def test_drop_path_is_set_linearly_and_off_by_default():
    for name in ("torchvision:efficientnet_b0", "torchvision:swin_t"):
        rates = _rates(build(name, drop_path=0.3))
        assert rates[0] == 0 and rates[-1] == pytest.approx(0.3) and rates == sorted(rates)
    assert set(_rates(build("torchvision:efficientnet_b0"))) == {0.0}
    model = build("timm:convnext_atto", drop_path=0.3).model
    assert max(getattr(m, "drop_prob", 0.0) or 0.0 for m in model.modules()) == pytest.approx(0.3)


def _rates(backbone: Backbone) -> list[float]:
    kind = torchvision.ops.StochasticDepth
    return [module.p for module in backbone.model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:vgg11"])
def test_drop_path_where_there_is_none_is_refused(name):
    with pytest.raises(DataError, match="has no stochastic depth: drop_path must be 0, got 0.1"):
        build(name, size=64, drop_path=0.1)


@pytest.mark.parametrize(
    ("name", "size", "kwargs"),
    [
        ("torchvision:alexnet", 16, {}),
        ("torchvision:squeezenet1_1", 8, {}),
        ("timm:resnet10t", 32, {"nonsense": 1}),
        ("torchvision:resnet18", 32, {"nonsense": 1}),
        ("timm:vit_tiny_patch16_224", 8, {}),
    ],
)
def test_sizes_and_arguments_a_model_cannot_take(name, size, kwargs):
    with pytest.raises(DataError, match=f"'{name}' cannot be built for 3 classes .*{size}x{size}"):
        build(name, size=size, kwargs=kwargs)


def test_initialisation_follows_torchs_seed():
    first, second = build("timm:resnet10t").model, build("timm:resnet10t").model
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def published(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> nn.Module:
    """A stand-in for torchvision's published weights, where torch.hub would have put them."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    torch.manual_seed(7)
    extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, **extra)
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), folder / "new.pth")
    file = f"{name}-{file_sha256(folder / 'new.pth')[:8]}.pth"
    (folder / "new.pth").rename(folder / "checkpoints" / file)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    monkeypatch.setattr(weights.value, "url", f"https://example.org/models/{file}")
    return model


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_published_torchvision_weights_are_loaded_but_for_the_head(name, tmp_path, monkeypatch):
    state = published(monkeypatch, tmp_path, name).state_dict()
    backbone = build(f"torchvision:{name}", "pretrained", classes=1000, size=64)
    for key, tensor in backbone.model.state_dict().items():
        if key.endswith("weight") and tensor.std() > 0:
            assert torch.equal(tensor, state[key]) == (key not in backbone.head_parameter_names)


@pytest.mark.parametrize("content", [b"", b"truncated"])
def test_a_damaged_file_in_torchs_cache_is_refused(tmp_path, monkeypatch, content):
    published(monkeypatch, tmp_path, "squeezenet1_1")
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"weights {path} are damaged or another file: SHA-256"):
        build("torchvision:squeezenet1_1", "pretrained", size=64)


def test_weights_that_changed_since_the_first_run_are_refused(tmp_path):
    backbone = build("timm:test_resnet")
    path = tmp_path / "w.safetensors"
    save_file(backbone.model.state_dict(), path)
    digest = file_sha256(path)
    build("timm:test_resnet", str(path), expected_sha256=digest)
    save_file({k: v + 1 for k, v in backbone.model.state_dict().items()}, path)
    with pytest.raises(DataError, match=f"have changed since .*{file_sha256(path)}.*{digest}"):
        build("timm:test_resnet", str(path), expected_sha256=digest)
    build("timm:test_resnet", str(path), expected_sha256=digest, load=False)


def test_one_image_is_tried_once_per_process(monkeypatch):
    seen = []
    monkeypatch.setattr("raybench.backbones.build._tried", set())
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: seen.append(type(module).__name__)
    )
    try:
        for size in (32, 32, 64):
            build("timm:test_resnet", size=size)
    finally:
        hook.remove()
    assert seen.count("ResNet") == 2


@pytest.mark.slow
def test_published_vit_weights_fit_another_size(tmp_path, monkeypatch):
    state = published(monkeypatch, tmp_path, "vit_b_32").state_dict()
    model = build("torchvision:vit_b_32", "IMAGENET1K_V1", size=64).model
    assert torch.equal(model.conv_proj.weight, state["conv_proj.weight"])
    assert model.encoder.pos_embedding.shape == (1, 5, 768)


def in_hub_cache(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> nn.Module:
    """A stand-in for timm's published weights, laid out as the Hub's client keeps them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(folder), raising=False)
    torch.manual_seed(7)
    model = timm.create_model(name)
    repository = folder / f"models--timm--{name}"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    save_file(model.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    return model


@pytest.mark.parametrize("classes", [3, 1000])
def test_timm_weights_come_from_the_cache_without_a_network(tmp_path, monkeypatch, classes):
    source = in_hub_cache(monkeypatch, tmp_path, "vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    monkeypatch.setattr("socket.getaddrinfo", _no_network)
    backbone = build("timm:vit_tiny_patch16_224", "pretrained", classes=classes, size=64)
    model = backbone.model
    assert torch.equal(model.blocks[3].mlp.fc1.weight, source.blocks[3].mlp.fc1.weight)
    assert model.pos_embed.shape == (1, 17, 192)
    assert classes != 1000 or not torch.equal(model.head.weight, source.head.weight)


def _no_network(*args: object, **kwargs: object) -> None:
    raise OSError("no network")


def test_weights_out_of_reach_are_told_and_never_replaced_by_chance(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", _no_network)
    monkeypatch.setattr("raybench.download._FIRST_WAIT_S", 0.01)
    with pytest.raises(ResourceError, match=f"{tmp_path}/models--timm--resnet18.a1_in1k.*network"):
        build("timm:resnet18", "pretrained")
    with pytest.raises(ResourceError, match=f"{tmp_path}/checkpoints/resnet18-.*network"):
        build("torchvision:resnet18", "pretrained")
    assert build("timm:resnet18", "pretrained", load=False).facts["parameters"] > 1e7


def test_without_its_package_wavemix_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wavemix", None)
    monkeypatch.delitem(sys.modules, "wavemix.classification", raising=False)
    with pytest.raises(ResourceError, match=r"pip install 'raybench\[paper\]'"):
        build("wavemix:wavemix_192_16")


MODULE = """
from torch import nn

def linear(classes, image_size, width=4):
    body = nn.Conv2d(3, width, 1)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

def wrong_shape(classes, image_size):
    return nn.Flatten()

def broken(classes, image_size):
    raise KeyError("my bug")

def no_module(classes, image_size):
    return 5
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch) -> str:
    (tmp_path / "users_models.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "users_models", raising=False)
    return "python:users_models"


def test_python_functions(user_module, tmp_path):
    backbone = build(f"{user_module}:linear", kwargs={"width": 6})
    assert backbone.head_parameter_names == ("3.weight", "3.bias")
    assert backbone.facts == {"parameters": 45, "library": "python"}
    state = {name: torch.ones_like(tensor) for name, tensor in backbone.model.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    loaded = build(f"{user_module}:linear", str(tmp_path / "w.pt"), kwargs={"width": 6}).model
    assert loaded[0].weight.min() == 1 and loaded[3].weight.min() < 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("gone", "cannot be imported"),
        ("wrong_shape", "no linear or convolutional layer with 3 outputs"),
        ("no_module", "must return a torch.nn.Module, got int"),
    ],
)
def test_python_functions_that_fail(user_module, function, words):
    with pytest.raises(DataError, match=words):
        build(f"{user_module}:{function}")


def test_what_a_users_function_throws_comes_as_it_is(user_module):
    with pytest.raises(KeyError, match="my bug"):
        build(f"{user_module}:broken")


def test_a_module_that_is_not_there(user_module):
    with pytest.raises(DataError, match="No module named 'nowhere'"):
        build("python:nowhere:f")


def test_names_are_checked_first():
    with pytest.raises(DataError, match="did you mean 'timm:resnet50'"):
        build("timm:resnet5O")


REAL = {
    "vit_tiny_patch16_224.pt": ("timm:vit_tiny_patch16_224", {}),
    "mobilenetv2_100_from_int8.pt": ("timm:mobilenetv2_100", {"pad_type": "same"}),
    "mobilenetv2_035_notop.pt": ("timm:mobilenetv2_035", {"pad_type": "same", "bn_eps": 0.001}),
    "squeezenet1_0_deepcompressed.pt": ("torchvision:squeezenet1_0", {}),
}


@pytest.mark.parametrize("file", sorted(REAL))
def test_real_weights_see_more_than_chance(shared_data, tmp_path_factory, file):
    """Nearest class mean of ten photographs: pretrained features beat random ones clearly."""
    from raybench.datasets.task import load_task

    name, kwargs = REAL[file]
    folder = DatasetSpec(name="textures", path=str(shared_data / "images" / "dtd10_r160"))
    task = load_task(folder, 64, "10-shot", 0, tmp_path_factory.getbasetemp() / "textures")
    weights = str(shared_data / "weights" / file)
    accuracy = {
        kind: _nearest_mean_accuracy(build(name, kind, 10, 64, kwargs=kwargs), task)
        for kind in ("none", weights)
    }
    assert accuracy[weights] > accuracy["none"] + 0.1, accuracy


def _nearest_mean_accuracy(backbone: Backbone, task) -> float:
    """Accuracy on validation of cosine nearest class means of what enters the classifier."""
    backbone.model.eval()
    seen: list[torch.Tensor] = []
    head = backbone.model.get_submodule(head_modules(backbone).pop())
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))

    def features(indices: np.ndarray) -> torch.Tensor:
        seen.clear()
        images = torch.from_numpy(task.images[indices]).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
        with torch.inference_mode():
            backbone.model((images - mean) / std)
        flat = torch.cat(seen).flatten(2).mean(2) if seen[0].ndim > 2 else torch.cat(seen)
        return flat

    train, val = features(task.train), features(task.val)
    centre, scale = train.mean(0), train.std(0) + 1e-6
    train, val = (train - centre) / scale, (val - centre) / scale
    labels = torch.from_numpy(task.labels)
    means = torch.stack([train[labels[task.train] == c].mean(0) for c in range(len(task.classes))])
    guesses = nn.functional.cosine_similarity(val[:, None], means[None], dim=2).argmax(1)
    return float((guesses == labels[task.val]).float().mean())
