"""A stand-in for a Hugging Face hub over loopback HTTP, with the faults that real ones have."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c0ffee" * 6 + "beef"


@dataclass
class HubServer:
    """Files by ``ORG/NAME/FILE``.

    Attributes:
        gated: repositories that want ``token``.
        sent: bytes sent in place of a file's, whose hash is still announced.
        statuses: what is answered for a file, whatever is asked.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_right"
    sent: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        hub, path = self.hub, self.path.strip("/")
        hub.requests[f"{self.command} {path}"] += 1
        if not path:
            return self._answer(200, b"")
        repository, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        full = f"{repository}/{name}"
        if not any(known.startswith(f"{repository}/") for known in hub.files):
            return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        told = self.headers.get("Authorization", "")
        if repository in hub.gated and told != f"Bearer {hub.token}":
            return self._answer(401, b"", {"X-Error-Code": "GatedRepo"})
        if revision not in ("main", COMMIT):
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if full in hub.statuses:
            return self._answer(hub.statuses[full], b"")
        if full not in hub.files:
            missing = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            return self._answer(404, b"", missing)
        etag = hashlib.sha256(hub.files[full]).hexdigest()
        body = hub.files[full] if self.command == "HEAD" else hub.sent.get(full, hub.files[full])
        self._answer(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def hub_server() -> Iterator[HubServer]:
    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.hub = HubServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Handler.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(patch: pytest.MonkeyPatch, address: str, cache: Path, offline: bool = False) -> None:
    """What HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE do in a fresh process."""
    from huggingface_hub import constants

    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)
    patch.delenv("HF_HUB_OFFLINE", raising=False)
    patch.delenv("HF_TOKEN", raising=False)
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
