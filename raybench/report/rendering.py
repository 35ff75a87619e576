"""Plots without a browser: SVG, PNG, and the JavaScript that draws them in one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from raybench.analysis.whole import Analysis
from raybench.errors import HomeError
from raybench.report.files import write_bytes, write_text
from raybench.report.plots import all_plots

_log = logging.getLogger(__name__)
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
SCALE = 2
"""Pixels of a PNG per pixel of the drawing."""


def javascript_bundle(cache_dir: Path | None = None) -> str:
    """Vega, Vega-Lite and vega-embed as one script that sets ``window.vegaEmbed``.

    It needs no network and, with vega-embed's option ``ast``, no ``unsafe-eval``. To make it takes
    3 s, so it is kept in ``cache_dir``, by the versions that it depends on.
    """
    if cache_dir is None:
        return _bundled()
    kept = cache_dir / f"vega-{version('vl-convert-python')}-{_language()}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except OSError:
        bundle = _bundled()
    try:
        write_text(kept, bundle)
    except HomeError as error:
        _log.info("the plots' script is made anew each time: %s", error)
    return bundle


def to_svg(spec: Mapping[str, Any]) -> str:
    """A drawing of a whole Vega-Lite spec; nothing is loaded from anywhere."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(dict(spec), vl_version=_language(), allowed_base_urls=[])
    return svg


def to_png(svg: str, scale: float = SCALE) -> bytes:
    """The drawing in pixels."""
    import vl_convert

    png: bytes = vl_convert.svg_to_png(svg, scale=scale)
    return png


def write_plots(analysis: Analysis, folder: Path, pixels: bool = True) -> list[Path]:
    """Every plot as SVG and, with ``pixels``, PNG.

    Raises:
        HomeError: ``folder`` cannot be written.
    """
    written = []
    for plot in all_plots(analysis):
        for stem, spec in plot.figures():
            svg = to_svg(spec)
            written.append(write_text(folder / f"{stem}.svg", svg))
            if pixels:
                written.append(write_bytes(folder / f"{stem}.png", to_png(svg)))
    return written


@cache
def _bundled() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_SNIPPET, vl_version=_language())
    return bundle


def _language() -> str:
    """Vega-Lite's version that Altair writes, as vl-convert names it."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.lstrip("v").split(".")[:2])
