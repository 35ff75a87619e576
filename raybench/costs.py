"""What a training image costs, before anything has run: measured in this home, else by its MACs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from raybench.backbones.index import LIBRARIES, load_index, split_name
from raybench.errors import HomeError
from raybench.plan import Pair
from raybench.records import PairRow
from raybench.settings import Settings
from raybench.spec import BackboneSpec

REFERENCE_MACS_PER_S = 3 * 4.09e9 * 128 / 0.11093
"""A Tesla V100 training torchvision's ResNet-50 (4.09 GMACs an image, three times that for forward
and backward) in mixed precision: a batch of 128 in 110.93 ms. Source: torchvision_exp/README.md of
github.com/sandeepkumar-skb/pytorch_experiments.
"""
REFERENCE = "the rate at which a Tesla V100 trains ResNet-50 in mixed precision"
CORE_MACS_PER_S = 5e10
"""One core of a cloud machine (2 cores, shared; torch 2.11) training torchvision's ResNet-50 at 96
px in batches of 32, by ``trial.speed``: 51.6 GMACs a second, ResNet-18 54.6, MobileNetV3 20.5.
"""
CORE = "the rate at which one core of a cloud machine trains ResNet-50"
HOME = "the rate of this home's earlier trials"
LEAST_EPOCH_S = 5.0
TRAINING_PASSES = 3
"""Forward, and backward to weights and to inputs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Device-seconds per training image, validation included; parameters where they are known."""

    seconds_per_image: float
    parameters: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """Prices for pairs that have not run.

    Attributes:
        measured: (backbone's title, image size) -> what this home's trials took.
        macs_per_s: multiply-adds per second and device, for the others. basis: whose rate it is.
    """

    measured: Mapping[tuple[str, int], Measured]
    macs_per_s: float = REFERENCE_MACS_PER_S
    basis: str = REFERENCE

    def epoch_seconds(
        self, pair: Pair, image_size: int, train: int, val: int
    ) -> tuple[float, bool] | None:
        """Device-seconds of one epoch, and whether they were measured; None: nothing is known."""
        known = self.measured.get((pair.title, image_size))
        if known is not None:
            return known.seconds_per_image * train, True
        macs = macs_per_image(pair.backbone, image_size)
        if macs is None:
            return None
        return macs * (TRAINING_PASSES * train + val) / self.macs_per_s, False

    def parameters(self, pair: Pair, image_size: int) -> float | None:
        """Weights of one model, with the published classifier where it has not been built here."""
        known = self.measured.get((pair.title, image_size))
        if known is not None and known.parameters is not None:
            return known.parameters
        return _described(pair.backbone)[0]


def read_costs(settings: Settings, on_cpu: bool) -> Costs:
    """What this home has measured on the same kind of device; else a reference's rate.

    A rate is only taken from epochs of ``LEAST_EPOCH_S``: shorter ones measure the overhead.
    """
    rows = _pair_rows(settings)
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    parameters: dict[tuple[str, int], float | None] = {}
    rates: list[float] = []
    for pair, image_size in rows:
        spent = _seconds_per_image(pair)
        if spent is None or _ran_on_cpu(pair) != on_cpu:
            continue
        seconds[(pair.backbone, image_size)].append(spent)
        known = pair.facts.get("parameters")  # the user's own models have none
        parameters[(pair.backbone, image_size)] = None if known is None else float(known)
        macs = macs_per_image(BackboneSpec.model_validate(pair.backbone_spec), image_size)
        images = float(pair.facts["train_images"])
        if macs is not None and spent * images >= LEAST_EPOCH_S:
            passes = TRAINING_PASSES + float(pair.facts.get("val_images", 0)) / images
            rates.append(macs * passes / spent)
    measured = {k: Measured(sum(v) / len(v), parameters[k]) for k, v in seconds.items()}
    if rates:
        return Costs(measured, median(rates), HOME)
    return Costs(measured, CORE_MACS_PER_S, CORE) if on_cpu else Costs(measured)


def macs_per_image(backbone: BackboneSpec, image_size: int) -> float | None:
    """Multiply-adds of one forward pass; work grows with the image's area."""
    _, macs, side = _described(backbone)
    return None if macs is None else macs * (image_size / side) ** 2


def _described(backbone: BackboneSpec) -> tuple[float | None, float | None, int]:
    """Parameters, MACs and input side from the shipped table, where it has the backbone."""
    from raybench.backbones.describe import describe_spec

    library, model, _ = split_name(backbone.name)
    if library not in LIBRARIES or model not in load_index()[library]:
        return None, None, 1
    # Arguments make it another model, but seldom a much dearer one.
    plain = backbone.model_copy(update={"kwargs": {}})
    (weights,) = describe_spec(plain).weights
    return weights.parameters, weights.macs, weights.input_size[0]


def _ran_on_cpu(pair: PairRow) -> bool:
    devices = {t.end.facts.get("device") for t in pair.trials if t.end is not None}
    return "cpu" in devices


def _seconds_per_image(pair: PairRow) -> float | None:
    images = float(pair.facts.get("train_images", 0))
    epochs = [record for trial in pair.trials for record in trial.epochs]
    if not images or not epochs:
        return None
    return sum(record.duration_s for record in epochs) / (images * len(epochs))


def _pair_rows(settings: Settings) -> list[tuple[PairRow, int]]:
    """Every pair of every sweep in the home, with its image size."""
    path = settings.ledger_file
    if path is not None and not path.exists():
        return []
    from raybench.sweep.reader import SweepReader, sweep_names
    from raybench.sweep.tables import open_engine

    try:
        engine = open_engine(settings.ledger_url, create=False)
    except HomeError:
        return []  # ``run`` and ``status`` say what is wrong with it; a plan needs no ledger
    snapshots = [SweepReader(engine, name).snapshot() for name in sweep_names(engine)]
    engine.dispose()
    return [(p, int(s.spec["recipe"]["image_size"])) for s in snapshots for p in s.pairs]
