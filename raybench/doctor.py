"""What works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raybench.cluster_file import cluster_mistakes
from raybench.download import is_offline
from raybench.errors import RaybenchError
from raybench.exposure import (
    MLFLOW_PORT,
    open_dashboard,
    open_mlflow,
    own_addresses,
    ray_addresses,
    readable_home,
    unsafe_versions,
)
from raybench.gpus import local_gpus, why_alone
from raybench.redaction import redact
from raybench.settings import Settings

LOW_DISK_GB = 5.0
PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pillow")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; ``text`` says what was found and, where it is bad, what to do.

    ``essential``: no sweep runs without it, or others could run one. The hub is not (weights may
    be local or random), nor is the tracking store (``sync`` catches up).
    """

    subject: str
    ok: bool
    text: str
    essential: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; a check that itself fails becomes a finding, never an exception."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _packages,
        _device,
        _ray,
        _token,
        _dashboard,
        _home,
        _ledger,
        _tracking,
        _mlflow_server,
        _hub,
        _disk,
    )
    return [check(settings) for check in checks]


def examine_cluster_file(path: Path) -> list[Finding]:
    """A file for ``ray up``: a finding for every mistake, or one that there is none."""
    mistakes = cluster_mistakes(path)
    found = [Finding("cluster", False, redact(mistake)) for mistake in mistakes]
    return found or [Finding("cluster", True, f"{path} is ready for: ray up {path}")]


def _packages(settings: Settings) -> Finding:
    found: dict[str, str] = {}
    missing: list[str] = []
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        text = f"{', '.join(missing)} not installed; 'pip install raybench' brings them"
        return Finding("packages", False, text)
    if unsafe := unsafe_versions(found):
        return Finding("packages", False, "; ".join(unsafe))
    return Finding("packages", True, ", ".join(f"{name} {v}" for name, v in found.items()))


def _device(settings: Settings) -> Finding:
    import torch

    from raybench.sweep.device import unusable_gpu

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        text = f"{len(names)} GPU: {', '.join(sorted(set(names)))}"
        if why := why_alone(local_gpus()):
            text += f"; {why}: one trial on each at a time"
        return Finding("device", True, text)
    problem = unusable_gpu()
    if problem is not None:
        return Finding("device", False, problem)
    return Finding("device", True, f"no GPU; CPU with {os.cpu_count()} cores")


def _ray(settings: Settings) -> Finding:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding("ray", True, "no RAY_ADDRESS: run starts a private local Ray")
    host, _, port = address.rpartition("://")[2].partition(":")
    if port.isdigit() and not _reachable(host, int(port)):
        return Finding("ray", False, f"RAY_ADDRESS {address} does not answer; unset it or start it")
    return Finding("ray", True, f"RAY_ADDRESS {address}")


def _token(settings: Settings) -> Finding:
    """Whoever has Ray's token runs programs as this user."""
    from raybench.sweep.ray_privacy import readable_by_others, token_file

    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or token_file())
    if readable_by_others(path):
        return Finding("token", False, f"{path} can be read by others; chmod 600 {path}")
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        text = "RAY_AUTH_MODE is disabled: whoever reaches Ray runs programs as you; unset it"
        return Finding("token", False, text, essential=False)
    return Finding("token", True, f"{path}" if path.exists() else "made by the first private Ray")


def _dashboard(settings: Settings) -> Finding:
    words, anybody = open_dashboard(ray_addresses())
    return Finding("dashboard", not words, words or "no Ray dashboard is open", essential=anybody)


def _home(settings: Settings) -> Finding:
    place = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return Finding("home", False, f"cannot write to {place}; give another --home")
    if words := readable_home(settings.home):
        return Finding("home", False, words, essential=False)
    word = "" if settings.home.exists() else " (will be created)"
    return Finding("home", True, f"{settings.home}{word}")


def _ledger(settings: Settings) -> Finding:
    from raybench.sweep.backups import backups
    from raybench.sweep.home import read_everything
    from raybench.sweep.reader import sweep_names
    from raybench.sweep.tables import open_engine

    path = settings.ledger_file
    if path is not None and not path.exists() and not backups(path):
        return Finding("ledger", True, "none yet")
    try:
        engine = open_engine(settings.ledger_url, create=False)
        read_everything(engine)
        names = sweep_names(engine)
        engine.dispose()
    except RaybenchError as error:
        return Finding("ledger", False, str(error))
    return Finding("ledger", True, f"sound; sweeps: {', '.join(names) or 'none yet'}")


def _tracking(settings: Settings) -> Finding:
    from raybench.tracking.client import connect

    uri = redact(settings.tracking_uri)
    if settings.owns_tracking and not (settings.home / "mlflow.db").exists():
        return Finding("tracking", True, f"{uri} (will be created)")
    try:
        connect(settings.tracking_uri).search_experiments(max_results=1)
    except Exception as error:  # noqa: BLE001 - MLflow raises what its backends raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        text = f"{uri}: {redact(first)}; sweeps still run, 'raybench sync' catches up later"
        return Finding("tracking", False, text, essential=False)
    return Finding("tracking", True, uri)


def _mlflow_server(settings: Settings) -> Finding:
    uri = settings.tracking_uri
    places = [uri] if uri.startswith(("http://", "https://")) else []
    words = open_mlflow([*places, *own_addresses(MLFLOW_PORT)])
    return Finding("mlflow", not words, words or "no MLflow server answers strangers")


def _hub(settings: Settings) -> Finding:
    """Pretrained weights come from here; local files and ``weights: none`` need no hub."""
    if is_offline():
        return Finding("hub", True, "HF_HUB_OFFLINE is set: nothing is fetched")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    host = endpoint.rpartition("://")[2].partition("/")[0].partition(":")[0]
    if _reachable(host, 443):
        return Finding("hub", True, f"{endpoint} answers")
    text = (
        f"{endpoint} does not answer; give weights as local files, or set HF_ENDPOINT to a mirror"
    )
    return Finding("hub", False, text, essential=False)


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False


def _disk(settings: Settings) -> Finding:
    place = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < LOW_DISK_GB:
        return Finding("disk", False, f"{free_gb:.1f} GB free at {place}; checkpoints need more")
    return Finding("disk", True, f"{free_gb:.0f} GB free at {place}")
