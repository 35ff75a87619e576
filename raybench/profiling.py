"""``raybench profile``: what backbones cost, each measured alone in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from raybench.errors import ResourceError
from raybench.measurements import Profile
from raybench.profile_targets import Target, find_targets
from raybench.settings import create_home, resolve_settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Profiled:
    """What was measured, and why the rest was not: name -> reason."""

    profiles: tuple[Profile, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)


def profile(
    what: Sequence[str],
    home: str | Path | None = None,
    image_size: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    tell: Tell = lambda line: None,
) -> Profiled:
    """Measure backbones one after another, and keep the results in the home's ledger.

    Args:
        what: sweeps (of the home, shipped, or files), backbones, groups, patterns.
        home: default ``RAYBENCH_HOME``, else ``./raybench-home``; made where there is none.
        image_size: default the sweep's, else what the published weights were made for.
        device: default the sweep's, else the best that torch offers.
        threads: of the CPU; default what the sweep gives a trial, else 1.
        tell: gets a line per backbone.

    Raises:
        UserInputError: every name that means nothing. ResourceError: a sweep of this home runs.
        HomeError: the home cannot be used.
    """
    settings = resolve_settings(home)
    targets = find_targets(what, settings, image_size, device, threads)
    if not settings.home.exists():
        tell(f"new home: {settings.home}")
    create_home(settings)
    from raybench.sweep.tables import open_engine

    engine = open_engine(settings.ledger_url, create=True)
    try:
        _refuse_beside_sweeps(engine)
        return _measure_all(targets, engine, tell)
    finally:
        engine.dispose()


def _refuse_beside_sweeps(engine: Engine) -> None:
    """Timings beside running trials would be noise.

    Raises:
        ResourceError: a driver of this home is alive, or may be on another host.
    """
    from raybench.sweep.lease import read_holder
    from raybench.sweep.reader import sweep_names

    holders = ((sweep, read_holder(engine, sweep)) for sweep in sweep_names(engine))
    running = [(sweep, holder) for sweep, holder in holders if holder and holder["alive"]]
    if running:
        raise ResourceError(
            f"sweep '{sweep}' is being run by process {holder['pid']} on {holder['host']}, and "
            "costs are measured alone; wait for it, stop it, or use another --home for another "
            "machine"
            for sweep, holder in running
        )


def _measure_all(targets: Sequence[Target], engine: Engine, tell: Tell) -> Profiled:
    from raybench.sweep.profiles import write_profile

    profiles: list[Profile] = []
    failures: dict[str, str] = {}
    for number, target in enumerate(targets, start=1):
        name = target.backbone.name
        tell(f"{number}/{len(targets)}: {name} at {target.image_size} px")
        found = _in_fresh_process(target)
        if isinstance(found, str):
            failures[name] = found
            tell(f"  not measured: {found}")
            continue
        write_profile(engine, found)
        profiles.append(found)
        if found.shared:
            tell(f"  shared: {found.seen}; timings may be too long")
    return Profiled(tuple(profiles), failures)


def _in_fresh_process(target: Target) -> Profile | str:
    """Spawned, since CUDA does not survive a fork, and peaks of memory are a process's."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(measure_target, target).result()
        except BrokenProcessPool:
            return "the process that measured it died; perhaps the machine ran out of memory"


def measure_target(target: Target) -> Profile | str:
    """The profile, or in one sentence why there is none: whatever a model raises can be told."""
    from raybench.trial.failures import one_line
    from raybench.trial.profile import measure_profile

    try:
        return measure_profile(
            target.backbone, target.image_size, target.recipe, target.device, target.threads
        )
    except Exception as error:  # noqa: BLE001 - the others must go on
        return one_line(error)
