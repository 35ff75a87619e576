"""Ray's client of the Jobs API, with time limits and with its troubles in words."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raybench.cluster.address import TOKEN, TUNNEL, cluster_url
from raybench.errors import ResourceError

CONNECT_S = 5.0
ANSWER_S = 60.0
_API_SERVER = "RAY_API_SERVER_ADDRESS"
_CHATTY = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
"""They tell of every package and connection, and set their own levels when imported."""


class RefusedError(ResourceError):
    """The cluster has understood the request and says no; ``said`` is its whole answer."""

    def __init__(self, url: str, status: int, said: str) -> None:
        super().__init__(f"the cluster at {url} refuses ({status}): {_last_line(said)}")
        self.said = said


def connect(address: str | None = None) -> Any:
    """A ``JobSubmissionClient`` whose every method raises ``ResourceError`` in words.

    Raises:
        UserInputError: the address is none. ResourceError: nobody answers there, another token is
            wanted, or another Ray runs there.
    """
    url = cluster_url(address)
    try:
        with _named_to_ray(url), in_words(url):
            client = _client_class()(url)
            running = _version_of(client, url)
    except ImportError as error:
        raise ResourceError(
            f"{error.name or error} is missing; pip install 'ray[default]'"
        ) from None
    _check_version(running, url)
    return client


@contextmanager
def _named_to_ray(url: str) -> Iterator[None]:
    """Ray prefers the variable to the argument; here what was typed counts."""
    before = os.environ.get(_API_SERVER)
    os.environ[_API_SERVER] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[_API_SERVER]
        else:
            os.environ[_API_SERVER] = before


def _client_class() -> Any:
    import requests
    from ray.job_submission import JobSubmissionClient

    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)

    class Client(JobSubmissionClient):  # type: ignore[misc]
        """Ray's has no time limit, so a tunnel whose other end has gone would hang for ever."""

        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            with in_words(self._address):
                return super()._do_request(
                    method, endpoint, timeout=(CONNECT_S, ANSWER_S), **options
                )

        def _raise_error(self, response: requests.Response) -> None:
            raise RefusedError(self._address, response.status_code, response.text)

    return Client


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """What Ray and its HTTP library raise, as ``ResourceError``."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ResourceError(f"{_why_refused(str(error), url)}; {TOKEN}") from None
    except requests.Timeout:
        raise ResourceError(
            f"no answer from {url}: the tunnel may have lost its other end; {TUNNEL}"
        ) from None
    except (requests.ConnectionError, ConnectionError):
        raise ResourceError(f"no Ray cluster answers at {url}; {TUNNEL}") from None
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise ResourceError(f"{url} is no Ray dashboard: {_last_line(str(error))}") from None
    except RuntimeError as error:  # Ray's version check
        raise ResourceError(f"{url}: {_last_line(str(error))}") from None


def _why_refused(said: str, url: str) -> str:
    if said.startswith("Authentication required"):
        return f"the cluster at {url} wants a token, and none was sent"
    if said.startswith("Authentication failed"):
        return f"the cluster at {url} refuses the token"
    return "RAY_AUTH_MODE is token, but there is no token here"


def _last_line(text: str) -> str:
    """A refusal is often a whole traceback; its last line says why."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    return lines[-1][:500] if lines else "no reason given"


def _version_of(client: Any, url: str) -> str:
    response = client._do_request("GET", "/api/version")
    return str(response.json()["ray_version"])


def _check_version(running: str, url: str) -> None:
    """The third number may differ: Ray keeps its interfaces over it."""
    import ray

    if running.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise ResourceError(
            f"the cluster at {url} runs Ray {running}, here is Ray {ray.__version__}; install the "
            f"same on both sides: pip install 'ray[default,tune]=={running}'"
        )
