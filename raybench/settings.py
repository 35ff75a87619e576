"""Where a user's sweeps live: arguments first, then ``RAYBENCH_*`` variables, then defaults."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path

from raybench.errors import HomeError

DEFAULT_HOME = "raybench-home"


@dataclass(frozen=True)
class Settings:
    """Places of one home.

    Attributes:
        home: absolute folder. ledger_url: SQLAlchemy URL. tracking_uri: MLflow's.
        artifact_root: MLflow's artefacts when the store is the home's own, else None.
        checkpoint_root: checkpoints. cache_dir: decoded data sets and downloads.
        weights_dir: folder of weights files for machines without network (``RAYBENCH_WEIGHTS``).
    """

    home: Path
    ledger_url: str
    tracking_uri: str
    artifact_root: str | None
    checkpoint_root: Path
    cache_dir: Path
    weights_dir: Path | None = None

    @property
    def ledger_file(self) -> Path | None:
        """The SQLite file, None for a server (and for a URL with options, which is refused)."""
        place = self.ledger_url.removeprefix("sqlite:///")
        return None if place == self.ledger_url or "?" in place else Path(place)


def resolve_settings(
    home: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings for ``home`` (or ``RAYBENCH_HOME``, or ``./raybench-home``); creates nothing.

    ``MLFLOW_TRACKING_URI`` counts where ``RAYBENCH_TRACKING_URI`` is absent.
    """
    env = os.environ if environ is None else environ
    root = Path(home or env.get("RAYBENCH_HOME") or DEFAULT_HOME).expanduser().resolve()
    tracking = env.get("RAYBENCH_TRACKING_URI") or env.get("MLFLOW_TRACKING_URI")
    weights = env.get("RAYBENCH_WEIGHTS")
    storage = Path(env.get("RAYBENCH_STORAGE") or root).expanduser().resolve()
    return Settings(
        home=root,
        ledger_url=env.get("RAYBENCH_LEDGER_URL") or f"sqlite:///{root / 'ledger.db'}",
        tracking_uri=tracking or f"sqlite:///{root / 'mlflow.db'}",
        artifact_root=None if tracking else str(storage / "artifacts"),
        checkpoint_root=storage / "checkpoints",
        cache_dir=Path(env.get("RAYBENCH_CACHE") or root / "cache").expanduser().resolve(),
        weights_dir=Path(weights).expanduser().resolve() if weights else None,
    )


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
