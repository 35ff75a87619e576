"""Pictures and the script of the page: whole files, offline, made once."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import pytest

from raybench.analysis.whole import Analysis
from raybench.report import rendering
from raybench.report.plots.plot import Plot
from tests.factories import make_snapshot, tuned_pair


@pytest.fixture(scope="module")
def small() -> Analysis:
    """One backbone: few plots."""
    return Analysis(make_snapshot(tuned_pair("timm:<i>odd</i> & co", 0.9, 1e-3)))


def test_every_plot_becomes_an_svg_and_a_png(
    small: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "all_plots", lambda analysis: _first(analysis, "ranking"))
    written = rendering.write_plots(small, tmp_path / "plots")
    assert [path.name for path in written] == ["ranking.svg", "ranking.png"]
    svg = written[0].read_text()
    assert svg.startswith("<svg") and "1 backbone in the first tier" in svg
    assert "&lt;i&gt;odd&lt;/i&gt; &amp; co" in svg, "names are text, never markup"
    png = written[1].read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width > 1000 and height > 200, "two pixels for each of the drawing's"


def _first(analysis: Analysis, name: str) -> tuple[Plot, ...]:
    from raybench.report.plots import all_plots

    return tuple(plot for plot in all_plots(analysis) if plot.name == name)


def test_nothing_is_loaded_from_elsewhere() -> None:
    spec = {
        "data": {"url": "http://127.0.0.1:9/rows.json"},
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    with pytest.raises(ValueError, match="127.0.0.1"):
        rendering.to_svg(spec)


def test_the_script_is_kept_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(rendering, "_bundled", lambda: made.append(1) or "window.vegaEmbed")
    assert rendering.javascript_bundle(tmp_path) == rendering.javascript_bundle(tmp_path)
    assert len(made) == 1
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("vega-") and kept.read_text() == "window.vegaEmbed"
    monkeypatch.setattr(rendering, "version", lambda name: "0.0")
    rendering.javascript_bundle(tmp_path)
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rendering, "_bundled", lambda: "script")
    (tmp_path / "cache").write_text("a file is in the way")
    with caplog.at_level(logging.INFO):
        assert rendering.javascript_bundle(tmp_path / "cache") == "script"
    assert "made anew" in caplog.text


@pytest.mark.slow
def test_the_script_embeds_and_has_the_interpreter_that_needs_no_eval() -> None:
    script = rendering.javascript_bundle()
    assert "window.vegaEmbed" in script and "expressionInterpreter" in script
    assert "</script" not in script
    assert len(script) < 1_000_000


@pytest.mark.slow
def test_all_plots_of_a_wide_sweep_are_drawn_without_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import vl_convert

    from raybench.report.plots import all_plots
    from tests.wide_sweep import MadeUpPredictions, wide_snapshot

    for plot in all_plots(Analysis(wide_snapshot(3, 6), MadeUpPredictions())):
        vl_convert.vegalite_to_vega(plot.spec(), show_warnings=True)
        for _, spec in plot.figures(dark=True):
            assert "NaN" not in rendering.to_svg(spec)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "fit-y" not in line]
    assert warnings == []
