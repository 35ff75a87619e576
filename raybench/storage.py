"""Files below one place: a folder (its path) or a part of an object store (``s3://bucket/prefix``).

Through pyarrow, which Ray Tune and MLflow bring along. In a folder a file is whole or not there: it
is written aside and renamed. An upload that fails is taken away again, but a store that is out of
reach by then keeps its stump: who reads an object has its size or its hash from elsewhere. Several
are not written at once, so whoever writes several writes the one that names the others last. What
may pass (a connection that breaks, a store that is busy) is tried again for ``patience_s``; the
rest ends in words, without secrets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from raybench.errors import ResourceError
from raybench.redaction import redact

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
"""What pyarrow reads and writes; ``file`` is a folder like any other."""
PATIENCE_S = 60.0
ASIDE = ".tmp-"
_CONNECT_S, _REQUEST_S, _SDK_ATTEMPTS = 10.0, 60.0, 3
_CHUNK_BYTES = 64 << 20  # of an object, one request each
_REFUSED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "status 403",
            "status 401", "EXPIRED_TOKEN", "InvalidToken", "PERMISSION_DENIED")  # fmt: skip
_NO_BUCKET = ("NO_SUCH_BUCKET", "NoSuchBucket")


def is_url(place: str) -> bool:
    return "://" in place


def url_mistake(url: str) -> str:
    """What is wrong with an address that is to be a store's, in words; empty: nothing."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return f"has no kind of store that is known ({', '.join(f'{s}://' for s in SCHEMES)})"
    if not parts.netloc:
        return f"names no bucket; write {parts.scheme}://BUCKET/PREFIX"
    if parts.password or (parts.username and parts.scheme in ("s3", "gs", "gcs")):
        return "holds credentials; leave them to the store's own variables and files"
    if parts.query or parts.fragment:
        return "has options behind it; give them by the store's own variables (AWS_ENDPOINT_URL)"
    return ""


