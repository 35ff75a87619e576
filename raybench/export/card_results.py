"""The card's numbers: what the model reaches, and what it was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from raybench.analysis import comparison, numbers, probability
from raybench.analysis.ranking import Standing
from raybench.analysis.results import PairResult, final_values, task_name
from raybench.analysis.uncertainty import Uncertainty
from raybench.export.card_facts import plain
from raybench.export.choice import Chosen

_METRICS = (
    "accuracy balanced_accuracy macro_f1 auroc average_precision sensitivity specificity nll brier "
    "ece"
).split()


def results(chosen: Chosen, result: PairResult) -> dict[str, Any]:
    """What the template says under Results and Compared with."""
    ranked = chosen.analysis.standings[task_name(chosen.pair)]
    own = next((s.uncertainty for s in ranked if s.result.pair.id == chosen.pair.id), None)
    return {
        "summary": summary(chosen, result, own),
        "runs": _runs(result),
        "metrics": list(_metric_rows(chosen)),
        "results_note": _results_note(chosen, result),
        "standings": [_standing_row(s, chosen.pair.id) for s in ranked],
        "comparison_note": _comparison_note(ranked),
    }


def _runs(result: PairResult) -> str:
    final = result.final
    seeds = numbers.plural(len({seed for seed, _ in final.by_run}), "seed")
    return seeds if final.folds == 1 else f"{seeds} x {final.folds} folds"


def summary(chosen: Chosen, result: PairResult, sure: Uncertainty | None) -> str:
    """What people copy: the widest interval that is known, and what it is over."""
    pair, final = chosen.pair, result.final
    mean = numbers.with_interval(final.metric, final.mean, sure.widest if sure else None)
    fold = f", fold {chosen.trial.fold}" if pair.folds > 1 else ""
    return (
        f"An image classifier of {int(pair.facts['classes'])} classes. Test "
        f"{numbers.metric_title(final.metric)}: {mean}, the mean of {_runs(result)}"
        f"{over_what(final.folds, sure)}. The weights here are those of seed "
        f"{chosen.trial.seed}{fold}: the first one, not the best one."
    )


def over_what(folds: int, sure: Uncertainty | None) -> str:
    """What the widest interval that is known is over."""
    if sure is None or sure.widest is None:
        return ", which give no interval"
    if folds > 1:
        return " with the 95% interval over folds (Nadeau-Bengio), other test images included"
    if sure.both is not None:
        return " with the 95% interval over other seeds and other test images"
    if sure.seeds is not None:
        return " with the 95% interval over other seeds, other test images not included"
    return " with the 95% interval over other test images, other seeds not included"


def _metric_rows(chosen: Chosen) -> Iterator[tuple[str, ...]]:
    end = chosen.trial.end
    assert end is not None
    for name in _METRICS:
        metric = f"test/{name}"
        if metric in end.test:
            finals = final_values(chosen.pair, chosen.config, metric)
            yield (
                numbers.metric_title(name),
                numbers.metric_value(metric, end.best.get(f"val/{name}")),
                numbers.metric_value(metric, end.test[metric]),
                numbers.with_interval(metric, finals.mean, finals.ci95),
            )


def _results_note(chosen: Chosen, result: PairResult) -> str:
    over = "folds (Nadeau-Bengio)" if result.final.folds > 1 else "seeds"
    known = (
        f"In this table ± and [ ] are 95% t intervals over {over}; what other test images would "
        "change is not in them."
    )
    sentences = ["One final run gives no interval." if result.final.ci95 is None else known]
    if chosen.recipe["method"] == "finetune" and not chosen.refit:
        metric = numbers.metric_title(chosen.snapshot.metric)
        sentences.append(f"The epoch was chosen by {metric} on the validation split.")
    sentences.append(
        "The test split was read after every epoch, for the oracle's sake, and chose nothing here."
        if chosen.snapshot.spec["final"].get("selection") == "oracle"
        else "The test split was read once, at the end."
    )
    if chosen.refit:
        sentences.append("It was trained on the training and the validation split together.")
    if result.final_default is not None and result.final_default.mean is not None:
        default = result.final_default
        value = numbers.with_interval(default.metric, default.mean, default.ci95)
        sentences.append(f"At the recipe's defaults, untuned, this backbone reaches {value}.")
    return " ".join(sentences)


def _standing_row(standing: Standing, exported: str) -> tuple[str, ...]:
    result, sure = standing.result, standing.uncertainty
    name, final = plain(result.pair.backbone), result.final
    return (
        numbers.MISSING if standing.rank is None else str(standing.rank),
        f"**{name}** (this one)" if result.pair.id == exported else name,
        numbers.with_interval(final.metric, final.mean, final.ci95),
        numbers.interval_text(final.metric, final.mean, sure.both if sure else None),
        numbers.chance(standing.chance),
        _apart(standing),
    )


def _apart(standing: Standing) -> str:
    if standing.rank is None:
        return f"no result ({standing.result.pair.state})"
    if standing.leads:
        return "leads"
    return "cannot be told apart from the leader" if standing.tied else "behind the leader"


def _comparison_note(ranked: Sequence[Standing]) -> str:
    if len(ranked) == 1:
        return "It was compared with nothing else on this data."
    return f"{comparison.RULE} {probability.RULE}"
