"""Three lines in a notebook, and a ledger that stays a plain Optuna storage."""

from __future__ import annotations

import optuna
import pytest

import raybench
from raybench.errors import HomeError, SpecError, UserInputError
from tests.specs import tiny_data, write_sweep


def test_records_have_a_row_for_every_epoch(finished_home):
    records = raybench.open("tiny", home=finished_home).records()
    assert len(records) == 4 * 2
    assert {"phase", "params/lr", "val/accuracy", "train/loss"} <= set(records.columns)
    assert records["val/accuracy"].between(0, 1).all()


def test_leaderboard_has_a_row_for_every_pair(finished_home):
    board = raybench.open(home=finished_home).leaderboard()
    assert len(board) == 1 and board["backbone"][0] == "timm:test_resnet"


def test_run_opens_what_it_has_run(tmp_path):
    path = write_sweep(tmp_path / "x.yaml", tiny_data())
    options = {"home": tmp_path / "home", "inline": True, "tracking": False}
    small = ["recipe.epochs=1", "budget.trials=1", "final.seeds=[0]"]
    sweep = raybench.run(path, overrides=small, **options)
    assert sweep.name == "tiny" and sweep.status()["pairs"][0]["state"] == "done"
    again = raybench.run(path, overrides=[*small[:2], "final.seeds=[0, 1]"], **options)
    assert again.status()["pairs"][0]["final"]["seeds"] == [0, 1]
    assert again.status()["pairs"][0]["trials"]["complete"] == 1


def test_the_same_exceptions_as_the_command_line(tmp_path, finished_home):
    with pytest.raises(SpecError):
        raybench.run(tmp_path / "none.yaml")
    with pytest.raises(HomeError):
        raybench.open(home=tmp_path)
    with pytest.raises(UserInputError):
        raybench.open("nosuch", home=finished_home)
    assert issubclass(UserInputError, raybench.RaybenchError)


def test_optuna_opens_the_ledger_as_it_is(finished_home):
    """What optuna-dashboard does: every study's summary, trials, values and parameters."""
    url = f"sqlite:///{finished_home / 'ledger.db'}"
    status = raybench.open(home=finished_home).status()["pairs"][0]
    names = sorted(summary.study_name for summary in optuna.get_all_study_summaries(url))
    assert names == [f"tiny/{status['id']}", f"tiny/{status['id']}/final"]
    search, final = (optuna.load_study(study_name=name, storage=url) for name in names)
    assert len(search.trials) == len(final.trials) == 2
    assert search.best_value == status["best"]["val/accuracy"]
    assert search.best_params == status["best"]["params"]
    assert {trial.state for trial in final.trials} == {optuna.trial.TrialState.COMPLETE}
    assert len(search.trials_dataframe()) == 2
