"""Which settings of this machine hold on a cluster as well, and no secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from raybench.errors import ResourceError
from raybench.redaction import redact, secret_in

STOP_WAIT_S = 600
"""A drain takes seconds; a checkpoint on its way to an object store some more."""

_PLACES = (
    "RAYBENCH_LEDGER_URL",
    "RAYBENCH_TRACKING_URI",
    "MLFLOW_TRACKING_URI",
    "RAYBENCH_STORAGE",
)
_WITH_STORAGE = ("AWS_ENDPOINT_URL", "AWS_REGION")
_DATABASE_USER = re.compile(r"^(postgresql[^:/@]*://)[^:/@]+@")
"""A name without a password; elsewhere what stands alone before an @ is a token."""


def job_variables(
    environ: Mapping[str, str], tell: Callable[[str], None] = lambda sentence: None
) -> dict[str, str]:
    """Environment of a job: how Ray ends it, and our settings that name a place all can reach.

    Raises:
        ResourceError: one of them holds a secret, which the dashboard would show.
    """
    ours = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
    given = {name: environ[name] for name in _PLACES if environ.get(name)}
    if secret := [name for name, value in given.items() if _is_secret_place(name, value)]:
        raise ResourceError(
            f"{name} holds a password or token, which a job would show to everybody on the "
            "cluster; set it in the environment of 'ray start' on the head, and submit without it"
            for name in secret
        )
    for name, value in given.items():
        if is_elsewhere(value):
            ours[name] = value
        else:
            tell(f"{name} names a place of this machine, so the cluster's own setting counts")
    if "RAYBENCH_STORAGE" in ours:
        extra = {name: environ.get(name, "") for name in _WITH_STORAGE}
        ours |= {n: v for n, v in extra.items() if v and ("://" not in v or is_elsewhere(v))}
    return ours


def _is_secret_place(name: str, address: str) -> bool:
    return is_secret(name, _DATABASE_USER.sub(r"\1", address))


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's value must not be written where others read it."""
    line = f"{name}={value}"
    return bool(secret_in(value)) or redact(line, {}) != line


def is_elsewhere(place: str) -> bool:
    """Whether an address names another host, or a bucket, rather than something of this one."""
    parts = urlsplit(place)
    if not parts.scheme or parts.scheme in ("sqlite", "file"):
        return False
    host = parts.hostname or ""
    return bool(host) and host not in ("localhost", "::1") and not host.startswith("127.")
