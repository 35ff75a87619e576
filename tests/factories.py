"""Snapshots as the ledger would return them, made by formula: no training, no draw, no clock.

``realistic_snapshot`` is a sweep in the middle of its life, with everything that can stand in one.
``search_trial``, ``final_trial``, ``make_pair`` and ``make_snapshot`` build smaller ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raybench.records import (
    EndRecord,
    EndState,
    EpochRecord,
    FailureClass,
    PairRow,
    PairState,
    SweepSnapshot,
    TrialRow,
    TrialState,
)
from raybench.seeding import derive_seed
from tests.measurements import make_profile, make_timing

STARTED_AT = 1_770_000_000.0
DEFAULT_LR = 3e-4
LADDER = (3e-4, 3e-5, 1e-4, 1e-3, 3e-3)
FACTS: Mapping[str, str | float] = {
    "classes": 10,
    "train_images": 1077,
    "val_images": 360,
    "test_images": 360,
    "data_digest": "sha256:5f1d0c7a9e",
    "split_digest": "sha256:a81b22c3d4",
    "domain": "digits",
}
_END_STATES: Mapping[TrialState, EndState] = {
    "complete": "complete",
    "pruned": "pruned",
    "failed": "failed",
}


def make_epochs(
    values: Sequence[float], metric: str = "val/accuracy", lr: float = DEFAULT_LR, number: int = 0
) -> tuple[EpochRecord, ...]:
    """One record per value; each epoch lasts 2 s on a quarter of a device."""
    return tuple(
        EpochRecord(
            epoch=index,
            stage=0,
            lr=lr,
            finished_at=STARTED_AT + 60 * number + 2 * index,
            duration_s=2.0,
            device_share=0.25,
            attempt=1,
            metrics={
                "train/loss": 2.0 / index,
                "val/nll": 1.0 / index,
                metric: value,
                "perf/images_per_s": 540.0,
            },
        )
        for index, value in enumerate(values, start=1)
    )


def search_trial(
    pair_id: str,
    number: int,
    lr: float = DEFAULT_LR,
    values: Sequence[float] = (0.5, 0.9),
    state: TrialState = "complete",
    metric: str = "val/accuracy",
    failure: FailureClass | None = None,
    reason: str = "",
    parameters: int = 5_000_000,
) -> TrialRow:
    """One search trial whose epochs reach ``values``; trials that have not ended have no end."""
    epochs = make_epochs(values, metric, lr, number)
    return TrialRow(
        pair_id=pair_id,
        phase="search",
        number=number,
        state=state,
        params={"lr": lr},
        epochs=epochs,
        end=_end(epochs, metric, state, failure, reason, parameters),
    )


def final_trial(
    pair_id: str,
    number: int,
    seed: int,
    value: float | None,
    configs: tuple[str, ...] = ("tuned",),
    state: TrialState = "complete",
    metric: str = "val/accuracy",
    superseded: bool = False,
    source: int = 0,
    failure: FailureClass | None = None,
    reason: str = "",
    oracle: float | None = None,
    parameters: int = 5_000_000,
) -> TrialRow:
    """One final trial with ``test/...`` of ``value``."""
    epochs = make_epochs((0.5, 0.9), metric, number=100 + number) if state != "waiting" else ()
    name = "test/" + metric.split("/")[1]
    test = {} if value is None else {name: value}
    best = {} if oracle is None else {name: oracle}
    return TrialRow(
        pair_id=pair_id,
        phase="final",
        number=number,
        state=state,
        params={"lr": DEFAULT_LR},
        epochs=epochs,
        end=_end(epochs, metric, state, failure, reason, parameters, test, best),
        seed=seed,
        configs=configs,
        source=source,
        superseded=superseded,
    )


def make_pair(
    backbone: str,
    trials: Iterable[TrialRow] = (),
    dataset: str = "digits",
    subset: str = "full",
    state: PairState = "done",
    quota: int = 5,
    seeds: tuple[int, ...] = (0, 1, 2),
    configs: tuple[str, ...] = ("tuned",),
    facts: Mapping[str, str | float] = FACTS,
    current: bool = True,
) -> PairRow:
    """One pair; its id is ``pair_id(backbone, dataset, subset)``."""
    return PairRow(
        id=pair_id(backbone, dataset, subset),
        backbone=backbone,
        dataset=dataset,
        subset=subset,
        state=state,
        quota=quota,
        default_params={"lr": DEFAULT_LR},
        final_seeds=seeds,
        final_configs=configs,
        trials=tuple(trials),
        facts=facts,
        current=current,
    )


def pair_id(backbone: str, dataset: str = "digits", subset: str = "full") -> str:
    """A readable id, without the hash of the real ones."""
    return f"{backbone.split(':')[-1]}.{dataset}.{subset}".replace("%", "pct")


def make_snapshot(*pairs: PairRow, metric: str = "val/accuracy", **spec: Any) -> SweepSnapshot:
    """A sweep of ``pairs``; keyword arguments replace whole sections of the spec."""
    return SweepSnapshot(
        sweep="quickstart",
        description="Three small families on handwritten digits",
        attempt=2,
        metric=metric,
        spec=_spec(metric) | spec,
        pairs=pairs,
        lease=None,
    )


def empty_snapshot() -> SweepSnapshot:
    """A sweep whose pairs are known and nothing has run."""
    names = ("timm:resnet10t.c3_in1k", "timm:vit_tiny_patch16_224.augreg_in21k")
    return make_snapshot(*(make_pair(n, state="waiting", facts={}) for n in names))


def tuned_pair(
    backbone: str,
    peak: float,
    best_lr: float,
    dataset: str = "digits",
    subset: str = "full",
    parameters: int = 5_000_000,
    **kwargs: Any,
) -> PairRow:
    """A finished pair: ladder, two pruned and sampled trials, three finals, a superseded one."""
    name = pair_id(backbone, dataset, subset)
    lrs = (*LADDER, best_lr, 8e-3)
    search = [
        search_trial(name, i, lr, _curve(peak, best_lr, lr), parameters=parameters)
        for i, lr in enumerate(lrs[:-1])
    ]
    pruned = search_trial(name, 6, lrs[-1], _curve(peak, best_lr, lrs[-1])[:2], state="pruned")
    finals = [final_trial(name, seed, seed, peak - 0.01 + _noise(name, seed)) for seed in (0, 1, 2)]
    defaults = [
        final_trial(name, 3 + s, s, _reach(peak, best_lr, DEFAULT_LR) - 0.01, configs=("default",))
        for s in (0, 1, 2)
    ]
    old = final_trial(name, 6, 0, 0.11, superseded=True)
    trials = (*search, pruned, *finals, *defaults, old)
    options: dict[str, Any] = {"quota": 7, "configs": ("tuned", "default")} | kwargs
    return make_pair(backbone, trials, dataset, subset, **options)


def realistic_snapshot() -> SweepSnapshot:
    """Two tasks; leaders, ties, a failed, a searching, a waiting and a former pair."""
    broken = pair_id("python:my_models:<b>Net</b>")
    crashed = [
        search_trial(
            broken,
            i,
            lr,
            (),
            "failed",
            failure="user",
            reason="ValueError: <script>x</script> & co",
        )
        for i, lr in enumerate(LADDER)
    ]
    busy = pair_id("timm:convnext_atto.d2_in1k", "digits", "10%")
    searching = [
        search_trial(busy, 0, DEFAULT_LR, (0.4, 0.6, 0.71)),
        search_trial(busy, 1, 3e-5, (0.2, 0.3), state="running"),
        search_trial(busy, 2, 1e-4, (0.3,), state="waiting"),
        search_trial(busy, 3, 3e-3, (), "failed", failure="diverged", reason="loss is not finite"),
    ]
    low: dict[str, Any] = {"subset": "10%", "facts": {**FACTS, "train_images": 108}}
    return make_snapshot(
        tuned_pair("timm:mobilenetv3_small_050.lamb_in1k", 0.948, 3e-3, parameters=1_590_000),
        tuned_pair("timm:resnet10t.c3_in1k", 0.985, 1.3e-3, parameters=5_440_000),
        tuned_pair("timm:vit_tiny_patch16_224.augreg_in21k", 0.982, 7e-5, parameters=5_720_000),
        make_pair("python:my_models:<b>Net</b>", crashed, state="failed"),
        tuned_pair("timm:mobilenetv3_small_050.lamb_in1k", 0.71, 3e-3, parameters=1_590_000, **low),
        tuned_pair("timm:resnet10t.c3_in1k", 0.86, 8e-4, parameters=5_440_000, **low),
        make_pair("timm:convnext_atto.d2_in1k", searching, state="searching", quota=7, **low),
        make_pair("timm:vit_tiny_patch16_224.augreg_in21k", state="waiting", **low),
        tuned_pair("torchvision:resnet18", 0.9, 3e-4, current=False),
    )


def _noise(name: str, seed: int) -> float:
    """Within +-0.6 points, the same on every machine."""
    return (derive_seed(name, seed) % 1201 - 600) / 1e5


def _reach(peak: float, best_lr: float, lr: float) -> float:
    return max(0.1, peak - 0.06 * (math.log10(lr) - math.log10(best_lr)) ** 2)


def _curve(peak: float, best_lr: float, lr: float, epochs: int = 6) -> tuple[float, ...]:
    top = _reach(peak, best_lr, lr)
    return tuple(top * (1 - 0.5 * math.exp(-e)) for e in range(1, epochs + 1))


def _end(
    epochs: Sequence[EpochRecord],
    metric: str,
    state: TrialState,
    failure: FailureClass | None,
    reason: str,
    parameters: int,
    test: Mapping[str, float] | None = None,
    oracle: Mapping[str, float] | None = None,
) -> EndRecord | None:
    if state not in _END_STATES:
        return None
    best = max(epochs, key=lambda e: e.metrics[metric], default=None)
    return EndRecord(
        state=_END_STATES[state],
        finished_at=epochs[-1].finished_at if epochs else STARTED_AT,
        failure=failure,
        reason=reason,
        best_epoch=best.epoch if best else None,
        best={k: v for k, v in best.metrics.items() if k.startswith("val/")} if best else {},
        test=test or {},
        oracle=oracle or {},
        facts={"parameters": parameters, "device": "cpu", "precision": "fp32", "torch": "2.11.0"}
        if epochs
        else {},
    )


def _spec(metric: str) -> dict[str, Any]:
    return {
        "name": "quickstart",
        "description": "Three small families on handwritten digits",
        "recipe": {"method": "finetune", "image_size": 32, "batch_size": 64, "epochs": 6},
        "space": {"lr": {"default": DEFAULT_LR, "low": 1e-5, "high": 1e-2, "log": True}},
        "search": {
            "sampler": "tpe",
            "ladder": {"lr": sorted(LADDER)},
            "early_stop": "asha",
            "metric": metric,
        },
        "budget": {"trials": 7, "device_hours": None, "wall_clock": None},
        "final": {"seeds": [0, 1, 2], "configs": ["tuned", "default"], "selection": "val"},
        "seed": 0,
    }


def profiled_snapshot() -> SweepSnapshot:
    """``realistic_snapshot`` with the costs of its backbones, all but the first undisturbed."""
    snapshot = realistic_snapshot()
    names = dict.fromkeys(pair.backbone for pair in snapshot.pairs)
    pairs = tuple(replace(p, backbone_spec={"name": p.backbone}) for p in snapshot.pairs)
    profiles = tuple(
        make_profile(
            backbone=name,
            single=make_timing(median_ms=2.0 * number),
            shared=number == 1,
            seen="other processes took 50 % <b>of all</b>",
        )
        for number, name in enumerate(names, start=1)
    )
    return replace(snapshot, pairs=pairs, profiles=profiles)
