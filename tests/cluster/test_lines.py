"""Lines for machines, and who may ask what of whom."""

from __future__ import annotations

import pytest

from raybench.cluster.lines import Submitted, machine_line, own_lines, parse_line, versions


def test_a_line_says_what_was_put_into_it() -> None:
    content = {"at_s": 3, "caption": "1/2 pairs  ·  ü", "rows": [["a", "b"]]}
    line = machine_line("progress", content)
    assert "\n" not in line and line.isascii()
    assert parse_line(line) == ("progress", content)


@pytest.mark.parametrize(
    "line", ["", "data: digits", "::raybench", '::raybench {"a":', "::raybench 3", "::raybench {}"]
)
def test_everything_else_is_for_people(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("begun", []), ("begun", {}), ("begun", {"raybench": "1", "home": 3}),
        ("progress", 1), ("progress", {}), ("progress", {"at_s": 0, "caption": 1, "rows": []}),
        ("progress", {"at_s": "0", "caption": "", "rows": []}),
        ("progress", {"at_s": 0, "caption": "", "rows": {}}),
        ("progress", {"at_s": 0, "caption": "", "rows": [["a", 1]]}),
        ("progress", {"at_s": 0, "caption": "", "rows": ["ab"]}),
        ("result", 1), ("ended", "x"), ("ended", True), ("ended", None), ("snapshot", {}),
    ],
)  # fmt: skip
def test_what_a_trials_own_code_prints_is_no_line_for_machines(kind: str, content: object) -> None:
    assert parse_line(machine_line(kind, content)) is None


def test_one_that_nests_without_end_is_none_either() -> None:
    assert parse_line("::raybench " + "[" * 100_000) is None


def test_a_kind_of_a_newer_raybench_is_one() -> None:
    assert parse_line(machine_line("newer", 1)) == ("newer", 1)


def test_what_a_job_has_said_itself_even_before_ray_says_that_it_runs() -> None:
    output = (
        "2026-11-21 21:09:05,066\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
        "sh: 1: exec: /nowhere/python: not found\n\n"
        "Running entrypoint for job x-1: exec /nowhere/python -m raybench.cli\n"
        "2026-11-21 my own INFO\n"
    )
    assert own_lines(output) == [
        "sh: 1: exec: /nowhere/python: not found", "2026-11-21 my own INFO",
    ]  # fmt: skip


def test_a_sender_of_the_same_version_is_served() -> None:
    sent = Submitted(versions(), "raybench submit a.yaml", "http://x:1")
    assert Submitted.from_text(sent.to_text()) == sent
    assert sent.refusal() == ""
    patched = Submitted({**versions(), "raybench": "0.1.99"}, "", "")
    assert patched.refusal() == ""


@pytest.mark.parametrize("key", ["result_version", "ledger_schema"])
def test_one_whose_results_would_be_others_is_refused(key: str) -> None:
    other = Submitted({**versions(), key: 99, "raybench": "9.0"}, "", "")
    assert "the sender 9.0" in other.refusal() and "same on both sides" in other.refusal()
    assert Submitted({}, "", "").refusal()
