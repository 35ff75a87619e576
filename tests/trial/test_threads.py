"""A trial of one thread computes in one thread, whatever it does: it was given one core."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import dataclasses, json, sys, time
from pathlib import Path
from raybench.trial.config import TrialConfig
from raybench.trial.loop import run_trial

folder = Path(sys.argv[1])
recipe = json.loads(sys.argv[2])
config = TrialConfig(
    key="pair/final/0", phase="final", attempt=1,
    backbone={"name": "timm:test_resnet", "weights": "none"}, dataset={"name": "digits"},
    subset="full", recipe=recipe, metric="val/accuracy", training_seed=0, split_seed=0,
    cache_dir=str(folder / "cache"), checkpoint_root=str(folder), checkpoint_dir="trial",
    read_test=True, threads=1,
)
kinds = []
list(run_trial(dataclasses.replace(config, checkpoint_dir="warm", cache_dir=config.cache_dir)))
for file in (folder / "cache" / "features").glob("*"):
    file.unlink()
before = time.process_time(), time.thread_time()
kinds = [type(record).__name__ for record in run_trial(config)]
whole, own = time.process_time() - before[0], time.thread_time() - before[1]
print(json.dumps({"whole": whole, "own": own, "kinds": kinds}))
"""
RECIPES = {
    "finetune": {"epochs": 2, "augment": "trivial"},
    "linear_probe": {"method": "linear_probe", "l2": 1e-3},
    "knn": {"method": "knn"},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", RECIPES)
def test_no_other_thread_computes(method: str, tmp_path: Path) -> None:
    """Counted in processor time, so that a busy machine neither hides nor adds anything.

    Training, augmentation, evaluation, checkpoints, features, fit: all after one warm-up trial.
    """
    recipe = {"image_size": 64, "batch_size": 64} | RECIPES[method]
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path), json.dumps(recipe)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kinds"][-1] == "EndRecord" and "EpochRecord" in found["kinds"]
    assert found["own"] > 0.2, "too short to tell"
    assert found["whole"] <= 1.15 * found["own"]
