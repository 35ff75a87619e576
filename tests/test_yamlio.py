"""YAML 1.2's numbers and booleans, lines of keys, and refusals in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.errors import SpecError
from raybench.yamlio import MAX_BYTES, parse_file, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.0e-4", 1e-4),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("12:30", "12:30"),
        ("010", 10),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("~", None),
        ("2024-01-01", "2024-01-01"),
        ("10%", "10%"),
        ("5-shot", "5-shot"),
        ("@paper", "@paper"),
        ("'1'", "1"),
    ],
)
def test_scalars(text, value):
    found = parse_yaml(f"key: {text}")[0]["key"]
    assert found == value and type(found) is type(value)


def test_not_a_number_is_one():
    assert math.isnan(parse_yaml("key: .nan")[0]["key"])


def test_every_key_has_its_line():
    _, lines = parse_yaml("# top\na:\n  b: 1\n  c: [x, y]\nd:\n  - e: 2\n")
    assert lines[("a",)] == 2 and lines[("a", "c")] == 4 and lines[("a", "c", 1)] == 4
    assert lines[("d", 0)] == 6 and lines[("d", 0, "e")] == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' stands here and on line 1"),
        ("a: &x 1\n", "line 1: anchors and aliases"),
        ("a: *x\n", "line 1: anchors and aliases"),
        ("a: !!python/object:os.system 1\n", "line 1: tags are not supported"),
        ("a: 1\nb: !!int x\n", "line 2: tags are not supported; write the plain value"),
        ("a: !!bool maybe\n", "line 1: tags are not supported"),
        ("a: !!timestamp 2024-01-01\n", "line 1: tags are not supported"),
        ("? [a, b]\n: 1\n", "line 1: a key must be a plain word"),
        ("a:\n\t- 1\n", "line 2: no valid YAML: found character '\\t'"),
        ("a: [1, 2\n", "line 2: no valid YAML"),
        ("a: 1\n---\nb: 2\n", "line 2: no valid YAML: but found another document"),
        ("b: 1\na: \0\n", "line 2: no valid YAML: unacceptable character #x0000"),
        ("a: " + "[" * 400_000, "line 1: nested more than 50 deep"),
        ("a: " + "9" * 5000, "line 1: no valid YAML: a number of 5000 digits"),
        ("a: 1\n" * (MAX_BYTES // 4), "larger than 1,000,000 bytes"),
    ],
)
def test_refusals(text, words):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "my.yaml")
    assert caught.value.mistakes[0].startswith("my.yaml: ")
    assert words in caught.value.mistakes[0]


def test_repeated_keys_come_all_at_once():
    with pytest.raises(SpecError) as caught:
        parse_yaml("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "is no UTF-8 text"),
        (b"a: b\n" * 300_000, "larger than 1,000,000 bytes"),
    ],
)
def test_files_that_are_no_sweep_file(tmp_path, content, words):
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(SpecError, match=words):
        parse_file(tmp_path / "x.yaml")


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SpecError, match="cannot be read"):
            parse_file(path)


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path):
    (tmp_path / "x.yaml").write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    assert parse_file(tmp_path / "x.yaml")[0] == {"a": 1, "b": 2}


@given(st.text())
def test_any_text_is_data_or_a_spec_error(text):
    try:
        parse_yaml(text)
    except SpecError as error:
        assert error.mistakes
