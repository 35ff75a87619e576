"""Links to the pairs' runs: from a database, from a server, and none rather than a wait."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from raybench.records import SweepSnapshot
from raybench.tracking.links import pair_links
from tests.tracking.fake_ledger import LEDGER, FakeLedger, pair, trial
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.mlflow_state import Store


def header(ledger: FakeLedger) -> SweepSnapshot:
    return ledger.snapshot(())


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger(pair(trial(0, (0.5,))), pair(trial(0, (0.6,), pair_id="q"), id="q"))


def test_a_homes_own_store_is_served_by_ui(store: Store, ledger: FakeLedger) -> None:
    store.send(ledger)
    links = pair_links(store.uri, header(ledger))
    place = f"http://127.0.0.1:5000/#/experiments/{store.experiment_id()}/runs"
    assert links == {key: f"{place}/{store.runs()[key].info.run_id}" for key in ("p", "q")}


def test_a_deleted_run_has_no_link(store: Store, ledger: FakeLedger) -> None:
    store.send(ledger)
    store.client.delete_run(store.runs()["p"].info.run_id)
    assert pair_links(store.uri, header(ledger)).keys() == {"q"}


def test_another_ledgers_runs_are_not_ours(store: Store, ledger: FakeLedger) -> None:
    store.send(ledger)
    assert pair_links(store.uri, replace(header(ledger), ledger_id="another")) == {}
    assert pair_links(store.uri, replace(header(ledger), sweep="another")) == {}
    assert LEDGER == header(ledger).ledger_id


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, ledger: FakeLedger) -> None:
    assert pair_links(f"sqlite:///{tmp_path / 'none.db'}", header(ledger)) == {}
    assert list(tmp_path.iterdir()) == []


def test_rubbish_is_no_store(tmp_path: Path, ledger: FakeLedger) -> None:
    (tmp_path / "x.db").write_bytes(b"rubbish" * 1000)
    assert pair_links(f"sqlite:///{tmp_path / 'x.db'}", header(ledger)) == {}


@pytest.mark.slow
def test_a_real_server_says_the_same(mlflow_server: MlflowServer, ledger: FakeLedger) -> None:
    served = Store(mlflow_server.store.folder, mlflow_server.store.folder, own=False,
                   address=mlflow_server.address)  # fmt: skip
    served.send(ledger)
    links = pair_links(mlflow_server.address, header(ledger), allowed_s=30.0)
    place = f"{mlflow_server.address}/#/experiments/{served.experiment_id()}/runs"
    assert links == {key: f"{place}/{served.runs()[key].info.run_id}" for key in ("p", "q")}


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


def test_every_page_is_asked_for(server: Server, ledger: FakeLedger) -> None:
    links = pair_links(server.uri, header(ledger), allowed_s=30.0)
    place = f"{server.uri}/#/experiments/7/runs"
    assert links == {"p": f"{place}/r1", "q": f"{place}/r2"}
    assert [question.get("experiment_ids") for _, question, _ in server.asked] == [
        None, ["7"], ["7"],
    ]  # fmt: skip


def test_credentials_are_used_and_not_shown(
    server: Server, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = server.uri.replace("//", "//me:hunter22@")
    links = pair_links(uri, header(ledger), allowed_s=30.0)
    assert {by for *_, by in server.asked} == {"Basic " + base64.b64encode(b"me:hunter22").decode()}
    assert links and not any("hunter22" in link for link in links.values())
    server.asked.clear()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    pair_links(server.uri, header(ledger), allowed_s=30.0)
    assert {by for *_, by in server.asked} == {"Bearer t0ken"}


def test_a_silent_server_is_not_waited_for(server: Server, ledger: FakeLedger) -> None:
    server.silent = True
    started = time.monotonic()
    assert pair_links(server.uri, header(ledger), allowed_s=0.3) == {}
    assert time.monotonic() - started < 1.4


def test_no_server_is_no_mistake(ledger: FakeLedger) -> None:
    assert pair_links("http://127.0.0.1:1", header(ledger)) == {}
