"""What a trial costs before it has run: as this home's trials or probes took, else by its MACs.

Pure: what the home knows is read by ``sweep.history``. Everything is in device-seconds (wall
seconds times the share of a GPU, on CPU times cores), so that a trial of another share is priced
from it. A smaller share is taken to be as much slower, which is the worst that can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from raybench.plan import Pair, Plan
from raybench.rates import (
    CHECKPOINT_BYTES,
    FIT_S_PER_IMAGE,
    LEAST_STEP_S,
    REFERENCE,
    REFERENCE_MACS_PER_S,
    SAVE_BYTES_PER_S,
    SAVE_S,
    TRAINING_PASSES,
    TRIAL_S,
    described,
    macs_per_image,
    model_key,
)
from raybench.spec import SweepSpec

Basis = Literal["trials", "probe", "multiply-adds"]
Key = tuple[str, int]
"""``model_key`` and image size."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One backbone at one image size, as trained here; None where that was not seen.

    Attributes:
        batch_size, precision: that it was measured with. at: Unix seconds.
        train_s, evaluate_s: device-seconds per image.
        fit_s: method -> device-seconds per training image of a classifier on features.
        save_s: wall seconds from one epoch's end to the next one's start.
        parameters: of the model with its classifier.
        gpu_share: the least that holds a trial.
    """

    batch_size: int
    precision: str
    at: float
    train_s: float | None = None
    evaluate_s: float | None = None
    fit_s: Mapping[str, float] = field(default_factory=dict)
    save_s: float | None = None
    parameters: float | None = None
    gpu_share: float | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """Of one task. ``pool``: of its whole data set, which a frozen backbone sees once."""

    train: int
    val: int
    test: int = 0
    pool: int | None = None

    @property
    def all(self) -> int:
        return self.train + self.val + self.test if self.pool is None else self.pool


@dataclass(frozen=True, slots=True)
class Price:
    """Wall seconds of one pair's trials at ``share`` of a device.

    Attributes:
        epochs_s: of a search trial, all of its epochs; what ``budget.device_hours`` counts.
        search_s, final_s: of a trial of that phase, with all that stands beside its epochs.
        features_s: the forward pass that the search's trials on the frozen backbone share, else 0.
        share: of a GPU; on CPU cores.
    """

    epochs_s: float
    search_s: float
    final_s: float
    features_s: float
    share: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Costs:
    """What is known of prices.

    Attributes:
        on_cpu: prices are of CPU cores, else of GPUs.
        trials, probes: what was measured here, by backbone and image size.
        macs_per_s: multiply-adds per second and device, for the others. basis: whose rate it is.
    """

    on_cpu: bool
    trials: Mapping[Key, Sequence[Measured]] = field(default_factory=dict)
    probes: Mapping[Key, Sequence[Measured]] = field(default_factory=dict)
    macs_per_s: float = REFERENCE_MACS_PER_S
    basis: str = REFERENCE

    def trial_seconds(
        self, pair: Pair, spec: SweepSpec, train: int, val: int, test: int = 0
    ) -> float | None:
        """Expected wall seconds of one whole search trial; None: nothing is known.

        A frozen backbone's one forward pass is spread over the pair's trials.
        """
        price = self.price(pair, spec, Images(train, val, test))
        return None if price is None else price.search_s + price.features_s / pair.quota

    def price(self, pair: Pair, spec: SweepSpec, images: Images) -> Price | None:
        """What the pair's trials take at most; None: nothing is known of the backbone."""
        if spec.recipe.method != "finetune":
            return self._price_on_features(pair, spec, images)
        speed = self._training_speed(pair, spec)
        if speed is None:
            return None
        (train_s, evaluate_s), basis = speed
        share, epochs = self.share(pair, spec), most_epochs(spec)
        seen_s = images.train * train_s + images.val * evaluate_s
        if spec.final.refit:
            final_s = (images.train + images.val) * train_s
        else:
            final_s = seen_s
        tests = 1 + epochs * (spec.final.selection == "oracle")
        beside_s = TRIAL_S + epochs * self._save_seconds(pair, spec)
        return Price(
            epochs_s=epochs * seen_s / share,
            search_s=epochs * seen_s / share + beside_s,
            final_s=(epochs * final_s + tests * images.test * evaluate_s) / share + beside_s,
            features_s=0.0,
            share=share,
            basis=basis,
        )

    def _price_on_features(self, pair: Pair, spec: SweepSpec, images: Images) -> Price | None:
        """One forward pass over everything, then only classifiers."""
        speed = self._evaluation_speed(pair, spec)
        if speed is None:
            return None
        (evaluate_s, fit_s), basis = speed
        share = self.share(pair, spec)
        fitted_s = images.train * fit_s / share
        features_s = images.all * evaluate_s / share
        return Price(
            epochs_s=fitted_s,
            search_s=fitted_s + TRIAL_S,
            final_s=fitted_s + TRIAL_S + features_s * _is_drawn(pair),
            features_s=features_s,
            share=share,
            basis=basis,
        )

    def share(self, pair: Pair, spec: SweepSpec) -> float:
        """Of a GPU, that one trial holds; the whole where ``auto`` has not been measured."""
        if self.on_cpu:
            return float(spec.resources.cpus)
        if spec.resources.gpus != "auto":
            return float(spec.resources.gpus) or 1.0
        trains = spec.recipe.method == "finetune"
        probes = [
            p
            for p in self.probes.get(_key(pair, spec), ())
            if p.gpu_share is not None and (p.train_s is not None) == trains
        ]
        fitting = _fitting(probes, spec)
        return 1.0 if fitting is None else fitting.gpu_share or 1.0

    def parameters(self, pair: Pair, spec: SweepSpec) -> float | None:
        """Weights of one model, with the published classifier where it has not been built here."""
        for known in self._known(pair, spec):
            if known.parameters is not None:
                return known.parameters
        return described(pair.backbone)[0]

    def _known(self, pair: Pair, spec: SweepSpec) -> list[Measured]:
        """Trials' before probes', what fits the recipe before what does not."""
        key = _key(pair, spec)
        found = (_fitting(table.get(key, ()), spec) for table in (self.trials, self.probes))
        return [known for known in found if known is not None]

    def _basis(self, pair: Pair, spec: SweepSpec, known: Measured) -> Basis:
        return "trials" if known in self.trials.get(_key(pair, spec), ()) else "probe"

    def _training_speed(
        self, pair: Pair, spec: SweepSpec
    ) -> tuple[tuple[float, float], Basis] | None:
        """Device-seconds to train on an image and to evaluate one."""
        for known in self._known(pair, spec):
            if known.train_s is not None and known.evaluate_s is not None:
                return (known.train_s, known.evaluate_s), self._basis(pair, spec, known)
        guessed = self._by_macs(pair, spec)
        return None if guessed is None else (guessed, "multiply-adds")

    def _evaluation_speed(
        self, pair: Pair, spec: SweepSpec
    ) -> tuple[tuple[float, float], Basis] | None:
        """Device-seconds to evaluate an image and to fit a classifier, per training image."""
        method = spec.recipe.method
        fit_s = FIT_S_PER_IMAGE[method]
        for known in self._known(pair, spec):
            if known.evaluate_s is not None:
                speed = known.evaluate_s, known.fit_s.get(method, fit_s)
                return speed, self._basis(pair, spec, known)
        guessed = self._by_macs(pair, spec)
        return None if guessed is None else ((guessed[1], fit_s), "multiply-adds")

    def _by_macs(self, pair: Pair, spec: SweepSpec) -> tuple[float, float] | None:
        """As ``_training_speed``; never less than a step costs beside its arithmetic."""
        macs = macs_per_image(pair.backbone, spec.recipe.image_size)
        if macs is None:
            return None
        train_s = TRAINING_PASSES * macs / self.macs_per_s
        if self.on_cpu:
            train_s = max(train_s, LEAST_STEP_S / spec.recipe.batch_size)
        return train_s, train_s / TRAINING_PASSES

    def _save_seconds(self, pair: Pair, spec: SweepSpec) -> float:
        """Wall seconds between two epochs."""
        for known in self._known(pair, spec):
            if known.save_s is not None:
                return known.save_s
        parameters = self.parameters(pair, spec) or 0.0
        return SAVE_S + parameters * CHECKPOINT_BYTES / SAVE_BYTES_PER_S


