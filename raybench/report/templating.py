"""How pages are filled in: everything that is printed is escaped, nothing may be missing."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def html_environment() -> Environment:
    """Of the templates in this package."""
    return Environment(
        loader=PackageLoader("raybench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
