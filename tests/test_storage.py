"""A folder and an object store are one thing to whoever keeps files there."""

from __future__ import annotations

import errno
import http.server
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raybench.errors import ResourceError
from raybench.storage import ASIDE, Store, url_mistake
from tests.object_store_server import ObjectStore, object_store


class StoreContract:
    """What every store does; ``store`` is an empty one."""

    def test_what_was_put_is_got(self, store: Store, tmp_path: Path) -> None:
        large = os.urandom(12_000_000)  # more than one part of an upload
        (tmp_path / "large").write_bytes(large)
        (tmp_path / "empty").write_bytes(b"")
        store.put("a/b/small", b"\0text")
        store.put("a/large", tmp_path / "large")
        store.put("a/empty", tmp_path / "empty")
        assert store.get("a/b/small") == b"\0text"
        assert store.get("a/empty") == b""
        store.get_file("a/large", tmp_path / "deep/er/got")
        assert (tmp_path / "deep/er/got").read_bytes() == large
        assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["got"]

    def test_what_is_put_again_is_replaced(self, store: Store) -> None:
        store.put("a", b"old and longer")
        store.put("a", b"new")
        assert store.get("a") == b"new"

    def test_what_is_not_there_is_not_found(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.get("no/such")
        with pytest.raises(FileNotFoundError):
            store.get_file("no/such", tmp_path / "target")
        with pytest.raises(FileNotFoundError):
            store.copy("no/such", "target")
        assert list(tmp_path.glob("*target*")) == []
        assert not store.exists("no/such") and not store.exists("no")
        assert store.sizes("no") == {}
        store.delete(["no/such"])
        store.delete_tree("no")

    def test_listing_goes_deep_and_stays_below(self, store: Store) -> None:
        for name in ("ab/1", "ab/c/22", "abc/333", "z"):
            store.put(name, name[-1:].encode() * len(name))
        assert store.sizes("ab") == {"ab/1": 4, "ab/c/22": 7}
        assert store.sizes() == {"ab/1": 4, "ab/c/22": 7, "abc/333": 7, "z": 1}
        assert store.exists("ab/1") and not store.exists("ab")
        assert store.below("ab").sizes() == {"1": 4, "c/22": 7}

    def test_removing_takes_what_is_named(self, store: Store) -> None:
        for name in ("a/1", "a/2", "a/b/3", "ab/4"):
            store.put(name, b"x")
        store.delete(["a/1", "a/none"])
        assert set(store.sizes()) == {"a/2", "a/b/3", "ab/4"}
        store.delete_tree("a/b")
        assert set(store.sizes()) == {"a/2", "ab/4"}
        store.delete_tree("a")
        assert set(store.sizes()) == {"ab/4"}

    def test_a_copy_is_another_file(self, store: Store) -> None:
        store.put("a", b"one")
        store.copy("a", "b/c")
        store.put("a", b"two")
        assert store.get("b/c") == b"one"

    def test_a_check_leaves_nothing(self, store: Store) -> None:
        store.check()
        assert store.sizes() == {}

    def test_a_full_disk_of_this_machine_is_said_as_such(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store.put("a", b"x" * 100)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError) as error:
            store.get_file("a", tmp_path / "node" / "target")
        assert error.value.errno == errno.ENOSPC
        assert list((tmp_path / "node").iterdir()) == [], "half a file fills it further"


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(tmp_path / "a folder" / "deep")

    def test_half_a_file_is_not_listed(self, store: Store) -> None:
        store.put("a/1", b"x")
        (Path(store.place) / "a" / f"{ASIDE}2").write_bytes(b"half")
        assert set(store.sizes()) == {"a/1"}

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ResourceError, match=f"the storage {tmp_path}/file cannot be written"):
            Store(tmp_path / "file").check()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.mark.slow
