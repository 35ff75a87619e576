"""Ray starts while the preflight is at work: both take seconds, and most of them are imports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from raybench.sweep.options import RunOptions

MOST_WARM = 16


def is_private(options: RunOptions) -> bool:
    """Whether the Ray is ours alone, and goes when we go."""
    return not (options.address or os.environ.get("RAY_ADDRESS"))


@contextmanager
def ray_in_background(options: RunOptions, cpus: int, trials: int) -> Iterator[Callable[[], None]]:
    """Yields a function that waits for Ray, and raises ``ResourceError`` if it cannot be had.

    A private Ray's first workers import what trials need meanwhile (measured: 4 s of processor time
    each); Ray takes them for the first actors.

    Args:
        options: which Ray.
        cpus: cores of one trial.
        trials: at most so many workers are worth it.
    """
    with ExitStack() as stack, ThreadPoolExecutor(1, "raybench-ray") as pool:

        def start() -> None:
            from raybench.sweep.ray_runner import ray_session, warm_workers

            stack.enter_context(ray_session(options.address, options.num_cpus, options.num_gpus))
            if is_private(options):
                warm_workers(cpus, min(trials, MOST_WARM))

        yield pool.submit(start).result
