"""The card's facts: data, recipe, budget, limits, licence, provenance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from raybench.analysis import numbers
from raybench.analysis.results import PairResult
from raybench.datasets.cards import CARDS
from raybench.export.choice import Chosen
from raybench.export.licence import Origin
from raybench.export.settings import ModelSettings
from raybench.methods import FINETUNE_KEYS, PROBE_PARAMS

_METHODS = {
    "finetune": "All of the network was trained",
    "linear_probe": "Only the last layer was fitted, on the frozen backbone's features",
}


def facts(
    chosen: Chosen, result: PairResult, origin: Origin, settings: ModelSettings
) -> dict[str, Any]:
    """What the template says under Data, How it was made, Limits, Licence, Where it comes from."""
    return {
        "data": list(_data_rows(chosen)),
        "recipe_note": _recipe_note(chosen),
        "recipe": yaml.safe_dump(_recipe(chosen.recipe), sort_keys=False),
        "budget_note": _budget_note(chosen, result),
        "limits": list(_limits(chosen, settings)),
        "licence_note": f"{origin.words} {_data_licence(chosen)}",
        "provenance": [(key, plain(str(value))) for key, value in _provenance(chosen, settings)],
    }


def plain(text: str) -> str:
    """Other people's text, on one line, as Markdown shows it and not as it would read it."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", numbers.clean(text))


def _data_rows(chosen: Chosen) -> Iterator[tuple[str, str]]:
    pair, known = chosen.pair, chosen.pair.facts
    yield "data set", plain(pair.dataset)
    yield "part of its training split", plain(pair.subset)
    counts = [f"{int(known[f'{part}_images']):,} {part}" for part in ("train", "val", "test")]
    yield "images", ", ".join(counts)
    yield "classes", f"{int(known['classes'])}, see `labels.json`"
    yield "digest of images and labels", f"`{known['data_digest']}`"
    yield "digest of the splits", f"`{known['split_digest']}`"
    if chosen.pair.folds > 1:
        yield "cross-validation", f"fold {chosen.trial.fold + 1} of {pair.folds} is the test split"
    if known.get("leaks"):
        yield "leaks", f"**{plain(str(known['leaks']))}**"


def _recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the method reads of it."""
    method = recipe["method"]
    others = FINETUNE_KEYS if method in PROBE_PARAMS else frozenset[str]()
    others |= {own for name, own in PROBE_PARAMS.items() if name != method}
    return {k: v for k, v in recipe.items() if v is not None and k not in others}


def _recipe_note(chosen: Chosen) -> str:
    params = chosen.trial.params
    values = ", ".join(f"{k} {numbers.hyperparameter(k, v)}" for k, v in sorted(params.items()))
    search = chosen.snapshot.spec["search"]
    found = (
        f"Tuned: {values}, by {search['sampler']} search on {chosen.snapshot.metric}."
        if chosen.config == "tuned" and search["sampler"] != "none"
        else f"At the recipe's defaults: {values}."
    )
    return f"{_METHODS[chosen.recipe['method']]}. {found} The whole recipe:"


def _budget_note(chosen: Chosen, result: PairResult) -> str:
    counts = result.counts
    return (
        f"Spent on this backbone and data: {numbers.plural(counts.quota, 'search trial')} allowed, "
        f"{counts.complete} complete, {counts.pruned} stopped early, {counts.failed} failed; "
        f"{numbers.duration(result.search_device_seconds)} of device time for the search and "
        f"{numbers.duration(result.final_device_seconds)} for the finals (wall time x share of the "
        "device; on CPU x cores). Every backbone had the same quota."
    )


def _limits(chosen: Chosen, settings: ModelSettings) -> Iterator[str]:
    test = int(chosen.pair.facts["test_images"])
    yield (
        "It knows these classes only and answers with one of them, whatever the picture shows. "
        "It was tested on pictures like those it was trained on, and on no others."
    )
    yield f"Its numbers rest on {numbers.plural(test, 'test image')}."
    if chosen.pair.facts.get("leaks"):
        yield "Images or groups stand in several splits: the results above may be too good."
    if settings.device != "cpu" or settings.precision != "fp32":
        yield (
            f"It was trained and tested in {settings.precision} on a {settings.device} device; "
            "elsewhere it runs in fp32, and probabilities differ a little."
        )
    yield "Probabilities are those of the softmax; how well they are calibrated stands above (ECE)."


def _data_licence(chosen: Chosen) -> str:
    card = None if chosen.dataset.get("path") else CARDS.get(chosen.pair.dataset)
    if card is None or not card.licence:
        return "The licence of the training data is not stated."
    return f"Licence of the training data: {plain(card.licence)}."


def _provenance(chosen: Chosen, settings: ModelSettings) -> Iterator[tuple[str, Any]]:
    trained = settings.trained
    yield "sweep", trained["sweep"]
    yield "ledger", trained["ledger"]
    yield "trial", trained["trial"]
    yield "SHA-256 of model.safetensors", settings.weights_sha256
    if "weights_sha256" in trained:
        yield "SHA-256 of the weights it began with", trained["weights_sha256"]
    for key in ("trained_with", "exported_with"):
        versions = trained[key]
        assert isinstance(versions, dict)
        words = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield key.replace("_", " "), words
