"""A web server of the tests' own: a folder over loopback HTTP, with faults per path.

with standin_server(folder) as server:
    server.fault("a.zip", statuses=[503, 503])       # then it works
    download(server.url("a.zip"), target)
    assert server.requests["a.zip"] == 3
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """What goes wrong for one path.

    Attributes:
        statuses: answered first, one a request (401, 403, 404, 500, 503 ...); then all is well.
            ``forever``: the last one is repeated for good.
        truncate: bytes of the body after which the connection closes, for the first ``times``
            requests, though the whole length was announced.
        stall_s: seconds of silence after ``stall_after`` bytes, for the first ``times`` requests.
        body: sent instead of the file.
        location: where a 302 leads.
        ranges: whether Range is understood. validators: whether ETag and Last-Modified are sent.
        length: whether Content-Length is sent.
    """

    statuses: list[int] = field(default_factory=list)
    forever: bool = False
    truncate: int | None = None
    stall_s: float = 0.0
    stall_after: int = 0
    times: int = 1
    body: bytes | None = None
    location: str | None = None
    ranges: bool = True
    validators: bool = True
    length: bool = True


class StandIn:
    """A running server: its address, its faults, and what it was asked."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.requests: Counter[str] = Counter()
        self.asked: list[tuple[str, dict[str, str]]] = []  # path, headers (lower-case names)
        self.sent: Counter[str] = Counter()  # bytes of bodies
        self.faults: dict[str, Fault] = {}
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def fault(self, path: str, **what: Any) -> None:
        self.faults[path] = Fault(**what)

    def mend(self, path: str) -> None:
        self.faults.pop(path, None)


@contextlib.contextmanager
def standin_server(folder: Path) -> Iterator[StandIn]:
    """Serve ``folder`` on a free loopback port until the block ends."""

    class Handler(_Handler):
        standin: StandIn

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.standin = StandIn(folder, f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Handler.standin
    finally:
        Handler.standin.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    standin: StandIn
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        standin = self.standin
        with standin.lock:
            number = standin.requests[path]
            standin.requests[path] += 1
            headers = {name.lower(): value for name, value in self.headers.items()}
            standin.asked.append((path, headers))
        fault = standin.faults.get(path, Fault())
        self.close_connection = True
        status = _status(fault, number)
        if fault.location is not None:
            self._answer(302, b"", {"Location": fault.location})
        elif status is not None:
            self._answer(status, b"no\n", {})
        elif fault.body is None and not (standin.folder / path).is_file():
            self._answer(404, b"no such file\n", {})
        else:
            self._send_file(path, fault, number, with_body)

    def _send_file(self, path: str, fault: Fault, number: int, with_body: bool) -> None:
        file = self.standin.folder / path
        body = file.read_bytes() if fault.body is None else fault.body
        tags = {"ETag": f'"{hashlib.md5(body).hexdigest()}"'} if fault.validators else {}
        if fault.validators and file.exists():
            tags["Last-Modified"] = self.date_time_string(int(file.stat().st_mtime))
        start = self._start(fault, tags)
        if start is not None and start >= len(body):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        if start is not None:
            tags["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start or 0 :]
        self.send_response(206 if start is not None else 200)
        for name, value in tags.items():
            self.send_header(name, value)
        if fault.length:
            self.send_header("Content-Length", str(len(rest)))
        self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            with contextlib.suppress(ConnectionError):  # the client gave up: its right
                self._send_body(path, rest, fault, number)

    def _start(self, fault: Fault, tags: dict[str, str]) -> int | None:
        """First byte asked for; None for the whole file."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        wanted = self.headers.get("If-Range")
        if asked is None or not fault.ranges or (wanted and wanted not in tags.values()):
            return None
        return int(asked[1])

    def _send_body(self, path: str, rest: bytes, fault: Fault, number: int) -> None:
        faulty = number - len(fault.statuses) < fault.times
        if faulty and fault.truncate is not None:
            rest = rest[: fault.truncate]
        cut = fault.stall_after if faulty and fault.stall_s else len(rest)
        self._write(path, rest[:cut])
        if cut < len(rest):
            self.standin.stopping.wait(fault.stall_s)
            self._write(path, rest[cut:])

    def _write(self, path: str, piece: bytes) -> None:
        self.wfile.write(piece)
        self.wfile.flush()
        self.standin.sent[path] += len(piece)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _status(fault: Fault, number: int) -> int | None:
    if number < len(fault.statuses):
        return fault.statuses[number]
    return fault.statuses[-1] if fault.forever and fault.statuses else None
