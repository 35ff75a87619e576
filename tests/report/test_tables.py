"""Tables as people see them in a pipe: 100 columns, no colour."""

from __future__ import annotations

import dataclasses
import re

import pytest
from rich.console import RenderableType

from raybench.analysis.comparison import RULE
from raybench.analysis.constraints import Constraints
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot
from raybench.report import tables
from raybench.report.grid import grid, to_text
from raybench.report.tables import status_table
from tests.factories import (
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    profiled_snapshot,
    realistic_snapshot,
    search_trial,
)

SNAPSHOTS = [realistic_snapshot(), empty_snapshot(), make_snapshot()]


def leaderboard_table(snapshot: SweepSnapshot) -> RenderableType:
    return tables.leaderboard_table(Analysis(snapshot))


def line_of(text: str, word: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if word in line)


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
@pytest.mark.parametrize("table", [leaderboard_table, status_table])
def test_fits_100_columns_without_colour(snapshot: SweepSnapshot, table: object) -> None:
    assert callable(table)
    text = to_text(table(snapshot))
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text


def test_leaderboard_row() -> None:
    text = to_text(leaderboard_table(realistic_snapshot()))
    row = line_of(text, "1  resnet10t")
    assert row[:5] == "1 resnet10t 97.5% ± 0.8".split()
    assert re.fullmatch(r"\d+%", row[5])
    assert row[6:] == "3/3 98.4 +2.4 1.3e-03 19 s 5.4 M done".split()
    assert line_of(text, "convnext_atto  ")[:4] == ["convnext_atto", "—", "—", "0/3"]


def test_leaderboard_says_what_its_numbers_are_and_what_failed() -> None:
    text = one_line(to_text(leaderboard_table(realistic_snapshot())))
    analysis = Analysis(realistic_snapshot())
    assert text.startswith(one_line(analysis.headline.first))
    assert all(one_line(said) in text for said in analysis.headline.by_task.values())
    assert "mean of final runs (seeds 0, 1 and 2)" in text
    assert "95% interval over other seeds (t)" in text
    assert one_line(RULE) in text
    assert "search trials 0, 1, 2, 3 and 4: user: ValueError: <script>x</script> & co" in text
    assert "search trial 3: diverged: loss is not finite" in text


def test_limits_are_answered_right_after_the_headline() -> None:
    limits = Constraints(max_params_m=3.0)
    analysis = Analysis(realistic_snapshot(), constraints=limits)
    text = one_line(to_text(tables.leaderboard_table(analysis)))
    headline = one_line(" ".join((analysis.headline.first, *analysis.headline.more)))
    assert text.startswith(f"{headline} Under the limits (at most 3 M parameters)")


def test_names_and_reasons_are_text_not_markup() -> None:
    name = "timm:resnet10t [bold]x[/bold]"
    reason = "\x1b[31mred[/red]"
    trial = search_trial(pair_id(name), 0, state="failed", failure="user", reason=reason)
    text = to_text(leaderboard_table(make_snapshot(make_pair(name, [trial]))))
    assert "[bold]" in text
    assert "[31mred[/red]" in text
    assert "\x1b" not in text


def test_a_table_of_one_seed_has_no_interval() -> None:
    pair = make_pair("resnet10t", [final_trial(pair_id("resnet10t"), 0, 0, 0.912)])
    row = line_of(to_text(leaderboard_table(make_snapshot(pair))), "1  resnet10t")
    assert row[:5] == ["1", "resnet10t", "91.2%", "—", "1/3"]


def test_the_caption_tells_refit_default_and_oracle() -> None:
    pair = make_pair("resnet10t", configs=("default",))
    final = {"refit": True, "selection": "oracle"}
    text = one_line(to_text(leaderboard_table(make_snapshot(pair, final=final))))
    assert "of the default configuration, refitted on train + validation" in text
    assert "Oracle selection was on" in text


def test_status_row_and_note() -> None:
    held = dataclasses.replace(realistic_snapshot(), lease={"host": "node7", "pid": 12})
    text = to_text(status_table(held))
    assert line_of(text, "convnext_atto") == (
        "convnext_atto searching 1 0 1 1 5 0/3 3.0 s 71.0%".split()
    )
    assert "quickstart, attempt 2" in text
    assert "10 search trials and 9 final runs" in one_line(text)
    assert "Lease: host=node7 pid=12." in one_line(text)


def test_grid_aligns_and_adds_its_note() -> None:
    columns = {"name": "left", "images": "right"}
    text = to_text(grid("plan", columns, [("a", "1"), ("bb", "1,000")], "two rows"))
    assert text.splitlines()[0] == "plan"
    assert re.search(r"^a +1$", text, re.MULTILINE)
    assert re.search(r"^bb +1,000$", text, re.MULTILINE)
    assert text.endswith("two rows\n")


def test_costs_follow_the_leaderboard_where_they_were_measured() -> None:
    text = to_text(leaderboard_table(profiled_snapshot()), 112)
    assert "cpu, fp32, 1 CPU thread, 96 px" in text and "latency ms" in text
    assert "latency ms" not in to_text(leaderboard_table(realistic_snapshot()), 112)


def test_tiers_are_numbered_and_the_power_line_follows() -> None:
    pairs = [
        make_pair(name, [final_trial(pair_id(name), i, i, mean + i / 100) for i in range(3)])
        for name, mean in (("first", 0.95), ("second", 0.945), ("last", 0.3))
    ]
    snapshot = make_snapshot(*pairs)
    text = to_text(leaderboard_table(snapshot))
    assert [line_of(text, f"{name}  ")[0] for name in ("first", "second", "last")] == list("112")
    power = Analysis(snapshot).tasks["digits"].power
    assert power is not None and one_line(power.text) in one_line(text)


def test_data_sets_are_put_together_where_there_are_two() -> None:
    pairs = [
        make_pair(name, [final_trial(pair_id(name, d), i, i, 0.9) for i in range(3)], dataset=d)
        for d in ("digits", "letters")
        for name in ("a", "b")
    ]
    assert "across 2 data sets" in to_text(leaderboard_table(make_snapshot(*pairs)))
    assert "across" not in to_text(leaderboard_table(make_snapshot(*pairs[:2])))
