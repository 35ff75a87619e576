"""The sweep file as one frozen value. Shapes and ranges only; names and paths: ``validate``.

Every key stands on one line with its default. Nothing heavy is imported.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from raybench.fields import NAME_PATTERN, Place, Seed, Subset, as_json, parse_duration_s
from raybench.space import Range

VAL_METRICS = (
    "val/accuracy",
    "val/balanced_accuracy",
    "val/macro_f1",
    "val/auroc",
    "val/average_precision",
    "val/sensitivity",
    "val/specificity",
    "val/nll",
    "val/brier",
    "val/ece",
    "val/loss",
)
TWO_CLASS_METRICS = frozenset({"val/sensitivity", "val/specificity"})
MAX_TRIALS = 100_000  # per pair; more is a slip of the keyboard


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class BackboneSpec(_Frozen):
    """``timm:NAME[.TAG]``, ``timm:hf-hub:ORG/NAME``, ``torchvision:NAME``, ``wavemix:NAME``,
    or ``python:module:function``.
    """

    name: Annotated[str, Field(min_length=1, max_length=255)]
    weights: Place = "pretrained"
    kwargs: dict[str, JsonValue] = {}

    @field_validator("kwargs")
    @classmethod
    def _finite(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValueError(f"got {as_json(value)}; numbers must be finite") from None
        return value


class SplitSpec(_Frozen):
    """Fractions of all images, in [0, 1); what is left is the training split."""

    val: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2

    @model_validator(mode="after")
    def _leave_some(self) -> SplitSpec:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave nothing to train on")
        return self


class ColumnsSpec(_Frozen):
    """Which column of a CSV/Parquet table holds what."""

    path: str = "file_name"
    label: str = "label"
    group: str | None = None
    split: str | None = None


class DatasetSpec(_Frozen):
    """A data set known by name, the user's own under ``path``, or a published one by ``source``.

    ``source``: ``hf:ORG/NAME[/CONFIG][@REVISION]`` or ``medmnist:NAME``. ``folds``: the finals
    cross their seeds with that many folds; the search sees the first.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    path: Place | None = None
    source: str | None = None
    columns: ColumnsSpec | None = None
    root: Place | None = None
    group_by: str | None = None
    split: SplitSpec | None = None
    folds: Annotated[int, Field(ge=3, le=20)] | None = None
    domain: str | None = None

    @field_validator("group_by")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"'{value}' is no regular expression: {error}") from None
            if groups != 1:
                raise ValueError(f"'{value}' needs exactly one group in parentheses")
        return value


class Stage(_Frozen):
    """One optimizer after another; a later stage starts from the best weights so far."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    epochs: Annotated[int, Field(ge=1)] | None = None  # None: an equal part of recipe.epochs
    lr: Annotated[float, Field(gt=0)] | None = None  # None: recipe.lr
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # sgd


class Recipe(_Frozen):
    """How one trial trains. timm's names; any numeric key may stand in ``space``."""

    method: Literal["finetune", "linear_probe", "knn"] = "finetune"
    image_size: Annotated[int, Field(ge=8, le=2048)] = 224
    batch_size: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=1)] = 20
    lr: Annotated[float, Field(gt=0)] = 3e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(),)
    augment: Literal["none", "flip", "trivial", "randaugment"] = "flip"
    crop: Literal["none", "random"] = "none"  # none: squeezed to a square; see datasets.decode
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    patience: Annotated[int, Field(ge=1)] | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    clip_grad: Annotated[float, Field(gt=0)] | None = None
    model_ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay per step
    class_weights: Literal["none", "balanced"] = "none"
    neighbors: Annotated[int, Field(ge=1)] = 20  # knn
    l2: Annotated[float, Field(ge=0)] = 1e-4  # linear_probe

    @model_validator(mode="before")
    @classmethod
    def _one_epoch(cls, data: Any) -> Any:
        """A method that trains no backbone has one epoch; ``checks`` refuses any other number."""
        if not isinstance(data, dict):
            return data
        # What leaves here is Python to pydantic, and to it a strict tuple is no list.
        data = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        fitted = data.get("method", "finetune") in ("linear_probe", "knn")
        return {"epochs": 1} | data if fitted else data


TUNABLE = {
    "lr": float,
    "weight_decay": float,
    "layer_decay": float,
    "drop_path": float,
    "smoothing": float,
    "mixup": float,
    "cutmix": float,
    "clip_grad": float,
    "model_ema": float,
    "batch_size": int,
    "epochs": int,
    "neighbors": int,
    "l2": float,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Search(_Frozen):
    """Which trials, in which order, stopped how."""

    sampler: Literal["tpe", "random", "grid", "none"] = "tpe"
    ladder: Annotated[int, Field(ge=1)] | dict[str, tuple[float, ...]] = 1
    early_stop: Literal["asha", "median", "none"] = "none"
    metric: str = "val/accuracy"

    @field_validator("ladder", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> Any:
        """One sentence where pydantic would give one per member of the union."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            if value > MAX_TRIALS:
                raise ValueError(f"got {value}; give at most {MAX_TRIALS}")
            return value
        lists = list(value.values()) if isinstance(value, dict) else []
        if lists and all(isinstance(v, list | tuple) and all(map(_is_number, v)) for v in lists):
            return {name: tuple(values) for name, values in value.items()}
        raise ValueError(
            f"got {as_json(value)}; give a count of at least 1, or a list of numbers for each "
            "parameter, e.g. {lr: [1.0e-4, 1.0e-3]}"
        )


class Budget(_Frozen):
    """The same for every pair; a hard quota, kept across kills."""

    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = 1
    device_hours: Annotated[float, Field(gt=0)] | None = None  # per pair, search only
    wall_clock: str | None = None  # "8h": the whole sweep

    @field_validator("wall_clock")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration_s(value)
        return value

    @property
    def wall_clock_s(self) -> float | None:
        return None if self.wall_clock is None else parse_duration_s(self.wall_clock)


class Final(_Frozen):
    """The chosen configuration, once per seed; the only phase that reads the test split."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    configs: Annotated[tuple[Literal["tuned", "default"], ...], Field(min_length=1)] = ("tuned",)
    refit: bool = False
    selection: Literal["val", "oracle"] = "val"


class Resources(_Frozen):
    """Per trial. ``gpus: auto`` takes what the machine has."""

    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: Literal["auto"] | float = "auto"

    @field_validator("gpus", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        if isinstance(value, bool) or value not in ("auto", 0, 0.125, 0.25, 0.5, 1):
            raise ValueError(f"got {as_json(value)}; give auto, 0, 0.125, 0.25, 0.5 or 1")
        return value


class SweepSpec(_Frozen):
    """One benchmark: backbones x data sets x subsets under one recipe, space and budget."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str = ""
    backbones: Annotated[tuple[BackboneSpec, ...], Field(min_length=1)]
    datasets: Annotated[tuple[DatasetSpec, ...], Field(min_length=1)]
    subsets: Annotated[tuple[Subset, ...], Field(min_length=1)] = ("full",)
    recipe: Recipe = Recipe()
    space: dict[str, Range] = {}
    search: Search = Search()
    budget: Budget = Budget()
    final: Final = Final()
    resources: Resources = Resources()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    keep: Literal["all", "winners"] = "all"
    seed: Seed = 0

    @property
    def largest_batch(self) -> int:
        """The batch size, or the largest one where it is tuned."""
        tuned = self.space.get("batch_size")
        return int(tuned.high) if tuned else self.recipe.batch_size
