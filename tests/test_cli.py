"""The command line's contract: exit codes, what goes to which stream, JSON keys, imports."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raybench import cli
from raybench.cli import main
from raybench.errors import ResourceError
from raybench.sweep.run import run_sweep
from tests.specs import tiny_data, write_sweep

HEAVY = {"torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pandas", "numpy", "sqlalchemy",
         "sklearn", "scipy", "PIL", "rich", "jinja2"}  # fmt: skip
PAIR_KEYS = {"id", "backbone", "dataset", "subset", "state", "trials", "epochs", "device_seconds",
             "best", "default", "final"}  # fmt: skip


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "tiny.yaml", tiny_data())


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def in_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "raybench.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def imported_by(*arguments: str) -> set[str]:
    script = (
        "import sys\nfrom raybench.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("--version",), ("validate", "quickstart")]
)
def test_nothing_heavy_is_imported_to_help_or_validate(arguments):
    assert not HEAVY & imported_by(*arguments)


def test_planning_imports_neither_torch_nor_ray(tmp_path):
    found = imported_by("plan", "quickstart", "--home", str(tmp_path / "none"))
    assert not {"torch", "torchvision", "timm", "ray", "mlflow"} & found


def test_validate(capsys, sweep_file):
    assert told(capsys, "validate", sweep_file) == (0, f"{sweep_file}: ok, sweep 'tiny'\n", "")


def test_mistakes_of_all_files_go_to_stderr_without_a_traceback(capsys, sweep_file, tmp_path):
    bad = write_sweep(tmp_path / "bad.yaml", tiny_data(seed=-1, sed=1))
    code, out, err = told(capsys, "validate", bad, sweep_file, tmp_path / "none.yaml")
    assert code == 2 and out == f"{sweep_file}: ok, sweep 'tiny'\n"
    lines = err.splitlines()
    assert len(lines) == 3 and all(line.startswith("raybench: ") for line in lines)
    assert "bad.yaml:" in err and "Traceback" not in err


def test_debug_shows_the_traceback(tmp_path):
    bad = write_sweep(tmp_path / "bad.yaml", tiny_data(seed=-1))
    assert "Traceback" not in in_process("validate", bad).stderr
    for arguments in (("--debug", "validate", bad), ("validate", "--debug", bad)):
        done = in_process(*arguments)
        assert (
            done.returncode != 0 and "UserInputError" in done.stderr and "Traceback" in done.stderr
        )


def test_an_unexpected_exception_is_words_too(capsys, monkeypatch, sweep_file):
    def broken(arguments: object) -> int:
        raise KeyError("our bug")

    monkeypatch.setitem(cli._VERBS, "validate", broken)
    code, out, err = told(capsys, "validate", sweep_file)
    assert (code, out) == (3, "") and "unexpected KeyError: 'our bug'; --debug" in err
    code, _, err = told(capsys, "--debug", "validate", sweep_file)
    assert code == 3 and err.startswith("Traceback") and err.endswith("KeyError: 'our bug'\n")


def test_an_environment_error_speaks_for_itself(capsys, monkeypatch, sweep_file):
    def broken(arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(cli._VERBS, "validate", broken)
    code, _, err = told(capsys, "validate", sweep_file)
    assert code == 3 and "No space left" in err and "unexpected" not in err


def test_each_sentence_of_an_error_stands_on_a_line_of_its_own(capsys, monkeypatch, sweep_file):
    def missing(arguments: Any) -> int:
        raise ResourceError(["this is missing", "that is missing"])

    monkeypatch.setitem(cli._VERBS, "validate", missing)
    assert main(["validate", str(sweep_file)]) == 3
    assert capsys.readouterr().err == "raybench: this is missing\nraybench: that is missing\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nosuch",),
        ("run",),
        ("ui", "--port", "99999"),
        ("plan", "x", "--usd-per-hour", "-1"),
        ("plan", "x", "--devices", "0"),
    ],
)
def test_what_cannot_be_parsed_ends_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2


def test_set_is_applied_before_the_check(capsys, sweep_file):
    assert told(capsys, "validate", sweep_file, "--set", "budget.trials=5")[0] == 0
    code, _, err = told(capsys, "validate", sweep_file, "--set", "budget.trials=0")
    assert code == 2 and err.startswith("raybench: --set: budget.trials: got 0")


def test_plan_runs_nothing(capsys, sweep_file, tmp_path):
    code, out, err = told(capsys, "plan", sweep_file, "--home", tmp_path / "home")
    assert (code, err) == (0, "") and "tiny: 1 pair" in out and "timm:test_resnet" in out
    assert not (tmp_path / "home").exists()


def test_plan_as_json(capsys, sweep_file, tmp_path):
    code, out, err = told(capsys, "plan", sweep_file, "--home", tmp_path / "home", "--json")
    (pair,) = json.loads(out)["pairs"]
    assert (code, err) == (0, "")
    assert {"id", "backbone", "dataset", "subset", "device_hours", "epochs"} <= set(pair)


@pytest.mark.parametrize("verb", ["status", "report"])
def test_json_keeps_the_contracts_keys(capsys, finished_home, verb):
    code, out, err = told(capsys, verb, "--home", finished_home, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert {"sweep", "attempt", "metric", "pairs"} <= set(found)
    (pair,) = found["pairs"]
    assert PAIR_KEYS <= set(pair)
    assert pair["trials"] == {
        "quota": 2, "complete": 2, "pruned": 0, "failed": 0, "running": 0, "owed": 0,
    }  # fmt: skip
    assert (found["sweep"], found["attempt"], found["metric"]) == ("tiny", 1, "val/accuracy")
    assert pair["state"] == "done" and pair["epochs"] == 4 and pair["device_seconds"] > 0
    assert pair["best"]["trial"] in (0, 1) and 0 <= pair["best"]["val/accuracy"] <= 1
    assert set(pair["best"]["params"]) == {"lr"} and 0 <= pair["default"]["val/accuracy"] <= 1
    final = pair["final"]
    assert final["seeds"] == [0, 1] and len(final["test/accuracy"]) == 2
    assert final["mean"] == pytest.approx(sum(final["test/accuracy"]) / 2)
    low, high = final["ci95"]
    assert 0 <= low <= final["mean"] <= high <= 1


@pytest.mark.parametrize("verb", ["status", "report"])
def test_results_for_people_stand_on_stdout(capsys, finished_home, verb):
    code, out, err = told(capsys, verb, "tiny", "--home", finished_home)
    assert (code, err) == (0, "") and "test_resnet" in out and "done" in out


def test_report_files(capsys, finished_home, tmp_path):
    page, folder = tmp_path / "r.html", tmp_path / "csv"
    code, out, err = told(
        capsys, "report", "--home", finished_home, "--html", page, "--csv", folder, "--json"
    )
    assert code == 0 and json.loads(out) and err.count("wrote ") == 5
    assert page.stat().st_size > 1000 and len(list(folder.glob("*.csv"))) == 4


def test_running_again_runs_nothing_and_ends_with_the_leaderboard(
    capsys, sweep_file, finished_home
):
    with sqlite3.connect(finished_home / "ledger.db") as ledger:
        before = ledger.execute("SELECT COUNT(*) FROM trials").fetchone()
        home = finished_home.with_name("again")
        shutil.copytree(finished_home, home, dirs_exist_ok=True)
    code, out, err = told(
        capsys, "run", sweep_file, "--home", home, "--inline", "--no-tracking", "--quiet"
    )
    assert code == 0 and "On digits (10%) only" in out and "Next: raybench report tiny" in err
    with sqlite3.connect(home / "ledger.db") as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM trials").fetchone() == before


def test_a_pair_without_a_result_ends_with_1(capsys, tmp_path, monkeypatch):
    (tmp_path / "broken_models.py").write_text("def make(classes, image_size):\n    raise KeyError")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = tiny_data(backbones=[{"name": "python:broken_models:make", "weights": "none"}])
    code, out, err = told(
        capsys, "run", write_sweep(tmp_path / "x.yaml", data), "--home", tmp_path / "home",
        "--inline", "--no-tracking", "--quiet",
    )  # fmt: skip
    assert code == 1 and "KeyError" in out and "1 of 1 pairs ended without a result" in err
    code, out, _ = told(capsys, "status", "--home", tmp_path / "home", "--json")
    (pair,) = json.loads(out)["pairs"]
    assert code == 0 and pair["state"] == "failed" and pair["trials"]["failed"] == 2


BAD_INPUT = {
    "batch": ({"recipe": {"image_size": 32, "batch_size": 500}}, "batch_size 500 is larger than"),
    "size": (
        {
            "backbones": [{"name": "torchvision:squeezenet1_0", "weights": "none"}],
            "recipe": {"image_size": 8, "batch_size": 8},
        },
        "cannot be built for 10 classes and images of 8x8",
    ),
    "argument": (
        {"backbones": [{"name": "timm:test_resnet", "weights": "none", "kwargs": {"bogus": 1}}]},
        "unexpected keyword argument 'bogus'",
    ),
    "shots": ({"subsets": ["500-shot"]}, "asks for more images than the smallest class has"),
    "classes": (
        {"search": {"metric": "val/sensitivity"}, "recipe": {"image_size": 32, "batch_size": 8}},
        "val/sensitivity is for two classes, this has 10",
    ),
}


@pytest.mark.parametrize(("changes", "words"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_what_the_preflight_refuses_ends_with_2(capsys, tmp_path, changes, words):
    path = write_sweep(tmp_path / "x.yaml", tiny_data(**changes))
    home = tmp_path / "home"
    code, out, err = told(capsys, "run", path, "--home", home, "--inline", "--quiet")
    assert (code, out) == (2, "") and words in err and len(err.splitlines()) == 1
    assert not list(home.glob("ledger*")), "nothing half-written"


def test_unreadable_images_are_named_before_anything_runs(capsys, tmp_path, image_folder):
    folder = image_folder()
    (folder / "cat" / "zz.png").write_bytes(b"no image")
    (folder / "dog" / "000.png").write_bytes((folder / "dog" / "001.png").read_bytes()[:50])
    (folder / "dog" / "empty.jpg").touch()
    path = write_sweep(tmp_path / "x.yaml", tiny_data(datasets=[{"path": str(folder)}]))
    code, _, err = told(capsys, "run", path, "--home", tmp_path / "home", "--inline", "--quiet")
    assert code == 2 and len(err.splitlines()) == 3
    assert all(name in err for name in ("cat/zz.png", "dog/000.png", "dog/empty.jpg"))


def _other_version(home: Path) -> None:
    with sqlite3.connect(home / "ledger.db") as ledger:
        ledger.execute("UPDATE raybench_meta SET value = '99' WHERE key = 'schema'")


def _other_optuna(home: Path) -> None:
    with sqlite3.connect(home / "ledger.db") as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = 'v99.a'")
        ledger.execute("UPDATE version_info SET schema_version = 99")


def _rubbish(home: Path) -> None:
    (home / "ledger.db").write_bytes(b"rubbish" * 999)


def _cut(home: Path) -> None:
    content = (home / "ledger.db").read_bytes()
    (home / "ledger.db").write_bytes(content[: len(content) // 2])


def _a_file_in_the_way(home: Path) -> None:
    shutil.rmtree(home)
    home.touch()


BAD_HOMES = {
    _other_version: "was written by raybench",
    _other_optuna: "the ledger cannot be opened: The runtime optuna version",
    _rubbish: "is damaged or not readable (file is not a database)",
    _cut: "is damaged or not readable",
    _a_file_in_the_way: "cannot write to the home",
}


@pytest.mark.parametrize(("harm", "words"), BAD_HOMES.items())
def test_a_home_that_cannot_be_used_ends_with_3(
    capsys, finished_home, sweep_file, tmp_path, harm, words
):
    home = tmp_path / "home"
    with sqlite3.connect(finished_home / "ledger.db") as source:
        home.mkdir()
        source.execute("VACUUM INTO ?", (str(home / "ledger.db"),))
    harm(home)
    before = home.read_bytes() if home.is_file() else (home / "ledger.db").read_bytes()
    code, out, err = told(
        capsys, "run", sweep_file, "--home", home, "--inline", "--no-tracking", "--quiet"
    )
    assert (code, out) == (3, "") and words in err and len(err.splitlines()) == 1
    after = home.read_bytes() if home.is_file() else (home / "ledger.db").read_bytes()
    assert harm is _other_optuna or before == after


@pytest.mark.parametrize("place", [29, 300])
def test_a_ledger_with_rubbish_in_its_rows_is_said_to_be_damaged(
    capsys, finished_home, tmp_path, place
):
    with sqlite3.connect(finished_home / "ledger.db") as source:
        source.execute("VACUUM INTO ?", (str(tmp_path / "ledger.db"),))
    content = bytearray((tmp_path / "ledger.db").read_bytes())
    record = content.index(b'{"kind": "epoch"')
    content[record + place] = 0xFF
    (tmp_path / "ledger.db").write_bytes(content)
    code, out, err = told(capsys, "status", "--home", tmp_path)
    assert (code, out) == (3, "") and "is damaged or not readable" in err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "RAYBENCH_LEDGER_URL is no database URL"),
        ("nosuch://u:secret@h/x", "RAYBENCH_LEDGER_URL is no database URL"),
        ("sqlite://", "would live in memory"),
    ],
)
def test_a_ledger_url_without_sense(capsys, monkeypatch, url, words):
    monkeypatch.setenv("RAYBENCH_LEDGER_URL", url)
    code, out, err = told(capsys, "status")
    assert (code, out) == (3, "") and words in err and "secret" not in err


def test_no_such_home_or_sweep(capsys, finished_home, tmp_path):
    code, _, err = told(capsys, "status", "--home", tmp_path / "none")
    assert code == 3 and "no ledger at" in err and not (tmp_path / "none").exists()
    code, _, err = told(capsys, "report", "nosuch", "--home", finished_home)
    assert code == 2 and "its sweeps: tiny" in err


def test_several_sweeps_must_be_named(capsys, finished_home, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(finished_home, home)
    with sqlite3.connect(home / "ledger.db") as ledger:
        ledger.execute(
            "INSERT INTO raybench_sweeps SELECT 'two', spec, 1, 0, 0 FROM raybench_sweeps"
        )
    code, _, err = told(capsys, "status", "--home", home)
    assert code == 2 and "name one of this home's sweeps: tiny, two" in err


@pytest.mark.parametrize(("state", "expected"), [("searching", 143), ("failed", 1), ("done", 0)])
def test_a_drain_ends_with_the_signals_number(
    capsys, monkeypatch, sweep_file, finished_home, state, expected
):
    """But a signal that comes when all is done changes nothing."""
    from raybench import library

    def drained(*arguments: Any, **options: Any) -> Any:
        result = run_sweep(*arguments, **options)
        pairs = tuple(dataclasses.replace(p, state=state) for p in result.snapshot.pairs)
        return type(result)(dataclasses.replace(result.snapshot, pairs=pairs), signal=15)

    home = finished_home.with_name(f"drained-{state}")
    shutil.copytree(finished_home, home, dirs_exist_ok=True)
    monkeypatch.setattr("raybench.sweep.run.run_sweep", drained)
    assert library.run_sweep_file is not None
    code, _, err = told(
        capsys, "run", sweep_file, "--home", home, "--inline", "--no-tracking", "--quiet"
    )
    assert code == expected
    assert ("drained; nothing is lost. To go on: raybench run" in err) == (expected == 143)


def test_ctrl_c_elsewhere_is_no_traceback(capsys, monkeypatch, sweep_file):
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli._VERBS, "plan", interrupted)
    assert told(capsys, "plan", sweep_file) == (130, "", "")


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m raybench.cli backbones | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0" and done.stderr == ""


def test_what_can_be_named(capsys):
    code, out, _ = told(capsys, "backbones", "timm:resnet50", "--json")
    assert code == 0 and {"name", "library", "weights"} <= set(json.loads(out)[0])
    code, out, _ = told(capsys, "datasets", "--json")
    assert code == 0 and "digits" in {row["name"] for row in json.loads(out)}
    assert "folder-of-class-folders" in told(capsys, "datasets")[1]
    code, _, err = told(capsys, "backbones", "zzz*")
    assert code == 2 and "no backbone matches 'zzz*'" in err


def test_doctor_ends_with_3_where_something_is_bad(capsys, monkeypatch, tmp_path):
    from raybench.doctor import Finding

    findings = [Finding("disk", True, "77 GB free"), Finding("hub", False, "does not answer")]
    monkeypatch.setattr("raybench.doctor.examine", lambda settings: findings)
    code, out, _ = told(capsys, "doctor", "--home", tmp_path)
    assert code == 3 and "ok  disk" in out and "BAD hub" in out
    monkeypatch.setattr("raybench.doctor.examine", lambda settings: findings[:1])
    code, out, _ = told(capsys, "doctor", "--home", tmp_path, "--json")
    assert code == 0 and json.loads(out)[0]["subject"] == "disk"


def test_the_installed_script_is_this_command():
    script = Path(sys.executable).with_name("raybench")
    if not os.access(script, os.X_OK):
        pytest.skip("raybench is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("raybench ")
