"""What each backbone costs and comes from, from a shipped table: no torch, no timm.

``python -m raybench.backbones.describe`` rewrites ``describe.json`` from the installed libraries
(minutes: each model is built and run once on torch's meta device).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.backbones.index import list_backbones, load_index, split_name
from raybench.backbones.pretraining import pretraining_data
from raybench.errors import RaybenchError, UserInputError

if TYPE_CHECKING:
    from raybench.spec import BackboneSpec

DESCRIPTIONS_PATH = Path(__file__).with_name("describe.json")
NOT_STATED = "not stated"
MOST_MEASURED = 64
"""Models that are measured at once on request; each takes up to a few seconds."""


@dataclass(frozen=True, slots=True)
class Description:
    """One set of published weights, or a model without any (``tag`` empty).

    Attributes:
        parameters, macs: with the published classifier, MACs of one image of ``input_size``; None
            where the model cannot be measured.
        input_size: height and width in pixels.
        fixed_size: the model must be built for another size; raybench does that.
        source: repository on the Hugging Face Hub, or the file's address.
        origin: the authors' own page, where the library names it.
        imagenet_top1: in percent, where the library states it.
        refusal: why it cannot be built for the size that was asked for.
    """

    tag: str
    parameters: int | None
    macs: int | None
    input_size: tuple[int, int]
    fixed_size: bool
    licence: str
    pretraining: str
    source: str
    origin: str
    imagenet_top1: float | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A backbone and its published weights, the library's default first.

    ``kwargs`` are constructor arguments that a group gives it.
    """

    name: str
    library: str
    family: str
    weights: tuple[Description, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As ``raybench backbones --json`` prints it; the numbers are those of the first tag."""
        tags = [asdict(weights) for weights in self.weights]
        row: dict[str, Any] = {"name": self.name, "library": self.library}
        row["weights"] = [weights.tag for weights in self.weights if weights.tag]
        row["family"] = self.family
        row |= {key: value for key, value in tags[0].items() if key != "tag"}
        row["tags"] = tags if row["weights"] else []
        return row | ({"kwargs": dict(self.kwargs)} if self.kwargs else {})


_UNTRAINED: dict[str, Any] = {
    "tag": "",
    "licence": "",
    "pretraining": "none",
    "source": "",
    "origin": "",
    "imagenet_top1": None,
}


@cache
def _shipped() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(DESCRIPTIONS_PATH.read_text(encoding="utf-8"))
    return data


def describe_backbones(pattern: str = "*") -> list[Model]:
    """Every backbone that matches, as shipped; patterns as in ``list_backbones``."""
    return [_model(row) for row in list_backbones(pattern)]


def describe_spec(spec: BackboneSpec) -> Model:
    """One backbone of an index with the weights that a spec names, or none.

    With constructor arguments of its own it is another model, whose parameters and MACs are
    unknown until they are measured.
    """
    library, model, tag = split_name(spec.name)
    tags = load_index()[library][model]
    wanted = tag or (spec.weights if spec.weights in tags else next(iter(tags), ""))
    row = {"name": f"{library}:{model}", "library": library, "weights": [wanted] if wanted else []}
    described = _model(row)
    (weights,) = described.weights
    if spec.weights == "none":
        weights = replace(weights, **_UNTRAINED)
    if spec.kwargs:
        weights = replace(weights, parameters=None, macs=None)
    return replace(described, weights=(weights,), kwargs=spec.kwargs)


def _model(row: Mapping[str, Any]) -> Model:
    model = row["name"].partition(":")[2]
    family, tags = _shipped()[row["library"]][model]
    found = [_description(row["library"], model, tag, tags[tag]) for tag in row["weights"] or [""]]
    return Model(row["name"], row["library"], family, tuple(found))


def _description(library: str, model: str, tag: str, cells: list[Any]) -> Description:
    """``cells``: parameters, MACs, size, fixed, licence, then source, origin, top-1 if known."""
    parameters, macs, size, fixed, licence, *rest = cells
    source, origin, top1 = rest + ["", "", None][len(rest) :]
    height, width = (size, size) if isinstance(size, int) else size
    described = Description(
        tag=tag,
        parameters=parameters,
        macs=macs,
        input_size=(height, width),
        fixed_size=bool(fixed),
        licence=licence or NOT_STATED,
        pretraining=pretraining_data(tag),
        source=source or f"timm/{model}.{tag}",
        origin=origin,
        imagenet_top1=top1,
    )
    return described if tag else replace(described, **_UNTRAINED)


def measured_at(models: Iterable[Model], image_size: int) -> list[Model]:
    """The same with parameters and MACs measured now, for images of ``image_size``.

    With a classifier of 1,000 classes, and built as a trial builds it.

    Args:
        models: at most ``MOST_MEASURED`` sets of weights.
        image_size: side of the images in pixels.

    Raises:
        UserInputError: these are too many.
    """
    models = list(models)
    sets = sum(len(model.weights) for model in models)
    if sets > MOST_MEASURED:
        raise UserInputError(
            f"{sets} sets of weights match, and --image-size measures at most {MOST_MEASURED} at "
            "a time; narrow the pattern"
        )
    return [
        replace(model, weights=tuple(_measured(model, w, image_size) for w in model.weights))
        for model in models
    ]


def _measured(model: Model, weights: Description, image_size: int) -> Description:
    from raybench.backbones.measure import measure_built
    from raybench.spec import BackboneSpec

    dotted = f".{weights.tag}" if weights.tag and model.library == "timm" else ""
    spec = BackboneSpec(name=model.name + dotted, weights="none", kwargs=dict(model.kwargs))
    sized = replace(weights, input_size=(image_size, image_size), parameters=None, macs=None)
    try:
        parameters, macs, _ = measure_built(spec, image_size)
    except RaybenchError as error:
        return replace(sized, refusal=str(error))
    return replace(sized, parameters=parameters, macs=macs)


def write_descriptions(tell: Callable[[str], None]) -> None:
    """Rewrite the shipped table; one line per model."""
    from raybench.backbones.measure import build_descriptions

    libraries = build_descriptions(tell)
    parts = [f'"versions":{json.dumps(libraries.pop("versions"))}']
    for library, models in libraries.items():
        lines = ",\n".join(
            f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'), allow_nan=False)}"
            for name, row in sorted(models.items())
        )
        parts.append(f'"{library}":{{\n{lines}\n}}')
    DESCRIPTIONS_PATH.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write_descriptions(logging.getLogger(__name__).info)
