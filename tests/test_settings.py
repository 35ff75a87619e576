"""Arguments first, then variables, then defaults."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from raybench.errors import HomeError
from raybench.settings import create_home, resolve_settings


def test_everything_lies_in_the_home_by_default(tmp_path):
    found = resolve_settings(tmp_path, {})
    assert found.ledger_url == f"sqlite:///{tmp_path}/ledger.db"
    assert found.ledger_file == tmp_path / "ledger.db"
    assert found.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert found.artifact_root == str(tmp_path / "artifacts")
    assert found.checkpoint_root == tmp_path / "checkpoints"
    assert found.cache_dir == tmp_path / "cache"


def test_which_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_settings(None, {}).home == tmp_path / "raybench-home"
    assert resolve_settings(None, {"RAYBENCH_HOME": "b"}).home == tmp_path / "b"
    assert resolve_settings("a", {"RAYBENCH_HOME": "b"}).home == tmp_path / "a"
    assert resolve_settings("~/a", {}).home == Path.home() / "a"


def test_servers_replace_files():
    url = "postgresql://u@host/x"
    found = resolve_settings("a", {"RAYBENCH_LEDGER_URL": url, "RAYBENCH_STORAGE": "/mnt/s"})
    assert found.ledger_url == url and found.ledger_file is None
    assert found.checkpoint_root == Path("/mnt/s/checkpoints")
    assert found.artifact_root == "/mnt/s/artifacts"


def test_mlflows_own_variable_counts_where_ours_is_absent():
    theirs, ours = {"MLFLOW_TRACKING_URI": "http://a"}, {"RAYBENCH_TRACKING_URI": "http://b"}
    assert resolve_settings("a", theirs).tracking_uri == "http://a"
    found = resolve_settings("a", theirs | ours)
    assert found.tracking_uri == "http://b" and found.artifact_root is None


def test_resolving_creates_nothing(tmp_path):
    resolve_settings(tmp_path / "a", {})
    assert not (tmp_path / "a").exists()


def test_a_new_home_is_private_and_whole(tmp_path):
    found = resolve_settings(tmp_path / "a" / "b", {})
    create_home(found)
    create_home(found)
    assert stat.S_IMODE(found.home.stat().st_mode) == 0o700
    assert sorted(path.name for path in found.home.iterdir()) == ["cache", "checkpoints"]


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_in_the_way_is_named_with_the_way_out(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HomeError, match="cannot write to the home .*file.*--home or RAYBENCH_HOME"):
        create_home(resolve_settings(tmp_path / "file" / inside, {}))
    assert (tmp_path / "file").read_text() == "mine"
