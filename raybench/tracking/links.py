"""Where a person finds a pair's run in MLflow: addresses for the report's page.

Only where a server shows it to others too: pages that ``raybench ui`` serves on this machine would
be dead links for everybody else. Asked by MLflow's REST interface, without its client, whose import
alone takes longer than the answer may.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import os
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from raybench.records import SweepSnapshot

ALLOWED_S = 2.0

_log = logging.getLogger(__name__)


def pair_links(
    tracking_uri: str, snapshot: SweepSnapshot, allowed_s: float = ALLOWED_S
) -> dict[str, str]:
    """Pair id -> address of its run's page; empty where MLflow does not say it in time."""
    try:
        if not _is_shared(tracking_uri):
            return {}
        return _of_server(tracking_uri, snapshot, time.monotonic() + allowed_s)
    except Exception as error:  # noqa: BLE001 - a page without links is as true as one with them
        _log.info("no links to MLflow: %s: %s", type(error).__name__, error)
        return {}


def _is_shared(uri: str) -> bool:
    """A web server that is not this machine's own."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return parts.hostname.rpartition(".")[2] != "localhost"
    return not (address.is_loopback or address.is_unspecified)


def _of_server(uri: str, snapshot: SweepSnapshot, until: float) -> dict[str, str]:
    server = _Server(uri, until)
    wanted = f"tags.`raybench.sweep` = '{snapshot.sweep}'"
    answer = server.ask("experiments/search", {"filter": wanted, "max_results": 100})
    found = {
        str(one["experiment_id"]): _tags(one).get("raybench.ledger")
        for one in answer.get("experiments", ())
    }
    experiment = _ours(found, snapshot)
    if experiment is None:
        return {}
    question: dict[str, Any] = {
        "experiment_ids": [experiment],
        "filter": "tags.`raybench.kind` = 'pair'",
        "max_results": 1000,
    }
    links: dict[str, str] = {}
    while True:
        answer = server.ask("runs/search", question)
        for run in answer.get("runs", ()):
            pair = _tags(run["data"])["raybench.pair"]
            links[pair] = _address(_without_user(uri), experiment, run["info"]["run_id"])
        if not answer.get("next_page_token"):
            return links
        question["page_token"] = answer["next_page_token"]


class _Server:
    """MLflow's REST interface, with the credentials that its own client takes, until a moment."""

    def __init__(self, uri: str, until: float) -> None:
        self._until = until
        self._base = _without_user(uri).rstrip("/") + "/api/2.0/mlflow/"
        self._headers = {"Content-Type": "application/json"} | _authorization(uri)

    def ask(self, path: str, question: Mapping[str, Any]) -> Any:
        data = json.dumps(question).encode()
        request = urllib.request.Request(self._base + path, data, dict(self._headers))
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("MLflow takes too long to answer")
        with urllib.request.urlopen(request, timeout=left) as response:
            return json.load(response)


def _authorization(uri: str) -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    parts = urlsplit(uri)
    user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token and not user:
        return {"Authorization": f"Bearer {token}"}
    if not user:
        return {}
    password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD") or ""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _ours(experiments: Mapping[str, str | None], snapshot: SweepSnapshot) -> str | None:
    """The experiment of this ledger, else the only one that names none."""
    for number, ledger in experiments.items():
        if snapshot.ledger_id and ledger == snapshot.ledger_id:
            return number
    unnamed = [number for number, ledger in experiments.items() if not ledger]
    return unnamed[0] if len(unnamed) == 1 else None


def _tags(entity: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in entity.get("tags", ())}


def _address(base: str, experiment: str, run_id: str) -> str:
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def _without_user(uri: str) -> str:
    """An address that may stand on a page."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
