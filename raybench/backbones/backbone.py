"""What a built backbone is, and what all libraries' builders share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.backbones.index import is_url, is_weights_file
from raybench.errors import DataError
from raybench.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

    from raybench.backbones.resolve import ResolvedWeights

Triple = tuple[float, float, float]

# ImageNet's; for functions, which carry no configuration of their own.
DEFAULT_MEAN: Triple = (0.485, 0.456, 0.406)
DEFAULT_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A model that maps (N, 3, H, W) normalised float images to (N, classes) logits.

    Attributes:
        mean, std: per RGB channel in 0..1, from the model's own configuration. They depend on name
            and kwargs, and on a weights tag; never on whether weights were loaded.
        facts: ``parameters`` (int) and ``library``.
        head_parameter_names: the classifier's parameters, freshly initialised.
    """

    model: nn.Module
    mean: Triple
    std: Triple
    facts: Mapping[str, Any] = field(default_factory=dict)
    head_parameter_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be built.

    Attributes:
        weights: the file to load; None: leave the model random, since the spec says so or a
            checkpoint will fill it.
        weights_dir: where a hub model's configuration may be found without a network.
    """

    spec: BackboneSpec
    classes: int
    image_size: int
    drop_path: float
    weights: ResolvedWeights | None = None
    weights_dir: Path | None = None

    @property
    def from_file(self) -> bool:
        """Whether the spec names a file of the user's, here or behind a URL."""
        return is_url(self.spec.weights) or is_weights_file(self.spec.weights)

    @property
    def tag(self) -> str:
        """The published weights that the spec names; empty for the library's default."""
        named = self.spec.weights in ("pretrained", "none") or self.from_file
        return "" if named else self.spec.weights


def make_backbone(
    model: nn.Module, library: str, mean: Triple, std: Triple, head: tuple[str, ...]
) -> Backbone:
    """With the facts that every library's model can tell."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Backbone(model, mean, std, {"parameters": parameters, "library": library}, head)


def as_triple(values: Any) -> Triple:
    """Three floats of any sequence of three numbers."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def no_drop_path(request: Request) -> DataError:
    """What to say when a model cannot do what ``drop_path`` asks."""
    return DataError(
        f"'{request.spec.name}' has no stochastic depth: drop_path must be 0, got "
        f"{request.drop_path:g}"
    )


def last_layer(model: nn.Module, classes: int) -> tuple[str, ...]:
    """Parameters of the last linear or convolutional layer with ``classes`` outputs."""
    from torch import nn

    for name, module in reversed(list(model.named_modules())):
        outputs = getattr(module, "out_features", getattr(module, "out_channels", None))
        if isinstance(module, nn.Linear | nn.Conv2d) and outputs == classes:
            prefix = f"{name}." if name else ""
            return tuple(prefix + own for own, _ in module.named_parameters())
    raise DataError(f"the model has no linear or convolutional layer with {classes} outputs")
