"""Risks "Ray dashboard" and "MLflow server exposure": what others could reach is found."""

from __future__ import annotations

import json
import re
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from raybench import exposure
from raybench.exposure import (
    SAFE_VERSIONS,
    is_loopback,
    open_dashboard,
    open_mlflow,
    own_addresses,
    ray_addresses,
    unsafe_versions,
)

CLOSED = ("127.0.0.1", 9)


class Handler(BaseHTTPRequestHandler):
    """Answers as Ray's dashboard and as MLflow, with or without asking who it is."""

    def do_GET(self) -> None:
        self._answer([], "/api/jobs/")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"experiments": []}, "/api/2.0/mlflow/experiments/search")

    def _answer(self, content: object, path: str) -> None:
        asks = self.server.asks  # type: ignore[attr-defined]
        status = 404 if self.path != path else 401 if asks else 200
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(params=[False, True], ids=["open", "asks"])
def server(request) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.asks = request.param  # type: ignore[attr-defined]
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_a_dashboard_that_runs_anybodys_jobs_is_found_even_on_loopback(server):
    words, anybody = open_dashboard([CLOSED, server.server_address])
    assert bool(words) == anybody == (not server.asks)
    if words:
        assert "asks for no token" in words and "RAY_AUTH_MODE=token" in words


def test_a_dashboard_with_a_token_belongs_on_loopback(server, monkeypatch):
    monkeypatch.setattr(exposure, "is_loopback", lambda host: False)
    words, anybody = open_dashboard([server.server_address])
    assert anybody == (not server.asks) and "--dashboard-host=127.0.0.1" in words


def test_an_mlflow_server_that_answers_strangers_from_afar(server, monkeypatch):
    host, port = server.server_address
    places = [CLOSED, f"http://me:canary@{host}:{port}/", (host, port)]
    assert open_mlflow(places) == ""
    monkeypatch.setattr(exposure, "is_loopback", lambda host: False)
    words = open_mlflow(places)
    assert bool(words) == (not server.asks) and "canary" not in words
    if words:
        assert f"{host}:{port} answers anybody" in words and "basic-auth" in words


@pytest.mark.parametrize(
    ("named", "host"),
    [
        ("ray://10.0.0.1:10001", "10.0.0.1"),
        ("10.0.0.1:6379", "10.0.0.1"),
        ("[::2]:6379", "::2"),
        ("head", "head"),
    ],
)
def test_the_named_ray_is_looked_at_first(named, host):
    assert ray_addresses(named)[0] == (host, 8265)


@pytest.mark.parametrize("named", ["", "auto", "local"])
def test_without_a_name_this_machine_is(named):
    assert ray_addresses(named) == own_addresses(8265) and ("127.0.0.1", 8265) in own_addresses(
        8265
    )


def test_loopback():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("10.0.0.1", "0.0.0.0", "head", ""))


def test_versions_with_known_holes():
    assert unsafe_versions({"torch": "2.6.0", "ray": "2.100", "mlflow": "3.11.1+local"}) == []
    assert unsafe_versions({}) == []
    (words,) = unsafe_versions({"torch": "2.5.1+cu121", "ray": "2.60.0", "mlflow": "3.11"})
    assert words.startswith("torch 2.5.1+cu121 has known holes (CVE-2025-32434")
    assert words.endswith("pip install 'torch>=2.6'")


def test_the_safe_versions_are_those_that_the_package_asks_for():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = dict(
        re.fullmatch(r"([\w-]+)(?:\[.*\])?>=([\d.]+).*", text).groups()  # type: ignore[union-attr]
        for text in project["dependencies"]
    )
    assert {name: asked[name] for name in SAFE_VERSIONS} == {
        name: safe for name, (safe, _) in SAFE_VERSIONS.items()
    }
