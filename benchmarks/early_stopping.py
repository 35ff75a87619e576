"""Claim: ASHA per pair saves a good part of a search, and the winner loses next to nothing.

Two ways of looking, on real sweeps:

1. Replay. Sweeps that stopped nothing are replayed under the rule, in many orders of arrival and
   with several trials at once: epochs saved, how often the rule stops the trial that would have
   won, and what that costs on validation. Other constants and the median rule beside it.
2. The same sweep run with the rule and without, under the same quota: epochs, seconds, validation
   and test accuracy of the winner. Every two sweeps of the homes that differ in nothing but
   ``early_stop`` are compared. Their trials after the ladder have parameters of their own: draws
   are seeded by the pair's id, which holds the rule, and ``tpe`` sees what was stopped.

Reads homes. Where folders of images are given, the first home is filled before: for each folder
one sweep to be replayed (``random``, nothing stopped) and one of ``tpe`` with and without.

    python benchmarks/early_stopping.py --home HOME...
    python benchmarks/early_stopping.py --home HOME --images DIR... --backbone YAML... \
        [--epochs 9] [--trials 12] [--image-size 64] [--inline]

A backbone is named as in a sweep file: ``'{name: timm:..., weights: FILE, kwargs: {...}}'``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from stopping_replay import Outcome, Pool, Rule, mean, pools, replays

from raybench.analysis.intervals import t_interval
from raybench.library import run_sweep_file
from raybench.records import PairRow, SweepSnapshot
from raybench.settings import resolve_settings
from raybench.sweep.reader import SweepReader, sweep_names
from raybench.sweep.scheduler import Constants
from raybench.sweep.tables import open_engine
from raybench.yamlio import parse_yaml

SWEEPS = (("random", "none"), ("tpe", "none"), ("tpe", "asha"))
SLOTS = (1, 2, 4, 8)
RULES = (
    Rule(),
    Rule("asha", Constants(factor=2)),
    Rule("asha", Constants(factor=4)),
    Rule("asha", Constants(grace=4)),
    Rule("asha", Constants(grace=3)),
    Rule("asha", Constants(peers=6)),
    Rule("median"),
)


def main() -> None:
    """Prints the tables."""
    options = _options()
    for folder, (sampler, rule) in product(options.images, SWEEPS):
        _run(options, folder, sampler, rule)
    snapshots = [snapshot for home in options.home for snapshot in _snapshots(home)]
    whole = [s for s in snapshots if _early_stop(s) == "none"]
    found = [pool for snapshot in whole for pool in pools(snapshot, options.quota)]
    if found:
        _print_replay(found, options.orders, options.slots)
        _print_rules(found, options.orders, options.slots)
    _print_real(list(_twins(snapshots)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", nargs="+", required=True, type=Path)
    parser.add_argument("--images", nargs="*", default=[], type=Path, help="class folders")
    parser.add_argument("--backbone", nargs="*", default=[], metavar="YAML")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--inline", action="store_true", help="without Ray, one trial at a time")
    parser.add_argument("--orders", type=int, default=200, help="arrival orders of a replay")
    parser.add_argument(
        "--quota", type=int, help="replay that many trials of each pair, ladder first"
    )
    parser.add_argument("--slots", type=int, default=2, help="trials of a pair at once in a replay")
    return parser.parse_args()


def _run(options: argparse.Namespace, folder: Path, sampler: str, rule: str) -> None:
    """Run or resume one sweep in the first home; its file stays beside the ledger."""
    home = options.home[0]
    home.mkdir(parents=True, exist_ok=True)
    name = f"{folder.name}-{sampler}-{rule}"
    file = home / f"{name}.yaml"
    file.write_text(json.dumps(_sweep(options, folder, name, sampler, rule)))
    sys.stderr.write(f"{name} ...\n")
    run_sweep_file(file, home=home, inline=options.inline, accept_leaks=True, tracking=False)


def _sweep(
    options: argparse.Namespace, folder: Path, name: str, sampler: str, rule: str
) -> dict[str, Any]:
    """The shipped sweep ``fair`` on small images: its space, ladder and stages."""
    return {
        "name": name,
        "backbones": [parse_yaml(text)[0] for text in options.backbone],
        "datasets": [{"name": folder.name, "path": str(folder.resolve())}],
        "recipe": {
            "image_size": options.image_size,
            "batch_size": 32,
            "epochs": options.epochs,
            "stages": [{"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": 1}],
            "augment": "trivial",
        },
        "space": {"lr": {"default": 1e-3, "low": 1e-5, "high": 1e-2, "log": True}},
        "search": {
            "sampler": sampler,
            "ladder": {"lr": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]},
            "early_stop": rule,
        },
        "budget": {"trials": options.trials},
        "final": {"seeds": [0, 1, 2]},
        "resources": {"cpus": 1, "gpus": "auto"},
    }


def _snapshots(home: Path) -> Iterator[SweepSnapshot]:
    engine = open_engine(resolve_settings(home).ledger_url, create=False)
    try:
        for name in sweep_names(engine):
            yield SweepReader(engine, name).snapshot()
    finally:
        engine.dispose()


def _early_stop(snapshot: SweepSnapshot) -> str:
    return str(snapshot.spec["search"]["early_stop"])


# -- replay --------------------------------------------------------------------------------------


def _print_replay(found: list[Pool], orders: int, slots: int) -> None:
    """The shipped rule, pair by pair and by concurrency."""
    print(
        f"Replay of the shipped rule, {orders} orders of arrival, {slots} trials of a pair at once"
    )
    head = "epochs saved | winner stopped | loss, best epoch | loss, last epoch"
    print(f"| pair | trials x epochs | {head} |\n|---|---|---|---|---|---|")
    by_pair = {pool.pair: replays(pool, Rule(), slots, orders) for pool in found}
    for pool in found:
        size = f"{min(pool.quota, len(pool.curves))} x {pool.epochs}"
        print(f"| {pool.pair} | {size} | {_cells(by_pair[pool.pair])} |")
    everything = [outcome for outcomes in by_pair.values() for outcome in outcomes]
    print(f"| all {len(found)} pairs | | {_cells(everything)} |\n")
    print("By trials of a pair at once:")
    for count in SLOTS:
        print(f"| {count} | {_cells(_all(found, Rule(), count, orders))} |")
    print()


def _print_rules(found: list[Pool], orders: int, slots: int) -> None:
    """Other constants beside the shipped ones, by length of a trial."""
    for epochs in sorted({pool.epochs for pool in found}):
        same = [pool for pool in found if pool.epochs == epochs]
        print(f"Rules on {len(same)} pairs of {epochs} epochs:")
        for rule in RULES:
            print(f"| {rule.title} | {_cells(_all(same, rule, slots, orders))} |")
        bare = [replace(pool, ladder=1) for pool in same]
        print(f"| shipped, only trial 0 spared | {_cells(_all(bare, Rule(), slots, orders))} |\n")


def _all(found: Iterable[Pool], rule: Rule, slots: int, orders: int) -> list[Outcome]:
    return [outcome for pool in found for outcome in replays(pool, rule, slots, orders)]


def _cells(outcomes: list[Outcome]) -> str:
    saved = sorted(outcome.saved for outcome in outcomes)
    spread = f"{_percent(saved[len(saved) // 20])} to {_percent(saved[-1 - len(saved) // 20])}"
    return " | ".join(
        (
            f"{_percent(statistics.fmean(saved))} ({spread})",
            _percent(mean(outcomes, lambda o: o.lost_winner)),
            f"{100 * mean(outcomes, lambda o: o.loss_best):.2f}"
            f" (most {100 * max(o.loss_best for o in outcomes):.1f})",
            f"{100 * mean(outcomes, lambda o: o.loss_last):.2f}",
        )
    )


def _percent(part: float) -> str:
    return f"{100 * part:.0f}%"


# -- the same sweep with and without -------------------------------------------------------------


def _twins(snapshots: list[SweepSnapshot]) -> Iterator[tuple[SweepSnapshot, SweepSnapshot]]:
    """Sweeps without the rule, each beside the one that differs in it alone."""
    for one, other in product(snapshots, snapshots):
        if (_early_stop(one), _early_stop(other)) == ("none", "asha") and _rest(one) == _rest(
            other
        ):
            yield one, other


def _rest(snapshot: SweepSnapshot) -> dict[str, Any]:
    search = {k: v for k, v in snapshot.spec["search"].items() if k != "early_stop"}
    return {**snapshot.spec, "name": "", "search": search}


def _print_real(twins: list[tuple[SweepSnapshot, SweepSnapshot]]) -> None:
    if not twins:
        return
    print("The same sweep without and with the rule (search only; differences: with minus without)")
    print("| sweep | pairs | epochs | device seconds | val of the winner | test, mean of seeds |")
    print("|---|---|---|---|---|---|")
    rows = [(one, other, list(zip(one.pairs, other.pairs, strict=True))) for one, other in twins]
    for one, other, both in rows:
        print(f"| {one.sweep} / {other.sweep} | {_real_cells(both)} |")
    print(f"| all | {_real_cells([pair for _, _, both in rows for pair in both])} |")


def _real_cells(both: list[tuple[PairRow, PairRow]]) -> str:
    epochs = [[sum(len(t.epochs) for t in p.search_trials()) for p in pair] for pair in both]
    seconds = [[sum(t.device_seconds for t in p.search_trials()) for p in pair] for pair in both]
    return " | ".join(
        (
            str(len(both)),
            _ratio(epochs),
            _ratio(seconds),
            _difference([[_best(pair) for pair in one] for one in both]),
            _difference([[_test(pair) for pair in one] for one in both]),
        )
    )


def _ratio(pairs: list[list[float]]) -> str:
    without, with_rule = (sum(column) for column in zip(*pairs, strict=True))
    return f"{without:.0f} to {with_rule:.0f} ({_percent(with_rule / without - 1)})"


def _difference(pairs: list[list[float]]) -> str:
    """Mean over pairs in points, with its 95% t interval and the worst pair."""
    gaps = [100 * (other - one) for one, other in pairs]
    interval = t_interval(gaps)
    text = "" if interval is None else f" [{interval[0]:+.1f}, {interval[1]:+.1f}]"
    return f"{statistics.fmean(gaps):+.2f}{text}, worst {min(gaps):+.1f}"


def _best(pair: PairRow) -> float:
    complete = [t for t in pair.search_trials() if t.state == "complete"]
    return max(t.best_value("val/accuracy") or 0.0 for t in complete)


def _test(pair: PairRow) -> float:
    ends = [t.end for t in pair.final_trials("tuned") if t.end is not None]
    return statistics.fmean(end.test["test/accuracy"] for end in ends)


if __name__ == "__main__":
    main()
