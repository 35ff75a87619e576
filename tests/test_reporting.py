"""``raybench report``: sweeps, bundles, clusters in, every kind of file out, mistakes at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import raybench
from raybench.bundle.packing import write_bundle
from raybench.cli import main
from raybench.errors import HomeError, ResourceError, UserInputError
from raybench.joining import Source
from raybench.predictions import StoredPredictions
from raybench.records import SweepSnapshot
from raybench.report.grid import to_text
from raybench.report.tables import leaderboard_table
from raybench.reporting import Choices, Outputs, PatientOnce, open_report
from raybench.storage import Store
from tests.factories import final_trial, make_pair, make_snapshot, pair_id, realistic_snapshot
from tests.prediction_files import with_predictions

Captured = pytest.CaptureFixture[str]


def told(capsys: Captured, *arguments: object) -> tuple[int, str, str]:
    code = main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def bundled(snapshot: SweepSnapshot, folder: Path, name: str = "other.zip") -> Path:
    whole = with_predictions(snapshot, folder)
    return write_bundle([Source(whole, StoredPredictions(Store(folder)))], folder / name)


@pytest.fixture
def packed(finished_home: Path, tmp_path: Path, capsys: Captured) -> Path:
    code, _, err = told(capsys, "--home", finished_home, "--bundle", tmp_path / "tiny.zip")
    assert code == 0 and f"wrote {tmp_path}/tiny.zip" in err
    return tmp_path / "tiny.zip"


# -- bundles -------------------------------------------------------------------------------------


def test_a_bundle_says_what_the_sweep_says(
    finished_home: Path, packed: Path, tmp_path: Path, capsys: Captured, monkeypatch: Any
) -> None:
    """Anywhere: the home is not asked, and none is made."""
    _, here, _ = told(capsys, "--home", finished_home, "--json")
    monkeypatch.chdir(tmp_path)
    code, there, err = told(capsys, packed, "--json")
    assert (code, err) == (0, "")
    assert json.loads(there) == json.loads(here) | {"lease": None}
    assert not (tmp_path / "raybench-home").exists()
    with open_report([str(packed)]) as found:
        (task,) = found.analysis.tasks.values()
        assert task.evidence is not None, "its predictions are read as well"


def test_splits_travel_with_it(packed: Path) -> None:
    with open_report([str(packed)]) as found:
        (text,) = found.sources[0].splits().values()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 1797 and {row[3] for row in rows} == {"train", "val", "test"}


def test_a_changed_bundle_ends_with_2(packed: Path, capsys: Captured) -> None:
    packed.write_bytes(packed.read_bytes()[:-200])
    code, out, err = told(capsys, packed, "--json")
    assert (code, out) == (2, "") and "tiny.zip is damaged or no bundle" in err


# -- several -------------------------------------------------------------------------------------


def test_sweeps_and_bundles_are_joined(
    finished_home: Path, packed: Path, tmp_path: Path, capsys: Captured
) -> None:
    other = bundled(realistic_snapshot(), tmp_path / "other")
    code, out, err = told(capsys, "tiny", other, "--home", finished_home, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["sweeps"] == ["tiny", "quickstart"]
    ids = [pair["id"] for pair in found["pairs"]]
    assert len(ids) == len(set(ids)) == 1 + sum(p.current for p in realistic_snapshot().pairs)
    _, out, _ = told(capsys, packed, other, "--json")
    assert json.loads(out) | {"lease": None} == found | {"lease": None}


@pytest.mark.parametrize("names", [("tiny", "tiny"), ("tiny", "b"), ("b", "tiny"), ("b", "b")])
def test_a_sweep_is_not_joined_with_itself(
    finished_home: Path, packed: Path, capsys: Captured, names: tuple[str, str]
) -> None:
    given = [packed if name == "b" else name for name in names]
    code, out, err = told(capsys, *given, "--home", finished_home)
    assert (code, out) == (2, "") and "compared with" in err and str(given[1]) in err


def test_notes_stand_beside_the_numbers(finished_home: Path, tmp_path: Path) -> None:
    key = pair_id("x", "digits", "10%")
    pair = make_pair("x", (final_trial(key, 0, 0, 0.9),), "digits", "10%")
    other = bundled(make_snapshot(pair), tmp_path)
    with open_report(["tiny", str(other)], finished_home) as found:
        assert any("recipe.epochs differs" in note for note in found.as_json()["notes"])
        assert any("do not have the same splits" in note for note in found.analysis.notes)


def test_one_sweep_has_no_word_of_others(finished_home: Path) -> None:
    with open_report(["tiny"], finished_home) as found:
        assert "sweeps" not in found.as_json() and found.analysis.notes == ()


# -- files ---------------------------------------------------------------------------------------


def test_every_file_at_once(finished_home: Path, tmp_path: Path, capsys: Captured) -> None:
    places = {
        "csv": tmp_path / "csv",
        "latex": tmp_path / "tables.tex",
        "parquet": tmp_path / "parquet",
        "bundle": tmp_path / "b.zip",
    }
    arguments = [part for name, place in places.items() for part in (f"--{name}", place)]
    code, out, err = told(capsys, "--home", finished_home, *arguments)
    assert code == 0 and "test_resnet" in out
    assert all(place.exists() for place in places.values()) and err.count("wrote ") == 4 + 2 + 5


def test_the_library_does_the_same(finished_home: Path, tmp_path: Path) -> None:
    sweep = raybench.open("tiny", finished_home)
    files = sweep.report(latex=tmp_path / "t.tex", csv=tmp_path / "csv")
    assert len(files) == 5 and all(file.is_file() for file in files)
    assert list(sweep.analysis().tasks) == ["digits (10%)"]
    assert list(sweep.leaderboard()["backbone"]) == ["timm:test_resnet"]
    with pytest.raises(TypeError):
        sweep.report(pdf=tmp_path / "x.pdf")


# -- mistakes ------------------------------------------------------------------------------------


def test_all_mistakes_come_at_once(finished_home: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.zip").write_text("no zip")
    code, out, err = told(
        capsys, "nosuch", tmp_path / "bad.zip", "tiny", "--home", finished_home,
        "--csv", tmp_path / "file", "--html", tmp_path, "--max-params-m", "0",
    )  # fmt: skip
    assert (code, out) == (2, "") and not list(tmp_path.glob("*.html"))
    words = ("--csv is for a folder", "--html is for a file", "--max-params-m got 0",
             "no sweep 'nosuch'", "bad.zip is damaged or no bundle")  # fmt: skip
    assert len(err.splitlines()) == len(words) and all(word in err for word in words)


def test_stdout_is_for_json(finished_home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(UserInputError, match="--html writes no stdout, which is for --json"),
        open_report(["tiny"], finished_home, outputs=Outputs(html=Path("-"))),
    ):
        raise AssertionError("refused before")


def test_a_cluster_is_not_asked_for_bundles(packed: Path, capsys: Captured) -> None:
    code, out, err = told(capsys, packed, "--address", "http://127.0.0.1:1")
    assert (code, out) == (2, "") and "--address is where sweeps are, and only bundles" in err


@pytest.mark.parametrize(("given", "words"), [("x/", "is a folder"), ("none.zip", "is not there")])
def test_a_place_without_a_bundle_ends_with_2(
    tmp_path: Path, monkeypatch: Any, capsys: Captured, given: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    code, out, err = told(capsys, given)
    assert (code, out) == (2, "") and words in err and "or a sweep's name" in err


def test_files_that_a_bundle_lacks_are_named_three_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = with_predictions(realistic_snapshot(), tmp_path / "gone")
    finals = [t for p in whole.pairs for t in p.final_trials() if t.state == "complete"]
    bare = write_bundle([Source(whole)], tmp_path / "bare.zip")
    with open_report([str(bare)]) as found:
        for trial in [*finals, *finals]:
            assert found.joined.predictions.read(trial) is None
    *first, last = (record.getMessage() for record in caplog.records)
    assert len(first) == len(set(first)) == 3
    assert last == f"and {len(finals) - 3} more of that kind"


def test_two_outputs_cannot_share_a_place(finished_home: Path, tmp_path: Path) -> None:
    place = tmp_path / "x"
    outputs = Outputs(html=place, latex=tmp_path / "." / "x")
    with (
        pytest.raises(UserInputError, match="named twice"),
        open_report(["tiny"], finished_home, outputs=outputs),
    ):
        raise AssertionError("refused before")
    assert not place.exists()


def test_a_bundle_of_what_is_elsewhere_is_refused(tmp_path: Path) -> None:
    asked = {"address": "http://127.0.0.1:1", "outputs": Outputs(bundle=tmp_path / "b.zip")}
    other = bundled(realistic_snapshot(), tmp_path)
    with (
        pytest.raises(UserInputError, match="on the cluster and not here"),
        open_report([str(other)], **asked),
    ):
        raise AssertionError("refused before")


def test_what_a_cluster_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = with_predictions(realistic_snapshot(), tmp_path)
    monkeypatch.setattr("raybench.cluster.client.connect", lambda address: None)
    monkeypatch.setattr("raybench.cluster.errands.read_snapshot", lambda *asked: there)
    with open_report(address="http://127.0.0.1:8265") as found:
        assert found.joined.snapshot is there
        assert [task.evidence for task in found.analysis.tasks.values()] == [None] * len(
            found.analysis.tasks
        )
        assert any("predictions are on the cluster" in note for note in found.analysis.notes)


@pytest.mark.parametrize("option", ["--reference=other", "--max-latency-ms=fast"])
def test_what_cannot_be_parsed_ends_with_2(option: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["report", option])
    assert caught.value.code == 2


def test_a_folder_that_cannot_be_written_ends_with_3(finished_home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outputs = Outputs(latex=tmp_path / "file" / "x.tex")
    with open_report(["tiny"], finished_home, outputs=outputs) as found, pytest.raises(HomeError):
        list(found.write(outputs))


def test_choices_reach_the_analysis(finished_home: Path) -> None:
    choices = Choices("paper", max_latency_ms=5.0, max_params_m=2.0, licence="mit,apache*")
    with open_report(["tiny"], finished_home, choices=choices) as found:
        constraints = found.analysis.constraints
    assert (constraints.max_latency_ms, constraints.max_params_m) == (5.0, 2.0)
    assert constraints.licence == "mit,apache*" and found.analysis.literature is not None
    text = to_text(leaderboard_table(found.analysis), 200)
    assert "Under the limits (at most 5 ms for one image, at most 2 M parameters" in text
    assert found.analysis.literature.title in text
    assert "6 claims cannot be put to this sweep" in text
    assert found.as_json()["limits"]["constraints"]["max_params_m"] == 2.0


# -- a store that is out of reach ------------------------------------------------------------------


def test_a_store_out_of_reach_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get(self: Store, name: str) -> bytes:
        asked.append(name)
        raise ResourceError("out of reach")

    monkeypatch.setattr(Store, "get", get)
    files = PatientOnce("s3://bucket/prefix")
    for _ in range(5):
        with pytest.raises(ResourceError):
            files.get("x")
    assert asked == ["x"]


def test_a_file_that_is_gone_is_no_trouble_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    files = PatientOnce(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        files.get("gone")
    assert files.get("there") == b"x"


def test_a_home_is_read_without_being_changed(finished_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished_home, home)
    before = sorted(path.name for path in home.rglob("*"))
    with open_report(["tiny"], home) as found:
        found.as_json()
    after = sorted(path.name for path in home.rglob("*"))
    assert [n for n in after if not n.endswith(("-wal", "-shm"))] == [
        n for n in before if not n.endswith(("-wal", "-shm"))
    ]
