"""Where a cluster is looked for, and what is said when it cannot be used."""

from __future__ import annotations

import os
import socket
import time

import pytest

from raybench.cluster.address import DEFAULT_ADDRESS, cluster_url
from raybench.cluster.client import RefusedError, connect
from raybench.errors import ResourceError, UserInputError
from tests.cluster.standin import JobsServer


def test_what_was_typed_counts_before_the_variable() -> None:
    env = {"RAY_API_SERVER_ADDRESS": "http://head:8265/"}
    assert cluster_url("http://10.0.0.1:8265", env) == "http://10.0.0.1:8265"
    assert cluster_url(None, env) == "http://head:8265"
    assert cluster_url(None, {}) == DEFAULT_ADDRESS
    assert cluster_url(None, {"RAY_ADDRESS": "http://head:8266"}) == "http://head:8266"
    assert cluster_url(None, {"RAY_ADDRESS": "10.0.0.1:6379"}) == DEFAULT_ADDRESS


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8265", "ray://head:10001", "auto", "http://", "http://head:eighty"]
)
def test_only_the_dashboards_url_will_do(address: str) -> None:
    with pytest.raises(UserInputError, match="give its URL, as in http://127.0.0.1:8265"):
        cluster_url(address, {})


@pytest.mark.parametrize("user", ["me:hunter2secret", "hunter2secret", ":"])
def test_a_password_in_the_address_is_refused(user: str) -> None:
    """It would stand in the job's command line."""
    for given in ((f"http://{user}@host:8265", {}),
                  (None, {"RAY_API_SERVER_ADDRESS": f"http://{user}@host:8265"})):  # fmt: skip
        with pytest.raises(UserInputError, match=r"RAY_AUTH_TOKEN") as caught:
            cluster_url(*given)
        assert "hunter2" not in str(caught.value)
        assert "~/.ray/auth_token" in str(caught.value)


def test_rays_own_precedence_is_put_right(server: JobsServer, monkeypatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    assert connect(server.url).get_address() == server.url
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", server.url)
    assert connect().get_address() == server.url
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    connect(server.url)
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


def test_nobody_there_is_told_with_the_tunnel() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ResourceError) as caught:
            connect(url)
    said = str(caught.value)
    assert said.startswith(f"no Ray cluster answers at {url}; ")
    assert "ray attach cluster.yaml -p 8265 -p 5000" in said
    assert "ssh -N -L 8265:127.0.0.1:8265" in said


def test_a_tunnel_without_other_end_does_not_hang(monkeypatch) -> None:
    monkeypatch.setattr("raybench.cluster.client.ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ResourceError, match="no answer from .* lost its other end"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("status", "words"), [(401, "wants a token, and none was sent"), (403, "refuses the token")]
)
def test_a_token_that_is_wrong_or_missing(server: JobsServer, status: int, words: str) -> None:
    server.refuse, server.body = status, "Unauthorized"
    with pytest.raises(ResourceError) as caught:
        connect(server.url)
    said = str(caught.value)
    assert words in said and "RAY_AUTH_MODE=token" in said and "~/.ray/auth_token" in said
    assert len(caught.value.sentences) == 1 and "\n" not in said


@pytest.mark.parametrize("version", ["2.9.0", "3.0.0.dev0", "2.6.1"])
def test_another_ray_is_refused(server: JobsServer, version: str) -> None:
    server.ray_version = version
    with pytest.raises(ResourceError, match=f"runs Ray {version}, here is Ray .*pip install"):
        connect(server.url)


def test_a_patch_of_the_same_ray_will_do(server: JobsServer) -> None:
    import ray

    server.ray_version = ".".join([*ray.__version__.split(".")[:2], "99"])
    connect(server.url)


@pytest.mark.parametrize(("status", "body"), [(404, "not found"), (200, "<html>"), (200, "{}")])
def test_something_else_listens_there(server: JobsServer, status: int, body: str) -> None:
    server.refuse, server.body = status, body
    with pytest.raises(ResourceError, match=server.url):
        connect(server.url)


def test_a_refusal_says_its_last_line(server: JobsServer) -> None:
    client = connect(server.url)
    server.refuse, server.body = 500, "Traceback\n  File x\nTimeoutError: no head node agent\n.\n"
    with pytest.raises(RefusedError, match=r"refuses \(500\): TimeoutError: no head node agent$"):
        client.list_jobs()
