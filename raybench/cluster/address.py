"""Where a cluster's dashboard is, and what to say when nobody answers there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from raybench.errors import UserInputError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Ray's own, and this end of the tunnel."""

TUNNEL = (
    "the dashboard listens on the head's loopback only; open a tunnel: 'ray attach cluster.yaml "
    "-p 8265 -p 5000', or 'ssh -N -L 8265:127.0.0.1:8265 -L 5000:127.0.0.1:5000 USER@HEAD'"
)
TOKEN = (
    "set RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token (chmod 600) or "
    "RAY_AUTH_TOKEN; on the head it is in ~/.ray/auth_token"
)


def cluster_url(address: str | None, environ: Mapping[str, str] | None = None) -> str:
    """``address``, else ``RAY_API_SERVER_ADDRESS``, else Ray's own default.

    ``RAY_ADDRESS`` counts before that where it is a URL: a Ray that runs has another address.

    Raises:
        UserInputError: no http(s) address, or one with a user or password.
    """
    env = os.environ if environ is None else environ
    ray = env.get("RAY_ADDRESS", "")
    fallback = ray if ray.startswith(("http://", "https://")) else DEFAULT_ADDRESS
    given = address or env.get("RAY_API_SERVER_ADDRESS") or fallback
    try:
        parts = urlsplit(given)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
        has_user = "@" in parts.netloc
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        is_url = False
    if not is_url:
        raise UserInputError(
            f"--address {given}: jobs are sent to the cluster's dashboard; give its URL, as in "
            f"{DEFAULT_ADDRESS}"
        )
    if has_user:
        raise UserInputError(
            f"--address {given}: a user or password in it would stand in the job's command line, "
            f"for everybody on the cluster to read; leave it out. Ray asks for a token: {TOKEN}"
        )
    return given.rstrip("/")
