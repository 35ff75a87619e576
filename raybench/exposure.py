"""What of a user's sweeps others could reach: dashboards, tracking servers, tokens, homes.

For ``raybench doctor``. Each function says in words what is open and what to do; empty: nothing.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

DASHBOARD_PORT, MLFLOW_PORT = 8265, 5000
_ANSWER_S = 2.0
# The lower bounds of pyproject.toml (a test holds them equal), and the holes below them.
SAFE_VERSIONS = {
    "ray": ("2.60", "CVE-2025-62593: web pages run programs through its dashboard"),
    "mlflow": ("3.11", "CVE-2026-2614: anybody reads files through its server; CVE-2026-4137"),
    "torch": ("2.6", "CVE-2025-32434: weights files run code"),
    "pillow": ("10.3", "CVE-2024-28219: a colour profile overwrites memory"),
}

Address = tuple[str, int]


def unsafe_versions(installed: Mapping[str, str]) -> list[str]:
    """A sentence for each package that is older than what is safe."""
    return [
        f"{name} {installed[name]} has known holes ({hole}); pip install '{name}>={safe}'"
        for name, (safe, hole) in SAFE_VERSIONS.items()
        if name in installed and _numbers(installed[name]) < _numbers(safe)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def open_dashboard(addresses: Iterable[Address]) -> tuple[str, bool]:
    """Ray dashboards that run jobs for anybody, or for whom a token is enough from afar.

    Returns:
        Words, and whether even the token is missing.
    """
    for host, port in addresses:
        status, _ = _ask(f"http://{_bracketed(host)}:{port}/api/jobs/")
        if status == 200:
            return (
                f"the Ray dashboard at {host}:{port} asks for no token: whoever reaches it runs "
                "programs as its owner; start Ray with RAY_AUTH_MODE=token on every node and "
                "--dashboard-host=127.0.0.1",
                True,
            )
        if status in (401, 403) and not is_loopback(host):
            return (
                f"the Ray dashboard answers at {host}:{port}, where a token travels unencrypted; "
                "start Ray with --dashboard-host=127.0.0.1 and use an SSH tunnel",
                False,
            )
    return "", False


def open_mlflow(addresses: Iterable[Address | str]) -> str:
    """MLflow servers that answer others, without a name or password, from beyond this machine."""
    for address in addresses:
        url = address if isinstance(address, str) else f"http://{address[0]}:{address[1]}"
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if is_loopback(parts.hostname or ""):
            continue
        base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        status, body = _ask(f"{base}/api/2.0/mlflow/experiments/search", {"max_results": 1})
        if status == 200 and b"experiments" in body:
            return (
                f"the MLflow server at {base} answers anybody; serve it on 127.0.0.1, or with "
                "--app-name basic-auth, behind TLS"
            )
    return ""


def readable_home(home: Path) -> str:
    """A home that everybody on this machine may look into."""
    if home.exists() and home.stat().st_mode & stat.S_IRWXO:
        return f"{home} is open to everybody on this machine; chmod o-rwx {home}"
    return ""


def own_addresses(port: int) -> list[Address]:
    """``port`` on this machine: on loopback, and as other machines see it."""
    found = ["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of documentation; UDP sends nothing here
            found.append(probe.getsockname()[0])
        except OSError:
            pass  # no network, so nobody else is on it
    return [(host, port) for host in dict.fromkeys(found)]


def ray_addresses(named: str | None = None) -> list[Address]:
    """Where dashboards may be: on this machine, and where ``RAY_ADDRESS`` points."""
    text = os.environ.get("RAY_ADDRESS", "") if named is None else named
    host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
    there = [(host, DASHBOARD_PORT)] if host not in ("", "auto", "local") else []
    return there + [a for a in own_addresses(DASHBOARD_PORT) if a not in there]


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _ask(url: str, content: object = None) -> tuple[int, bytes]:
    """Status and first bytes of an answer to a request without credentials; 0: none came."""
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ANSWER_S) as answer:
            return int(answer.status), answer.read(4096)
    except urllib.error.HTTPError as error:
        return error.code, b""
    except (OSError, ValueError):
        return 0, b""
