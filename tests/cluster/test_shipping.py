"""What a parcel holds, and what may not be in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raybench.cluster.shipping import make_parcel
from raybench.errors import UserInputError
from tests.specs import tiny_data, write_sweep


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "sweeps").mkdir(parents=True)
    write_sweep(tmp_path / "project" / "sweeps" / "tiny.yaml", tiny_data())
    return tmp_path / "project"


def refused(*arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(UserInputError) as caught:
        make_parcel(*arguments, environ={}, **options)
    return list(caught.value.mistakes)


def test_the_file_alone(project: Path) -> None:
    (project / "sweeps" / "private.txt").write_text("not to be sent")
    parcel = make_parcel(project / "sweeps" / "tiny.yaml", environ={})
    assert (parcel.sweep, parcel.file, parcel.folder) == ("tiny", "tiny.yaml", None)
    with parcel.opened() as env:
        sent = Path(env["working_dir"])
        assert [path.name for path in sent.iterdir()] == ["tiny.yaml"]
        assert (sent / "tiny.yaml").read_bytes() == parcel.source.read_bytes()
    assert not sent.exists()


def test_a_shipped_one_by_name() -> None:
    parcel = make_parcel("quickstart", environ={})
    assert (parcel.sweep, parcel.file) == ("quickstart", "quickstart.yaml")


def test_a_folder_that_holds_it(project: Path) -> None:
    parcel = make_parcel(project / "sweeps" / "tiny.yaml", working_dir=project, environ={})
    assert parcel.file == "sweeps/tiny.yaml"
    with parcel.opened() as env:
        assert env["working_dir"] == str(project)
    assert project.exists()


@pytest.mark.parametrize("pattern", ["data/", "*.png", "/data"])
def test_what_git_ignores_would_be_missing(
    project: Path, image_folder: Any, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    image_folder(project / "data")
    file = write_sweep(project / "a.yaml", tiny_data(datasets=[{"path": "./data"}]))
    assert make_parcel(file, working_dir=project, environ={}).file == "a.yaml"
    (project / ".gitignore").write_text(f".venv\n{pattern}\n")
    (mistake,) = refused(file, working_dir=project)
    assert mistake.startswith("data: 20 of its 20 files would not be sent")
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    assert make_parcel(file, working_dir=project, environ={}).folder == project
    (project / ".rayignore").write_text("a.yaml\ndata/cat/000.png\n")
    (first, second) = refused(file, working_dir=project)
    assert first.startswith("a.yaml: 1 of its 1 files") and second.startswith("data: 1 of its 20")


def test_a_set_changes_what_is_checked_and_its_name(project: Path) -> None:
    file = project / "sweeps" / "tiny.yaml"
    assert make_parcel(file, ["name=other"], environ={}).sweep == "other"
    (mistake,) = refused(file, ["budget.trials=0"])
    assert mistake.startswith("--set: budget.trials")


def test_every_mistake_at_once(project: Path, tmp_path: Path) -> None:
    bad = write_sweep(tmp_path / "bad.yaml", tiny_data(seed=-1, datasets=["digts"]))
    env = {"working_dir": "s3://b/x.zip", "env_vars": {"HF_TOKEN": "abcdefghijkl"}}
    found = refused(bad, runtime_env=env)
    assert len(found) == 4 and "abcdefghijkl" not in "".join(found)
    assert any("env_vars.HF_TOKEN holds a secret" in mistake for mistake in found)
    assert any("working_dir is fetched by the cluster" in mistake for mistake in found)


def test_a_folder_that_does_not(project: Path, tmp_path: Path) -> None:
    file = project / "sweeps" / "tiny.yaml"
    (tmp_path / "other").mkdir()
    (mistake,) = refused(file, working_dir=tmp_path / "other")
    assert "is not in --working-dir" in mistake
    (mistake,) = refused(file, working_dir=tmp_path / "none")
    assert "no such folder" in mistake
    (mistake,) = refused(file, working_dir=project, runtime_env={"working_dir": str(project)})
    assert "give one of them" in mistake


@pytest.mark.parametrize("as_file", [True, False])
def test_a_runtime_environment(project: Path, tmp_path: Path, as_file: bool) -> None:
    env = {"pip": ["lightly"], "working_dir": str(project), "env_vars": {"MODE": "fast"}}
    text = json.dumps(env)
    if as_file:
        (tmp_path / "env.yaml").write_text(text)
    given = tmp_path / "env.yaml" if as_file else text
    parcel = make_parcel(project / "sweeps" / "tiny.yaml", runtime_env=given, environ={})
    assert parcel.folder == project and parcel.runtime_env["pip"] == ["lightly"]
    variables = parcel.runtime_env["env_vars"]
    assert variables["MODE"] == "fast" and variables["RAY_JOB_STOP_SIGNAL"] == "SIGINT"
    assert "working_dir" not in parcel.runtime_env


@pytest.mark.parametrize("text", ["{nonsense", '{"env_vars": ["A"]}'])
def test_no_runtime_environment(project: Path, text: str) -> None:
    (mistake,) = refused(project / "sweeps" / "tiny.yaml", runtime_env=text)
    assert mistake.startswith("--runtime-env: ")


@pytest.mark.parametrize("as_json", [True, False])
def test_numbers_in_it_are_named(project: Path, tmp_path: Path, as_json: bool) -> None:
    env = {"env_vars": {"A": 4, "B": None, "C": "4", "MY_PASSWORD": 123456}, "working_dir": 5}
    (tmp_path / "env.yaml").write_text("{env_vars: {A: 4, B: , C: '4', MY_PASSWORD: 123456, 7: x}, "
                                       "working_dir: 5}")  # fmt: skip
    given = json.dumps(env) if as_json else tmp_path / "env.yaml"
    found = refused(project / "sweeps" / "tiny.yaml", ["seed=-1"], runtime_env=given)
    said = "\n".join(found)
    no_text = ["env_vars.A", "env_vars.B", "env_vars.MY_PASSWORD", "working_dir"]
    no_text += [] if as_json else ["env_vars.7"]
    for place in no_text:
        assert f"--runtime-env: {place} is no text" in said
    assert "env_vars.MY_PASSWORD holds a secret" in said and "123456" not in said
    assert len(found) == len(no_text) + 2 and "--set: seed" in said


def test_secrets_elsewhere_in_it(project: Path) -> None:
    env = {
        "pip": ["https://user:pa55word@index.lab/x.whl"],
        "env_vars": {"HF_TOKEN": "${HF_TOKEN}"},
    }
    (mistake,) = refused(project / "sweeps" / "tiny.yaml", runtime_env=env)
    assert "pip.0 holds a secret" in mistake and "pa55word" not in mistake
