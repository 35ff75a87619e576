"""Arguments first, then variables, then defaults."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from raybench.errors import HomeError, ResourceError
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


def test_storage_may_be_an_object_store(tmp_path):
    url = "s3://bucket/my/sweeps"
    found = resolve_settings(tmp_path, {"RAYBENCH_STORAGE": f"{url}/"})
    assert found.storage_url == found.storage == url
    assert found.checkpoints == f"{url}/checkpoints"
    assert found.artifact_root == f"{url}/artifacts"
    assert found.checkpoint_root == tmp_path / "cache" / "scratch"
    elsewhere = resolve_settings(tmp_path, {"RAYBENCH_STORAGE": url, "RAYBENCH_CACHE": "/nvme"})
    assert elsewhere.checkpoint_root == Path("/nvme/scratch")


def test_storage_in_a_folder_is_a_folder(tmp_path):
    for place in (str(tmp_path / "s"), f"file://{tmp_path / 's'}"):
        found = resolve_settings(tmp_path / "home", {"RAYBENCH_STORAGE": place})
        assert found.storage_url is None and found.storage == str(tmp_path / "s")
        assert found.checkpoints == str(found.checkpoint_root) == str(tmp_path / "s/checkpoints")
    at_home = resolve_settings(tmp_path / "home", {})
    assert at_home.storage == str(tmp_path / "home")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("foo://bucket/x", "'foo://bucket/x', which has no kind of store that is known .*a folder"),
        ("s3://", "names no bucket"),
        ("s3:/bucket", "an address has two slashes"),
        ("https://me:hidden@bucket/x", "no kind of store"),
        ("s3://me:hidden@bucket/x", "holds credentials"),
    ],
)
def test_an_address_that_is_none_is_refused_in_words(tmp_path, place, words):
    with pytest.raises(ResourceError, match=words) as error:
        resolve_settings(tmp_path, {"RAYBENCH_STORAGE": place})
    assert error.value.exit_code == 3 and "hidden" not in str(error.value)


def test_artefacts_never_land_in_the_working_folder(tmp_path):
    """As MLflow would have it for any database that is not behind a server."""
    for uri in ("sqlite:////elsewhere/m.db", "postgresql://u@host/m", "/elsewhere/mlruns"):
        found = resolve_settings(tmp_path, {"RAYBENCH_TRACKING_URI": uri})
        assert found.artifact_root == str(tmp_path / "artifacts") and not found.owns_tracking
    for uri in ("http://a", "HTTPS://a", "databricks", "databricks://profile"):
        assert resolve_settings(tmp_path, {"RAYBENCH_TRACKING_URI": uri}).artifact_root is None
    assert resolve_settings(tmp_path, {}).owns_tracking


def test_a_ray_jobs_home_outlives_its_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
    assert resolve_settings(None, job).home == Path.home() / "raybench-home"
    assert resolve_settings("a", job).home == tmp_path / "a"
    assert resolve_settings(None, job | {"RAYBENCH_HOME": "b"}).home == tmp_path / "b"
