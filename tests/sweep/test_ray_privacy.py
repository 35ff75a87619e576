"""Risks "Ray dashboard / jobs API" and "multi-user host": a private Ray is its owner's alone."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raybench.errors import ResourceError
from raybench.sweep import ray_privacy
from raybench.sweep.ray_privacy import keep_token, make_token, readable_by_others, scratch_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_token_is_made_for_its_owner_only_and_kept(home):
    token = ray_privacy.token_file()
    with keep_token():
        assert mode(token) == 0o600 and mode(token.parent) == 0o700
        assert re.fullmatch(r"[0-9a-f]{64}", token.read_text())
        before = token.read_text()
    with keep_token():
        assert token.read_text() == before and list(token.parent.iterdir()) == [token]


def test_drivers_that_start_at_once_take_one_token(home):
    token = ray_privacy.token_file()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: make_token(token), range(32)))
    assert len(token.read_text()) == 64 and list(token.parent.iterdir()) == [token]


@pytest.mark.parametrize(
    ("name", "value"),
    [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "mine"), ("RAY_AUTH_TOKEN_PATH", "/mine")],
)
def test_what_the_user_has_said_of_tokens_holds(home, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with keep_token():
        assert not ray_privacy.token_file().exists() and os.environ[name] == value
    assert os.environ[name] == value


def test_a_home_that_cannot_be_written_gets_a_token_for_this_run(home):
    (home / ".ray").write_text("a file in the way")
    with keep_token():
        assert re.fullmatch(r"[0-9a-f]{64}", os.environ["RAY_AUTH_TOKEN"])
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_token_of_the_users_stays_as_it_is_and_is_known_to_be_readable(home):
    token = ray_privacy.token_file()
    assert not readable_by_others(token)
    token.parent.mkdir()
    token.write_text("mine")
    token.chmod(0o644)
    with keep_token():
        assert token.read_text() == "mine" and readable_by_others(token)
    token.chmod(0o600)
    assert not readable_by_others(token)


def test_rays_folder_lies_in_a_private_one_with_a_short_path(home, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 90)
    assert scratch_folder() == f"/tmp/raybench-{os.getuid()}/ray"
    assert mode(Path(f"/tmp/raybench-{os.getuid()}")) == 0o700
    monkeypatch.setenv("RAY_TMPDIR", "/mine")
    assert scratch_folder() is None


@pytest.mark.parametrize("squat", ["link", "file", "open folder"])
def test_a_name_that_somebody_else_has_taken_is_not_used(tmp_path, squat):
    taken = tmp_path / "taken"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if squat == "link":
        taken.symlink_to(elsewhere)
    elif squat == "file":
        taken.touch()
    else:
        taken.mkdir(mode=0o777)
        taken.chmod(0o777)
    found = ray_privacy._private_folder(taken)
    assert mode(found) == 0o700 and found.resolve() != elsewhere
    assert (found == taken) == (squat == "open folder")


def _listening() -> set[str]:
    """Addresses on which this process and its descendants listen, from /proc (Linux)."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(status.parent.name), status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents[pid] = int(rest[1])
    family = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    inodes = set()
    for pid in family:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(link.readlink()))
            except OSError:
                continue
    found = set()
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                words = bytes.fromhex(fields[1].partition(":")[0])
                parts = [words[i : i + 4][::-1] for i in range(0, len(words), 4)]
                found.add(socket.inet_ntop(kind, b"".join(parts)))
    return found


SESSION = """
import os, sys
sys.path.insert(0, {root!r})
from tests.sweep.test_ray_privacy import _listening
from raybench.sweep.ray_session import ray_session
from raybench.errors import ResourceError
with ray_session(None, num_cpus=1):
    import ray
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
    print("LISTENING", *sorted(_listening()))
    print("SESSION", ray._private.worker._global_node.get_session_dir_path())
    address = ray.get_runtime_context().gcs_address
    client = (
        "from raybench.sweep.ray_session import ray_session\\n"
        "with ray_session(%r): print('CONNECTED')" % address
    )
    import subprocess
    for environ in ({{"RAY_AUTH_TOKEN": "w" * 64}}, {{}}):
        done = subprocess.run([sys.executable, "-c", client], env=os.environ | environ,
                              capture_output=True, text=True)
        print("CLIENT", "CONNECTED" in done.stdout, done.stderr.strip().splitlines()[-1:])
print("AFTER", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in os.environ)
"""


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_private_ray_listens_on_loopback_asks_for_its_token_and_hides_its_folder(tmp_path):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    script = SESSION.format(root=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ | {"HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert done.returncode == 0, done.stderr
    listening = set(said["LISTENING"].split())
    assert listening and listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    clients = [line for line in done.stdout.splitlines() if line.startswith("CLIENT")]
    assert clients[0].startswith("CLIENT False") and "wants a token" in clients[0]
    assert clients[1].startswith("CLIENT True")
    assert mode(tmp_path / ".ray" / "auth_token") == 0o600
    assert mode(Path(f"/tmp/raybench-{os.getuid()}")) == 0o700
    assert said["SESSION"].startswith(str(Path(tempfile.gettempdir()) / f"raybench-{os.getuid()}"))
    assert said["AFTER"] == "False"


def test_a_cluster_that_does_not_answer_is_words_about_address_and_token(monkeypatch):
    import ray

    from raybench.sweep.ray_session import ray_session

    def refuse(**options: object) -> None:
        raise ray.exceptions.AuthenticationError("no token was found")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ResourceError, match="Ray cluster at a:1: .*RAY_AUTH_MODE=token") as error:
        with ray_session("a:1"):
            raise AssertionError("never here")
    assert error.value.exit_code == 3
