"""CITATION.cff says what a reader of it expects, and this version."""

from __future__ import annotations

from pathlib import Path

import yaml

from raybench.version import __version__

CITATION = yaml.safe_load((Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8"))


def test_it_has_what_the_format_requires() -> None:
    """Citation File Format 1.2.0: these four, and a kind of author."""
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["message"] and CITATION["title"]
    assert CITATION["authors"] == [{"name": "raybench developers"}]


def test_it_is_about_this_package() -> None:
    assert CITATION["type"] == "software"
    assert CITATION["version"] == __version__
    assert CITATION["license"] == "Apache-2.0"


def test_it_refers_to_the_study() -> None:
    (study,) = CITATION["references"]
    assert study["type"] and study["title"] and study["authors"]
    assert [author["family-names"] for author in study["authors"]] == ["P", "Sethi"]
    assert study["identifiers"][0]["value"] == "arXiv:2406.05612"
