"""Checkpoints on a store: cut anywhere, gone on with on any node, the numbers are the same."""

from __future__ import annotations

import dataclasses
import fcntl
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raybench.errors import ResourceError
from raybench.records import EndRecord, EpochRecord
from raybench.storage import Store
from raybench.trial import loop
from raybench.trial.checkpoint import Place, load
from raybench.trial.config import TrialConfig
from raybench.trial.files import sha256_of
from raybench.trial.loop import run_trial
from raybench.trial.session import Session
from tests.trial.conftest import RICH, MakeConfig, run, stop_at, timeless


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint each, whatever sending it costs."""
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr("raybench.trial.mirror.SENDING_PART", 1e9)


@pytest.fixture
def mirrored(make_config: MakeConfig, tmp_path: Path) -> Callable[..., TrialConfig]:
    """``mirrored(node, attempt, known, **recipe)``: the same trial on a node of that name."""

    def make(node: str, attempt: int = 1, known: int = 0, **recipe: Any) -> TrialConfig:
        return dataclasses.replace(
            make_config(config={"read_test": True}, **recipe),
            attempt=attempt,
            known_epochs=known,
            checkpoint_root=str(tmp_path / node / "scratch"),
            checkpoint_url=str(tmp_path / "store"),
        )

    return make


@pytest.fixture
def unbroken(make_config: MakeConfig) -> Callable[..., tuple[list[EpochRecord], EndRecord]]:
    return lambda **recipe: run(
        make_config(folder="unbroken", config={"read_test": True}, **recipe)
    )


def stored(tmp_path: Path) -> set[str]:
    return set(Store(tmp_path / "store").sizes())


def assert_same(
    told: list[EpochRecord], end: EndRecord, whole: tuple[list[EpochRecord], EndRecord]
) -> None:
    assert timeless(told) == timeless(whole[0])
    assert (end.state, end.test) == ("complete", whole[1].test)
    assert end.weights_sha256 == whole[1].weights_sha256
    assert end.predictions_sha256 == whole[1].predictions_sha256


@contextmanager
def cut_after(operations: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The store takes so many changes and is away from then on; what it was asked for."""
    asked: list[str] = []
    delete = Store.delete
    with monkeypatch.context() as patch:
        for name in ("put", "delete", "delete_tree"):
            real = getattr(Store, name)

            def counted(
                store: Store, what: Any, *rest: Any, _real: Any = real, _name: str = name
            ) -> None:
                if len(asked) >= operations:
                    if _name == "delete_tree":  # many requests, of which some are heard
                        delete(store, [min(store.sizes(what), default="")])
                    raise ResourceError("the store is away")
                asked.append(str(what))
                _real(store, what, *rest)

            patch.setattr(Store, name, counted)
        yield asked


def test_a_trial_leaves_its_results_on_the_store_and_nothing_on_the_node(
    mirrored: Callable[..., TrialConfig], unbroken: Any, tmp_path: Path
) -> None:
    told, end = run(mirrored("one"))
    assert_same(told, end, unbroken())
    assert end.weights_path == "trial/a1/best.safetensors"
    assert end.predictions_path == "trial/a1/predictions.safetensors"
    results = {"best.safetensors", "predictions.safetensors", "end.json"}
    assert {name for name in stored(tmp_path) if name.count("/") == 2} == {
        f"trial/a1/{name}" for name in results
    }
    places = {name.split("/")[2] for name in stored(tmp_path) if name.count("/") == 3}
    assert places == {"e2-b0", "e3-b0"}
    assert list((tmp_path / "one" / "scratch").iterdir()) == []