class TestObjectStore(StoreContract):
    @pytest.fixture
    def store(
        self, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> Store:
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        return Store(f"{s3.url}/{request.node.name}/", patience_s=5.0)

    def test_a_bucket_that_is_missing_is_named(self, store: Store) -> None:
        with pytest.raises(ResourceError, match="there is no bucket 'no-such'; make it, or corr"):
            Store("s3://no-such/x").check()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What a store in this process answers with an error: "whole", or a part's number."""
    models = pytest.importorskip("moto.s3.models", reason="pip install 'raybench[test]'")
    from moto.s3.exceptions import S3ClientError
    from moto.server import ThreadedMotoServer

    found: set[str] = set()

    def unless_refused(name: str, what: Callable[..., str]) -> None:
        real = getattr(models.S3Backend, name)

        def call(*args: Any, **named: Any) -> object:
            if what(*args) in found:
                raise S3ClientError("InternalError", "no")
            return real(*args, **named)

        monkeypatch.setattr(models.S3Backend, name, call)

    unless_refused("put_object", lambda *args: "whole")
    unless_refused("upload_part", lambda backend, bucket, upload, part, *_: str(part))
    monkeypatch.setattr("raybench.storage._SDK_ATTEMPTS", 1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in ObjectStore(f"http://{host}:{port}").environ.items():
        monkeypatch.setenv(name, value)
    try:
        yield found
    finally:
        server.stop()


@pytest.mark.slow
def test_an_upload_that_fails_leaves_no_stump(refused: set[str]) -> None:
    """pyarrow's stream, closed after an error, would complete what it has begun."""
    import boto3

    boto3.client("s3").create_bucket(Bucket="bucket")
    store = Store("s3://bucket/x", patience_s=0.0)
    parts = b"x" * 25_000_000  # two, and a rest that goes up when the stream is closed
    for part, left in {"1": {}, "2": {}, "3": {"a": 3}}.items():
        store.put("a", b"old")
        refused.add(part)
        with pytest.raises(ResourceError, match="cannot be written"):
            store.put("a", parts)
        assert store.sizes() == left, f"after part {part}"
        refused.clear()
    refused.add("whole")
    with pytest.raises(ResourceError, match="cannot be written"):
        store.put("a", b"small")
    refused.clear()
    assert store.get("a") == b"old"
    store.put("a", parts)
    assert store.sizes() == {"a": len(parts)}


# -- an address that answers as it is told ----------------------------------------------------


class _Answers(http.server.BaseHTTPRequestHandler):
    """Takes answers from the server's list; after its end everything is well."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answers: list[tuple[int, str]] = self.server.answers  # type: ignore[attr-defined]
        status, code = answers.pop(0) if answers else (200, "")
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>" if code else ""
        self.send_response(status)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_PUT = do_GET = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' screen."""


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """The answers that are to come, of the store that the environment names."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    server.answers = answers = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    store = ObjectStore(f"http://127.0.0.1:{server.server_port}")
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_refused_access_is_said_at_once(answering: list[tuple[int, str]]) -> None:
    answering += [(403, "AccessDenied")] * 4
    started = time.monotonic()
    with pytest.raises(ResourceError, match="access is refused; give this machine credentials"):
        Store("s3://bucket/x").put("a", b"1")
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_a_store_that_is_away_for_a_moment_is_waited_for(
    answering: list[tuple[int, str]],
) -> None:
    answering += [(503, "SlowDown")] * 5  # more than the SDK tries by itself
    Store("s3://bucket/x").put("a", b"1")
    assert answering == []


@pytest.mark.slow
def test_a_store_that_stays_away_is_said_in_words(
    answering: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ResourceError) as error:
        Store("s3://bucket/x", patience_s=0.0).put("a", b"1")
    (words,) = error.value.sentences
    assert words.startswith(
        "the storage s3://bucket/x cannot be written: it does not answer; see its address"
    )
    assert "testing" not in words and "\n" not in words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("foo://bucket", "no kind of store that is known"),
        ("https://bucket.s3.amazonaws.com", "no kind of store that is known"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://key:secret@bucket", "holds credentials"),
        ("s3://bucket/x?region=eu", "has options behind it"),
        ("s3://bucket", ""),
        ("s3://bucket/a/b", ""),
        ("abfs://container@account.dfs.core.windows.net/x", ""),
    ],
)
def test_an_address_is_looked_at_before_it_is_used(url: str, words: str) -> None:
    assert words in url_mistake(url) and bool(words) == bool(url_mistake(url))
