"""The one rule that picks a pair's winner."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from raybench.records import TrialRow
from raybench.selection import select_winner
from tests.factories import final_trial, search_trial

ACCURACY = "val/accuracy"


def trial(number: int, best: float, nll: float = 0.5, **options) -> TrialRow:
    row = search_trial("p", number, values=(0.1, best), **options)
    if row.end is None:
        return row
    end = dataclasses.replace(row.end, best={ACCURACY: best, "val/nll": nll})
    return dataclasses.replace(row, end=end)


def test_the_best_epoch_counts_not_the_last():
    early = search_trial("p", 0, values=(0.9, 0.2))
    assert select_winner([early, trial(1, 0.8)], ACCURACY) == early


def test_ties_go_to_the_lower_nll_then_to_the_lower_number():
    rows = [trial(0, 0.9, nll=0.4), trial(1, 0.9, nll=0.3), trial(2, 0.9, nll=0.3)]
    assert select_winner(rows, ACCURACY).number == 1


def test_a_smaller_loss_wins():
    rows = [
        search_trial("p", 0, values=(0.5,), metric="val/nll"),
        search_trial("p", 1, values=(0.7,), metric="val/nll"),
    ]
    assert select_winner(rows, "val/nll").number == 0


def test_only_complete_search_trials_can_win():
    rows = [
        trial(0, 0.99, state="pruned"),
        trial(1, 0.99, state="failed"),
        trial(2, 0.99, state="running"),
        final_trial("p", 3, 0, 0.99),
        trial(4, 0.2),
    ]
    assert select_winner(rows, ACCURACY).number == 4
    assert select_winner(rows[:-1], ACCURACY) is None


def test_a_metric_that_no_epoch_has_picks_nobody():
    assert select_winner([trial(0, 0.9)], "val/auroc") is None


@given(st.permutations([trial(n, best) for n, best in enumerate((0.3, 0.9, 0.9, 0.5))]))
def test_the_order_of_the_rows_does_not_matter(rows):
    assert select_winner(rows, ACCURACY).number == 1