@pytest.mark.parametrize("recipe", [{}, RICH], ids=["plain", "rich"])
def test_another_node_goes_on_with_the_same_bits(
    mirrored: Callable[..., TrialConfig],
    unbroken: Any,
    recipe: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = unbroken(**recipe)
    began: list[int] = []
    train = loop._train_epoch

    def noted(session: Session, should_stop: Callable[[], bool]) -> None:
        began.append(session.progress.epoch)
        train(session, should_stop)

    monkeypatch.setattr(loop, "_train_epoch", noted)
    for poll in (2, 11, 18, 25):
        folder = {"checkpoint_dir": f"trial-{poll}"}
        first = dataclasses.replace(mirrored("one", **recipe), **folder)
        before, end = run(first, stop_at(poll))
        assert end.state == "interrupted"
        began.clear()
        second = dataclasses.replace(mirrored("two", 2, len(before), **recipe), **folder)
        after, end = run(second)
        assert_same(before + after, end, whole)
        assert began == list(range(len(before), len(whole[0]))), "it began again"


@pytest.mark.slow
def test_an_upload_cut_anywhere_is_gone_on_from_elsewhere(
    mirrored: Callable[..., TrialConfig],
    unbroken: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """After each operation of a whole trial: puts of five kinds of files, and removals."""
    whole = unbroken()
    for operations in itertools.count():
        folder = {"checkpoint_dir": f"trial-{operations}"}
        with cut_after(operations, monkeypatch) as asked:
            told, end = run(dataclasses.replace(mirrored("one"), **folder))
        if end.state == "complete":
            break
        assert (end.state, end.failure) == ("failed", "infrastructure"), end
        assert len(asked) == operations
        assert_nothing_torn(tmp_path / "store" / f"trial-{operations}")
        retry = dataclasses.replace(mirrored("two", known=len(told)), retry=1, **folder)
        after, end = run(retry)
        assert_same(told + after, end, whole)
    assert operations > 12


def assert_nothing_torn(folder: Path) -> None:
    """What looks whole is: a checkpoint by its manifest, results by their end's word."""
    for manifest in folder.rglob("manifest.json"):
        load(Place(0, 0, (1, 0), manifest.parent))
    for end in folder.rglob("end.json"):
        for kind in ("weights", "predictions"):
            named = json.loads(end.read_bytes())["end"]
            path = folder.parent / named[f"{kind}_path"]
            assert sha256_of(path) == named[f"{kind}_sha256"]


def test_no_epoch_is_told_before_its_checkpoint_is_on_the_store(
    mirrored: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    for record in run_trial(mirrored("one")):
        there = stored(tmp_path)
        if isinstance(record, EpochRecord):
            assert f"trial/a1/e{record.epoch}-b0/manifest.json" in there
        else:
            assert "trial/a1/end.json" in there


def test_a_finished_trial_is_told_again_elsewhere_without_training(
    mirrored: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs, end = run(mirrored("one"))
    monkeypatch.setattr(loop, "open_session", lambda config: pytest.fail("it trains"))
    assert run(mirrored("two", attempt=2, known=1)) == (epochs[1:], end)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [flip, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json", "state.json"])
def test_what_is_damaged_on_the_store_is_passed_over(
    mirrored: Callable[..., TrialConfig],
    unbroken: Any,
    tmp_path: Path,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    before, _ = run(mirrored("one"), stop_at(17))
    assert len(before) == 2
    newest = sorted(path.parent for path in (tmp_path / "store").rglob("manifest.json"))[-1]
    assert newest.name == "e2-b1"
    damage(newest / name)
    after, end = run(mirrored("two", attempt=2, known=2))
    assert_same(before + after, end, unbroken())


def test_results_that_are_damaged_on_the_store_are_made_again(
    mirrored: Callable[..., TrialConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, end = run(mirrored("one"))
    flip(tmp_path / "store" / str(end.weights_path))
    with caplog.at_level(logging.WARNING):
        _, again = run(mirrored("two", attempt=2, known=3))
    assert "gone or changed" in caplog.text
    assert again.weights_sha256 == end.weights_sha256
    assert again.weights_path == "trial/a2/best.safetensors"


def test_what_a_lost_past_left_under_this_life_is_removed(
    mirrored: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    """Else the driver would collect another configuration's best weights."""
    store = Store(tmp_path / "store")
    for name in ("best.safetensors", "predictions.safetensors"):
        store.put(f"trial/a1/{name}", b"another's")
    store.put("trial/a1/end.json", json.dumps({"identity": "another's"}).encode())
    records = run_trial(mirrored("one"))
    next(records)
    records.close()
    assert not [name for name in stored(tmp_path) if name.count("/") == 2]


def test_a_trial_that_is_stopped_leaves_nothing_on_the_node(
    mirrored: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    records = run_trial(mirrored("one"))
    next(records)
    assert len(list((tmp_path / "one" / "scratch").iterdir())) == 2  # its folder and its lock
    records.close()
    assert list((tmp_path / "one" / "scratch").iterdir()) == []


def test_what_killed_processes_left_is_removed_and_what_lives_is_not(
    mirrored: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    root = tmp_path / "one" / "scratch"
    for name in ("dead", "alive"):
        (root / name).mkdir(parents=True)
        (root / f"{name}.lock").touch()
    with (root / "alive.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run(mirrored("one"))
        assert {path.name for path in root.iterdir()} == {"alive", "alive.lock"}


def test_a_slow_store_gets_fewer_checkpoints(
    mirrored: Callable[..., TrialConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending takes a tenth of the time at most; what may be stopped needs each epoch's."""
    monkeypatch.setattr("raybench.trial.mirror.SENDING_PART", 1e-9)
    for prompt, wanted in ((False, {"e1-b0"}), (True, {"e2-b0", "e3-b0"})):
        folder = f"prompt-{prompt}"
        config = dataclasses.replace(mirrored("one"), prompt=prompt, checkpoint_dir=folder)
        told, end = run(config)
        assert (len(told), end.state) == (3, "complete")
        assert {
            name.split("/")[2]
            for name in stored(tmp_path)
            if name.startswith(folder) and name.count("/") == 3
        } == wanted


def test_probes_leave_their_results_too(
    mirrored: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    config = mirrored("one", method="linear_probe")
    epochs, end = run(config)
    assert "trial/a1/end.json" in stored(tmp_path)
    again = mirrored("two", attempt=2, known=1, method="linear_probe")
    assert run(again) == ([], end)
