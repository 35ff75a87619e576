"""Where a user's sweeps live: arguments first, then ``RAYBENCH_*`` variables, then defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
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
        """The SQLite file, None for a server."""
        prefix = "sqlite:///"
        return Path(self.ledger_url[len(prefix) :]) if self.ledger_url.startswith(prefix) else None


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


def create_home(settings: Settings) -> None:
    """Make the home's folders, private to the user.

    Raises:
        HomeError: a file is in the way, or no permission to write.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (settings.checkpoint_root, settings.cache_dir):
            folder.mkdir(parents=True, exist_ok=True)
        probe = settings.home / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeError(
            f"cannot write to the home {settings.home}: {error.strerror or error}; "
            "give another with --home or RAYBENCH_HOME"
        ) from None
