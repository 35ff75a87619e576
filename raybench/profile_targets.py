"""What ``raybench profile`` was asked for: names become backbones with a size and a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.backbones.cards import GROUPS
from raybench.backbones.index import (
    check_backbone,
    is_pattern,
    is_weights_file,
    load_index,
    network_key,
    split_name,
)
from raybench.backbones.patterns import expand_pattern
from raybench.errors import UserInputError
from raybench.mistakes import nearest
from raybench.settings import Settings
from raybench.spec import BackboneSpec, Recipe, SweepSpec
from raybench.validate import load_spec, shipped_specs

UNKNOWN_SIZE = 224
"""For the user's own functions and models on the hub, where neither sweep nor option says more."""


@dataclass(frozen=True, slots=True)
class Target:
    """One backbone to be measured, at one size; ``recipe`` of its sweep."""

    backbone: BackboneSpec
    image_size: int
    recipe: Recipe | None = None
    device: str = "auto"
    threads: int = 1

    @property
    def key(self) -> tuple[Any, ...]:
        """What would be measured twice."""
        network = network_key(self.backbone.name, self.backbone.kwargs)
        return network, self.image_size, self.device, self.threads


def find_targets(
    what: Sequence[str],
    settings: Settings,
    image_size: int | None,
    device: str | None,
    threads: int | None,
) -> list[Target]:
    """Every backbone once, in the order of its first naming.

    Raises:
        UserInputError: with every mistake found.
    """
    home_sweeps = _home_sweeps(settings)
    found: dict[tuple[Any, ...], Target] = {}
    mistakes: list[str] = []
    for name in what:
        try:
            specs = _named(name, home_sweeps)
        except UserInputError as error:
            mistakes += error.mistakes
            continue
        for sweep, backbone in specs:
            target = _target(sweep, backbone, image_size, device, threads)
            found.setdefault(target.key, target)
    if mistakes:
        raise UserInputError(mistakes)
    return list(found.values())


def _target(
    sweep: SweepSpec | None,
    backbone: BackboneSpec,
    image_size: int | None,
    device: str | None,
    threads: int | None,
) -> Target:
    if sweep is None:
        size = image_size or _own_size(backbone)
        return Target(backbone, size, device=device or "auto", threads=threads or 1)
    return Target(
        backbone,
        image_size or sweep.recipe.image_size,
        sweep.recipe,
        device or ("cpu" if sweep.resources.gpus == 0 else sweep.device),
        threads or sweep.resources.cpus,
    )


def _named(
    name: str, home_sweeps: Mapping[str, SweepSpec]
) -> Iterable[tuple[SweepSpec | None, BackboneSpec]]:
    """The backbones that one name stands for, with the sweep where it is one."""
    if name in home_sweeps:
        return _backbones_of(home_sweeps[name])
    if name in shipped_specs() or Path(name).is_file():
        return _backbones_of(load_spec(name))
    if name in GROUPS:
        return [(None, spec) for spec in GROUPS[name]]
    if is_pattern(name):
        return [(None, spec) for spec in expand_pattern(name)]
    if ":" not in name:
        raise UserInputError(_unknown(name, home_sweeps))
    spec = BackboneSpec(name=name, weights="none")
    mistakes = check_backbone(spec)
    if mistakes:
        raise UserInputError(mistakes)
    return [(None, spec)]


def _backbones_of(sweep: SweepSpec) -> Iterator[tuple[SweepSpec, BackboneSpec]]:
    return ((sweep, backbone) for backbone in sweep.backbones)


def _unknown(name: str, home_sweeps: Mapping[str, SweepSpec]) -> str:
    """What could have been meant: a backbone without its library, else the nearest name."""
    if name.endswith((".yaml", ".yml")) or is_weights_file(name):
        return f"no file '{name}'; give a sweep file, a sweep's name or a backbone (timm:NAME)"
    if name.startswith("@"):
        return f"no group '{name}'; {nearest(name, GROUPS)}"
    if any(split_name(f"timm:{name}")[1] in models for models in load_index().values()):
        return check_backbone(BackboneSpec(name=name, weights="none"))[0]
    sweeps = {*home_sweeps, *shipped_specs()}
    models = {f"{library}:{model}" for library, found in load_index().items() for model in found}
    hint = nearest(name, sweeps | {model.partition(":")[2] for model in models})
    if not hint.startswith("did you mean"):
        hint = f"sweeps are {', '.join(sorted(sweeps))}; backbones: 'raybench backbones'"
    return f"'{name}' is neither a sweep nor a backbone; {hint}"


def _home_sweeps(settings: Settings) -> dict[str, SweepSpec]:
    """The home's sweeps by name; none where there is no home yet.

    Raises:
        HomeError: there is a ledger, and it cannot be read.
    """
    path = settings.ledger_file
    if path is not None and not path.exists():
        return {}
    from raybench.sweep.reader import sweep_specs
    from raybench.sweep.tables import open_engine

    engine = open_engine(settings.ledger_url, create=False)
    try:
        found = sweep_specs(engine)
    finally:
        engine.dispose()
    return {name: SweepSpec.model_validate_json(text) for name, text in found.items()}


def _own_size(backbone: BackboneSpec) -> int:
    """Side of the images that the published weights were made for."""
    from raybench.backbones.describe import describe_spec

    library, model, _ = split_name(backbone.name)
    if model not in load_index().get(library, {}):
        return UNKNOWN_SIZE
    (weights,) = describe_spec(backbone).weights
    return max(weights.input_size)
