"""A sweep file, its data or the code changed between two runs: said, run beside, or refused."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from raybench.errors import DataError, HomeError
from raybench.plan import make_plan
from raybench.records import SweepSnapshot
from raybench.settings import resolve_settings
from raybench.spec import SweepSpec
from raybench.sweep.difference import MOST_NAMED, differences
from raybench.sweep.options import RunOptions, SilentObserver
from raybench.sweep.run import RunResult, run_sweep
from raybench.validate import check_spec, load_spec
from tests.specs import TINY_BACKBONE, pairs_spec, tiny_data, tiny_spec
from tests.sweep.simulation import Home, Simulation

FIXTURES = Path(__file__).parent / "fixtures"


class Listener(SilentObserver):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def simulated(folder: Path, spec: SweepSpec) -> SweepSnapshot:
    """The ledger after one attempt on ``spec`` that pretended to train."""
    home = Home(folder, spec)
    with home.attempt() as searcher:
        assert Simulation(searcher, random.Random(0), spec.recipe.epochs).run()
    return home.snapshot()


def said(spec: SweepSpec, before: SweepSnapshot) -> list[str]:
    return [sentence.strip() for sentence in differences(make_plan(spec), before)]


# -- what is said -----------------------------------------------------------------------------


def test_a_new_sweep_and_an_unchanged_one_need_no_words(tmp_path: Path) -> None:
    spec = tiny_spec()
    nothing = SweepSnapshot("tiny", "", 0, "val/accuracy", {}, ())
    assert differences(make_plan(spec), nothing) == []
    before = simulated(tmp_path, spec)
    assert said(spec, before) == ["resuming: 1 pair kept, 0 new, 0 no longer in the file"]
    renamed = spec.model_copy(update={"description": "other words"})
    assert len(said(renamed, before)) == 1


def test_pairs_that_come_and_go_are_named(tmp_path: Path) -> None:
    before = simulated(tmp_path, pairs_spec(2, 1))
    first, second = (pair.id for pair in before.pairs)
    three = make_plan(pairs_spec(3, 1)).pairs
    assert said(pairs_spec(3, 1), before) == [
        "resuming: 2 pairs kept, 1 new, 0 no longer in the file",
        f"new: {three[2].id}",
    ]
    after = simulated(tmp_path, pairs_spec(1, 1))
    assert said(pairs_spec(1, 1), before)[1:] == [f"kept, but no longer in the file: {second}"]
    assert said(pairs_spec(2, 1), after) == [
        "resuming: 2 pairs kept, 0 new, 0 no longer in the file",
        f"back in the file, with what it had: {second}",
    ]
    assert first == three[0].id


def test_a_pair_that_comes_back_has_its_own_quota(tmp_path: Path) -> None:
    simulated(tmp_path, pairs_spec(2, 1))
    before = simulated(tmp_path, pairs_spec(1, 4))
    assert said(pairs_spec(2, 3), before)[-1].startswith("budget.trials 4 -> 3: 2 more for 1 pair;")
    assert "3 to 6 more for each of 2 pairs" in said(pairs_spec(2, 7), before)[-1]


def test_many_pairs_are_counted_not_listed(tmp_path: Path) -> None:
    before = simulated(tmp_path, pairs_spec(1, 1))
    words = said(pairs_spec(30, 1), before)
    assert len(words) == 1 + MOST_NAMED + 1 and words[-1] == f"new: {29 - MOST_NAMED} more"


BUDGETS: list[tuple[dict[str, Any], list[str]]] = [
    ({"budget": {"trials": 6}}, ["budget.trials 4 -> 6: 2 more for each of 2 pairs; what has"]),
    ({"budget": {"trials": 1}}, ["budget.trials 4 -> 1: what has run stays, and counts"]),
    (
        {"budget": {"trials": 4, "device_hours": 2.0, "wall_clock": "8h"}},
        ["budget.device_hours null -> 2.0: what has run", "budget.wall_clock null -> 8h: what has"],
    ),
    (
        {"final": {"seeds": [1, 2], "configs": ["tuned", "default"]}},
        [
            "final.seeds [0, 1] -> [1, 2]: added: 2; kept, but not counted: 0",
            'final.configs ["tuned"] -> ["tuned", "default"]: added: default',
        ],
    ),
    ({"resources": {"cpus": 2, "gpus": 0}}, ["resources.cpus 1 -> 2"]),
    ({"keep": "winners"}, ["keep all -> winners"]),
]


@pytest.mark.parametrize(("changes", "expected"), BUDGETS)
def test_what_changes_no_result_is_shown_and_makes_no_pair(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    before = simulated(tmp_path, two_pairs())
    words = said(two_pairs(**changes), before)
    assert words[0] == "resuming: 2 pairs kept, 0 new, 0 no longer in the file"
    assert len(words) == 1 + len(expected)
    for found, beginning in zip(words[1:], expected, strict=True):
        assert found.startswith(beginning)


def two_pairs(**changes: Any) -> SweepSpec:
    backbones = [{**TINY_BACKBONE, "kwargs": {"drop_rate": n / 100}} for n in range(2)]
    return tiny_spec(**({"backbones": backbones, "budget": {"trials": 4}} | changes))


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"recipe": tiny_data()["recipe"] | {"epochs": 8}}, "recipe.epochs 2 -> 8"),
    ({"space": tiny_data()["space"] | {"mixup": {"default": 0.1, "low": 0.0, "high": 0.5}}},
     "space.mixup.default nothing -> 0.1"),
    ({"search": {"sampler": "random", "ladder": {"lr": [1e-3, 1e-2]}}}, "search.ladder 1 -> noth"),
    ({"seed": 7}, "seed 0 -> 7"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "beginning"), OTHERS)
def test_what_changes_the_result_is_shown_with_the_new_pairs(
    tmp_path: Path, changes: dict[str, Any], beginning: str
) -> None:
    before = simulated(tmp_path, tiny_spec())
    words = said(tiny_spec(**changes), before)
    assert words[0] == "resuming: 0 pairs kept, 1 new, 1 no longer in the file"
    (found,) = [sentence for sentence in words if sentence.startswith(beginning)]
    assert found.endswith(": another result, so new pairs beside the old")


def test_a_key_that_an_older_version_did_not_know_is_no_change(tmp_path: Path) -> None:
    before = simulated(tmp_path, tiny_spec())
    spec = {key: value for key, value in before.spec.items() if key != "keep"}
    assert len(said(tiny_spec(), replace(before, spec=spec))) == 1
    words = said(tiny_spec(keep="winners"), replace(before, spec=spec))
    assert words[1].startswith("keep all -> winners")


# -- what is run ------------------------------------------------------------------------------


def run(home: Path, spec: SweepSpec) -> tuple[RunResult, list[str]]:
    observer = Listener()
    result = run_sweep(spec, resolve_settings(home, {}), RunOptions(inline=True), observer)
    return result, observer.said


def test_one_sweep_edited_again_and_again(tmp_path: Path) -> None:
    """Only what is missing runs, each time; what has run is the same trial for good."""
    rng = random.Random(1)
    history: dict[str, Any] = {}

    def attempt(spec: SweepSpec) -> tuple[list[Any], SweepSnapshot]:
        home = Home(tmp_path, spec)
        with home.attempt() as searcher:
            simulation = Simulation(searcher, rng, spec.recipe.epochs)
            assert simulation.run()
        snapshot = home.snapshot()
        rows = {trial.key: trial for pair in snapshot.pairs for trial in pair.trials}
        assert all(rows[key].end == row.end for key, row in history.items())
        history.update(rows)
        return simulation.starts, snapshot

    started, snapshot = attempt(two_pairs(budget={"trials": 2}))
    assert len(started) == 2 * (2 + 2)
    started, _ = attempt(two_pairs(budget={"trials": 4}))
    assert sorted(n for _, phase, n in started if phase == "search") == [2, 2, 3, 3]
    started, snapshot = attempt(two_pairs(budget={"trials": 1}))
    assert all(pair.state == "done" for pair in snapshot.pairs) and not started
    assert all(len(pair.search_trials()) == 4 for pair in snapshot.pairs)
    one = two_pairs().model_copy(update={"backbones": two_pairs().backbones[:1]})
    started, snapshot = attempt(one)
    assert not started and [pair.current for pair in snapshot.pairs] == [True, False]
    started, snapshot = attempt(two_pairs())
    assert not started and all(pair.current for pair in snapshot.pairs)
    started, _ = attempt(two_pairs(final={"seeds": [0, 1, 5]}))
    assert [phase for _, phase, _ in started] == ["final", "final"]
    longer = two_pairs(recipe=tiny_data()["recipe"] | {"epochs": 3})
    started, snapshot = attempt(longer)
    assert len({pair for pair, _, _ in started} & {pair.id for pair in snapshot.pairs[2:]}) == 0
    assert [pair.current for pair in snapshot.pairs] == [True, True, False, False]


def test_a_run_tells_the_difference_before_it_starts(tmp_path: Path) -> None:
    spec = tiny_spec(budget={"trials": 1}, final={"seeds": [0]})
    assert run(tmp_path, spec)[0].exit_code == 0
    result, words = run(tmp_path, tiny_spec(budget={"trials": 2}, final={"seeds": [0]}))
    change = next(i for i, text in enumerate(words) if "budget.trials 1 -> 2: 1 more" in text)
    assert change < next(i for i, text in enumerate(words) if text.startswith("data:"))
    (pair,) = result.snapshot.pairs
    assert [trial.state for trial in pair.search_trials()] == ["complete"] * 2


# -- what is refused --------------------------------------------------------------------------


def small_spec(folder: Path, **changes: Any) -> SweepSpec:
    data: dict[str, Any] = {
        "datasets": [{"name": "mine", "path": "images"}],
        "subsets": ["full"],
        "recipe": {"image_size": 32, "batch_size": 4, "epochs": 1, "augment": "none"},
        "budget": {"trials": 1},
        "final": {"seeds": [0]},
    }
    return check_spec(tiny_data(**(data | changes)), {}, folder)


def save_plain(path: Path, image: Image.Image) -> None:
    """Uncompressed, so that another picture has as many bytes."""
    image.save(path, compress_level=0)


def test_an_image_replaced_keeping_size_and_time_is_refused_by_name(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    images = image_folder()
    for path in images.rglob("*.png"):
        save_plain(path, Image.open(path))
    spec = small_spec(tmp_path)
    assert run(tmp_path / "home", spec)[0].exit_code == 0
    target = images / "dog" / "004.png"
    before = target.stat()
    save_plain(target, Image.effect_noise((16, 16), 90).convert("RGB"))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert target.stat().st_size == before.st_size
    assert target.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(DataError, match=r"images have changed .* 'dog/004\.png'"):
        run(tmp_path / "home", spec)
    with pytest.raises(DataError, match="put the data back"):  # not only once
        run(tmp_path / "home", spec)


def test_another_weights_file_under_the_same_name_is_another_pair(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    """A local file counts by content: a changed one is a new pair, shown as such, not a mix."""
    from raybench.backbones.build import build_backbone
    from raybench.spec import BackboneSpec

    image_folder()
    model = build_backbone(BackboneSpec(**TINY_BACKBONE), 2, 32).model
    torch.save(model.state_dict(), tmp_path / "w.pt")
    backbones = [{"name": "timm:test_resnet", "weights": "w.pt"}]
    spec = small_spec(tmp_path, backbones=backbones)
    run(tmp_path / "home", spec)
    torch.save({k: v + 0 * v for k, v in reversed(model.state_dict().items())}, tmp_path / "w.pt")
    _, words = run(tmp_path / "home", small_spec(tmp_path, backbones=backbones))
    assert "resuming: 0 pairs kept, 1 new, 1 no longer in the file" in words


def fixture_ledger(folder: Path, name: str) -> Path:
    """A ledger as another version left it, from its SQL."""
    folder.mkdir()
    with sqlite3.connect(folder / "ledger.db") as connection:
        connection.executescript((FIXTURES / name).read_text())
    connection.close()
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ledger_schema_0.sql", r"by raybench 0\.0\.1 \(schema 0, this version reads \d+\)"),
        ("ledger_results_1.sql", r"by raybench 0\.0\.9 \(result_version 1, this version reads \d"),
        ("ledger_optuna_v2.sql", r"the ledger cannot be opened: .*optuna.*schema"),
    ],
)
def test_a_ledger_of_another_version_is_refused_and_left_as_it_is(
    tmp_path: Path, name: str, words: str
) -> None:
    home = fixture_ledger(tmp_path / "home", name)
    before = _dump(home / "ledger.db")
    with pytest.raises(HomeError, match=words):
        run(home, tiny_spec())
    assert _dump(home / "ledger.db") == before


def _dump(ledger: Path) -> list[str]:
    """All but the lease and the seconds that it has lasted."""
    changing = ("raybench_leases", "raybench_sweeps", "ledger_id")
    with sqlite3.connect(ledger) as connection:
        rows = [row for row in connection.iterdump() if not any(name in row for name in changing)]
    connection.close()
    return rows


# -- identity ---------------------------------------------------------------------------------

BASE = tiny_data(
    description="words", datasets=[{"name": "digits", "domain": "digits"}], seed=3,
    search={"sampler": "random", "ladder": {"lr": [1e-3, 1e-2]}, "early_stop": "none"},
)  # fmt: skip
KEEPS = {
    ("description",): st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"])),
    ("resources", "cpus"): st.integers(1, 64),
    ("keep",): st.sampled_from(["all", "winners"]),
    ("device",): st.sampled_from(["auto", "cpu"]),
    ("budget", "trials"): st.integers(2, 500),
    ("budget", "device_hours"): st.floats(0.1, 1e4),
    ("budget", "wall_clock"): st.sampled_from(["30m", "8h", "90s"]),
    ("final", "seeds"): st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    ("final", "configs"): st.sampled_from([["tuned"], ["default"], ["tuned", "default"]]),
    ("datasets", 0, "domain"): st.sampled_from(["scans", "birds"]),
}
CHANGES = {
    ("recipe", "image_size"): st.integers(33, 512),
    ("recipe", "batch_size"): st.integers(1, 63),
    ("recipe", "epochs"): st.integers(3, 100),
    ("recipe", "augment"): st.sampled_from(["flip", "trivial", "randaugment"]),
    ("recipe", "weight_decay"): st.floats(0.02, 1.0),
    ("recipe", "stages"): st.just([{"optimizer": "sgd"}]),
    ("recipe", "precision"): st.sampled_from(["fp32", "bf16"]),
    ("recipe", "class_weights"): st.just("balanced"),
    ("space", "lr", "high"): st.floats(0.2, 1.0),
    ("space", "lr", "log"): st.just(False),
    ("search", "sampler"): st.just("tpe"),
    ("search", "ladder", "lr"): st.just([1e-3, 2e-2]),
    ("search", "metric"): st.sampled_from(["val/macro_f1", "val/nll"]),
    ("final", "refit"): st.just(True),
    ("datasets", 0, "split"): st.just({"val": 0.3}),
    ("subsets",): st.sampled_from([["full"], ["20%"], ["5-shot"]]),
    ("backbones", 0, "name"): st.sampled_from(["timm:test_vit", "timm:resnet18"]),
    ("backbones", 0, "kwargs"): st.just({"drop_rate": 0.5}),
    ("seed",): st.integers(4, 99),
}


def edited(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    data: Any = json.loads(json.dumps(BASE))
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return data  # type: ignore[no-any-return]


def pair_ids(data: dict[str, Any]) -> list[str]:
    return [pair.id for pair in make_plan(check_spec(data, {}, Path.cwd())).pairs]


def edits(table: dict[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.sampled_from(sorted(table, key=str)).flatmap(
        lambda path: st.tuples(st.just(path), table[path])
    )


@given(edits(KEEPS))
def test_an_edit_beside_the_result_keeps_every_id(edit: tuple[Any, Any]) -> None:
    assert pair_ids(edited(*edit)) == pair_ids(BASE)


@given(edits(CHANGES))
def test_an_edit_of_the_result_changes_every_id(edit: tuple[Any, Any]) -> None:
    assert not set(pair_ids(edited(*edit))) & set(pair_ids(BASE))


@given(edits(CHANGES), edits(CHANGES))
def test_two_edits_meet_only_where_they_are_the_same(
    one: tuple[Any, Any], other: tuple[Any, Any]
) -> None:
    assert (pair_ids(edited(*one)) == pair_ids(edited(*other))) == (one == other)


@given(st.randoms(use_true_random=False), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_notation_keeps_every_id(tmp_path: Path, order: random.Random, data: st.DataObject) -> None:
    """Order of keys, comments, empty lines, indentation, quoting, block and flow style."""
    shuffled = _shuffled(BASE, order)
    quote = data.draw(st.sampled_from([None, "'", '"']))
    text = yaml.dump(
        shuffled, sort_keys=False, indent=data.draw(st.integers(2, 8)), Dumper=_dumper(quote),
        default_flow_style=data.draw(st.sampled_from([None, False, True])), width=10_000,
    )  # fmt: skip
    lines = []
    for line in text.splitlines():
        lines += ["# a comment"] * order.randrange(2) + [""] * order.randrange(2)
        lines.append(line + data.draw(st.sampled_from(["", "   ", "  # why"])))
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    assert [pair.id for pair in make_plan(load_spec(tmp_path / "x.yaml")).pairs] == pair_ids(BASE)


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, list):
        return [_shuffled(item, order) for item in value]
    if not isinstance(value, dict):
        return value
    keys = order.sample(list(value), len(value))
    return {key: _shuffled(value[key], order) for key in keys}


def _dumper(quote: str | None) -> type[yaml.SafeDumper]:
    """One that writes its texts in ``quote``."""

    class Dumper(yaml.SafeDumper):
        pass

    if quote is not None:
        Dumper.add_representer(
            str, lambda d, text: d.represent_scalar("tag:yaml.org,2002:str", text, style=quote)
        )
    return Dumper


def test_the_fixtures_are_small_files_of_sweeps(tmp_path: Path) -> None:
    """A fixture that no longer stands for a ledger would make the refusals above mean nothing."""
    for number, path in enumerate(sorted(FIXTURES.glob("*.sql"))):
        home = fixture_ledger(tmp_path / str(number), path.name)
        with sqlite3.connect(home / "ledger.db") as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            (sweep,) = connection.execute("SELECT sweep FROM raybench_sweeps").fetchone()
        connection.close()
        assert {"raybench_meta", "raybench_pairs", "studies", "trials"} <= tables
        assert sweep == "tiny" and path.stat().st_size < 50_000
