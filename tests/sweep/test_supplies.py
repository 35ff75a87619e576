"""What the driver has, a bare node gets; what is nowhere is said before its first trial."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from raybench.errors import DataError
from raybench.plan import Plan, make_plan
from raybench.records import EndRecord, SweepSnapshot
from raybench.settings import Settings, resolve_settings
from raybench.storage import Store
from raybench.sweep.assignment import Assignment
from raybench.sweep.configure import trial_config
from raybench.sweep.packing import Fit, Shape
from raybench.sweep.preflight import check_everything
from raybench.sweep.supplies import Supplies, fetch_supplies, publish_supplies, supplies_of
from raybench.trial.loop import run_trial
from tests.specs import tiny_spec

Facts = dict[str, Any]


def quiet(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def plan(tmp_path: Path, image_folder: Callable[..., Path]) -> Plan:
    """A user's folder and a user's weights, both on the driver's machine alone."""
    torch.manual_seed(7)
    folder = tmp_path / "driver"
    folder.mkdir()
    path = folder / "mine.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), str(path))
    images = image_folder(folder / "images", per_class=20)
    return make_plan(
        tiny_spec(
            backbones=[{"name": "timm:test_resnet", "weights": str(path)}],
            datasets=[{"name": "mine", "path": str(images)}],
            subsets=["full"],
            recipe={"image_size": 32, "batch_size": 8, "epochs": 1},
        )
    )


def settings_of(folder: Path, **environ: str) -> Settings:
    return resolve_settings(folder / "home", environ)


def checked(plan: Plan, settings: Settings) -> dict[str, Facts]:
    nothing = SweepSnapshot(plan.spec.name, "", 0, plan.spec.search.metric, {}, ())
    found = check_everything(plan, settings, nothing, quiet, accept_leaks=True)
    return {key: dict(value) for key, value in found.facts.items()}


def run_on(node: Settings, plan: Plan, facts: dict[str, Facts]) -> EndRecord:
    """The pair's first trial, as that node would run it."""
    (pair,) = plan.pairs
    fit = Fit(pair.id, Shape(1.0, 0.0))
    assignment = Assignment((pair.id, "search", 0), pair, {}, fit, 0)
    *_, end = run_trial(trial_config(plan, node, 1, assignment, "cpu", facts[pair.id]))
    assert isinstance(end, EndRecord)
    return end


def test_a_bare_node_trains_to_the_same_weights(plan: Plan, tmp_path: Path) -> None:
    storage = str(tmp_path / "storage")
    driver = settings_of(tmp_path, RAYBENCH_STORAGE=storage, RAYBENCH_CACHE=str(tmp_path / "c1"))
    node = dataclasses.replace(driver, cache_dir=tmp_path / "c2")
    facts = checked(plan, driver)
    at_home = run_on(dataclasses.replace(driver, checkpoint_root=tmp_path / "k1"), plan, facts)
    publish_supplies(supplies_of(plan, driver, plan.pairs, facts), quiet)
    shutil.rmtree(tmp_path / "driver")
    shutil.rmtree(tmp_path / "c1")
    supplies = dataclasses.replace(
        pickle.loads(pickle.dumps(supplies_of(plan, driver, plan.pairs, facts))),
        cache_dir=str(node.cache_dir),
    )
    said: list[str] = []
    fetch_supplies(supplies, said.append)
    fetch_supplies(supplies, lambda text: pytest.fail(text))
    assert len(said) == 2
    made = [path for path in node.cache_dir.rglob("*") if path.is_file()]
    assert made and not any(path.stat().st_mode & 0o077 for path in made), "others may read it"
    end = run_on(node, plan, facts)
    assert at_home.weights_sha256 is not None
    assert (end.state, end.weights_sha256) == ("complete", at_home.weights_sha256)


def test_publishing_twice_sends_once(plan: Plan, tmp_path: Path) -> None:
    driver = settings_of(
        tmp_path,
        RAYBENCH_STORAGE=str(tmp_path / "storage"),
        RAYBENCH_CACHE=str(tmp_path / "cache"),
    )
    supplies = supplies_of(plan, driver, plan.pairs, checked(plan, driver))
    publish_supplies(supplies, quiet)
    publish_supplies(supplies, lambda text: pytest.fail(text))
    names = {Path(name).name.rpartition("-")[2] for name in Store(tmp_path / "storage").sizes()}
    assert names == {"pixels.bin", "arrays.npz", "meta.json", "SHA256SUMS", "mine.safetensors"}


def test_a_cache_that_all_nodes_have_is_not_copied(plan: Plan, tmp_path: Path) -> None:
    driver = settings_of(tmp_path)
    facts = checked(plan, driver)
    supplies = supplies_of(plan, driver, plan.pairs, facts)
    publish_supplies(supplies, quiet)
    assert not (driver.home / "datasets").exists()
    shutil.rmtree(tmp_path / "driver")
    fetch_supplies(supplies, lambda text: pytest.fail(text))
    assert run_on(driver, plan, facts).state == "complete"


def test_what_is_nowhere_is_said(plan: Plan, tmp_path: Path) -> None:
    driver = settings_of(
        tmp_path,
        RAYBENCH_STORAGE=str(tmp_path / "storage"),
        RAYBENCH_CACHE=str(tmp_path / "cache"),
    )
    whole = supplies_of(plan, driver, plan.pairs, checked(plan, driver))
    shutil.rmtree(tmp_path / "driver")
    for part in ({"weights": ()}, {"data": ()}):
        bare: Supplies = dataclasses.replace(whole, cache_dir=str(tmp_path / "node"), **part)
        with pytest.raises(DataError, match="mine|images"):
            fetch_supplies(bare, quiet)
