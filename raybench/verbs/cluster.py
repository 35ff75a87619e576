"""Verbs about jobs on a cluster: submit a sweep, read what it says, stop it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from raybench.cluster.lines import Submitted, machine_line, own_lines, versions
from raybench.errors import ResourceError
from raybench.verbs.output import print_json, tell
from raybench.version import __version__

DRAINED = 130
_CODES = (0, 1, 2, 3, DRAINED, 143)


def submit(arguments: argparse.Namespace) -> int:
    from raybench.cluster.submitting import Order, wait_begun
    from raybench.cluster.submitting import submit as submit_order

    order = Order(
        source=arguments.file,
        overrides=arguments.overrides,
        address=arguments.address,
        home=arguments.home,
        working_dir=arguments.working_dir,
        runtime_env=arguments.runtime_env,
        python=arguments.python,
        max_gpus=arguments.max_gpus,
        accept_leaks=arguments.accept_leaks,
    )
    client, job = submit_order(order, tell)
    at = f" --address {order.address}" if order.address else ""
    tell(f"submitted as {job.id}")
    look = f"look: raybench logs {job.sweep}{at} -f    end it: raybench stop {job.sweep}{at}"
    code = 0
    try:
        begun = wait_begun(client, job, tell)
        if begun:
            other = "" if begun["raybench"] == __version__ else f" (here: {__version__})"
            tell(f"raybench {begun['raybench']}{other} has begun, in {begun['home']}")
        if arguments.wait:
            code = _watch(client, job, print_result=not arguments.json)
        else:
            tell(look)
    except KeyboardInterrupt:
        tell(f"{job.id} goes on without this terminal; {look}")
        return DRAINED
    if arguments.json:
        print_json(_facts(client, job) | {"home": begun.get("home", job.home)})
    elif not arguments.wait:
        print(job.id)
    return code


def _facts(client: Any, job: Any) -> dict[str, Any]:
    from raybench.cluster.jobs import read_job

    now = read_job(client, job.id)
    return {
        "sweep": job.sweep,
        "submission_id": job.id,
        "address": client.get_address(),
        "status": now.status.lower(),
        "exit_code": now.exit_code,
    }


def _watch(client: Any, job: Any, print_result: bool) -> int:
    """Show a job as ``run`` shows a sweep; returns what ``run`` would."""
    from raybench.cluster.following import Listener, follow
    from raybench.cluster.jobs import read_job
    from raybench.cluster.submitting import why_ended
    from raybench.terminal.console import ConsoleObserver, Progress

    with ConsoleObserver() as observer:

        def show(content: dict[str, Any]) -> None:
            if observer.is_due():
                observer.show(Progress(content["caption"], content["rows"]))

        result = print if print_result else observer.message
        listener = Listener(observer.message, result, show)
        for line in follow(client, job.id):
            listener.hear(line)
    now = read_job(client, job.id)
    if not listener.begun:
        raise why_ended(now, client.get_job_logs(job.id))
    return _exit_code(now, listener.exit_code)


def _exit_code(job: Any, said: int | None) -> int:
    """Of the run: its own last word, else what Ray knows.

    Raises:
        ResourceError: the driver was killed.
    """
    if said is not None:
        return said
    if job.status == "STOPPED":
        return DRAINED
    if job.exit_code not in _CODES:
        reason = next(iter(job.message.strip().splitlines()), "Ray gives no reason")
        raise ResourceError(
            f"{job.id} was cut off ({reason}); submit it again, and it goes on from its ledger"
        )
    return int(job.exit_code)


def logs(arguments: argparse.Namespace) -> int:
    from raybench.cluster.client import connect
    from raybench.cluster.following import follow, readable
    from raybench.cluster.jobs import newest_job

    client = connect(arguments.address)
    job = newest_job(client, arguments.sweep, arguments.home)
    tell(f"{job.id}: {job.status.lower()}")
    if job.status == "FAILED" and job.exit_code is None:
        tell(job.message)  # Ray could not start it, so it has said nothing
    lines = follow(client, job.id) if arguments.follow else _so_far(client, job)
    for line in readable(lines):
        print(line, flush=arguments.follow)
    return 0


def _so_far(client: Any, job: Any) -> Iterator[str]:
    return iter(client.get_job_logs(job.id).splitlines())


def stop(arguments: argparse.Namespace) -> int:
    from raybench.cluster.client import connect
    from raybench.cluster.jobs import newest_job
    from raybench.cluster.stopping import stop_job

    client = connect(arguments.address)
    job = newest_job(client, arguments.sweep, arguments.home)
    print(stop_job(client, job, tell))
    return 0


def sync_there(arguments: argparse.Namespace) -> int:
    from raybench.cluster.client import connect
    from raybench.cluster.errands import run_there

    name = [arguments.sweep] if arguments.sweep else []
    client = connect(arguments.address)
    output = run_there(client, ["sync", *name], arguments.sweep, arguments.home)
    for line in own_lines(output):
        print(line)
    return 0


def begin_job(submitted: Submitted, home: str | None) -> None:
    """The first words of a run that was submitted; they reach the sender.

    Raises:
        ResourceError: the sender has another raybench, whose results would be others.
    """
    from raybench.settings import resolve_settings

    if refusal := submitted.refusal():
        raise ResourceError(refusal)
    place = str(resolve_settings(home).home)
    print(machine_line("begun", {**versions(), "home": place}), file=sys.stderr, flush=True)
