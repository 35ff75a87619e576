"""Claim: ``report`` on 20,000 trials x 10 epochs takes under 20 s, 1.5 GB and a page of 15 MB.

100 backbones on 20 data sets: 2,000 pairs, each with seven search trials over the learning rate and
three finals. The ledger is filled in bulk, as a sweep would have left it, and then ``raybench
report --html FILE --json`` runs on it as a process of its own, on two cores. The numbers come from
a formula and one named seed: quality of the backbone, difficulty of the data set, a best rate for
each backbone, noise of the seed.

    python benchmarks/report_scale.py [--trials 20000] [--pairs 2000] [--epochs 10] [--predictions]

With ``--predictions`` each final also has its file of 300 predictions, which the report then reads.
Time is of the whole process, imports included; memory is the most it has held.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ledger_scale import FACTS, METRICS, STARTED_AT, Rows, insert, sweep_data

from raybench.datasets.cards import CARDS
from raybench.plan import Pair, Plan
from raybench.records import EndRecord, EpochRecord, to_dict
from raybench.seeding import derive_seed
from raybench.spec import SweepSpec
from raybench.sweep.ledger import study_name
from raybench.validate import check_spec

NAME, CLASSES, IMAGES = "scale", 10, int(FACTS["test_images"])
DATASETS, FINALS = 20, 3
RATES = (1e-3, 1e-4, 3e-4, 3e-3, 1e-2, 3e-2, 3e-5)
DISTRIBUTION = json.dumps(
    {
        "name": "FloatDistribution",
        "attributes": {"step": None, "low": 1e-5, "high": 1e-1, "log": True},
    }
)


def scale_spec(pairs: int, trials: int, epochs: int) -> SweepSpec:
    data = sweep_data(max(1, pairs // DATASETS), trials // pairs - FINALS)
    data |= {
        "name": NAME,
        "datasets": list(CARDS)[: min(pairs, DATASETS)],
        "subsets": ["full"],
        "recipe": data["recipe"] | {"epochs": epochs},
        "space": {"lr": {"default": RATES[0], "low": 1e-5, "high": 1e-1, "log": True}},
        "final": {"seeds": list(range(FINALS))},
    }
    data["search"] |= {"sampler": "random", "ladder": {"lr": list(RATES)}}
    return check_spec(data, {}, Path.cwd())


@dataclass
class Filling:
    """Rows of a sweep that is done, made pair by pair; ``folder``: where predictions go."""

    epochs: int
    per_pair: int
    folder: Path | None
    rows: Rows = field(
        default_factory=lambda: {
            name: []
            for name in ("studies", "study_directions", "trials", "trial_params", "trial_values",
                         "trial_user_attributes")
        }
    )  # fmt: skip

    def of(self, plan: Plan) -> Rows:
        backbones = plan.spec.backbones
        for pair in plan.pairs:
            self._add_pair(pair, backbones.index(pair.backbone) / len(backbones))
        return self.rows

    def _add_pair(self, pair: Pair, quality: float) -> None:
        rng = np.random.default_rng(derive_seed(0, "scale", pair.id))
        best_rate, ease = -1.5 - 3 * quality, rng.uniform(0, 0.2)
        search = list(RATES[: self.per_pair - FINALS])
        reached = [
            min(0.99, 0.5 + 0.25 * quality + ease - 0.05 * (math.log10(rate) - best_rate) ** 2)
            + rng.normal(0, 0.01)
            for rate in search
        ]
        study = self._add_study(study_name(NAME, pair.id, "search"))
        for number, (rate, value) in enumerate(zip(search, reached, strict=True)):
            self._add_trial(pair, study, number, rate, value, {})
        source = int(np.argmax(reached))
        study = self._add_study(study_name(NAME, pair.id, "final"))
        for seed in range(FINALS):
            value = reached[source] + rng.normal(0, 0.005)
            final = {"seed": seed, "source": source, "fold": 0}
            self._add_trial(pair, study, seed, search[source], value, final)

    def _add_study(self, name: str) -> int:
        study = len(self.rows["studies"]) + 1
        self.rows["studies"].append({"study_id": study, "study_name": name})
        self.rows["study_directions"].append(
            {"direction": "MAXIMIZE", "study_id": study, "objective": 0}
        )
        return study

    def _add_trial(
        self, pair: Pair, study: int, number: int, rate: float, value: float, final: dict[str, Any]
    ) -> None:
        trial = len(self.rows["trials"]) + 1
        self.rows["trials"].append(
            {"trial_id": trial, "number": number, "study_id": study, "state": "COMPLETE"}
        )
        self.rows["trial_params"].append(
            {"trial_id": trial, "param_name": "lr", "param_value": rate,
             "distribution_json": DISTRIBUTION}
        )  # fmt: skip
        self.rows["trial_values"].append(
            {"trial_id": trial, "objective": 0, "value": value, "value_type": "FINITE"}
        )
        for key, content in {**final, **dict(self._records(pair, trial, value, final))}.items():
            self.rows["trial_user_attributes"].append(
                {"trial_id": trial, "key": key, "value_json": json.dumps(content)}
            )

    def _records(
        self, pair: Pair, trial: int, value: float, final: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        at = STARTED_AT + 50 * trial
        for epoch in range(1, self.epochs + 1):
            share = 1 - 0.5 / epoch
            metrics = METRICS | {
                "val/accuracy": share * value, "val/nll": 1 / epoch, "train/loss": 2 / epoch,
                "perf/images_per_s": 540.0, "perf/train_s": 1.9,
            }  # fmt: skip
            record = EpochRecord(epoch, 0, 1e-3, at + epoch, 2.0, 1.0, 1, metrics)
            yield f"epoch:{epoch}", to_dict(record)
        place, digest = self._write_predictions(pair, final, value) if final else (None, None)
        best = {"val/accuracy": share * value, "val/nll": 1 / self.epochs}
        test = {"test/accuracy": value, "test/nll": 1 - value} if final else {}
        facts = {"device": "cpu", "precision": "fp32", "parameters": 1e6 + 1e4 * len(pair.id)}
        yield "end", to_dict(
            EndRecord(
                "complete", at + self.epochs + 1, best_epoch=self.epochs, best=best, test=test,
                predictions_path=place, predictions_sha256=digest, facts=facts,
            )
        )  # fmt: skip

    def _write_predictions(
        self, pair: Pair, final: dict[str, Any], value: float
    ) -> tuple[str | None, str | None]:
        """What a final leaves behind: about ``value`` of the images are right."""
        if self.folder is None:
            return None, None
        from safetensors.numpy import save

        images = np.random.default_rng(derive_seed(0, "images", pair.dataset.name))
        labels = images.integers(0, CLASSES, IMAGES)
        rng = np.random.default_rng(derive_seed(final["seed"], "predictions", pair.id))
        right = 0.5 * images.random(IMAGES) + 0.5 * rng.random(IMAGES) < value
        guesses = np.where(right, labels, (labels + 1) % CLASSES)
        probabilities = np.full((IMAGES, CLASSES), 0.3 / (CLASSES - 1), np.float32)
        probabilities[np.arange(IMAGES), guesses] = 0.7
        metadata = {
            "ids": json.dumps([f"{number:05}.png" for number in range(IMAGES)]),
            "classes": json.dumps([f"class {number}" for number in range(CLASSES)]),
            "key": f"{pair.id}/final/{final['seed']}", "data": "d", "split": pair.dataset.name,
        }  # fmt: skip
        content = save({"labels": labels, "probabilities": probabilities}, metadata)
        place = f"{NAME}/{pair.id}/final-{final['seed']}/a1/predictions.safetensors"
        (self.folder / place).parent.mkdir(parents=True)
        (self.folder / place).write_bytes(content)
        return place, hashlib.sha256(content).hexdigest()


def measure(home: Path, page: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds and the most megabytes of one ``raybench report``."""
    command = [sys.executable, "-m", "raybench.cli", "report", NAME, "--home", str(home)]
    started = time.perf_counter()
    with page.with_suffix(".json").open("wb") as out:
        child = subprocess.Popen([*command, *arguments], stdout=out, stderr=subprocess.PIPE)
        assert child.stderr is not None
        said = child.stderr.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"report failed: {said}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--predictions", action="store_true")
    parser.add_argument("--home", type=Path, help="keep the filled home here, or use the one there")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as folder:
        home, page = arguments.home or Path(folder) / "home", Path(folder) / "report.html"
        if not (home / "ledger.db").exists():
            home.mkdir(parents=True)
            spec = scale_spec(arguments.pairs, arguments.trials, arguments.epochs)
            checkpoints = home / "checkpoints" if arguments.predictions else None
            filling = Filling(arguments.epochs, arguments.trials // arguments.pairs, checkpoints)
            insert(f"sqlite:///{home / 'ledger.db'}", spec, filling.of)
        print(f"{arguments.trials} trials, {arguments.pairs} pairs, {arguments.epochs} epochs")
        for wanted in (["--json"], ["--html", str(page), "--json"]):
            seconds, megabytes = measure(home, page, wanted)
            words = " ".join(argument for argument in wanted if argument.startswith("--"))
            print(f"report {words:16}{seconds:8.2f} s {megabytes:7.0f} MB")
        print(f"page {page.stat().st_size / 1e6:.1f} MB, "
              f"JSON {page.with_suffix('.json').stat().st_size / 1e6:.1f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
