"""What the title of the budget curves claims."""

from __future__ import annotations

import pytest

from raybench.analysis.whole import Analysis
from raybench.report.plots import budgets
from raybench.report.plots.marks import Cast
from tests.analysis.test_budget import LUCKY, STEADY, searched
from tests.factories import make_snapshot


@pytest.mark.parametrize(
    ("searches", "title"),
    [
        ((("cheap", (0.7, 0.7), 1.0), ("dear", (0.9, 0.9), 4.0)), "lead at any budget"),
        ((("a", STEADY, 0.5), ("b", LUCKY, 0.5)), "on the number of trials and on device time"),
        ((("a", STEADY, 0.5), ("b", LUCKY, 0.001)), "depends on the number of trials"),
    ],
)
def test_one_task_names_the_axis(
    searches: tuple[tuple[str, tuple[float, ...], float], ...], title: str
) -> None:
    analysis = Analysis(make_snapshot(*(searched(*search) for search in searches)))
    plot = budgets.budget(analysis, Cast.of(analysis))
    assert plot is not None and plot.title.endswith(title)


def test_several_tasks_are_counted_by_axis() -> None:
    """On "two", b leads from one trial on, but has none while a has four."""
    pairs = [
        searched("a", STEADY), searched("b", LUCKY),
        searched("a", (0.70, 0.75, 0.80, 0.80), 1.0, dataset="two"),
        searched("b", (0.66, 0.90), 4.0, dataset="two"),
    ]  # fmt: skip
    analysis = Analysis(make_snapshot(*pairs))
    plot = budgets.budget(analysis, Cast.of(analysis))
    assert plot is not None and plot.title == (
        "Who is expected to lead depends on device time on 2 of 2 tasks, on the number of trials "
        "on 1"
    )
