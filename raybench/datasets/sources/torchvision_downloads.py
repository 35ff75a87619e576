"""torchvision's downloads through ``raybench.download``: resumed, retried, told, refused once."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raybench.download import DownloadError, download, recorded_sha256, refuse_offline
from raybench.errors import ResourceError

Failures = dict[str, ResourceError]
_one_at_a_time = threading.Lock()  # torchvision's functions are replaced while it works


@contextlib.contextmanager
def downloads_by(tell: Callable[[str], None], failures: Failures) -> Iterator[None]:
    """Let torchvision fetch files as all of raybench does; it still checks their MD5.

    ``failures`` gets, by address, what went wrong with the last file that was asked for: more than
    one where it has mirrors, none where it came.
    """
    from torchvision.datasets import pcam, utils

    def fetch(url: str, filename: str | Path, *_: object, **__: object) -> None:
        target = Path(filename)
        if error := failures.get(url.replace("http:", "https:", 1)):
            raise _for_torchvision(error)  # it asks again, without encryption
        try:
            refuse_offline(url, target)
            _remove(target)  # torchvision found it damaged, or it would not ask
            download(url, target, tell=tell)
        except ResourceError as error:
            failures[url] = error
            raise _for_torchvision(error) from error
        failures.clear()

    def fetch_from_drive(
        file_id: str, root: str, filename: str | None = None, md5: str | None = None
    ) -> None:
        url = f"https://drive.google.com/file/d/{file_id}"
        target = Path(root).expanduser() / (filename or file_id)
        try:
            if not utils.check_integrity(target, md5):
                refuse_offline(url, target)
        except ResourceError as error:
            failures[url] = error
            raise _for_torchvision(error) from error
        from_drive(file_id, root, filename, md5)

    def as_given(url: str, *_: object, **__: object) -> str:
        return url  # redirects are followed by ``download``, with a time limit

    from_drive = utils.download_file_from_google_drive
    ours: list[tuple[Any, str, object]] = [
        (utils, "_urlretrieve", fetch),
        (utils, "_get_redirect_url", as_given),
        (utils, "download_file_from_google_drive", fetch_from_drive),
        (pcam, "download_file_from_google_drive", fetch_from_drive),
    ]
    with _one_at_a_time:
        theirs = [(module, name, getattr(module, name)) for module, name, _ in ours]
        _put(ours)
        try:
            yield
        finally:
            _put(theirs)


def in_words(failures: Failures) -> tuple[str, str]:
    """What was tried for one file, at all its addresses; and what a person can do, or nothing."""
    tried, by_hand = [], ""
    for error in failures.values():
        tried.append(error.tried if isinstance(error, DownloadError) else str(error))
        by_hand = error.by_hand if isinstance(error, DownloadError) else by_hand
    return "; ".join(tried), by_hand


def _for_torchvision(error: ResourceError) -> urllib.error.URLError:
    """What makes it try the next mirror."""
    return urllib.error.URLError(str(error))


def _remove(target: Path) -> None:
    if target.exists():
        target.unlink()
        if recorded_sha256(target) is not None:
            target.with_name(f"{target.name}.sha256").unlink()


def _put(functions: list[tuple[Any, str, object]]) -> None:
    for module, name, function in functions:
        setattr(module, name, function)
