"""What belongs to which ``recipe.method``, and a sweep file looked at with another one.

``--set recipe.method=linear_probe`` makes a quick look of any sweep: the same backbones, data,
splits and quota, with the backbones frozen. What the file says for its own method means nothing
then, so it is left out, and the new method tunes its own parameter. A *file* that mixes methods
gets its mistakes in words instead (``checks``).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from raybench.fields import SUBSET_PATTERN
from raybench.space import Range, ladder_params
from raybench.spec import MAX_TRIALS, TUNABLE, Final
from raybench.yamlio import KeyPath

PROBE_PARAMS = {"linear_probe": "l2", "knn": "neighbors"}
"""Methods that leave the backbone as it is, and the one thing each of them can tune."""

RANGES = {
    "lr": Range(default=3e-4, low=1e-5, high=1e-2, log=True),
    "l2": Range(default=1e-2, low=1e-5, high=1e2, log=True),
    # 20 is the published number (DINO, arXiv 2104.14294); with few images fewer are better.
    "neighbors": Range(default=20, low=1, high=20, log=True),
}
"""What a method tunes where the file says nothing of it."""

_FINETUNE_LADDER = 5  # steps at most; then it is the sampler's turn
FINETUNE_KEYS = frozenset(
    "epochs lr weight_decay stages augment patience layer_decay drop_path mixup cutmix clip_grad "
    "model_ema".split()
)
"""Recipe keys that only fine-tuning reads. Smoothing and class weights are part of every loss."""
_PROBE_KEYS = frozenset(PROBE_PARAMS.values())


def method_of(raw: dict[str, Any]) -> Any:
    """``recipe.method`` of plain data, which may still be nonsense."""
    recipe = raw.get("recipe", {})
    return recipe.get("method", "finetune") if isinstance(recipe, dict) else None


def switch_method(raw: dict[str, Any], before: Any, given: Collection[KeyPath]) -> str:
    """Fit a file written for method ``before`` to the one it has now; the sentence that says so.

    Changes ``raw`` in place, sections of the wrong shape excepted: ``shape`` has words for them.

    Args:
        raw: the sweep file's plain data, overrides applied.
        before: the method without them.
        given: what the overrides have set; it stands as it is.
    """
    method = method_of(raw)
    if method == before or method not in ("finetune", *PROBE_PARAMS):
        return ""
    edit = _Edit(raw, given)
    if method == "finetune":
        edit.drop("recipe", _PROBE_KEYS)
        edit.drop("space", _PROBE_KEYS)
        done = [_finetune(edit)]
    else:
        own = PROBE_PARAMS[method]
        edit.drop("recipe", (FINETUNE_KEYS | _PROBE_KEYS) - {own})
        edit.drop("space", TUNABLE.keys() - {own})
        done = [_probe(edit, own), *_one_seed(edit)]
    if edit.left_out:
        done.append(f"leaves out {', '.join(edit.left_out)}")
    if not edit.stands("name"):
        done.append(f"takes the place of sweep '{raw.get('name')}' (else --set name=probe)")
    return f"--set recipe.method={method}: {'; '.join(done)}"


class _Edit:
    """Changes to plain data that leave alone what the overrides have set."""

    def __init__(self, raw: dict[str, Any], given: Collection[KeyPath]) -> None:
        self.raw, self._given = raw, given
        self.left_out: list[str] = []

    def stands(self, *path: str) -> bool:
        """Whether an override has set ``path``, or something around it."""
        return any(path[:depth] in self._given for depth in range(1, len(path) + 1))

    def section(self, name: str) -> dict[str, Any]:
        """The section; one to be thrown away where it has the wrong shape."""
        found = self.raw.setdefault(name, {})
        return found if isinstance(found, dict) else {}

    def drop(self, name: str, keys: Collection[str]) -> None:
        section = self.section(name)
        for key in [key for key in section if key in keys and not self.stands(name, key)]:
            del section[key]
            self.left_out.append(f"{name}.{key}")

    def put(self, name: str, key: str, value: Any) -> None:
        if not self.stands(name, key):
            self.section(name)[key] = value

    @property
    def quota(self) -> int:
        trials = self.section("budget").get("trials", 1)
        sound = isinstance(trials, int) and not isinstance(trials, bool)
        return min(max(trials, 1), MAX_TRIALS) if sound else 1


def _finetune(edit: _Edit) -> str:
    """The first steps of a ladder, then the sampler."""
    edit.drop("search", {"sampler", "ladder"})
    edit.section("space").setdefault("lr", RANGES["lr"].model_dump())
    edit.put("search", "ladder", min(edit.quota, _FINETUNE_LADDER))
    return f"tunes lr in {_some(edit.quota, 'trial')}"


def _probe(edit: _Edit, own: str) -> str:
    """As many values of ``own`` as the quota has trials, the same for every pair."""
    edit.drop("search", {"sampler", "ladder", "early_stop"})
    if edit.stands("recipe", own):
        edit.put("budget", "trials", 1)
        return f"{own} as given"
    range_ = _own_range(edit, own)
    values = [step[own] for step in ladder_params({own: range_}, edit.quota)]
    edit.put("space", own, range_.model_dump())
    edit.put("search", "ladder", edit.quota)
    if len(values) < edit.quota:  # whole numbers run out
        edit.put("budget", "trials", len(values))
    edit.put("search", "sampler", "grid" if len(values) == edit.quota else "random")
    if len(values) == 1:
        return f"{own} stays {range_.default:g}, since budget.trials is 1 (8 would tune it)"
    return f"tunes {own} by {len(values)} values of {range_.low:g} to {range_.high:g}"


def _own_range(edit: _Edit, own: str) -> Range:
    try:
        return Range.model_validate(edit.section("space")[own])
    except (KeyError, ValidationError):  # not there; or wrong, and ``shape`` has words for it
        pass
    most = min(map(_most_neighbors, _subsets(edit.raw)), default=math.inf)
    range_ = RANGES[own]
    if own != "neighbors" or most >= range_.high:
        return range_
    return Range(default=most, low=1, high=most, log=True)


def _subsets(raw: dict[str, Any]) -> list[str]:
    found = raw.get("subsets", [])
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def _most_neighbors(subset: str) -> float:
    """Neighbours that any data set has enough images for in ``subset``; a class has no more votes.

    For a percentage this supposes a training split of 100 images.
    """
    match = SUBSET_PATTERN.match(subset)
    if match is None or not (match["shots"] or match["percent"]):
        return math.inf
    return max(2, int(match["shots"] or float(match["percent"])))


def _one_seed(edit: _Edit) -> list[str]:
    """Pretrained weights and a convex fit: nothing is drawn, so a second seed would be a copy."""
    seeds = edit.section("final").get("seeds", list(Final().seeds))
    backbones = edit.raw.get("backbones")
    drawn = isinstance(backbones, list) and all(map(_is_drawn, backbones))
    if drawn or edit.stands("final", "seeds") or not isinstance(seeds, list) or len(seeds) < 2:
        return []
    edit.put("final", "seeds", seeds[:1])
    return ["one final seed, since nothing is drawn"]


def _is_drawn(entry: Any) -> bool:
    """Whether a backbone's entry in the file asks for random weights, or for the user's code."""
    if not isinstance(entry, dict):
        return str(entry).startswith("python:")
    return entry.get("weights") == "none" or str(entry.get("name")).startswith("python:")


def _some(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
