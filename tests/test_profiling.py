"""``raybench profile``: what its words mean, what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import optuna
import pytest

from raybench import profiling
from raybench.cli import main
from raybench.errors import HomeError, ResourceError, UserInputError
from raybench.measurements import Profile
from raybench.profile_targets import Target, find_targets
from raybench.profiling import profile
from raybench.settings import resolve_settings
from raybench.spec import BackboneSpec
from raybench.sweep import lease
from raybench.sweep.profiles import read_profiles
from raybench.sweep.tables import open_engine, sweeps
from tests.measurements import make_profile
from tests.specs import tiny_data, tiny_spec, write_sweep


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """What was to be measured; a stand-in answers at once."""
    targets: list[Target] = []

    def answer(target: Target) -> Profile | str:
        targets.append(target)
        if "vgg" in target.backbone.name:
            return "it cannot be built"
        return make_profile(
            backbone=target.backbone.name,
            kwargs=target.backbone.kwargs,
            image_size=target.image_size,
            shared="vit" in target.backbone.name,
        )

    monkeypatch.setattr(profiling, "_in_fresh_process", answer)
    return targets


def register(home: Path, name: str, **changes: Any) -> None:
    """A sweep in the home's ledger, as a driver leaves it there."""
    url = resolve_settings(home).ledger_url
    engine = open_engine(url, create=True)
    optuna.storages.RDBStorage(url).engine.dispose()  # makes its tables
    spec = tiny_spec(name=name, **changes).model_dump_json()
    with engine.begin() as connection:
        row = {"sweep": name, "spec": spec, "attempt": 1, "active_s": 0.0, "deadline": False}
        connection.execute(sweeps.insert().values(**row))
    engine.dispose()


