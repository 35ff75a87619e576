"""The Ray to run on: the one that was named, else a private local one of this run's own.

It starts while the preflight is at work, for both take seconds. This module sets what Ray reads
when it is imported, so it comes before Ray, and imports Ray in functions. How a private Ray is kept
to its owner: ``ray_privacy``.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Any

from raybench.errors import ResourceError
from raybench.sweep.options import RunOptions
from raybench.sweep.ray_privacy import keep_to_loopback, keep_token, scratch_folder

logger = logging.getLogger(__name__)
# Read by Ray when it is imported. No limit on pending trials: the searcher limits itself. No
# snapshots or logger files of Tune's own: the ledger has it all.
_ENVIRONMENT = {
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
MOST_PRELOADED = 16
PRELOADING = "RAY_preload_python_modules"
# Ray ends workers that were idle for a second where there are more than cores (the stop signal's is
# one too many); the preflight takes longer than that.
_PRELOADED = {
    PRELOADING: "raybench.sweep.preload",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
}

# Ray says the same of a dead cluster and of one that wants another token.
_TOKEN_HINT = (
    "if it is up, it wants a token: set RAY_AUTH_MODE=token, and put the cluster's token into "
    "~/.ray/auth_token (chmod 600) or RAY_AUTH_TOKEN"
)


def is_private(options: RunOptions) -> bool:
    """Whether the Ray is ours alone, and goes when we go."""
    return not (options.address or os.environ.get("RAY_ADDRESS"))


@contextmanager
def _preloading(cores: int) -> Iterator[None]:
    """A private Ray's first workers, one per core, import what trials need before they are asked.

    An actor then starts in 0.1 s instead of some 4 s of processor time. Not where cores are many:
    most of the workers would be in vain, with 0.4 GB each.
    """
    if cores > MOST_PRELOADED or PRELOADING in os.environ:
        yield
        return
    ours = {name: value for name, value in _PRELOADED.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


@contextmanager
def ray_session(
    address: str | None, num_cpus: int | None = None, num_gpus: int | None = None
) -> Iterator[None]:
    """Connect to the Ray named by ``address`` or ``RAY_ADDRESS``, else start a private local one.

    Raises:
        ResourceError: it cannot be reached or started.
    """
    import ray

    # Ray prints what its processes report to stdout, which carries results only. A private name.
    ray._private.worker.print_to_stdstream = _log
    # Tune reports on files that it was told not to write; what a user should know, raybench says.
    for noisy in ("ray", "ray.tune"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    target = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": False,
        "namespace": "raybench",
    }
    with ExitStack() as stack:
        if not target:
            stack.enter_context(_preloading(num_cpus or os.cpu_count() or 1))
            stack.enter_context(keep_to_loopback())
            stack.enter_context(keep_token())
            options |= {"include_dashboard": False, "num_cpus": num_cpus, "num_gpus": num_gpus}
            options |= {"_temp_dir": scratch_folder()}
        _connect(target, options)
        try:
            yield
        finally:
            ray.shutdown()


def _log(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """What a user should know of it, the searcher says."""
    logger.info("Ray: %s", "\n".join(data["lines"]))


def _connect(target: str | None, options: Mapping[str, Any]) -> None:
    import ray

    try:
        ray.init(address=target or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        where = f"the Ray cluster at {target}" if target else "a local Ray"
        first = (str(error).splitlines() or ["no reason given"])[0]
        hint = f"; {_TOKEN_HINT}" if target else ""
        raise ResourceError(f"cannot reach {where}: {first}{hint}") from None


@contextmanager
def ray_in_background(options: RunOptions) -> Iterator[Callable[[], None]]:
    """Yields a function that waits for Ray, and raises ``ResourceError`` if it cannot be had."""
    # Imported here: threads that import what depends on each other see half-made modules (measured
    # with ray.tune and torchvision). The thread only starts processes.
    importlib.import_module("ray")
    # It stays until Ray has gone: the kernel kills Ray's processes with the thread that has
    # started them (PR_SET_PDEATHSIG).
    with ThreadPoolExecutor(1, "raybench-ray") as pool, ExitStack() as stack:

        def start() -> None:
            stack.enter_context(ray_session(options.address, options.num_cpus, options.num_gpus))

        started = pool.submit(start)
        try:
            yield started.result
        finally:
            wait([started])
