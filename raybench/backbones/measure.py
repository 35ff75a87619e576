"""Parameters, multiply-accumulates (MACs) and activations of models, counted on the meta device.

Nothing is allocated there, so the largest model takes no more memory than the smallest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from raybench.backbones.index import INDEXED, load_index
from raybench.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

CLASSES = 1000
_WAVEMIX_HOME = "https://github.com/pranavphoenix/WaveMix"
WAVEMIX_SIZE = 256
"""The side at which its authors fine-tune it (github.com/pranavphoenix/Backbones)."""

# WaveMix keeps its filters outside its models, and would leave them on the meta device;
# torchvision's RegNets compute their widths with tensors.
_NEED_NUMBERS = ("wavemix:", "torchvision:regnet_")

Counts = tuple[int | None, int | None]


class Size(NamedTuple):
    """Of a model, and of one image that goes through it."""

    parameters: int
    macs: int
    activations: int


def count(make: Callable[[], nn.Module], height: int, width: int, device: str = "meta") -> Size:
    """Of the model that ``make`` builds, for one (1, 3, height, width) image.

    MACs are those of convolutions and matrix products, attention included; activations what
    convolutions and linear layers put out.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from raybench.backbones.activations import ActivationCounter

    with torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().eval()
        # With gradients on: without them the counter's own hooks fail in models that call a
        # module on a detached tensor (torch 2.11).
        with (
            torch.enable_grad(),
            ActivationCounter() as outputs,
            FlopCounterMode(display=False) as counter,
        ):
            model(torch.zeros(1, 3, height, width))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    macs = counter.get_total_flops() // 2  # it counts multiplications and additions
    return Size(parameters, macs, outputs.total)


def measure_built(spec: BackboneSpec, image_size: int) -> Size:
    """As a trial builds it for square images, with ``CLASSES`` classes; weights play no part.

    Raises:
        DataError: it cannot be built for this size.
        ResourceError: its package is not installed.
    """
    from raybench.backbones.build import build_backbone

    return count(
        lambda: build_backbone(spec, CLASSES, image_size, load=False).model,
        image_size,
        image_size,
        "cpu" if spec.name.startswith(_NEED_NUMBERS) else "meta",
    )


def build_descriptions(tell: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Library -> model -> [family, {tag: cells}], cells as ``describe`` reads them."""
    index = load_index()
    described = {
        "versions": {library: metadata.version(library) for library in INDEXED},
        "timm": _timm_models(tell),
        "torchvision": {name: _torchvision_model(name) for name in index["torchvision"]},
        "wavemix": {name: _wavemix_model(name) for name in index["wavemix"]},
    }
    return described


def _timm_models(tell: Callable[[str], None]) -> dict[str, Any]:
    models = load_index()["timm"]
    described = {}
    for number, (name, tags) in enumerate(models.items()):
        described[name] = _timm_model(name, tags, tell)
        if number % 50 == 0:
            tell(f"{number} of {len(models)} timm models")
    return described


def _timm_model(name: str, tags: tuple[str, ...], tell: Callable[[str], None]) -> list[Any]:
    from timm.models import get_pretrained_cfg, model_entrypoint

    seen: dict[Any, Counts] = {}
    rows = {}
    for tag in tags or ("",):
        full = f"{name}.{tag}" if tag else name
        config = get_pretrained_cfg(full)
        shape = (config.input_size, config.num_classes)
        if shape not in seen:
            seen[shape] = measure_timm(full, tell)
        rows[tag] = [*seen[shape], *_timm_cells(full, config)]
    return [model_entrypoint(name).__module__.rpartition(".")[2], rows]


def measure_timm(full: str, tell: Callable[[str], None] = lambda _: None) -> Counts:
    """A timm model with its published classifier at its published size; Nones where it cannot."""
    import timm
    from timm.models import get_pretrained_cfg

    _, height, width = get_pretrained_cfg(full).input_size
    try:
        return count(lambda: timm.create_model(full), height, width)[:2]
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        tell(f"{full} cannot be measured: {type(error).__name__}: {error}")
        return None, None


def _timm_cells(full: str, config: Any) -> list[Any]:
    _, height, width = config.input_size
    size = height if height == width else [height, width]
    source = config.hf_hub_id or config.url or ""
    origin = config.origin_url or ""
    known = ["" if source == f"timm/{full}" else source, origin]
    while known and not known[-1]:
        known.pop()
    return [size, int(config.fixed_input_size), config.license or "", *known]


def _torchvision_model(name: str) -> list[Any]:
    from torchvision import models

    family = models.get_model_builder(name).__module__.rpartition(".")[2]
    fixed = _refuses_other_sizes(name)
    rows = {}
    for tag in load_index()["torchvision"][name]:
        weights = models.get_model_weights(name)[tag]
        meta, size = weights.meta, weights.transforms().crop_size[0]
        top1 = meta["_metrics"]["ImageNet-1K"]["acc@1"]
        rows[tag] = [
            meta["num_params"],
            round(meta["_ops"] * 1e9),
            size,
            int(fixed),
            meta.get("license", ""),
            weights.url,
            meta["recipe"],
            None if math.isnan(top1) else top1,  # VGG's features without a classifier
        ]
    return [family, rows]


def _refuses_other_sizes(name: str) -> bool:
    """Whether the model, as it is built by default, takes images of one size only."""
    from torchvision import models

    if f"torchvision:{name}".startswith(_NEED_NUMBERS):
        return False
    side = models.get_model_weights(name).DEFAULT.transforms().crop_size[0] + 32
    try:
        count(lambda: models.get_model(name, weights=None), side, side)
    except (AssertionError, RuntimeError):  # ViT checks its size; MaxViT's reshape fails
        return True
    return False


def _wavemix_model(name: str) -> list[Any]:
    from raybench.backbones.wavemix_table import WAVEMIX, WAVEMIX_REPOSITORY

    counts = measure_built(BackboneSpec(name=f"wavemix:{name}"), WAVEMIX_SIZE)[:2]
    cells = [*counts, WAVEMIX_SIZE, 0, "", WAVEMIX_REPOSITORY, _WAVEMIX_HOME]
    return ["wavemix", {tag: cells for tag in WAVEMIX[name].files}]
