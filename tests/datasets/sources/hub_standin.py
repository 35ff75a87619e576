"""A stand-in for the Hugging Face hub: the few answers that its libraries ask for, on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandInHub:
    """Repositories as ``{repo: {path: bytes}}``; ``gated`` ones answer 403 without a token."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.repos: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.gated: set[str] = set()
        self.tokens: set[str] = set()
        self.requests: Counter[str] = Counter()

    def add(self, repo: str, files: dict[str, bytes], commit: str = COMMIT) -> None:
        self.repos[repo], self.commits[repo] = files, commit


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer(asked)

    def _answer(self, asked: str = "") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests[path] += 1
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.tokens.add(token)
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            parts = parts[1:]
        repo, rest = "/".join(parts[1:3]), parts[3:]
        if repo not in self.hub.repos:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        if repo in self.hub.gated and not token:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        if len(rest) > 1 and rest[1] not in ("main", "v1", COMMIT, self.hub.commits[repo]):
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if rest and rest[0] == "resolve":
            commit = COMMIT if rest[1] == COMMIT else self.hub.commits[repo]
            return self._file(repo, "/".join(rest[2:]), commit)
        if rest and rest[0] == "tree":
            return self._json(self._entries(repo, "/".join(rest[2:])))
        if rest and rest[0] == "paths-info":
            wanted = [part.partition("=")[2] for part in unquote(asked).split("&")]
            with contextlib.suppress(ValueError):
                wanted = json.loads(asked)["paths"]
            return self._json([e for e in self._entries(repo, "") if e["path"] in wanted])
        siblings = [{"rfilename": name} for name in self.hub.repos[repo]]
        sha = self.hub.commits[repo]
        return self._json({"id": repo, "sha": sha, "siblings": siblings, "tags": []})

    def _entries(self, repo: str, folder: str) -> list[dict[str, object]]:
        files = self.hub.repos[repo]
        entries: list[dict[str, object]] = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
            for name in sorted({n.rpartition("/")[0] for n in files} - {""})
        ]
        entries += [
            {"type": "file", "oid": _sha(c), "size": len(c), "path": n} for n, c in files.items()
        ]
        return [entry for entry in entries if str(entry["path"]).startswith(folder)]

    def _file(self, repo: str, name: str, commit: str) -> None:
        content = self.hub.repos[repo].get(name)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            return self._send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        return self._send(200, content, {**headers, "ETag": f'"{_sha(content)}"'})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _sha(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextlib.contextmanager
def standin_hub() -> Iterator[StandInHub]:
    """Serve an empty hub on a free loopback port until the block ends."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.hub = StandInHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield handler.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
