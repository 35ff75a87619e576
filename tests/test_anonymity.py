"""What tells of machines and people goes; numbers, and the names that the user gave, stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from raybench.anonymity import without_traces
from raybench.records import SweepSnapshot
from raybench.snapshot_json import to_json
from tests.factories import make_pair, make_snapshot, realistic_snapshot, search_trial

HOST, USER = "gpu17.lab.example", "mmustermann"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with a name of its own, and somebody at home there."""
    home = tmp_path / USER
    (home / "my work").mkdir(parents=True)
    monkeypatch.setattr("socket.gethostname", lambda: HOST)
    monkeypatch.setenv("USER", USER)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "my work")
    return home


def failed(reason: str) -> SweepSnapshot:
    trial = search_trial("p", 0, state="failed", failure="user", reason=reason)
    return make_snapshot(make_pair("x", (trial,)))


def reason_without(reason: str) -> str:
    (trial,) = without_traces(failed(reason)).pairs[0].trials
    assert trial.end is not None
    return trial.end.reason


@pytest.mark.parametrize(
    ("reason", "clean"),
    [
        ("/home/me/images/x.png cannot be read: truncated", "x.png cannot be read: truncated"),
        ("cannot open '/data/a b.csv' or ~/c/d.pt", "cannot open 'a b.csv' or d.pt"),
        (r"C:\Users\me\x.png is no image", "x.png is no image"),
        ("no answer of http://10.0.0.7:5000/api/x", "no answer of x"),
        ("no answer of s3://bucket", "no answer of ***"),
        ("the node 10.12.0.3 has died", "the node *** has died"),
        ("actor died: pid=4711, ip: 192.168.0.1, hostname = node3", None),
        (f"{USER} has no right on {HOST}", "*** has no right on ***"),
        ("fe80::1ff:fe23:4567:890a is down", "*** is down"),
    ],
)
def test_a_reason_says_what_and_not_where(reason: str, clean: str | None) -> None:
    if clean is None:
        found = reason_without(reason)
        assert not {"4711", "192.168.0.1", "node3"} & set(found.replace(",", " ").split())
    else:
        assert reason_without(reason) == clean


@pytest.mark.parametrize(
    "reason",
    [
        "loss is NaN at 3.5 images/s, and/or 1/2 of val/accuracy",
        "torch 2.11.0+cu130 needs driver 550.54.15",
        "took 12:30:45 of 1:00:00, batch 32 / 64",
        "<b>bold</b> is no markup here",
        "timm:hf-hub:org/name is gone",
    ],
)
def test_what_is_no_place_stays(reason: str) -> None:
    assert reason_without(reason) == reason


def test_the_home_is_cut_out_with_its_blanks(machine: Path) -> None:
    assert reason_without(f"see {machine}/my work/x.txt") == "see x.txt"
    assert reason_without(f"{machine}/my work: no room") == "my work: no room"


def test_places_of_the_sweep_file_keep_their_last_part(machine: Path) -> None:
    spec = {
        "datasets": [{"name": "mine", "path": str(machine / "photos of cats"), "root": None}],
        "backbones": [{"name": "timm:resnet18", "weights": "../w/best.safetensors"}],
        "recipe": {"epochs": 3, "augment": "none"},
    }
    clean = without_traces(replace(make_snapshot(), spec=spec)).spec
    assert clean["datasets"] == [{"name": "mine", "path": "photos of cats", "root": None}]
    assert clean["backbones"][0]["weights"] == "best.safetensors"
    assert clean["recipe"] == spec["recipe"]


def test_a_word_that_is_a_name_stays_a_value() -> None:
    """A data set may be called as the user is."""
    pair = make_pair("x", (), USER)
    snapshot = replace(make_snapshot(pair), spec={"datasets": [{"name": USER}]})
    clean = without_traces(snapshot)
    assert clean.pairs[0].dataset == USER and clean.spec["datasets"][0]["name"] == USER


def test_secrets_lease_and_ledger_go() -> None:
    lease = {"host": "other-host", "pid": 99}
    snapshot = replace(failed("http://me:hunter22@h/x and other-host"), lease=lease, ledger_id="id")
    clean = without_traces(snapshot)
    assert clean.lease is None and clean.ledger_id == ""
    text = json.dumps(to_json(clean))
    assert "hunter22" not in text and "other-host" not in text


def test_numbers_and_names_are_as_they_were() -> None:
    snapshot = replace(realistic_snapshot(), lease=None, ledger_id="")
    assert without_traces(snapshot) == snapshot
    assert without_traces(without_traces(snapshot)) == snapshot
