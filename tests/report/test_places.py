"""No file that a report makes tells where the data lie, whose machine it was, or who ran it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow.parquet import read_table

from raybench.joining import Source
from raybench.records import SweepSnapshot
from raybench.report.rendering import write_plots
from raybench.report.sections.provenance import PLACES
from raybench.reporting import Choices, Outputs, Report, shareable
from raybench.settings import resolve_settings
from tests.factories import FACTS, make_pair, make_snapshot, pair_id, search_trial, tuned_pair

HOST, USER = "gpu17", "amustermann"
SECRETS = (HOST, USER, "hospital", "/srv", "/home/", "/tmp/")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: HOST)
    monkeypatch.setenv("USER", USER)
    monkeypatch.setenv("HOME", str(tmp_path / USER))


def told(folder: Path) -> SweepSnapshot:
    """A sweep that names its places wherever one can."""
    weights = f"/home/{USER}/hospital/vit.pth"
    own = f"timm:vit [{weights}]"
    other = "timm:vit [/srv/shared/vit.pth]"
    crash = search_trial(
        pair_id("broken"), 0, state="failed", values=(), failure="user",
        reason=f"{folder}/hospital/a b.png cannot be read by {USER} on {HOST}",
    )  # fmt: skip
    pairs = [
        replace(
            tuned_pair(f"timm:vit{n}", 0.8 + n / 20, 1e-3),
            backbone=name,
            facts={**FACTS, "weights_file": weights},
            backbone_spec={"name": "timm:vit", "weights": weights, "kwargs": {"file": weights}},
        )
        for n, name in enumerate((own, other))
    ]
    return replace(
        make_snapshot(
            *pairs,
            make_pair("broken", [crash], state="failed"),
            datasets=[{"name": "digits", "path": f"/home/{USER}/hospital/digits"}],
            backbones=[{"name": "timm:vit", "weights": weights}],
        ),
        description=f"From /home/{USER}/hospital/scans, on {HOST}",
    )


def report(folder: Path) -> Report:
    source = Source(told(folder))
    return Report([source], resolve_settings(folder / "home"), Choices(), is_here=True)


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """What each file below ``folder`` says."""
    for file in folder.rglob("*.*"):
        if file.suffix == ".parquet":
            table = read_table(file)
            yield file.name, f"{table.schema} {table.to_pylist()}"
        elif file.is_file():
            yield file.name, file.read_text(encoding="utf-8")


def test_nothing_that_is_sent_on_names_a_place(tmp_path: Path) -> None:
    found, out = report(tmp_path), tmp_path / "out"
    outputs = Outputs(html=out / "p.html", csv=out / "csv", latex=out / "t.tex",
                      parquet=out / "parquet")  # fmt: skip
    assert len(list(found.write(outputs))) > 8
    write_plots(found.analysis, out / "plots", pixels=False)
    (out / "r.json").write_text(json.dumps(found.as_json()))
    said = dict(texts(out))
    assert len(said) > 15
    told_of = {(name, word) for name, text in said.items() for word in SECRETS if word in text}
    assert told_of == set()
    assert "vit.pth" in said["p.html"] and "a b.png cannot be read by ***" in said["p.html"]
    assert PLACES in said["p.html"]


def test_backbones_that_differ_by_a_folder_stay_two(tmp_path: Path) -> None:
    names = [pair.backbone for pair in shareable(told(tmp_path)).pairs]
    assert names == ["timm:vit [vit.pth]", "timm:vit [vit.pth]-2", "broken"]
