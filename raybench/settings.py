"""Where a user's sweeps live: arguments first, then ``RAYBENCH_*`` variables, then defaults."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path

from raybench.errors import HomeError, ResourceError
from raybench.storage import is_url, url_mistake

DEFAULT_HOME = "raybench-home"
RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for what a job runs, whose working folder is gone when the job is."""


@dataclass(frozen=True)
class Settings:
    """Places of one home.

    Attributes:
        home: absolute folder. ledger_url: SQLAlchemy URL. tracking_uri: MLflow's.
        artifact_root: folder or URL for MLflow's artefacts; None: its server decides.
        checkpoint_root: checkpoints; with a ``storage_url`` each node's scratch folder for them.
        cache_dir: decoded data sets and downloads.
        weights_dir: folder of weights files for machines without network (``RAYBENCH_WEIGHTS``).
        storage_url: object store of checkpoints, artefacts and data sets; None: a folder is.
        publish: whether MLflow gets the page of a sweep that is over (``RAYBENCH_PUBLISH``).
    """

    home: Path
    ledger_url: str
    tracking_uri: str
    artifact_root: str | None
    checkpoint_root: Path
    cache_dir: Path
    weights_dir: Path | None = None
    storage_url: str | None = None
    publish: bool = True

    @property
    def storage(self) -> str:
        """URL or folder that all nodes reach: of checkpoints, shared data sets and weights."""
        return self.storage_url or str(self.checkpoint_root.parent)

    @property
    def checkpoints(self) -> str:
        """URL or folder that the records' paths are relative to."""
        return f"{self.storage}/checkpoints"

    @property
    def owns_tracking(self) -> bool:
        """Whether MLflow's store is this home's own, which nobody else writes to."""
        return self.tracking_uri == f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def ledger_file(self) -> Path | None:
        """The SQLite file, None for a server (and for a URL with options, which is refused)."""
        place = self.ledger_url.removeprefix("sqlite:///")
        return None if place == self.ledger_url or "?" in place else Path(place)


def resolve_settings(
    home: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings for ``home`` (or ``RAYBENCH_HOME``, or ``./raybench-home``); creates nothing.

    In a Ray job it is ``~/raybench-home``. ``MLFLOW_TRACKING_URI`` counts where
    ``RAYBENCH_TRACKING_URI`` is absent.

    Raises:
        ResourceError: ``RAYBENCH_STORAGE`` is neither a folder nor an object store's address.
    """
    env = os.environ if environ is None else environ
    default = f"~/{DEFAULT_HOME}" if RAY_JOB in env else DEFAULT_HOME
    root = Path(home or env.get("RAYBENCH_HOME") or default).expanduser().resolve()
    tracking = env.get("RAYBENCH_TRACKING_URI") or env.get("MLFLOW_TRACKING_URI")
    weights = env.get("RAYBENCH_WEIGHTS")
    cache = Path(env.get("RAYBENCH_CACHE") or root / "cache").expanduser().resolve()
    storage = _storage(env.get("RAYBENCH_STORAGE") or str(root))
    url = storage if isinstance(storage, str) else None
    return Settings(
        home=root,
        ledger_url=env.get("RAYBENCH_LEDGER_URL") or f"sqlite:///{root / 'ledger.db'}",
        tracking_uri=tracking or f"sqlite:///{root / 'mlflow.db'}",
        artifact_root=f"{storage}/artifacts" if _decides_nothing(tracking) else None,
        checkpoint_root=cache / "scratch" if isinstance(storage, str) else storage / "checkpoints",
        cache_dir=cache,
        weights_dir=Path(weights).expanduser().resolve() if weights else None,
        storage_url=url,
        publish=env.get("RAYBENCH_PUBLISH", "1") != "0",
    )


def _storage(place: str) -> Path | str:
    """A folder, or the URL of an object store.

    Raises:
        ResourceError: an address that is neither.
    """
    folder = place.removeprefix("file://") if place.startswith("file:///") else place
    if not is_url(folder):
        if re.match(r"[a-z0-9]+:/(?!/)", folder):
            raise ResourceError(f"RAYBENCH_STORAGE is '{place}'; an address has two slashes")
        return Path(folder).expanduser().resolve()
    if mistake := url_mistake(folder):
        raise ResourceError(f"RAYBENCH_STORAGE is '{place}', which {mistake}; or give a folder")
    return folder.rstrip("/")


def _decides_nothing(tracking_uri: str | None) -> bool:
    """Whether MLflow's store is a database, whose artefacts would land in the working folder."""
    return tracking_uri is None or not re.match(r"(?i)https?|databricks|uc(?=:)", tracking_uri)


def make_home(settings: Settings) -> None:
    """The home's folder alone. A new one is private; one that is there keeps its mode.

    Raises:
        HomeError: a file is in the way, or no permission to write.
    """
    with _in_words(settings.home):
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)


def create_home(settings: Settings) -> None:
    """The home with its folders, as private as itself.

    Raises:
        HomeError: a file is in the way, or no permission to write.
    """
    make_home(settings)
    with _in_words(settings.home):
        with private_files(settings.home):
            settings.checkpoint_root.mkdir(parents=True, exist_ok=True)
            if settings.cache_dir.is_relative_to(settings.home):
                settings.cache_dir.mkdir(parents=True, exist_ok=True)
        settings.cache_dir.mkdir(parents=True, exist_ok=True)  # elsewhere it may be a lab's
        probe = settings.home / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()


@contextmanager
def _in_words(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HomeError(
            f"cannot write to the home {home}: {error.strerror or error}; "
            "give another with --home or RAYBENCH_HOME"
        ) from None


def private_umask(folder: Path) -> int:
    """The umask for what is written to ``folder``: others get nothing, its group what it gives.

    A plain ``mkdir`` lets everybody in, so group bits count only where others are shut out, or the
    folder hands on its group (setgid): modes that somebody has set on purpose.
    """
    mode = folder.stat().st_mode if folder.exists() else 0
    shared = bool(mode & stat.S_ISGID) or not mode & stat.S_IRWXO
    return stat.S_IRWXO | (~mode & stat.S_IRWXG if shared else stat.S_IRWXG)


class _Umask:
    """The one umask of this process, which uses in several threads share.

    While they overlap, what any of them keeps from others is kept; the last one to end puts back
    what was there before the first. Inside one thread its innermost use counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before = 0
        self._uses: dict[object, tuple[int, int]] = {}  # each: thread and umask, the oldest first

    def begin(self, umask: int) -> object:
        use = object()
        with self._lock:
            if not self._uses:
                self._before = os.umask(umask)
            self._uses[use] = threading.get_ident(), umask
            self._set()
        return use

    def end(self, use: object) -> None:
        with self._lock:
            del self._uses[use]
            self._set()

    def _set(self) -> None:
        innermost = dict(self._uses.values())
        os.umask(reduce(or_, innermost.values()) if innermost else self._before)

    def read(self) -> int:
        """The umask now; to read it means to set it, so no other use may begin meanwhile."""
        with self._lock:
            now = os.umask(0o077)  # closed, should another thread write a file just now
            os.umask(now)
            return now


_umask = _Umask()


def current_umask() -> int:
    return _umask.read()


@contextmanager
def private_files(folder: Path) -> Iterator[None]:
    """Meanwhile this process, and those that it starts, write files as private as ``folder``."""
    use = _umask.begin(private_umask(folder))
    try:
        yield
    finally:
        _umask.end(use)
