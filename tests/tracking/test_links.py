"""Links to the pairs' runs: from a server that others reach too, and none rather than a wait."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from raybench.records import SweepSnapshot
from raybench.tracking import links
from raybench.tracking.links import pair_links
from tests.tracking.fake_ledger import LEDGER, FakeLedger, pair, trial
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store


def header(ledger: FakeLedger) -> SweepSnapshot:
    return ledger.snapshot(())


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger(pair(trial(0, (0.5,))), pair(trial(0, (0.6,), pair_id="q"), id="q"))


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' servers are on this machine, and taken for others'."""
    monkeypatch.setattr("raybench.tracking.links._is_shared", lambda _: True)


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:{port}", "http://localhost:{port}", "http://[::1]:{port}",
     "http://0.0.0.0:{port}", "sqlite:///mlflow.db", "postgresql://db.example/mlflow", "file:/x"],
)  # fmt: skip
def test_what_only_this_machine_shows_is_not_linked(
    server: Server, ledger: FakeLedger, uri: str
) -> None:
    """The page is sent on: there is no ``raybench ui`` where it is read."""
    assert pair_links(uri.format(port=server.server_address[1]), header(ledger)) == {}
    assert server.asked == []


@pytest.mark.parametrize("uri", ["https://mlflow.example/x", "http://10.0.0.7:5000", "http://lab"])
def test_servers_are_for_others_too(uri: str) -> None:
    assert links._is_shared(uri)


@pytest.mark.usefixtures("shared")
def test_another_ledgers_runs_are_not_ours(server: Server, ledger: FakeLedger) -> None:
    """The experiment that names no ledger is taken, never one that names another."""
    found = pair_links(server.uri, replace(header(ledger), ledger_id="another"), 30.0)
    assert found and all("/experiments/1/" in link for link in found.values())
    assert LEDGER == header(ledger).ledger_id


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
def test_a_real_server_says_the_same(mlflow_server: MlflowServer, ledger: FakeLedger) -> None:
    served = Store(mlflow_server.store.folder, mlflow_server.store.folder, own=False,
                   address=mlflow_server.address)  # fmt: skip
    served.send(ledger)
    found = pair_links(mlflow_server.address, header(ledger), allowed_s=30.0)
    place = f"{mlflow_server.address}/#/experiments/{served.experiment_id()}/runs"
    assert found == {key: f"{place}/{served.runs()[key].info.run_id}" for key in ("p", "q")}


# -- a server of the tests' own ------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers as MLflow does, two pages of runs; or not at all."""

    daemon_threads = True
    asked: list[tuple[str, dict[str, Any], str]]
    silent = False

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of those who do not wait for an answer."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, question, self.headers.get("Authorization", "")))
        if self.server.silent:
            time.sleep(1.5)
        body = json.dumps(answer(self.path, question)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def answer(path: str, question: dict[str, Any]) -> dict[str, Any]:
    if path.endswith("experiments/search"):
        tags = [{"key": "raybench.ledger", "value": LEDGER}]
        return {"experiments": [{"experiment_id": "1", "tags": []},
                                {"experiment_id": "7", "tags": tags}]}  # fmt: skip
    second = "page_token" in question
    tags = [{"key": "raybench.pair", "value": "q" if second else "p"}]
    run = {"info": {"run_id": "r2" if second else "r1"}, "data": {"tags": tags}}
    return {"runs": [run]} | ({} if second else {"next_page_token": "more"})


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.asked = []
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.usefixtures("shared")
def test_every_page_is_asked_for(server: Server, ledger: FakeLedger) -> None:
    found = pair_links(server.uri, header(ledger), allowed_s=30.0)
    place = f"{server.uri}/#/experiments/7/runs"
    assert found == {"p": f"{place}/r1", "q": f"{place}/r2"}
    assert [question.get("experiment_ids") for _, question, _ in server.asked] == [
        None, ["7"], ["7"],
    ]  # fmt: skip


@pytest.mark.usefixtures("shared")
def test_credentials_are_used_and_not_shown(
    server: Server, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = server.uri.replace("//", "//me:hunter22@")
    found = pair_links(uri, header(ledger), allowed_s=30.0)
    assert {by for *_, by in server.asked} == {"Basic " + base64.b64encode(b"me:hunter22").decode()}
    assert found and not any("hunter22" in link for link in found.values())
    server.asked.clear()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    pair_links(server.uri, header(ledger), allowed_s=30.0)
    assert {by for *_, by in server.asked} == {"Bearer t0ken"}


@pytest.mark.usefixtures("shared")
def test_a_silent_server_is_not_waited_for(server: Server, ledger: FakeLedger) -> None:
    server.silent = True
    started = time.monotonic()
    assert pair_links(server.uri, header(ledger), allowed_s=0.3) == {}
    assert time.monotonic() - started < 1.4


@pytest.mark.usefixtures("shared")
def test_no_server_is_no_mistake(ledger: FakeLedger) -> None:
    assert pair_links("http://127.0.0.1:1", header(ledger)) == {}
