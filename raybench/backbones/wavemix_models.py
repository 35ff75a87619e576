"""Backbones from the package ``wavemix`` (extra ``paper``), repaired where it is imported."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from raybench.backbones.backbone import (
    DEFAULT_MEAN,
    DEFAULT_STD,
    Backbone,
    Request,
    make_backbone,
    no_drop_path,
)
from raybench.backbones.index import split_name
from raybench.backbones.wavemix_table import WAVEMIX
from raybench.backbones.weights import load_weights, read_weights
from raybench.errors import DataError, ResourceError

if TYPE_CHECKING:
    from torch import Tensor

_HEAD = ("pool.2.weight", "pool.2.bias")
_TRANSFORMS = ("xf1", "xf2", "xf3", "xf4")


def build_wavemix(request: Request) -> Backbone:
    """A WaveMix classifier; the constructor's ``num_classes`` makes the new classifier.

    Mean and standard deviation are ImageNet's, as the authors' configuration of these weights has
    them (github.com/pranavphoenix/WaveMix, ``Image_Classification/timm.py``).
    """
    name = split_name(request.spec.name)[1]
    arguments = {**WAVEMIX[name].arguments, **request.spec.kwargs}
    if request.drop_path > 0:
        raise no_drop_path(request)
    _check_size(request, arguments)
    model = _wavemix().WaveMix(num_classes=request.classes, **arguments)
    if request.weights:
        path = request.weights.path
        load_weights(model, read_weights(path), _HEAD, str(path))
    return make_backbone(model, "wavemix", DEFAULT_MEAN, DEFAULT_STD, _HEAD)


def _check_size(request: Request, arguments: dict[str, Any]) -> None:
    """Each wavelet level halves the feature map, which must come out even."""
    patch, step = arguments["patch_size"], 2 ** arguments["level"]
    if arguments["initial_conv"] == "strided":
        return  # its size depends on the stride; trying one image tells
    side = request.image_size // patch
    if side == 0 or side % step:
        low = max(1, side // step) * patch * step
        raise DataError(
            f"'{request.spec.name}' takes images whose side is a multiple of {patch * step}, not "
            f"{request.image_size}; give {low} or {low + patch * step}"
        )


def _wavemix() -> ModuleType:
    """The package's classification module, imported once.

    Raises:
        ResourceError: the extra is not installed.
    """
    if "wavemix.classification" in sys.modules:
        return sys.modules["wavemix.classification"]
    try:
        with _importable():
            module = importlib.import_module("wavemix.classification")
    except ImportError as error:
        raise ResourceError(
            f"WaveMix needs the extra 'paper': pip install 'raybench[paper]' ({error})"
        ) from error
    package = sys.modules["wavemix"]
    for name in _TRANSFORMS:
        setattr(package, name, _anywhere(getattr(package, name)))
    return module


@contextmanager
def _importable() -> Iterator[None]:
    """Two repairs of wavemix 0.2.4, for the time of its import only.

    It imports ``numpy.lib.function_base.hamming``, which it never uses and NumPy 2 has not. And it
    puts its filters on the first GPU as it is imported, which would claim that GPU in the driver.
    """
    import numpy as np
    import torch

    name = "numpy.lib.function_base"
    before = sys.modules.get(name)
    stand_in = ModuleType(name)
    stand_in.hamming = np.hamming  # type: ignore[attr-defined]
    is_available = torch.cuda.is_available
    sys.modules[name] = stand_in
    torch.cuda.is_available = lambda: False
    try:
        yield
    finally:
        torch.cuda.is_available = is_available
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def _anywhere(transform: Any) -> Callable[[Tensor], Any]:
    """One of the package's global wavelet transforms, for any device and precision.

    They are no part of a model, so that no ``model.to(device)`` reaches them; and their own
    backward pass mixes the precision of the input with that of the filters under autocast.
    """
    import torch

    copies: dict[torch.device, Any] = {}

    def transformed(image: Tensor) -> Any:
        device = image.device
        if device not in copies:
            # A copy made while only inferring could never be trained with.
            with torch.inference_mode(False):
                copies[device] = copy.deepcopy(transform).to(device)
        if image.is_meta:  # counted, not computed; it knows no autocast
            return copies[device](image)
        with torch.autocast(device.type, enabled=False):
            return copies[device](image.float())

    return transformed
