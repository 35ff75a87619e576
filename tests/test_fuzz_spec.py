"""Sweep files changed at random: exit 0 for a valid spec, else 2 with the place; no hang, ever.

``RAYBENCH_TEST_EXAMPLES=2000`` (nightly) tries as many; 200 without it.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raybench.cli import main
from raybench.plan import make_plan
from raybench.spec import SweepSpec
from raybench.validate import load_spec, shipped_specs
from tests.specs import tiny_data

EXAMPLES = int(os.environ.get("RAYBENCH_TEST_EXAMPLES", "200"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=20),  # of a machine that is busy; a hang is much longer
    suppress_health_check=list(HealthCheck),
)
PLACE = re.compile(
    r"fuzzed\.yaml:\d+: ."  # line and key
    r"|fuzzed\.yaml: (line \d+: |[\w\[\]-]+(\.[^:]+)?: |a sweep file is a mapping"
    r"|the file is larger|cannot be read)"
    r"|fuzzed\.yaml: is no UTF-8 text"
)
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 10**30, -(10**9), 0.0, -0.0, 1e-320, 1e308, -1.5, math.nan,
    math.inf, -math.inf, "", " ", "no", "on", "1e-3", "12:30", "010", "0x1f", "1_000", "~", "null",
    "auto", "none", "all", "@paper", "@nobody", "timm:*", "timm:resnet[", "**", "python:os:system",
    "python:..", "hf:a/b@c", "hf:", "../../etc/passwd", "/dev/zero", "/proc", "~nobody/x",
    "C:\\temp", "a" * 10_000, "\u202e\u0000x", "é" * 70, "\U0001f600",
    "(" * 200, "(a+)+$", "%", "${HOME}", "{{x}}", "-1%", "0-shot", "1e400%", "99999999999999999%",
    "8h", "-8h", "1e999h", "9" * 400 + "h", [], {}, [[]], [None], {"": 1}, {"a": {"b": {"c": []}}},
    [1, "x", {}], list(range(300)),
)  # fmt: skip
TEXTS = (
    "\t", "\x00", "\x07", "\x1b[31m", "\ufeff", "\u2028", "\u0085", "'", '"', "[", "]", "{", "}",
    ",", ":", ": ", "- ", "#", "|", ">", "&a ", "*a", "!!python/object/apply:os.system [ls]",
    "!!binary aGk=", "<<: {}", "---\n", "...\n", "%YAML 9.9\n", "? ", "\r", "\r\n", "\n\n",
    "{" * 60, "[" * 2000, "- " * 300, "é", "\U0001f600", "\u0661", "\u00a0", "0o17", ".inf",
    "-.nan", "2026-01-01",
)  # fmt: skip
TINY = {
    "tiny": tiny_data(),
    "everything": tiny_data(
        description="words",
        subsets=["full", "10%", "5-shot"],
        datasets=[{"name": "digits", "split": {"val": 0.2, "test": 0.1}, "domain": "x"},
                  {"name": "mine", "path": "images", "group_by": r"(\d+)_"},
                  {"name": "table", "path": "t.csv", "columns": {"path": "p", "label": "l"}}],
        recipe={"image_size": 32, "batch_size": 16, "epochs": 4, "stages": [{"optimizer": "sgd"}],
                "augment": "trivial", "mixup": 0.1, "model_ema": 0.9, "patience": 2},
        search={"sampler": "tpe", "ladder": {"lr": [1e-3, 1e-2]}, "early_stop": "asha"},
        budget={"trials": 4, "device_hours": 1.5, "wall_clock": "30m"},
        final={"seeds": [0, 1], "configs": ["tuned", "default"], "refit": False},
    ),
}  # fmt: skip


def sources() -> dict[str, str]:
    """Texts to begin with: what is shipped, and what uses nearly every key."""
    found = {name: path.read_text() for name, path in shipped_specs().items()}
    return found | {name: yaml.safe_dump(data, sort_keys=False) for name, data in TINY.items()}


SOURCES = sources()


def mutate_text(text: str, chance: random.Random) -> str:
    """One change of lines or characters."""
    lines = text.split("\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    spot = chance.randrange(len(text) + 1)
    match chance.randrange(10):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
        case 4:
            lines[at] = re.sub(r"(:\s+|-\s+)(\S.*)$", rf"\g<1>{_escaped(chance)}", lines[at])
        case 5:
            return text[:spot] + chance.choice(TEXTS) + text[spot:]
        case 6:
            return text[:spot] + text[spot + chance.randrange(1, 30) :]
        case 7:
            return text[:spot]
        case 8:
            lines[at] = lines[at] + chance.choice(TEXTS)
        case _:
            return text[:spot] + chr(chance.randrange(0x500)) + text[spot + 1 :]
    return "\n".join(lines)


def _escaped(chance: random.Random) -> str:
    value = chance.choice(SCALARS)
    return yaml.dump(value, default_flow_style=True).split("\n...")[0].strip().replace("\\", r"\\")


def mutate_tree(data: Any, chance: random.Random) -> Any:
    """One value, key or entry changed, anywhere below."""
    places = list(_places(data))
    holder, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[chance.choice([f"{key}s", str(key)[:-1], "x", str(key).upper()])] = holder[key]
        case 2 if isinstance(holder, list):
            holder.append(holder[key])
        case 3:
            other, name = chance.choice(places)
            with contextlib.suppress(KeyError, IndexError):
                holder[key] = json.loads(json.dumps(other[name]))
        case _:
            holder[key] = chance.choice(SCALARS)
    return data


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@st.composite
def sweep_files(draw: st.DrawFn) -> bytes:
    """A sweep file after one to six changes."""
    text = SOURCES[draw(st.sampled_from(sorted(SOURCES)))]
    chance = draw(st.randoms(use_true_random=False))
    for _ in range(draw(st.integers(1, 3))):
        data = None
        if chance.random() < 0.5:
            with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
                data = yaml.safe_load(text)
        if isinstance(data, dict) and data:
            data = mutate_tree(json.loads(json.dumps(data, default=str)), chance)
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        else:
            text = mutate_text(text, chance)
    content = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        spot = chance.randrange(len(content) + 1)
        content = content[:spot] + bytes([chance.randrange(256)]) + content[spot:]
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the file lies: with the images and the table that some of the sources name."""
    base = tmp_path_factory.mktemp("fuzz")
    for label in ("cat", "dog"):
        (base / "images" / label).mkdir(parents=True)
        for number in range(12):
            (base / "images" / label / f"{number}_{label}.png").write_bytes(b"")
    rows = [f"images/{c}/{n}_{c}.png,{c}" for c in ("cat", "dog") for n in range(12)]
    (base / "t.csv").write_text("p,l\n" + "\n".join(rows))
    return base


