"""Hosts are apart from each other and from this machine, and nothing of them outlives its owner."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.processes import is_alive
from tests.hosts import Cluster, cluster, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(why_not() is not None, reason=why_not() or "hosts can be made"),
]
OWNER = """
import time
from tests.hosts import cluster
with cluster(["one"]) as hosts:
    hosts["one"].start("sleep", "600", log="sleep.txt")
    while not (pids := hosts["one"].processes("sleep 600")):
        pass
    print(*hosts["one"].processes(), hosts["one"].folder.parent, flush=True)
    time.sleep(600)
"""
HELLO = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000), timeout=2) as there:
    print(there.recv(5).decode())
"""
LISTEN = """
import socket
with socket.create_server(("", 7000)) as server:
    while True:
        server.accept()[0].sendall(b"hello")
"""


@pytest.fixture
def hosts() -> Iterator[Cluster]:
    with cluster(["one", "two"]) as found:
        yield found


def test_each_has_its_own(hosts: Cluster, tmp_path: Path) -> None:
    one, two = hosts.values()
    assert one.run("hostname").stdout.strip() == "one" != socket.gethostname()
    for folder in ("/tmp", "/root", "/dev/shm", "/run"):
        one.run("touch", f"{folder}/mine")
        assert two.run("test", "-e", f"{folder}/mine", check=False).returncode == 1
        assert not Path(folder, "mine").exists()
    assert one.path("/tmp/mine").exists()
    one.run("touch", str(hosts.shared / "ours"))
    two.run("test", "-e", str(hosts.shared / "ours"))
    assert len(two.run("ps", "-A", "-o", "pid=").stdout.split()) == 3  # init, timeout, ps
    assert two.run("python", "-c", "import raybench").returncode == 0


def test_a_pulled_cable(hosts: Cluster) -> None:
    one, two = hosts.values()
    one.start("python", "-c", LISTEN, log="server.txt")
    greet = ("python", "-c", HELLO, "one")
    two.until(lambda: "hello" in two.run(*greet, check=False).stdout, "a greeting")
    hosts.unplug("one")
    assert "timed out" in two.run(*greet, check=False).stderr
    hosts.plug("one")
    assert two.run(*greet).stdout == "hello\n"


def test_killed_by_its_handle_or_by_its_words(hosts: Cluster) -> None:
    one, two = hosts.values()
    one.start("sleep", "600", log="sleep.txt")
    process = two.start("sleep", "600", log="sleep.txt")
    one.until(lambda: len(one.processes("sleep 600")) == 1, "it")
    two.until(lambda: len(two.processes("sleep 600")) == 1, "it")
    assert one.kill("sleep 600") == 1
    assert len(two.processes("sleep 600")) == 1
    process.kill()
    two.until(lambda: two.processes("sleep 600") == [], "its end")


def test_a_killed_owner_takes_its_hosts_along() -> None:
    """Processes at once, by the kernel; folders and namespaces when the next cluster is made."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    *pids, folder = owner.stdout.readline().split()
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 10
    while any(is_alive(int(pid)) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if is_alive(int(pid))] == []
    assert Path(folder).exists()
    with cluster(["one"]):
        assert not Path(folder).exists()
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert f"rb{owner.pid}-" not in spaces
