"""A file from an object store (``s3://``, ``gs://``, ...), through fsspec where its driver is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from raybench.errors import ResourceError
from raybench.transfer import readable_url
from raybench.whole_files import beside, measure, write_text


def copy_from_store(
    url: str, target: Path, find_fault: Callable[[Path], str], tell: Callable[[str], None]
) -> None:
    """Make ``target`` be the object, once per node; the store's own variables give access.

    Its SHA-256 is recorded beside it, as ``download`` does; ``find_fault`` is that of ``download``.

    Raises:
        ResourceError: no driver for this kind of store, or the object is out of reach.
    """
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                tell(f"fetching {readable_url(url)}")
                _copy(url, target, find_fault)
    except ResourceError:
        raise
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise ResourceError(
            f"{scheme}:// needs fsspec's driver for it ({error}); install that, or give a local "
            "file or an https address"
        ) from error
    except Exception as error:  # a store's driver raises anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ResourceError(f"{readable_url(url)} cannot be read ({reason})") from error


def _copy(url: str, target: Path, find_fault: Callable[[Path], str]) -> None:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    store, place = url_to_fs(url)
    aside = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        store.get_file(place, str(aside))
        if fault := find_fault(aside):
            raise ResourceError(f"what {readable_url(url)} holds {fault}, and was thrown away")
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
        write_text(beside(target, ".sha256"), f"{measure(target)[0]}  {target.name}\n")
    finally:
        aside.unlink(missing_ok=True)
