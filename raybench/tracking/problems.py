"""What is wrong with the tracking store, and what to do: one sentence per kind of trouble."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from raybench.errors import RaybenchError, ResourceError
from raybench.redaction import redact
from raybench.tracking.client import sqlite_file

_LONGEST = 300
_UNREACHABLE = re.compile(
    r"Connection ?refused|Max retries exceeded|NameResolution|Name or service not known"
    r"|Connection ?aborted|Connection ?reset|RemoteDisconnected|No route to host"
    r"|error code 50[234]",
    re.IGNORECASE,
)
_DAMAGED = re.compile(
    r"file is not a database|malformed|file is encrypted|no such (table|column)"
    r"|table \S+ already exists",
    re.IGNORECASE,
)
_OTHER_SCHEMA = re.compile(r"out-of-date database schema|Can't locate revision", re.IGNORECASE)
_MADE_FOR = "was made for artefacts in"
_REFUSED = re.compile(r"error code 40[13]|PERMISSION_DENIED|UNAUTHENTICATED|Permission denied")


@dataclass(frozen=True, slots=True)
class Problem:
    """Words for one kind of trouble.

    Attributes:
        kind: what a user is told of once. text: what is wrong; what to do. passes: it may be gone
            at the next try.
    """

    kind: str
    text: str
    passes: bool = False


def what_is_wrong(error: BaseException, tracking_uri: str) -> Problem:
    """By what the error and those that it came from say; without secrets."""
    if isinstance(error, RaybenchError):
        text = " ".join(error.sentences)
        return Problem("moved" if _MADE_FOR in text else type(error).__name__, text)
    said = _said(error)
    uri, file = redact(tracking_uri), sqlite_file(tracking_uri)
    if "Invalid Host header" in said:
        return Problem("host check", _host_check(uri))
    if "database is locked" in said:
        place = file or f"of {uri}"
        return Problem("locked", f"another program holds MLflow's database {place} locked", True)
    if _OTHER_SCHEMA.search(said):
        what = f"MLflow's database {file or uri} was made by another version of MLflow"
        way_out = f"'mlflow db upgrade {uri}' mends an older one"
        return Problem("schema", f"{what}; {way_out}" + (f"; or {_anew(file)}" if file else ""))
    if file is not None and _DAMAGED.search(said):
        return Problem("damaged", f"MLflow's database {file} is damaged; {_anew(file)}")
    if "timed out" in said or "timeout" in said:
        more = "MLFLOW_HTTP_REQUEST_TIMEOUT (seconds) waits longer"
        return Problem("slow", f"{uri} takes too long to answer; {more}", True)
    if _UNREACHABLE.search(said):
        how = "start the server, or correct RAYBENCH_TRACKING_URI"
        return Problem("unreachable", f"{uri} cannot be reached; {how}", True)
    if file is None and _REFUSED.search(said):
        how = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return Problem("refused", f"{uri} does not let us in; {how}")
    first = redact(str(error)).strip().partition("\n")[0][:_LONGEST]
    return Problem(type(error).__name__, f"{type(error).__name__}: {first}", True)


def moved_store(tracking_uri: str, old_place: str, root: Path | str) -> ResourceError:
    """The home's own store came here with a home that was moved or copied."""
    file = sqlite_file(tracking_uri)
    what = f"MLflow's database {file or tracking_uri} {_MADE_FOR} {old_place}, not in {root}"
    why = "the home or its storage was moved or copied, and nothing is written to it"
    return ResourceError(f"{what}: {why}" + (f"; {_anew(file)}" if file else ""))


def _said(error: BaseException | None) -> str:
    """The texts of the error and of what caused it."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def _host_check(uri: str) -> str:
    host = urlsplit(uri).netloc
    return (
        f"the MLflow server at {uri} refuses requests to the name '{host}'; start it with "
        f"'mlflow server --allowed-hosts {host},localhost:*', or give its IP address instead"
    )


def _anew(file: Path) -> str:
    """The ledger has everything, so a store of the home's own can go."""
    aside = f"mv {shlex.quote(str(file))} {shlex.quote(f'{file}.old')}"
    return f"move it away ({aside}): 'raybench sync' then builds it anew"
