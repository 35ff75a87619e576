"""The program's own parts: strikes are drawn from the seed, and what was committed is watched."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.drivers import Stage
from tests.chaos.failpoints import POINTS
from tests.chaos.forms import Inline, LocalRay, RayCluster
from tests.chaos.program import main
from tests.chaos.strikes import draw
from tests.chaos.torture import Witness
from tests.specs import tiny_data


@pytest.mark.parametrize("form", [Inline, LocalRay, RayCluster])
def test_strikes_come_from_the_seed(form: type[Inline]) -> None:
    strikes = draw(form.kinds, 40, 3, form.first)
    assert strikes == draw(form.kinds, 40, 3, form.first)
    assert strikes != draw(form.kinds, 40, 4, form.first)
    assert len(strikes) == 40
    targets = {strike.target for strike in strikes}
    assert {"driver", *POINTS} >= targets - {"trial", "node"}
    assert all(targets & set(kind) for kind in form.kinds)
    assert all(strike.hit >= 1 for strike in strikes)


@pytest.fixture
def stage(finished_home: Path, tmp_path: Path) -> Stage:
    shutil.copytree(finished_home, tmp_path / "home")
    return Stage(tmp_path, tiny_data())


_FIRST_EPOCH = "key = 'epoch:1' AND trial_id = 1"


@pytest.mark.parametrize(
    ("named", "statement"),
    [
        ("committed", f"DELETE FROM trial_user_attributes WHERE {_FIRST_EPOCH}"),
        (
            "committed",
            "UPDATE trial_user_attributes SET value_json = "
            f"replace(value_json, 'finished_at', 'ended_at') WHERE {_FIRST_EPOCH}",
        ),
        ("committed", "DELETE FROM trial_user_attributes WHERE key = 'end' AND trial_id = 1"),
        ("committed", "UPDATE trial_params SET param_value = 0.5 WHERE trial_id = 1"),
        ("attempts", "UPDATE raybench_leases SET attempt = attempt - 1"),
    ],
)
def test_what_was_committed_must_stay(stage: Stage, named: str, statement: str) -> None:
    witness = Witness(stage)
    assert witness.look() == []
    assert witness.look() == []
    with closing(sqlite3.connect(stage.home / "ledger.db")) as ledger, ledger:
        ledger.execute(statement)
    (violation,) = witness.look()
    assert violation.startswith(f"{named}: ")


def test_what_comes_new_is_no_violation(stage: Stage) -> None:
    witness = Witness(stage)
    assert witness.look() == []
    with closing(sqlite3.connect(stage.home / "ledger.db")) as ledger, ledger:
        ledger.execute(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) "
            "VALUES (1, 'epoch:3', '{}')"
        )
    assert witness.look() == []


def test_the_program_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--kills" in capsys.readouterr().out
