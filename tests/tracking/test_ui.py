"""MLflow's pages on a projected store: a real server, a real API call."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from raybench.errors import ResourceError
from raybench.tracking.ui import serve_ui
from tests.tracking.fake_ledger import FakeLedger, pair, trial
from tests.tracking.mlflow_state import Store

SCRIPT = """
import sys
from raybench.tracking.ui import serve_ui
serve_ui(sys.argv[1], sys.argv[2], lambda address: print(address, flush=True), port=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_the_store_until_told_to_end(store: Store, number: signal.Signals) -> None:
    store.send(FakeLedger(pair(trial(0, (0.5,)))))
    command = [sys.executable, "-c", SCRIPT, store.uri, str(store.folder / "artifacts")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        query = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=demo"
        with opener.open(query, timeout=20) as response:
            assert json.load(response)["experiment"]["name"] == "demo"
        with opener.open(address, timeout=20) as response:
            assert b"MLflow" in response.read()
    finally:
        process.send_signal(number)
        process.wait(60)
        process.stdout.close()
    assert process.returncode == (0 if number is signal.SIGINT else 143)
    with socket.socket() as probe:
        host, _, port = address.removeprefix("http://").partition(":")
        assert probe.connect_ex((host, int(port))) != 0, "the server outlived its parent"


def test_a_taken_port_is_said_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ResourceError, match=f"127.0.0.1:{port}.*another port"):
            serve_ui(f"sqlite:///{tmp_path}/mlflow.db", None, print, port=port)


def test_a_server_has_its_own_pages() -> None:
    addresses: list[str] = []
    serve_ui("http://anna:pw@mlflow.example:5000", None, addresses.append)
    assert addresses == ["http://mlflow.example:5000"]


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ResourceError, match="did not start.*unsupported URI 'foo://x'"):
        serve_ui("foo://x", None, print, port=0)
