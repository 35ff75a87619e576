"""WaveMix: the package is repaired for its import only, and its models train anywhere."""

from __future__ import annotations

import copy
import importlib.util
import sys

import pytest
import torch

from raybench.backbones.build import build_backbone
from raybench.backbones.published import published_file
from raybench.errors import DataError
from raybench.spec import BackboneSpec

NAME = "wavemix:wavemix_192_16"
SMALL = {"depth": 1, "ff_channel": 16, "final_dim": 16}


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("wavemix") is None, reason="needs pip install 'raybench[paper]'"
)


def build(size: int = 32, weights: str = "none", kwargs: dict | None = None):
    spec = BackboneSpec(name=NAME, weights=weights, kwargs=SMALL if kwargs is None else kwargs)
    torch.manual_seed(0)
    return build_backbone(spec, 7, size)


def test_the_papers_model_and_file():
    backbone = build(kwargs={})
    assert backbone.facts == {"parameters": 27_665_959, "library": "wavemix"}
    assert backbone.head_parameter_names == ("pool.2.weight", "pool.2.bias")
    file = published_file(BackboneSpec(name=NAME))
    assert file.repository == "cloudwalker/wavemix"
    assert file.names == ("Saved_Models_Weights/ImageNet/wavemix_192_16_75.06.pth",)


def test_all_but_the_head_comes_from_the_file(tmp_path):
    state = {k: torch.full_like(v, 0.5) for k, v in build().model.state_dict().items()}
    state["pool.2.weight"], state["pool.2.bias"] = torch.ones(1000, 16), torch.ones(1000)
    torch.save(state, tmp_path / "w.pth")
    own = build(weights=str(tmp_path / "w.pth")).model.state_dict()
    assert all(torch.equal(own[k], state[k]) for k in own if not k.startswith("pool.2"))
    assert own["pool.2.weight"].shape == (7, 16) and own["pool.2.weight"].max() < 1
    del state["conv.0.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"do not fit the model: it lacks conv.0.weight"):
        build(weights=str(tmp_path / "w.pth"))


def test_nothing_of_the_repair_stays(monkeypatch):
    for name in ("wavemix", "wavemix.classification"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    function_base = "numpy.lib.function_base"
    monkeypatch.delitem(sys.modules, function_base, raising=False)
    is_available = torch.cuda.is_available
    build()
    assert "wavemix" in sys.modules and function_base not in sys.modules
    assert torch.cuda.is_available is is_available


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_it_trains_in_every_precision(precision):
    model = build().model
    images = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", dtype=precision, enabled=precision is not None):
        loss = model(images).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_its_filters_follow_the_input():
    model, image = build().model.eval(), torch.ones(1, 3, 32, 32)
    here = model(image)
    there = copy.deepcopy(model).to("meta")(image.to("meta"))
    assert there.device.type == "meta" and there.shape == here.shape
    assert torch.equal(model(image), here)


@pytest.mark.parametrize(
    ("size", "give"), [(48, "32 or 64"), (16, "32 or 64"), (250, "224 or 256")]
)
def test_sizes_it_cannot_take(size, give):
    with pytest.raises(DataError, match=f"multiple of 32, not {size}; give {give}"):
        build(size)


def test_stochastic_depth_is_refused():
    with pytest.raises(DataError, match="has no stochastic depth"):
        build_backbone(BackboneSpec(name=NAME, weights="none", kwargs=SMALL), 7, 32, 0.1)
