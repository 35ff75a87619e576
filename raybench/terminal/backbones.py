"""Backbones as a table: what can be named, what it costs, where its weights come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from raybench.analysis import numbers
from raybench.backbones.describe import (
    Description,
    Model,
    describe_backbones,
    describe_spec,
    measured_at,
)
from raybench.errors import UserInputError
from raybench.report.grid import grid

if TYPE_CHECKING:
    from raybench.backbones.cards import GroupCard

COLUMNS = {
    "backbone": "left",
    "family": "left",
    "params": "right",
    "MACs": "right",
    "input": "right",
    "pre-training data": "left",
    "licence": "left",
}
MOST_ROWS_BY_TAG = 24
"""Where more weights match, one row per model stands for them."""

_NOTE = (
    "MACs: multiply-accumulates of one image of that input size. Parameters with the published "
    "classifier, or one of 1,000 classes under --image-size. IN: ImageNet; >: then. A licence is "
    "that of the weights, as the library states it."
)


@dataclass(frozen=True)
class Found:
    """What ``raybench backbones`` was asked for.

    Attributes:
        asked: the pattern or group; None for everything.
        group: where a group was asked for; its cards are in the order of ``models``.
    """

    asked: str | None
    models: Sequence[Model]
    group: GroupCard | None = None

    def as_json(self) -> list[dict[str, Any]]:
        """One object per backbone; those of a group with their reasons."""
        rows = [model.as_json() for model in self.models]
        if self.group is None:
            return rows
        reasons = [
            {"why": card.why, "stated_top1": card.stated_top1, "spec": card.spec.model_dump()}
            for card in self.group.cards
        ]
        return [row | reason for row, reason in zip(rows, reasons, strict=True)]

    def table(self) -> RenderableType:
        """For the terminal; without a pattern the groups, since everything is too long to read."""
        if self.asked is None:
            return overview_table(self.models)
        if self.group is not None:
            return group_table(self.asked, self.group, self.models)
        return backbones_table(self.models, by_tag="." in self.asked)


def look_up(asked: str | None, image_size: int | None = None) -> Found:
    """A group (``@modern``), the backbones that match a pattern, or all.

    Args:
        asked: as typed.
        image_size: measure parameters and MACs at this side now, instead of reading the table.

    Raises:
        UserInputError: no such group, nothing matches, or too many to measure.
    """
    group = None
    if asked is not None and asked.startswith("@"):
        group = _group(asked)
        models = [describe_spec(card.spec) for card in group.cards]
    else:
        models = describe_backbones(asked or "*")
    if not models:
        raise UserInputError(
            f"no backbone matches '{asked}'; patterns are like 'timm:convnext*', groups like "
            "@modern. Models on the Hugging Face Hub (timm:hf-hub:ORG/NAME) and functions "
            "(python:module:function) are in no table"
        )
    return Found(asked, models if image_size is None else measured_at(models, image_size), group)


def _group(name: str) -> GroupCard:
    from raybench.backbones.cards import GROUP_CARDS
    from raybench.mistakes import nearest

    if name not in GROUP_CARDS:
        raise UserInputError(f"no group '{name}'; {nearest(name, GROUP_CARDS)}")
    return GROUP_CARDS[name]


def backbones_table(models: Sequence[Model], by_tag: bool = False) -> RenderableType:
    """One row per set of weights, or per model with its default tag where there are many.

    Args:
        models: what to show.
        by_tag: one row per set of weights, however many there are.
    """
    sets = sum(len(model.weights) for model in models)
    by_tag = by_tag or sets <= MOST_ROWS_BY_TAG
    rows = [
        _cells(model, weights, 0 if by_tag else len(model.weights) - 1)
        for model in models
        for weights in (model.weights if by_tag else model.weights[:1])
    ]
    title = f"{numbers.plural(len(models), 'backbone')}, {numbers.plural(sets, 'set')} of weights"
    note = _NOTE if by_tag else f"{_NOTE} (+n): n more tags; 'timm:NAME.*' lists them."
    return Group(grid(title, COLUMNS, rows, note), *_refusals(models))


def group_table(name: str, group: GroupCard, models: Sequence[Model]) -> RenderableType:
    """The members of a group, then why each is one."""
    rows = [_cells(model, model.weights[0], 0) for model in models]
    reasons = [
        Text.assemble((_label(model, model.weights[0]), "bold"), f": {card.why}.")
        for model, card in zip(models, group.cards, strict=True)
    ]
    table = grid(f"{name}: {group.title}", COLUMNS, rows, _NOTE)
    return Group(table, *_refusals(models), Text(), *reasons)


def overview_table(models: Sequence[Model]) -> RenderableType:
    """The groups, how much each library holds, and how to ask for less."""
    from raybench.backbones.cards import GROUP_CARDS

    rows = [(name, str(len(group.cards)), group.title) for name, group in GROUP_CARDS.items()]
    columns = {"group": "left", "backbones": "right", "which": "left"}
    lines = (
        f"{'; '.join(_counts(models))}.",
        "Narrow it: raybench backbones @modern, 'timm:convnext*', 'timm:*.lvd142m'.",
        "Also: timm:hf-hub:ORG/NAME, a model on the Hugging Face Hub, and python:module:function.",
    )
    return Group(grid("Backbones by group", columns, rows), *(Text(line) for line in lines))


def _counts(models: Sequence[Model]) -> list[str]:
    libraries: dict[str, list[int]] = {}
    for model in models:
        sets = sum(1 for weights in model.weights if weights.tag)
        libraries.setdefault(model.library, []).append(sets)
    return [
        f"{library}: {numbers.plural(len(sets), 'model')}, {sum(sets):,} sets of weights"
        for library, sets in libraries.items()
    ]


def _cells(model: Model, weights: Description, others: int) -> tuple[str, ...]:
    height, width = weights.input_size
    more = f" (+{others})" if others else ""
    return (
        _label(model, weights) + more,
        model.family,
        "?" if weights.parameters is None else numbers.millions(weights.parameters),
        "?" if weights.macs is None else numbers.giga(weights.macs),
        str(height) if height == width else f"{height}x{width}",
        weights.pretraining.replace("ImageNet-", "IN-").replace(", then ", " > "),
        weights.licence,
    )


def _label(model: Model, weights: Description) -> str:
    """As it can be typed into a sweep file; the tag of other libraries than timm's behind it."""
    if not weights.tag:
        return model.name
    return f"{model.name}{'.' if model.library == 'timm' else ' '}{weights.tag}"


def _refusals(models: Sequence[Model]) -> list[Text]:
    return [
        Text(f"! {weights.refusal}", style="yellow")
        for model in models
        for weights in model.weights
        if weights.refusal
    ]
