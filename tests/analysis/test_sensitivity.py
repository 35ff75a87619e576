"""Widths of response curves, worked by hand."""

from __future__ import annotations

import pytest

from raybench.analysis.sensitivity import curve_width


def test_straight_lines_over_decades() -> None:
    """Left: 4 points down over one decade, so 1 point after 0.25. Right: 2 down, so 0.5."""
    width = curve_width([(1e-2, 0.93), (1e-4, 0.91), (1e-3, 0.95)], "val/accuracy", log=True)
    assert width is not None and width.tolerance == 0.01
    assert width.low == pytest.approx(10**-3.25)
    assert width.high == pytest.approx(10**-2.5)
    assert width.decades == pytest.approx(0.75)
    assert (width.open_low, width.open_high) == (False, False)
    assert width.text == "0.8 decades"


def test_only_the_stretch_around_the_best_counts() -> None:
    points = [(1e-5, 0.95), (1e-4, 0.5), (1e-3, 0.951), (1e-2, 0.5)]
    width = curve_width(points, "val/accuracy", log=True)
    assert width is not None and width.low > 1e-4 and not width.open_low


def test_a_flat_curve_is_wider_than_the_ladder() -> None:
    width = curve_width([(1e-4, 0.945), (1e-3, 0.95)], "val/accuracy", log=True)
    assert width is not None and (width.open_low, width.open_high) == (True, True)
    assert width.text == "at least 1.0 decades"


def test_a_divergence_ends_the_stretch_at_the_last_sound_rate() -> None:
    width = curve_width([(1e-4, 0.9), (1e-3, 0.905), (1e-2, None)], "val/accuracy", log=True)
    assert width is not None and width.high == pytest.approx(1e-3)
    assert (width.open_low, width.open_high) == (True, False)


def test_other_metrics_have_two_percent_and_other_scales_no_decades() -> None:
    """NLL 0.5 at 0.1: 0.51 is reached a tenth of the way to 0.6."""
    width = curve_width([(0.1, 0.5), (0.2, 0.6)], "val/nll", log=False)
    assert width is not None and width.tolerance == pytest.approx(0.01)
    assert (width.low, width.high) == pytest.approx((0.1, 0.11))
    assert width.decades is None and width.text == "at least 0.0100"


def test_nothing_to_say() -> None:
    assert curve_width([(1e-3, 0.9)], "val/accuracy", log=True) is None
    assert curve_width([(1e-3, None), (1e-2, None)], "val/accuracy", log=True) is None
