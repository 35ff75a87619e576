"""Between MLflow's client and a real server: slow, silent, deaf, forgetful or gone.

with FaultyProxy(server.port) as proxy:
    proxy.forget = ["runs/create"]      # the server hears these, the client never gets the answer
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FaultyProxy:
    """What goes wrong; changed at any time.

    Attributes:
        delay_s: each answer comes that much later. forget: ends of paths whose next answer is lost,
            once per entry, though the server has heard the request. host: sent in place of the Host
            header. answering: while clear, requests hang. asked: paths, in order.
    """

    target: int
    delay_s: float = 0.0
    forget: list[str] = field(default_factory=list)
    host: str | None = None
    answering: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        return sum(asked.endswith(path) for asked in self.asked)

    def up(self) -> None:
        """Listen, on the port that it had before."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        options = {"poll_interval": 0.02}
        threading.Thread(target=self._server.serve_forever, kwargs=options, daemon=True).start()

    def down(self) -> None:
        """Connections are refused from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def faulty_proxy(target: int) -> Iterator[FaultyProxy]:
    """A proxy that answers, until the block ends."""
    proxy = FaultyProxy(target)
    proxy.answering.set()
    proxy.up()
    try:
        yield proxy
    finally:
        proxy.answering.set()
        proxy.down()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy

    def do_GET(self) -> None:
        self._forward()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _forward(self) -> None:
        proxy, path = self.proxy, self.path.partition("?")[0]
        proxy.asked.append(path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, answer = self._ask(body)
        time.sleep(proxy.delay_s)
        proxy.answering.wait()
        lost = next((end for end in proxy.forget if path.endswith(end)), None)
        if lost is not None:
            proxy.forget.remove(lost)
            return  # HTTP/1.0: the connection closes without a word
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        headers["Host"] = self.proxy.host or f"127.0.0.1:{self.proxy.target}"
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.target, timeout=60)
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
