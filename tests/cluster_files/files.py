"""The shipped files, filled in as their users do it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("cluster.yaml", "cluster-local.yaml")
# What a user puts in place of the examples that would be refused even without their !SET.
OWN = {
    "203.0.113.7/32": "198.51.100.7/32",
    "sg-0123456789abcdef0": "sg-0a1b2c3d4e5f60718",
    "ami-0123456789abcdef0": "ami-0a1b2c3d4e5f60718",
    "s3://my-bucket/": "s3://lab-results/",
}
PLACEHOLDERS = [
    (name, number)
    for name in SHIPPED
    for number, line in enumerate((ROOT / name).read_text().splitlines(), 1)
    if "!SET " in line and not line.lstrip().startswith("#")
]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def filled(name: str, left: int | None = None) -> str:
    """The file with everything set; but for line ``left``, if given."""
    lines = text_of(name).splitlines(keepends=True)
    return "".join(line if number == left else _set(line) for number, line in enumerate(lines, 1))


def _set(line: str) -> str:
    if line.lstrip().startswith("#"):
        return line
    for example, own in OWN.items():
        line = line.replace(example, own)
    return re.sub(r"!SET ", "", line)