def validate(path: Path, *options: str) -> tuple[int, str]:
    """Exit code and what is said on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["validate", str(path), *options])
    assert (code == 0) == (": ok, sweep '" in out.getvalue())
    return code, err.getvalue()


def check(path: Path, code: int, said: str) -> None:
    assert code in (0, 2), said
    assert "Traceback" not in said and "please report it" not in said
    if code == 2:
        sentences = [line for line in said.splitlines() if line.startswith("raybench: ")]
        assert sentences
        assert all(PLACE.search(sentence[:400]) for sentence in sentences), said[:2000]
    else:
        spec = load_spec(path)
        assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec
        assert make_plan(spec).pairs


@given(sweep_files())
@FUZZ
def test_a_sweep_file_is_valid_or_its_mistakes_have_places(folder: Path, content: bytes) -> None:
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)
    check(path, *validate(path))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
@FUZZ
def test_rubbish_is_refused_in_words(folder: Path, content: bytes) -> None:
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)
    code, said = validate(path)
    assert code == 2
    check(path, code, said)


@given(
    st.sampled_from(["recipe.epochs", "space.lr", "backbones.0", "datasets.0.path", "x.y", "name",
                     "backbones.99.name", "search.ladder", "recipe", "..", "", "recipe.epochs.x"]),
    st.sampled_from(SCALARS).map(lambda v: yaml.dump(v, default_flow_style=True).split("\n...")[0])
    | st.text(max_size=30),
)  # fmt: skip
@FUZZ
def test_any_override_is_taken_or_refused(folder: Path, key: str, value: str) -> None:
    path = folder / "fuzzed.yaml"
    path.write_text(SOURCES["everything"])
    code, said = validate(path, "--set", f"{key}={value}")
    assert code in (0, 2), said
    assert "Traceback" not in said and "please report it" not in said
    assert code == 0 or "--set" in said or "fuzzed.yaml" in said


def test_the_sources_are_valid_as_they_are(folder: Path) -> None:
    """Else the fuzz would only ever see refusals."""
    path = folder / "fuzzed.yaml"
    for name, text in SOURCES.items():
        path.write_text(text)
        assert validate(path) == (0, ""), name


def test_a_ladder_without_end_is_refused_before_it_is_built(folder: Path) -> None:
    """The fuzz found it: 20 GB of memory, and no word."""
    path = folder / "fuzzed.yaml"
    path.write_text(SOURCES["everything"])
    code, said = validate(path, "--set", "search.ladder=99999999999")
    assert code == 2
    assert "search.ladder" in said
