"""Cross-checks of a well-shaped spec: keys against each other, names, paths.

Each check reads only the sections it is listed with, so that a mistake of shape elsewhere in the
file does not hide these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from pydantic import ValidationError

from raybench.backbones.cards import GROUPS
from raybench.backbones.index import check_backbone, is_pattern
from raybench.backbones.patterns import expand_pattern
from raybench.datasets.folders import check_dataset
from raybench.errors import SpecError
from raybench.fields import SUBSET_PATTERN
from raybench.methods import PROBE_PARAMS
from raybench.mistakes import Mistakes, nearest
from raybench.plan import pair_id
from raybench.space import ladder_params
from raybench.spec import (
    TUNABLE,
    VAL_METRICS,
    Recipe,
    SweepSpec,
)
from raybench.yamlio import KeyPath

Origins = Mapping[str, Sequence[int]]


def check_values(
    spec: SweepSpec, raw: Mapping[str, Any], broken: set[str], mistakes: Mistakes
) -> None:
    """Run every cross-check whose sections are well shaped; ``broken`` names those that are not."""
    for sections, check in _CROSS_CHECKS:
        if not broken & sections:
            check(spec, raw, mistakes)


def _check_stages(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    recipe = spec.recipe
    given = [stage.epochs for stage in recipe.stages if stage.epochs is not None]
    open_stages = len(recipe.stages) - len(given)
    if sum(given) + open_stages > recipe.epochs or (
        not open_stages and sum(given) != recipe.epochs
    ):
        mistakes.add(
            ("recipe", "stages"),
            f"the stages' epochs ({sum(given)} given, {open_stages} open) must add up to "
            f"recipe.epochs {recipe.epochs}",
        )


def _check_tuned_stages(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    """What is tuned must reach the stages."""
    stages = spec.recipe.stages
    if "lr" in spec.space and all(stage.lr is not None for stage in stages):
        mistakes.add(
            ("space", "lr"), "every stage has an lr of its own; remove one, or do not tune lr"
        )
    if "epochs" in spec.space:
        fixed = sum(stage.epochs or 0 for stage in stages)
        needed = fixed + sum(stage.epochs is None for stage in stages)
        if all(stage.epochs is not None for stage in stages):
            mistakes.add(
                ("space", "epochs"),
                "every stage has epochs of its own; leave one open, or do not tune epochs",
            )
        elif spec.space["epochs"].low < needed:
            mistakes.add(
                ("space", "epochs", "low"),
                f"got {spec.space['epochs'].low:g}; the stages need at least {needed}",
            )


def _check_device(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    if spec.device == "cpu" and spec.resources.gpus not in ("auto", 0):
        mistakes.add(("resources", "gpus"), f"got {spec.resources.gpus}; device is cpu, give 0")
    if spec.device == "cuda" and spec.resources.gpus == 0:
        mistakes.add(("resources", "gpus"), "got 0; device is cuda, give auto or a share")
    if spec.device == "cpu" and spec.recipe.precision == "fp16":
        mistakes.add(("recipe", "precision"), "fp16 needs a GPU; give auto, fp32 or bf16")


def _check_method_space(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    """A method tunes only what it reads."""
    method = spec.recipe.method
    own = PROBE_PARAMS.get(method)
    others = {name: probe for probe, name in PROBE_PARAMS.items() if probe != method}
    for name in spec.space:
        if name in others:
            mistakes.add(
                ("space", name), f"is for {others[name]}, but recipe.method is {method}; remove one"
            )
        elif own is not None and name in TUNABLE and name != own:
            mistakes.add(("space", name), f"recipe.method {method} tunes only {own}; remove it")


def _check_probe(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    """One epoch, and one final seed where nothing is drawn: its copies would prove nothing."""
    method = spec.recipe.method
    if method not in PROBE_PARAMS:
        return
    if spec.recipe.epochs != 1:
        mistakes.add(
            ("recipe", "epochs"),
            f"got {spec.recipe.epochs}; {method} has one epoch, leave epochs out",
        )
    drawn = all(b.weights == "none" or b.name.startswith("python:") for b in spec.backbones)
    if len(spec.final.seeds) > 1 and not drawn:
        mistakes.add(
            ("final", "seeds"),
            f"got {len(spec.final.seeds)}; {method} on pretrained weights draws nothing, so all "
            "seeds give one result and an interval of width 0; give seeds: [0]",
        )


def _check_lr(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    recipe = spec.recipe
    lr_given = isinstance(raw.get("recipe"), dict) and "lr" in raw["recipe"]
    if lr_given and "lr" in spec.space and recipe.lr != spec.space["lr"].default:
        mistakes.add(
            ("recipe", "lr"),
            f"{recipe.lr:g} contradicts space.lr.default {spec.space['lr'].default:g}; keep one",
        )


def _check_space(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    for name, range_ in spec.space.items():
        if name not in TUNABLE:
            mistakes.add(("space", name), f"cannot be tuned; {nearest(name, TUNABLE)}")
            continue
        for bound in ("low", "high", "default"):
            if problem := _value_problem(name, getattr(range_, bound)):
                mistakes.add(("space", name, bound), problem)


def _value_problem(name: str, value: float) -> str:
    """Why ``value`` cannot stand as ``recipe.<name>``; empty when it can."""
    kind = TUNABLE[name]
    if kind(value) != value:
        return f"got {value:g}; recipe.{name} is a whole number"
    try:
        Recipe.model_validate({name: kind(value)})
    except ValidationError as error:
        bound = str(error.errors()[0]["msg"]).replace("Input should be", "must be")
        return f"got {value:g}; recipe.{name} {bound}"
    return ""


def _check_metric(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    search = spec.search
    if search.metric.startswith("test/"):
        mistakes.add(
            ("search", "metric"),
            f"'{search.metric}' would select on the test split; use a val/ metric",
        )
    elif search.metric not in VAL_METRICS:
        mistakes.add(
            ("search", "metric"),
            f"unknown metric '{search.metric}'; {nearest(search.metric, VAL_METRICS)}",
        )


def _check_quota(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    search, trials = spec.search, spec.budget.trials
    if not _ladder_is_sound(spec, mistakes):
        return
    rungs = len(ladder_params(spec.space, search.ladder))
    if rungs > trials:
        mistakes.add(
            ("search", "ladder"),
            f"has {rungs} steps with the default, but budget.trials is {trials}; "
            "raise one or cut the other",
        )
    if search.sampler == "grid" and rungs != trials:
        mistakes.add(
            ("search", "sampler"),
            f"grid is the ladder: {rungs} steps, so budget.trials must be {rungs}, got {trials}",
        )
    if search.sampler == "none" and trials != 1:
        mistakes.add(
            ("search", "sampler"),
            f"none runs the defaults only: budget.trials must be 1, got {trials}",
        )
    if not spec.space and trials > 1:
        mistakes.add(
            ("space",),
            f"nothing is tuned, so {trials} trials would be the same one; "
            "give a range or budget.trials: 1",
        )


def _ladder_is_sound(spec: SweepSpec, mistakes: Mistakes) -> bool:
    ladder, before = spec.search.ladder, len(mistakes)
    if isinstance(ladder, int):
        return True
    path: KeyPath = ("search", "ladder")
    if not ladder or any(not values for values in ladder.values()):
        mistakes.add(path, "is empty; give values or a count")
    if len({len(values) for values in ladder.values()}) > 1:
        mistakes.add(path, "all lists must have the same length: they are walked in step")
    for name, values in ladder.items():
        range_ = spec.space.get(name)
        if range_ is None:
            mistakes.add((*path, name), f"is not in space; {nearest(name, spec.space)}")
            continue
        outside = [v for v in values if not range_.low <= v <= range_.high]
        if outside:
            shown = ", ".join(f"{v:g}" for v in outside)
            mistakes.add(
                (*path, name), f"{shown} outside space.{name} [{range_.low:g}, {range_.high:g}]"
            )
        elif name in TUNABLE:
            problems = [text for v in values if (text := _value_problem(name, v))]
            mistakes.add_all((*path, name), problems)
        if len(set(values)) < len(values) and len(ladder) == 1:
            mistakes.add((*path, name), "a value stands twice")
    return len(mistakes) == before


def _check_final(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    for key, values in (("seeds", spec.final.seeds), ("configs", spec.final.configs)):
        if len(set(values)) < len(values):
            mistakes.add(("final", key), "a value stands twice")


def _check_subsets(spec: SweepSpec, raw: Mapping[str, Any], mistakes: Mistakes) -> None:
    seen: dict[object, str] = {}
    for index, subset in enumerate(spec.subsets):
        match = SUBSET_PATTERN.match(subset)
        meaning = float(match["percent"]) if match and match["percent"] else subset
        if meaning in seen:
            mistakes.add(("subsets", index), f"'{subset}' is the same as '{seen[meaning]}'")
        seen.setdefault(meaning, subset)


_CROSS_CHECKS: tuple[
    tuple[set[str], Callable[[SweepSpec, Mapping[str, Any], Mistakes], None]], ...
] = (
    ({"recipe"}, _check_stages),
    ({"recipe", "space"}, _check_tuned_stages),
    ({"device", "resources", "recipe"}, _check_device),
    ({"recipe", "space"}, _check_method_space),
    ({"recipe", "backbones", "final"}, _check_probe),
    ({"recipe", "space"}, _check_lr),
    ({"space"}, _check_space),
    ({"search"}, _check_metric),
    ({"search", "space", "budget"}, _check_quota),
    ({"final"}, _check_final),
    ({"subsets"}, _check_subsets),
)


def check_names(
    spec: SweepSpec, origins: Origins, mistakes: Mistakes, elsewhere: Set[str] = frozenset()
) -> None:
    """Unknown backbones and data sets, missing folders, entries that stand twice.

    ``elsewhere``: paths of another machine, where they are checked before the sweep starts.
    """
    pairs: dict[str, int] = {}
    for index, backbone in zip(origins["backbones"], spec.backbones, strict=False):
        here = backbone.weights not in elsewhere
        seen = backbone if here else backbone.model_copy(update={"weights": "none"})
        sentences = _several_mistakes(backbone.name) or check_backbone(seen)
        mistakes.add_all(("backbones", index), sentences)
        if sentences:
            continue
        pair = pair_id(spec, backbone, spec.datasets[0], spec.subsets[0])
        if pair in pairs:
            mistakes.add(
                ("backbones", index),
                f"'{backbone.name}' is the same as entry {pairs[pair]} (weights and arguments "
                "too); name it once",
            )
        pairs.setdefault(pair, index)
    names: dict[str, int] = {}
    for index, dataset in zip(origins["datasets"], spec.datasets, strict=False):
        if not {dataset.path, dataset.root} & elsewhere:
            mistakes.add_all(("datasets", index), check_dataset(dataset))
        if dataset.name in names:
            mistakes.add(
                ("datasets", index),
                f"'{dataset.name}' is the name of entry {names[dataset.name]} already; "
                "give it another",
            )
        names.setdefault(dataset.name, index)


def _several_mistakes(name: str) -> list[str]:
    """What is wrong with a name that stands for several backbones."""
    if is_pattern(name):
        try:
            expand_pattern(name)
        except SpecError as error:
            return list(error.mistakes)
        return []  # a pattern inside a mapping; ``check_backbone`` says so
    if not name.startswith("@"):
        return []
    if name in GROUPS:
        return [f"'{name}' is a group of several backbones; write it alone, as '- {name}'"]
    return [f"no group '{name}'; {nearest(name, GROUPS)}"]
