"""Network namespaces: a switch, and hosts that hang on it by one cable each."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

FIRST = IPv4Address("10.77.0.1")
_NAMESPACES = Path("/run/netns")


class Network:
    """Namespaces ``<prefix>-<host>``, and ``<prefix>-switch`` with a bridge."""

    def __init__(self, prefix: str, names: Sequence[str]) -> None:
        self._switch = f"{prefix}-switch"
        self.addresses = {name: str(FIRST + n) for n, name in enumerate(names)}
        self.namespaces = {name: f"{prefix}-{name}" for name in names}

    def make(self) -> None:
        _ip("netns", "add", self._switch)
        self._on_switch("link", "add", "bridge", "type", "bridge")
        self._on_switch("link", "set", "bridge", "up")
        for name in self.namespaces:
            self._connect(name)

    def _connect(self, name: str) -> None:
        space = self.namespaces[name]
        _ip("netns", "add", space)
        end = ("peer", "name", "eth0", "netns", space)
        self._on_switch("link", "add", name, "type", "veth", *end)
        self._on_switch("link", "set", name, "master", "bridge", "up")
        _ip("-n", space, "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")

    def set_cable(self, name: str, state: str) -> None:
        """Pull the cable out of the switch (``down``), or put it back (``up``)."""
        self._on_switch("link", "set", name, state)

    def remove(self) -> None:
        for space in (*self.namespaces.values(), self._switch):
            if (_NAMESPACES / space).exists():
                _ip("netns", "delete", space)

    def _on_switch(self, *words: str) -> None:
        _ip("-n", self._switch, *words)


def remove_namespaces(prefix: str) -> None:
    """Those of a network whose owner is gone."""
    for path in sorted(_NAMESPACES.glob(f"{prefix}-*")):
        _ip("netns", "delete", path.name)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
