"""Hosts by name, made and removed as one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from tests.hosts.host import Host
from tests.hosts.network import Network, remove_namespaces

_ROOT = Path("/var/tmp")  # on disk, not below what hosts cover
_PREFIX = "raybench-hosts-"
_REPOSITORY = Path(__file__).resolve().parents[2]
_TOOLS = ("ip", "nsenter", "unshare", "setpriv")


class Cluster(dict[str, Host]):
    """Hosts by name.

    Attributes:
        shared: a folder that all of them see under the same path, as a file server would give it.
    """

    def __init__(self, folder: Path, network: Network) -> None:
        super().__init__()
        self.shared = folder / "shared"
        self._network = network
        for name, address in network.addresses.items():
            self[name] = Host(name, address, folder / name)

    def boot(self) -> None:
        self.shared.mkdir()
        names = "".join(f"{host.address} {host.name}\n" for host in self.values())
        hosts_file = f"127.0.0.1 localhost\n{names}"
        for name, host in self.items():
            host.boot(self._network.namespaces[name], hosts_file, _visible())

    def unplug(self, name: str) -> None:
        """Pull the host's cable: what it sends or is sent is lost, and nobody is told."""
        self._network.set_cable(name, "down")

    def plug(self, name: str) -> None:
        """Put the cable back."""
        self._network.set_cable(name, "up")

    def shut_down(self) -> None:
        for host in self.values():
            host.shut_down()


@contextmanager
def cluster(names: Sequence[str]) -> Iterator[Cluster]:
    """Hosts of these names (at most 15 letters each), for as long as the context lasts.

    Folders and namespaces carry our pid. What is left of owners that were killed goes first.
    """
    _remove_stale()
    prefix = f"rb{os.getpid()}"
    folder = _ROOT / f"{_PREFIX}{os.getpid()}"
    network = Network(prefix, names)
    with ExitStack() as stack:
        stack.enter_context(_locked(folder))
        stack.callback(shutil.rmtree, folder)
        stack.callback(network.remove)
        network.make()
        hosts = Cluster(folder, network)
        stack.callback(hosts.shut_down)
        hosts.boot()
        yield hosts


def why_not() -> str | None:
    """Why this machine cannot make hosts; None where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts are Linux namespaces, and to make them takes root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        return f"hosts need {', '.join(missing)} (Debian: iproute2, util-linux)"
    tried = subprocess.run(["unshare", "--net", "--pid", "--mount", "--fork", "true"])
    if tried.returncode:
        return "hosts are namespaces, which root of this container may not make"
    return None


def _visible() -> list[str]:
    """What must stay to be seen where a host has something of its own: code and interpreter."""
    return sorted({str(_REPOSITORY), sys.prefix, sys.base_prefix})


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make a folder that is ours for as long as we live: the kernel gives the lock back."""
    folder.mkdir(mode=0o755)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_stale() -> None:
    for folder in _ROOT.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError), (folder / "lock").open("w") as file:
            if _take(file):
                remove_namespaces(f"rb{folder.name.removeprefix(_PREFIX)}")
                shutil.rmtree(folder)


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
