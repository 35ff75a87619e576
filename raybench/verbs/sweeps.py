"""Verbs about a sweep: declare it, run it, look at it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.cluster.lines import Submitted, machine_line
from raybench.errors import UserInputError
from raybench.verbs.cluster import begin_job
from raybench.verbs.output import print_json, print_table, tell

if TYPE_CHECKING:
    from raybench.records import SweepSnapshot
    from raybench.settings import Settings
    from raybench.sweep.options import Observer
    from raybench.sweep.run import RunResult


def validate(arguments: argparse.Namespace) -> int:
    from raybench.validate import load_spec

    mistakes: list[str] = []
    for file in arguments.files:
        try:
            spec = load_spec(file, arguments.overrides, tell)
        except UserInputError as error:
            mistakes += error.mistakes
        else:
            print(f"{file}: ok, sweep '{spec.name}'")
    if mistakes:
        raise UserInputError(mistakes)
    return 0


def plan(arguments: argparse.Namespace) -> int:
    from raybench.estimate import estimate_plan
    from raybench.settings import resolve_settings
    from raybench.validate import load_spec

    spec = load_spec(arguments.file, arguments.overrides, tell)
    settings = resolve_settings(arguments.home)
    estimate = estimate_plan(spec, settings, arguments.usd_per_hour, arguments.devices)
    if arguments.json:
        print_json(estimate.as_json())
        return 0
    from raybench.terminal.plan import plan_table

    print_table(plan_table(estimate))
    return 0


def run(arguments: argparse.Namespace) -> int:
    submitted = Submitted.from_text(arguments.submitted_by) if arguments.submitted_by else None
    if submitted is not None:
        begin_job(submitted, arguments.home)
    from raybench.library import run_sweep_file

    with _observer(submitted, arguments.quiet) as observer:
        arguments.file, is_folder = _sweep_file(arguments, observer.message)
        result = run_sweep_file(
            arguments.file,
            home=arguments.home,
            overrides=arguments.overrides,
            inline=arguments.inline,
            address=arguments.address,
            max_gpus=arguments.max_gpus,
            num_cpus=arguments.num_cpus,
            num_gpus=arguments.num_gpus,
            accept_leaks=arguments.accept_leaks,
            tracking=not arguments.no_tracking,
            observer=observer,
        )
    from raybench.settings import resolve_settings

    settings = resolve_settings(arguments.home)
    _print_results(result, settings, submitted, is_folder)
    for line in _next_steps(arguments, result, submitted):
        print(line, file=sys.stderr)
    if not arguments.no_tracking:
        from raybench.publishing import publish_end

        publish_end(result, settings)
    return result.exit_code


def _print_results(
    result: RunResult, settings: Settings, submitted: Submitted | None, is_folder: bool
) -> None:
    """The leaderboard, between the lines that the sending side waits for."""
    from raybench.report.tables import leaderboard_table
    from raybench.reporting import Choices, report_of

    analysis = report_of(result.snapshot, settings, Choices()).analysis
    if submitted is not None:
        print(machine_line("result", True))
    print_table(leaderboard_table(analysis))
    if is_folder:
        print("\n".join(analysis.headline.by_task.values()))
    if submitted is not None:
        print(machine_line("ended", result.exit_code))


def _observer(submitted: Submitted | None, quiet: bool) -> AbstractContextManager[Observer]:
    from raybench.terminal.console import ConsoleObserver, JobObserver

    return ConsoleObserver(quiet) if submitted is None else nullcontext(JobObserver())


def _sweep_file(arguments: argparse.Namespace, tell: Callable[[str], None]) -> tuple[str, bool]:
    """The file to run, and whether it was made for (or found beside) a folder of images."""
    from raybench.validate import shipped_specs

    place, shipped = Path(arguments.file), arguments.file in shipped_specs()
    if not place.is_dir() or shipped:
        if arguments.budget is not None:
            raise UserInputError(_why_no_budget(arguments.file, place, shipped))
        return arguments.file, False
    from raybench.folder_run import sweep_file_for
    from raybench.proposal import Limits
    from raybench.settings import resolve_settings

    settings = resolve_settings(arguments.home)
    limits = Limits(
        inline=arguments.inline,
        cpus=arguments.num_cpus,
        gpus=arguments.num_gpus if arguments.max_gpus is None else int(arguments.max_gpus),
    )
    file = sweep_file_for(place, arguments.budget, settings, tell, limits, arguments.accept_leaks)
    return str(file), True


def _why_no_budget(given: str, place: Path, shipped: bool) -> str:
    if shipped and place.is_dir():
        return f"'{given}' is a shipped sweep; for the folder of that name write ./{given}"
    if not place.exists() and not shipped:
        return f"'{given}': no such folder of images, sweep file or shipped sweep"
    return (
        "--budget is for a folder of images; a sweep file has budget: in it "
        "(--set budget.wall_clock=30m)"
    )


def fetch(arguments: argparse.Namespace) -> int:
    from raybench.library import fetch as fetch_everything

    found = fetch_everything(
        arguments.file, home=arguments.home, overrides=arguments.overrides, tell=tell
    )
    if arguments.json:
        print_json({"pairs": {pair: dict(facts) for pair, facts in found.facts.items()}})
        return 0
    for pair, facts in found.facts.items():
        weights = str(facts.get("weights_sha256", ""))[:12] or "none"
        print(f"{pair}: data {str(facts['data_digest'])[:12]}, weights {weights}")
    tell("all is here: 'run' needs no network now")
    return 0


def _next_steps(
    arguments: argparse.Namespace, result: Any, submitted: Submitted | None
) -> list[str]:
    """What to type now, for a job on the side that has sent it."""
    home = f" --home {shlex.quote(arguments.home)}" if arguments.home else ""
    overrides = [part for text in arguments.overrides for part in ("--set", text)]
    again = shlex.join(["raybench", "run", arguments.file, *overrides]) + home
    ui = f"    raybench ui{home}"
    if submitted is not None:
        again, ui = submitted.again, ""
        home += f" --address {submitted.address}" if submitted.address else ""
    name = result.snapshot.sweep
    lines = [result.tracking_problem] if result.tracking_problem else []
    states = [pair.state for pair in result.snapshot.pairs if pair.current]
    if result.signal is None and "incomplete" in states:
        spent = result.snapshot.spec["budget"]["wall_clock"]
        lines.append(
            f"budget.wall_clock ({spent}) is spent, over all attempts; a larger one goes on: "
            "--set budget.wall_clock=..."
        )
    elif not set(states) <= {"done", "failed"}:
        word = "drained; nothing is lost" if result.signal is not None else "not every pair is done"
        lines.append(f"{word}. To go on: {again}")
    elif failed := states.count("failed"):
        lines.append(f"{failed} of {len(states)} pairs ended without a result; why: see above")
    lines.append(f"Next: raybench report {name}{home} --html report.html{ui}")
    return lines


def status(arguments: argparse.Namespace) -> int:
    snapshot = _snapshot(arguments)
    if arguments.packed:
        from raybench.snapshot_json import pack

        print(machine_line("snapshot", pack(snapshot)))
        return 0
    if arguments.json:
        from raybench.analysis.contract import summarize

        print_json(summarize(snapshot))
        return 0
    from raybench.report.tables import status_table

    print_table(status_table(snapshot))
    return 0


def _snapshot(arguments: argparse.Namespace) -> SweepSnapshot:
    """Of the home here, or with ``--address`` of the one on the cluster."""
    if arguments.address is None:
        from raybench.library import open as open_sweep

        return open_sweep(arguments.sweep, arguments.home).snapshot()
    from raybench.library import read_there

    return read_there(arguments.address, arguments.sweep, arguments.home)


def report(arguments: argparse.Namespace) -> int:
    from raybench.reporting import Choices, Outputs, open_report

    outputs = Outputs(*(getattr(arguments, field.name) for field in fields(Outputs)))
    choices = Choices(*(getattr(arguments, field.name) for field in fields(Choices)))
    place = arguments.home, arguments.address
    with open_report(arguments.sweeps, *place, choices=choices, outputs=outputs) as found:
        for path in found.write(outputs):
            print(f"wrote {path}", file=sys.stderr)
        if arguments.json:
            print_json(found.as_json())
        else:
            from raybench.report.tables import leaderboard_table

            print_table(leaderboard_table(found.analysis))
    return 0


def sync(arguments: argparse.Namespace) -> int:
    if arguments.address is not None:
        from raybench.verbs.cluster import sync_there

        return sync_there(arguments)
    from raybench.library import sync

    result = sync(arguments.sweep, arguments.home, tell)
    counts = ", ".join(f"{number} {state}" for state, number in sorted(result.trials.items()))
    print(f"{result.sweep}: {result.pairs} pairs, {result.epochs} epochs; trials: {counts}")
    return 0


def ui(arguments: argparse.Namespace) -> int:
    from raybench.settings import private_files, resolve_settings
    from raybench.tracking.ui import serve_ui

    settings = resolve_settings(arguments.home)
    with private_files(settings.home):
        serve_ui(
            settings.tracking_uri,
            settings.artifact_root,
            port=arguments.port,
            # Its pages open on their GenAI side unless asked.
            on_ready=lambda address: print(
                f"MLflow: {address}/#/experiments?workflowType=machine_learning   (Ctrl-C ends it)",
                flush=True,
            ),
        )
    return 0