def sizes(targets: list[Target]) -> list[tuple[str, int]]:
    return [(target.backbone.name, target.image_size) for target in targets]


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in ("profile", *arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_backbones_groups_and_patterns_have_their_own_size(home, measured):
    profile(["timm:resnet18", "torchvision:resnet18", "timm:test_vit?.*"], home)
    assert sizes(measured)[:2] == [("timm:resnet18", 224), ("torchvision:resnet18", 224)]
    patterned = [name for name, _ in sizes(measured)[2:]]
    assert patterned == ["timm:test_vit2.r160_in1k", "timm:test_vit3.r160_in1k"]
    assert [size for _, size in sizes(measured)[2:]] == [160, 160]
    measured.clear()
    profile(["@quickstart"], home, image_size=32)
    assert [size for _, size in sizes(measured)] == [32, 32, 32]
    assert measured[2].backbone.kwargs["depth"] == 4


def test_a_sweep_brings_its_size_recipe_device_and_cores(home, measured, tmp_path):
    recipe = tiny_data()["recipe"] | {"model_ema": 0.9}
    data = tiny_data(recipe=recipe, resources={"cpus": 2, "gpus": "auto"}, device="cuda")
    profile([str(write_sweep(tmp_path / "mine.yaml", data))], home)
    (target,) = measured
    assert (target.image_size, target.threads, target.device) == (32, 2, "cuda")
    assert target.recipe is not None and target.recipe.model_ema == 0.9
    measured.clear()
    profile(["quickstart"], home, image_size=48, device="cpu", threads=1)
    assert {(t.image_size, t.device, t.threads) for t in measured} == {(48, "cpu", 1)}


def test_a_sweep_of_the_home_goes_before_a_shipped_one(home, measured):
    register(home, "quickstart")
    profile(["quickstart"], home)
    assert sizes(measured) == [("timm:test_resnet", 32)]
    assert measured[0].device == "cpu"  # its file asks for no GPU


def test_what_is_named_twice_is_measured_once(home, measured):
    profile(["timm:resnet18", "timm:resnet18.a1_in1k", "timm:resnet18"], home)
    assert sizes(measured) == [("timm:resnet18", 224)]


def test_the_users_own_models_take_the_usual_size(home, measured):
    profile(["python:tests.trial.models:tiny", "timm:hf-hub:org/name"], home)
    assert [size for _, size in sizes(measured)] == [224, 224]


def test_all_mistakes_at_once_with_the_nearest_names(capsys, home, measured):
    code, out, err = told(
        capsys, "quickstrat", "@smal", "timm:resnet0", "resnet50", "gone.yaml", "timm:zzz*",
        "zzzzzz", "timm:resnet18.zz", "--home", home,
    )  # fmt: skip
    assert (code, out, measured) == (2, "", []) and not home.exists()
    lines = err.splitlines()
    assert len(lines) == 8 and all(line.startswith("raybench: ") for line in lines)
    hints = (
        "did you mean 'quickstart'",
        "did you mean '@small'",
        "unknown backbone 'timm:resnet0'",
        "timm:resnet50 or torchvision:resnet50",
        "no file 'gone.yaml'",
        "'timm:zzz*' names no backbone",
        "'raybench backbones'",
        "unknown weights tag 'zz'",
    )
    assert [hint in line for hint, line in zip(hints, lines, strict=True)] == [True] * 8


def test_results_stand_in_the_home(capsys, home, measured):
    code, out, err = told(capsys, "timm:test_resnet", "timm:test_vit", "--home", home)
    assert code == 0 and "test_resnet" in out and "latency ms" in out and "test_vit *" in out
    assert f"new home: {home}" in err and "1/2: timm:test_resnet at 160 px" in err
    assert "shared: other processes" in err
    engine = open_engine(resolve_settings(home).ledger_url, create=False)
    assert [p.backbone for p in read_profiles(engine)] == ["timm:test_resnet", "timm:test_vit"]
    engine.dispose()


def test_json_has_nulls_and_goes_to_stdout_alone(capsys, home, measured):
    code, out, _ = told(capsys, "timm:test_resnet", "--home", home, "--json")
    (found,) = json.loads(out)["profiles"]
    assert code == 0 and found["single"]["energy_j"] is None
    assert Profile.from_dict(found) == make_profile(backbone="timm:test_resnet", image_size=160)


def test_one_that_cannot_be_measured_does_not_stop_the_others(capsys, home, measured):
    code, out, err = told(capsys, "timm:vgg11", "timm:test_resnet", "--home", home, "--json")
    assert code == 1 and len(json.loads(out)["profiles"]) == 1
    assert "not measured: it cannot be built" in err
    code, out, err = told(capsys, "timm:vgg11", "--home", home)
    assert (code, out) == (1, "") and profile(["timm:vgg11"], home).failures


def test_beside_a_running_sweep_nothing_is_measured(capsys, home, measured):
    register(home, "busy")
    engine = open_engine(resolve_settings(home).ledger_url, create=False)
    held = lease.acquire(engine, "busy")
    code, out, err = told(capsys, "timm:test_resnet", "--home", home)
    assert (code, out, measured) == (3, "", [])
    assert "sweep 'busy' is being run by process" in err and "wait for it" in err
    with pytest.raises(ResourceError):
        profile(["timm:test_resnet"], home)
    held.release()
    engine.dispose()
    assert told(capsys, "timm:test_resnet", "--home", home)[0] == 0


def test_a_damaged_home_is_said(home, measured):
    home.mkdir()
    (home / "ledger.db").write_text("rubbish" * 100)
    with pytest.raises(HomeError, match="damaged"):
        profile(["timm:test_resnet"], home)


def test_whatever_a_model_raises_becomes_a_sentence():
    own = Target(BackboneSpec(name="python:tests.trial.models:TinyNet", weights="none"), 16)
    assert str(profiling.measure_target(own)).startswith("TypeError: ")
    small = Target(BackboneSpec(name="timm:vit_tiny_patch16_224", weights="none"), 8)
    assert "cannot be built" in str(profiling.measure_target(small))


def _die(target: Target) -> str:
    import os

    os._exit(9)


def test_a_process_that_dies_is_no_end(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: _Fork)
    monkeypatch.setattr(profiling, "measure_target", _die)
    assert "died" in str(profiling._in_fresh_process(Target(BackboneSpec(name="x"), 8)))


_Fork = multiprocessing.get_context("fork")


def test_targets_need_no_home(tmp_path):
    settings = resolve_settings(tmp_path / "none", {})
    assert sizes(find_targets(["timm:resnet18"], settings, 64, None, None)) == [
        ("timm:resnet18", 64)
    ]
    with pytest.raises(UserInputError):
        find_targets([""], settings, None, None, None)


@pytest.mark.slow
def test_for_real_in_processes_of_their_own(capsys, home):
    """A network that can be built and one that cannot, at this size, on this machine's CPU."""
    code, out, err = told(
        capsys, "timm:test_resnet", "timm:test_vit", "--home", home, "--image-size", 8,
        "--device", "cpu", "--json",
    )  # fmt: skip
    (found,) = json.loads(out)["profiles"]
    assert code == 1 and "not measured: backbone 'timm:test_vit' cannot be built" in err
    assert found["backbone"] == "timm:test_resnet" and found["threads"] == 1
    assert found["single"]["count"] >= 30 and found["training"]["images_per_s"] > 0
    assert found["parameters"] > 400_000 and found["macs"] > 0 and found["activations"] > 0
