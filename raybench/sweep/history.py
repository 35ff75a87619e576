"""What this home has measured: its sweeps' trials, and short runs made to pack or to profile.

Only what ran on the same kind of device (CPU, or not) counts; see ``costs`` for how it is used.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import median
from typing import Any

import sqlalchemy as sa

from raybench.costs import Costs, Key, Measured
from raybench.errors import HomeError
from raybench.measurements import Footprint, Profile
from raybench.rates import (
    CORE,
    CORE_MACS_PER_S,
    HOME,
    LEAST_STEP_S,
    PROBED,
    REFERENCE,
    REFERENCE_MACS_PER_S,
    TRAINING_PASSES,
    macs_per_image,
    model_key,
)
from raybench.records import EpochRecord, PairRow, SweepSnapshot, TrialRow
from raybench.settings import Settings
from raybench.spec import BackboneSpec
from raybench.sweep.packing import fitting_share
from raybench.sweep.reader import SweepReader, sweep_names
from raybench.sweep.soundness import telling_damage
from raybench.sweep.tables import footprints, open_engine, profiles

LEAST_EPOCH_S = 5.0
"""A rate is taken from epochs of that length; shorter ones measure what stands beside them."""

_Found = dict[Key, list[Measured]]


def read_costs(settings: Settings, on_cpu: bool) -> Costs:
    """What the home of ``settings`` has measured; where it has no sound ledger, nothing."""
    path = settings.ledger_file
    if path is not None and not path.exists():
        return _costs({}, {}, [], on_cpu)
    try:
        engine = open_engine(settings.ledger_url, create=False)
        try:
            return costs_of(engine, on_cpu)
        finally:
            engine.dispose()
    except HomeError:
        # ``run`` and ``status`` say what is wrong with it; a plan needs no ledger.
        return _costs({}, {}, [], on_cpu)


def costs_of(engine: sa.Engine, on_cpu: bool, known: Sequence[SweepSnapshot] = ()) -> Costs:
    """What all sweeps of an open ledger have measured; those ``known`` are not read again.

    Raises:
        HomeError: rows that cannot be read.
    """
    others = sorted(set(sweep_names(engine)) - {snapshot.sweep for snapshot in known})
    read = (SweepReader(engine, name).snapshot() for name in others)  # one at a time in memory
    trials, rates = _from_trials(chain(known, read), on_cpu)
    probes, probed_rates = _from_probes(engine, on_cpu)
    if rates:
        return _costs(trials, probes, rates, on_cpu)
    return _costs(trials, probes, probed_rates, on_cpu, PROBED)


def _costs(
    trials: Mapping[Key, Sequence[Measured]],
    probes: Mapping[Key, Sequence[Measured]],
    rates: Sequence[float],
    on_cpu: bool,
    rates_are: str = HOME,
) -> Costs:
    """With the home's rate where there is one, else with a reference's."""
    if rates:
        return Costs(on_cpu, trials, probes, median(rates), rates_are)
    reference = (CORE_MACS_PER_S, CORE) if on_cpu else (REFERENCE_MACS_PER_S, REFERENCE)
    return Costs(on_cpu, trials, probes, *reference)


def _from_trials(snapshots: Iterable[SweepSnapshot], on_cpu: bool) -> tuple[_Found, list[float]]:
    """What trials took, and multiply-adds per device-second of those that say."""
    sums: dict[tuple[Key, int, str], _Sum] = defaultdict(_Sum)
    rates = []
    for snapshot in snapshots:
        recipe = snapshot.spec["recipe"]
        for pair in snapshot.pairs:
            backbone = BackboneSpec.model_validate(pair.backbone_spec)
            key = model_key(backbone), int(recipe["image_size"])
            of_pair = _Sum()
            for trial in pair.trials:
                if trial.end is None or not _is_kind(trial.end.facts.get("device"), on_cpu):
                    continue
                batch = int(trial.params.get("batch_size", recipe["batch_size"]))
                into = sums[(key, batch, str(trial.end.facts.get("precision", "")))]
                for total in (into, of_pair):
                    total.add(pair, trial, recipe.get("method", "finetune"))
            rate = of_pair.macs_per_s(macs_per_image(backbone, key[1]))
            rates += [] if rate is None else [rate]
    found: _Found = defaultdict(list)
    for (key, batch, precision), total in sums.items():
        found[key].append(total.measured(batch, precision))
    return found, rates


def _is_kind(device: Any, on_cpu: bool) -> bool:
    return device is not None and (device == "cpu") == on_cpu


@dataclass(slots=True)
class _Rate:
    """Device-seconds over images."""

    seconds: float = 0.0
    images: float = 0.0

    def add(self, seconds: float, images: float) -> None:
        self.seconds, self.images = self.seconds + seconds, self.images + images

    @property
    def value(self) -> float | None:
        return self.seconds / self.images if self.images and self.seconds else None


@dataclass(slots=True)
class _Sum:
    """Over trials of one backbone at one image size."""

    train: _Rate = field(default_factory=_Rate)
    evaluate: _Rate = field(default_factory=_Rate)
    fit: dict[str, _Rate] = field(default_factory=lambda: defaultdict(_Rate))
    epoch_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    parameters: float | None = None
    at: float = 0.0

    def add(self, pair: PairRow, trial: TrialRow, method: str) -> None:
        assert trial.end is not None
        images = float(trial.end.facts.get("train_images", pair.facts["train_images"]))
        known = pair.facts.get("parameters")  # the user's own models have none
        self.parameters = None if known is None else float(known)
        self.at = max(self.at, trial.end.finished_at)
        self.gaps_s += _gaps(trial.epochs)
        for record in trial.epochs:
            add = self._add_fit if method != "finetune" else self._add_epoch
            add(record, images, float(pair.facts.get("val_images", 0)), method)

    def _add_epoch(self, record: EpochRecord, train: float, val: float, method: str) -> None:
        metrics, share = record.metrics, record.device_share
        if "perf/train_s" in metrics:
            self.train.add(metrics["perf/train_s"] * share, train)
            self.epoch_s.append(record.duration_s)
        if "perf/val_s" in metrics:
            self.evaluate.add(metrics["perf/val_s"] * share, val)

    def _add_fit(self, record: EpochRecord, train: float, val: float, method: str) -> None:
        """One classifier on features; with the forward pass, where this trial made it."""
        metrics, share = record.metrics, record.device_share
        if "perf/images_per_s" in metrics:
            self.evaluate.add(share / metrics["perf/images_per_s"], 1.0)
        fitted_s = metrics.get("perf/fit_s", 0.0) + metrics.get("perf/val_s", 0.0)
        self.fit[method].add(fitted_s * share, train)

    def measured(self, batch_size: int, precision: str) -> Measured:
        return Measured(
            batch_size=batch_size,
            precision=precision,
            at=self.at,
            train_s=self.train.value,
            evaluate_s=self.evaluate.value,
            fit_s={m: rate.value for m, rate in self.fit.items() if rate.value is not None},
            save_s=median(self.gaps_s) if self.gaps_s else None,
            parameters=self.parameters,
        )

    def macs_per_s(self, macs: float | None) -> float | None:
        """None where epochs are short, or nothing is known of the network."""
        if macs is None or not self.epoch_s or median(self.epoch_s) < LEAST_EPOCH_S:
            return None
        passes = TRAINING_PASSES * self.train.images + self.evaluate.images
        return macs * passes / (self.train.seconds + self.evaluate.seconds)


def _gaps(epochs: Sequence[EpochRecord]) -> Iterator[float]:
    """Seconds between one epoch's end and the next one's start, in the same life of the driver."""
    for before, after in zip(epochs, epochs[1:], strict=False):
        if before.attempt == after.attempt:
            yield max(0.0, after.finished_at - after.duration_s - before.finished_at)


def _from_probes(engine: sa.Engine, on_cpu: bool) -> tuple[_Found, list[float]]:
    """What exclusive runs took, and multiply-adds per device-second of their training steps."""
    found: _Found = defaultdict(list)
    rates = []
    for backbone, image_size, known in _probes(engine, on_cpu):
        found[(model_key(backbone), image_size)].append(known)
        macs = macs_per_image(backbone, image_size)
        if macs is None or known.train_s is None:
            continue
        if known.train_s * known.batch_size >= LEAST_STEP_S * on_cpu:
            rates.append(TRAINING_PASSES * macs / known.train_s)
    return found, rates


def _probes(engine: sa.Engine, on_cpu: bool) -> Iterator[tuple[BackboneSpec, int, Measured]]:
    """Footprints and profiles; a ledger from before there were any has no such tables."""
    for row in _rows(engine, footprints):
        content = json.loads(row.content)  # null: only that a trial ran out of memory is known
        footprint = None if content is None else Footprint.from_dict(content)
        if footprint is not None and _is_kind(footprint.device, on_cpu):
            known = _of_footprint(footprint, row.least_share)
            yield _backbone(footprint), footprint.image_size, known
    for row in _rows(engine, profiles):
        profile = Profile.from_dict(json.loads(row.content))
        if _is_kind(profile.device, on_cpu) and not profile.shared:
            yield _backbone(profile), profile.image_size, _of_profile(profile)


def _backbone(probe: Footprint | Profile) -> BackboneSpec:
    return BackboneSpec(name=probe.backbone, kwargs=dict(probe.kwargs))


def _rows(engine: sa.Engine, table: sa.Table) -> list[Any]:
    with telling_damage(engine), engine.connect() as connection:
        if not sa.inspect(connection).has_table(table.name):
            return []
        return list(connection.execute(sa.select(table)))


def _of_footprint(footprint: Footprint, least_share: float) -> Measured:
    cores, share = 1, None
    if footprint.device == "cpu":
        cores = footprint.threads
    elif footprint.peak_memory_gb is not None and footprint.total_memory_gb is not None:
        share = max(fitting_share(footprint), least_share)
    return Measured(
        batch_size=footprint.batch_size,
        precision=footprint.precision,
        at=footprint.at,
        # Of a method that does not train, both are the time of an evaluation.
        train_s=None if footprint.train_s == footprint.evaluate_s else footprint.train_s * cores,
        evaluate_s=footprint.evaluate_s * cores,
        gpu_share=share,
    )


def _of_profile(profile: Profile) -> Measured:
    cores = profile.threads if profile.device == "cpu" else 1
    training, batched = profile.training, profile.batched
    return Measured(
        batch_size=0 if training is None else training.batch_size,
        precision=profile.precision,
        at=profile.at,
        train_s=None if training is None else cores / training.images_per_s,
        evaluate_s=None if batched is None else cores / batched.images_per_s,
        parameters=float(profile.parameters),
    )