def expected_seconds(
    plan: Plan, costs: Costs, facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Pair id -> wall seconds that one search trial is expected to take, where that is known.

    Args:
        plan: the sweep's.
        costs: what the home knows (``sweep.history``).
        facts: pair id -> the preflight's: ``train_images``, ``val_images``, ``test_images``.
    """
    expected = {}
    for pair in plan.pairs:
        found = facts.get(pair.id, {})
        if "train_images" not in found:
            continue
        counts = (int(found.get(f"{split}_images", 0)) for split in ("train", "val", "test"))
        seconds = costs.trial_seconds(pair, plan.spec, *counts)
        if seconds is not None:
            expected[pair.id] = seconds
    return expected


def most_epochs(spec: SweepSpec) -> int:
    """Of one trial; the largest number where it is tuned."""
    tuned = spec.space.get("epochs")
    return spec.recipe.epochs if tuned is None else int(tuned.high)


def _is_drawn(pair: Pair) -> bool:
    """Whether the frozen backbone may be another one under each final seed."""
    return pair.backbone.weights == "none" or pair.backbone.name.startswith("python:")


def _key(pair: Pair, spec: SweepSpec) -> Key:
    return model_key(pair.backbone), spec.recipe.image_size


def _fitting(found: Sequence[Measured], spec: SweepSpec) -> Measured | None:
    """The one whose precision and batch are the recipe's; among equals the latest."""
    recipe = spec.recipe

    def fit(known: Measured) -> tuple[bool, bool, float]:
        return (
            recipe.precision in ("auto", known.precision),
            known.batch_size == recipe.batch_size,
            known.at,
        )

    return max(found, key=fit, default=None)
