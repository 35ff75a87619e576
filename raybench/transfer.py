"""One HTTP connection for ``raybench.download``: what is asked, what came, worth another try?"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.version import __version__

_CHUNK_BYTES = 1 << 20
_WORTH_A_RETRY = frozenset({408, 425, 429})
_WITHOUT_LEAVE = {401: "log in or give a token", 403: "access is not granted", 407: "see the proxy"}


class Transient(Exception):
    """Another try may work, after ``wait_s`` seconds at least."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class Stale(Transient):
    """The bytes that are here do not belong to what the server has; without them it may work."""


class Refused(Exception):
    """Asking again would bring the same answer."""


@dataclass(frozen=True, slots=True)
class Validator:
    """How a server names one version of a file (RFC 9110, 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def usable(self) -> str | None:
        """What ``If-Range`` may hold: weak ETags are not allowed there (RFC 9110, 13.1.5)."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong or self.last_modified

    def as_json(self, url: str) -> dict[str, str | None]:
        """The address as a hash: its query may be a secret."""
        return {"url": _hash(url), "etag": self.etag, "last_modified": self.last_modified}

    @classmethod
    def read(cls, path: Path, url: str) -> Validator | None:
        """What ``as_json`` wrote for ``url``; None where nothing whole was written for it."""
        try:
            data = json.loads(path.read_text())
            return cls(data["etag"], data["last_modified"]) if data["url"] == _hash(url) else None
        except (OSError, ValueError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sends.

    Attributes:
        body: the response, to be read from ``start`` on; None where ``complete``.
        total: size of the whole file in bytes, None where not announced.
        complete: nothing is missing any more.
    """

    body: Any
    start: int = 0
    total: int | None = None
    validator: Validator = Validator()
    complete: bool = False


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise Refused(f"it leads from https to {readable_url(newurl)}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """For http and https alone: a redirect must not reach local files or ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def readable_url(url: str) -> str:
    """``url`` without password, query and fragment: the first two may be secrets."""
    parts = urllib.parse.urlsplit(url)
    query = "?..." if parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


@contextlib.contextmanager
def open_url(url: str, have: int, validator: Validator | None, stall_s: float) -> Iterator[Answer]:
    """Ask for ``url`` from byte ``have`` on, if it is still the version that ``validator`` names.

    Raises:
        Refused: no http(s) address, or the server says no. Transient: anything that may pass.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise Refused("only http and https addresses are fetched")
    headers = {"User-Agent": f"raybench/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator and validator.usable:
            headers["If-Range"] = validator.usable
    try:
        response = _opener().open(_request(url, headers), timeout=stall_s)
    except urllib.error.HTTPError as error:
        with error:
            answer = _judge(error, have)
        yield answer
        return
    except urllib.error.URLError as error:
        raise _unreachable(error.reason) from error
    except TimeoutError as error:
        raise Transient(f"no answer came for {stall_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Transient(f"the connection broke ({_words(error)})") from error
    with response:
        yield _answer(response, have)


def _request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """``user:password@`` as a header, for this server alone: a redirect does not take it along."""
    parts = urllib.parse.urlsplit(url)
    user_info, at, host = parts.netloc.rpartition("@")
    if not at:
        return urllib.request.Request(url, headers=headers)
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers=headers)
    content = base64.b64encode(urllib.parse.unquote(user_info).encode()).decode()
    request.add_unredirected_header("Authorization", f"Basic {content}")
    return request


def read_chunks(answer: Answer, stall_s: float) -> Iterator[bytes]:
    """The body, as it comes.

    Raises:
        Transient: nothing came for ``stall_s`` seconds, or the connection broke.
    """
    while True:
        try:
            chunk = answer.body.read1(_CHUNK_BYTES)
        except TimeoutError as error:
            raise Transient(f"nothing came for {stall_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise Transient(f"the connection broke ({_words(error)})") from error
        if not chunk:
            return
        yield chunk


def _answer(response: Any, have: int) -> Answer:
    headers = response.headers
    length = headers.get("Content-Length")
    start, total = 0, int(length) if length and length.isdigit() else None
    if response.status == 206:
        ranged = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if ranged is None or int(ranged[1]) != have:
            raise Stale(f"the server sent another part of the file than the one from byte {have}")
        start, total = have, None if ranged[2] == "*" else int(ranged[2])
    validator = Validator(headers.get("ETag"), headers.get("Last-Modified"))
    return Answer(response, start, total, validator)


def _judge(error: urllib.error.HTTPError, have: int) -> Answer:
    """An error status: final, passing, or (416) that nothing is missing."""
    code, said = error.code, f"the server answered {error.code} {error.reason}"
    if code == 416 and have:
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return Answer(None, start=have, total=have, complete=True)
        raise Stale(f"{said}, where {have:,} bytes are here already")
    if code in _WORTH_A_RETRY or code >= 500:
        after = error.headers.get("Retry-After") or ""
        raise Transient(said, float(after) if after.isdigit() else 0.0)
    hint = _WITHOUT_LEAVE.get(code)
    raise Refused(f"{said} ({hint})" if hint else said)


def _unreachable(reason: object) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Refused(f"the server's certificate is not trusted ({reason.verify_message})")
    return Transient(f"the server was not reached ({_words(reason)})")


def _words(error: object) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
