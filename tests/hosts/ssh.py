"""Logging in from host to host: one key for all, and an sshd on every host's own address."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from tests.hosts.host import Host

KEY = "/root/.ssh/id_ed25519"
_SSHD = """
ListenAddress {address}
HostKey /root/.ssh/host_key
AuthorizedKeysFile /root/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
"""


def start_ssh(hosts: Iterable[Host]) -> None:
    """Each of them may log in to each other one, as root, with ``KEY``."""
    hosts = list(hosts)
    pair = _make_key(hosts[0], KEY)
    for host in hosts:
        folder = host.path("/root/.ssh")
        folder.mkdir(mode=0o700, exist_ok=True)
        for path, text in zip((KEY, f"{KEY}.pub"), pair, strict=True):
            host.path(path).write_text(text)
            host.path(path).chmod(0o600)
        (folder / "authorized_keys").write_text(pair[1])
        (folder / "sshd_config").write_text(_SSHD.format(address=host.address))
        host.path("/root/.bashrc").touch()  # `ray up` sources it
        _make_key(host, "/root/.ssh/host_key")
        host.run("mkdir", "-p", "/run/sshd")
        host.start("/usr/sbin/sshd", "-D", "-e", "-f", "/root/.ssh/sshd_config", log="sshd.txt")
    for host in hosts:
        log = host.path("/tmp/sshd.txt")
        host.until(lambda log=log: "listening" in log.read_text(), "its sshd")


def _make_key(host: Host, path: str) -> tuple[str, str]:
    """A new key of the host, private and public part; the files are its root's only."""
    file = host.path(path)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(file)]
    subprocess.run(command, check=True)
    return file.read_text(), file.with_suffix(".pub").read_text()
