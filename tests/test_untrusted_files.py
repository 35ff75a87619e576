"""Risks "untrusted checkpoint" and "YAML loading": nothing that a file holds is ever run."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raybench.cli import main
from raybench.errors import SpecError
from raybench.yamlio import parse_file

PACKAGE = Path(__file__).parents[1] / "raybench"
BANNED_MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "code",
    "codeop", "runpy",
}  # fmt: skip
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_METHODS = {
    "load_state_dict_from_url", "unsafe_load", "full_load", "load_all", "read_pickle", "to_pickle",
    "system", "popen", "unpack_archive", "extractall", "load_object",
}  # fmt: skip


def _name(node: ast.expr) -> str:
    """``a.b.c`` of such an expression; else empty."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def _keywords(call: ast.Call) -> dict[str, object]:
    return {k.arg: getattr(k.value, "value", k) for k in call.keywords if k.arg}


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {(node.module or "").partition(".")[0]}
    return set()


def _wrong(node: ast.AST, file: str) -> str:
    """What is wrong with a piece of code; empty where nothing is."""
    if found := _imported(node) & BANNED_MODULES:
        return f"imports {found}"
    if not isinstance(node, ast.Call):
        return ""
    name, keywords = _name(node.func), _keywords(node)
    last = name.rpartition(".")[2]
    if name in BANNED_CALLS or ("." in name and last in BANNED_METHODS):
        return f"calls {name}"
    if keywords.get("shell", False) is not False:
        return f"{name} with a shell"
    if keywords.get("trust_remote_code", False) is not False:
        return f"{name} runs code of a hub"
    if name in ("yaml.load", "torch.hub.load"):
        return f"calls {name}"
    if name == "torch.load":
        fine = file == "backbones/weights.py" and keywords.get("weights_only") is True
        return "" if fine else "calls torch.load"
    if name in ("np.load", "numpy.load"):
        return "" if keywords.get("allow_pickle") is False else f"{name} without allow_pickle=False"
    return ""


def faults(source: str, file: str = "x.py") -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if wrong := _wrong(node, file):
            yield f"{file}:{getattr(node, 'lineno', 0)}: {wrong}"


def test_nothing_in_the_package_runs_what_a_file_holds():
    found = [
        fault
        for path in PACKAGE.rglob("*.py")
        for fault in faults(path.read_text(), path.relative_to(PACKAGE).as_posix())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import dill.source",
        "torch.load(p)",
        "torch.load(p, weights_only=True)",
        "np.load(p)",
        "numpy.load(p, allow_pickle=True)",
        "yaml.load(t, Loader=yaml.SafeLoader)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(c, shell=True)",
        "subprocess.run(c, shell=flag)",
        "os.system(c)",
        "pd.read_pickle(p)",
        "load_dataset(n, trust_remote_code=True)",
        "tar.extractall()",
    ],
)
def test_the_ban_sees_it(source):
    assert list(faults(source))


@pytest.mark.parametrize(
    "source", ["model.eval()", "np.load(p, allow_pickle=False)", "re.compile(p)"]
)
def test_the_ban_sees_no_more_than_that(source):
    assert not list(faults(source))


TAGS = [
    "!!python/object/apply:pathlib.Path.touch [{marker}]",
    "!!python/object/new:pathlib.Path [{marker}]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {marker}']",
    "!!binary aGk=",
    "!!set {{a, b}}",
    "!!omap [a: 1]",
    "!!int x",
    "!!bool maybe",
    "!custom x",
]
BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))


@pytest.mark.parametrize("tag", TAGS)
def test_tags_build_nothing(tmp_path, capsys, tag):
    marker, file = tmp_path / "marker", tmp_path / "x.yaml"
    file.write_text(f"name: x\nbackbones: {tag.format(marker=marker)}\n")
    assert main(["validate", str(file)]) == 2
    assert "raybench: x.yaml:" in capsys.readouterr().err and not marker.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a0: &a0 x\n" + BOMB, "anchors and aliases are not supported"),
        ("a: &a [*a]\n", "anchors and aliases are not supported"),
        ("a: b # " + "x" * 10_000_000, "larger than 1,000,000 bytes"),
        ("a: " + "{a: " * 100_000, "nested more than 50 deep"),
        ("- " * 400_000, "nested more than 50 deep"),
        ("a: " + "9" * 900_000, "a number of 900000 digits"),
        ("".join(f"k{n}: 1\n" for n in range(8_000)), None),
        ("? " * 100_000, "nested more than 50 deep"),
    ],
    ids=["aliases", "loop", "10 MB", "braces", "dashes", "digits", "keys", "questions"],
)
def test_large_deep_and_self_referring_files_are_words_at_once(tmp_path, content, words):
    (tmp_path / "x.yaml").write_text(content)
    started = time.process_time()
    if words is None:
        assert len(parse_file(tmp_path / "x.yaml")[0]) == 8_000
    else:
        with pytest.raises(SpecError, match=words):
            parse_file(tmp_path / "x.yaml")
    assert time.process_time() - started < 60  # not minutes, as PyYAML alone


def test_a_file_without_an_end_is_read_to_the_limit_only(tmp_path, capsys):
    assert main(["validate", "/dev/zero"]) == 2
    assert capsys.readouterr().err