class Store:
    """The files below ``place``, a folder or a URL; names are relative to it, with slashes.

    Every method raises ``ResourceError`` for a store that cannot be used, at the latest after
    ``patience_s``, and for a folder the system's own ``OSError``.
    """

    def __init__(self, place: str | Path, patience_s: float = PATIENCE_S) -> None:
        self.place = str(place).rstrip("/")
        self.patience_s = patience_s

    def __repr__(self) -> str:
        return f"Store({redact(self.place)!r})"

    @property
    def is_remote(self) -> bool:
        return is_url(self.place)

    def below(self, folder: str) -> Store:
        return Store(self.uri(folder), self.patience_s)

    def uri(self, name: str) -> str:
        """The URL, or in a folder the path, of one file."""
        return f"{self.place}/{name}"

    # -- one file ----------------------------------------------------------------------------

    def put(self, name: str, content: bytes | Path) -> None:
        """Make ``name`` hold ``content``, bytes or those of a file."""
        import pyarrow as pa

        data: Any = content
        if isinstance(content, Path):
            empty = not content.stat().st_size  # nothing that could be mapped
            data = b"" if empty else pa.memory_map(str(content)).read_buffer()
        self._tried("written", lambda: self._write(name, data))

    def _write(self, name: str, data: Any) -> None:
        target = self._path(name)
        if self.is_remote:
            self._upload(target, data)
            return
        folder, _, last = target.rpartition("/")
        aside = f"{folder}/{ASIDE}{uuid.uuid4().hex[:8]}-{last}"
        self._files.create_dir(folder, recursive=True)
        try:
            with Path(aside).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(target)
        finally:
            Path(aside).unlink(missing_ok=True)

    def _upload(self, target: str, data: Any) -> None:
        """In one call, which sends all but the last part; ``close`` sends that and completes."""
        stream = self._files.open_output_stream(target)
        try:
            stream.write(data)
        except BaseException:
            # pyarrow cannot abandon an upload: closed, here or by its destructor, it makes an
            # object of what went up so far. A close that fails below leaves what was there before.
            with contextlib.suppress(OSError):
                stream.close()
            with contextlib.suppress(OSError):
                self._files.delete_file(target)
            raise
        stream.close()

    def get(self, name: str) -> bytes:
        """Its content.

        Raises:
            FileNotFoundError: there is none.
        """

        def read() -> bytes:
            with self._files.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())

        return self._tried("read", read)

    def get_file(self, name: str, target: Path) -> None:
        """Its content as the file ``target``, written aside, flushed and renamed.

        Raises:
            FileNotFoundError: there is none. OSError: ``target`` cannot be written.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{ASIDE}{uuid.uuid4().hex[:8]}-{target.name}")

        def read() -> None:
            with self._files.open_input_stream(self._path(name)) as stream, aside.open("wb") as f:
                while chunk := stream.read(_CHUNK_BYTES):
                    f.write(chunk)
                f.flush()
                os.fsync(f.fileno())

        try:
            self._tried("read", read)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def copy(self, source: str, target: str) -> None:
        """Within the store, without a way over this machine where that can be.

        Raises:
            FileNotFoundError: there is no ``source``.
        """
        if self.is_remote:
            paths = self._path(source), self._path(target)
            self._tried("written", lambda: self._files.copy_file(*paths))
        else:
            self.put(target, Path(self.uri(source)))

    def exists(self, name: str) -> bool:
        kind = self._pyarrow_fs.FileType.File
        path = self._path(name)
        return bool(self._tried("read", lambda: self._files.get_file_info(path).type == kind))

    # -- several -----------------------------------------------------------------------------

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of every file below ``folder``, by name; empty where there is no such folder."""
        top = self._path(folder) if folder else self._root
        selector = self._pyarrow_fs.FileSelector(top, recursive=True, allow_not_found=True)
        found = self._tried("listed", lambda: self._files.get_file_info(selector))
        kind = self._pyarrow_fs.FileType.File
        return {
            info.path.removeprefix(f"{self._root}/"): int(info.size)
            for info in found
            if info.type == kind and not info.base_name.startswith(ASIDE)
        }

    def delete(self, names: Iterable[str]) -> None:
        """Remove files, in this order; one that is not there is as good as removed."""
        for name in names:
            path = self._path(name)
            self._unless_gone(lambda path=path: self._files.delete_file(path))  # type: ignore[misc]

    def delete_tree(self, folder: str) -> None:
        """Remove everything below ``folder`` and itself; gone already is as good."""
        self._unless_gone(lambda: self._files.delete_dir(self._path(folder)))

    def _unless_gone(self, delete: Callable[[], None]) -> None:
        try:
            self._tried("removed", delete)
        except FileNotFoundError:
            pass

    def check(self) -> None:
        """Write a file and remove it: a missing bucket lists as an empty one.

        Raises:
            ResourceError: it cannot be written to.
        """
        name = f".writable-{uuid.uuid4().hex[:8]}"
        try:
            self.put(name, b"")
            self.delete([name])
        except OSError as error:
            raise ResourceError(f"the storage {self.place} cannot be written: {error}") from None

    # -- pyarrow -----------------------------------------------------------------------------

    @cached_property
    def _pyarrow_fs(self) -> ModuleType:
        from pyarrow import fs

        return fs  # type: ignore[no-any-return]

    @cached_property
    def _root(self) -> str:
        """What pyarrow calls the place: ``bucket/prefix``, or the folder's path."""
        if not self.is_remote:
            return str(Path(self.place).absolute())
        parts = urlsplit(self.place)
        if parts.scheme == "hdfs":
            return unquote(parts.path).rstrip("/")
        container = parts.username or parts.netloc  # abfs://CONTAINER@ACCOUNT.dfs...
        return f"{container}{unquote(parts.path)}".rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _files(self) -> Any:
        fs = self._pyarrow_fs
        if not self.is_remote:
            return fs.LocalFileSystem()
        if not self.place.startswith("s3://"):
            return self._tried("opened", lambda: fs.FileSystem.from_uri(self.place)[0])
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        options: dict[str, Any] = {}
        if endpoint:
            parts = urlsplit(endpoint)
            options = {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        return fs.S3FileSystem(
            region=self._region(bool(endpoint)),
            connect_timeout=_CONNECT_S,
            request_timeout=_REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_SDK_ATTEMPTS),
            allow_delayed_open=True,  # a small file is one request
            background_writes=False,  # else a large file would be copied in memory as a whole
            **options,
        )

    def _region(self, elsewhere: bool) -> str:
        """As AWS's own tools take it; else AWS is asked for the bucket's."""
        named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if named or elsewhere:
            return named or "us-east-1"
        bucket = urlsplit(self.place).netloc
        return str(self._tried("found", lambda: self._pyarrow_fs.resolve_s3_region(bucket)))

    def _tried(self, done: str, call: Callable[[], T]) -> T:
        """The call's result; again while it fails in a way that may pass, ever more slowly."""
        deadline, pause = time.monotonic() + self.patience_s, 0.5
        while True:
            try:
                return call()
            except OSError as error:
                if not self.is_remote or error.errno is not None:
                    raise  # a folder's, this machine's disk, or that there is no such object
                words = str(error)
                if "NO_SUCH_KEY" in words:
                    raise FileNotFoundError(errno.ENOENT, _detail(words)) from error
                final = any(sign in words for sign in (*_REFUSED, *_NO_BUCKET))
                if final or time.monotonic() + pause > deadline:
                    raise ResourceError(
                        f"the storage {self.place} cannot be {done}: {self._reason(words)}"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 8.0)

    def _reason(self, words: str) -> str:
        if any(sign in words for sign in _NO_BUCKET):
            bucket = urlsplit(self.place).netloc
            return f"there is no bucket '{bucket}'; make it, or correct RAYBENCH_STORAGE"
        if any(sign in words for sign in _REFUSED):
            return (
                "access is refused; give this machine credentials that may read, write and list "
                "there (a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
            )
        if "NETWORK_CONNECTION" in words or "Timeout" in words:
            return f"it does not answer; see its address and the network ({_detail(words)})"
        return _detail(words)


def _detail(words: str) -> str:
    """The last part of what the SDK says, on one line, without its request's number."""
    line = " ".join(words.partition(" (Request ID")[0].split())
    return line.rpartition(" operation: ")[2][:300]
