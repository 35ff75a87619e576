"""The command line: thin verbs, each calling one library function. Imports wait for their verb."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from raybench.errors import RaybenchError, SetupError, UserInputError
from raybench.parser import build_parser

PIPE_WIDTH = 112
"""Columns where stdout is no terminal: wide enough for timm's names beside their numbers."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run the verb, and turn our exceptions into words and an exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code = _VERBS[arguments.verb](arguments)
        sys.stdout.flush()
        return code
    except RaybenchError as error:
        if arguments.debug:
            raise
        _say(*(error.mistakes if isinstance(error, UserInputError) else [str(error)]))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our stdout (head, less) has left; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort; --debug shows where
        if arguments.debug:
            raise
        _say(_unexpected(error))
        return SetupError.exit_code


def _say(*sentences: str) -> None:
    for sentence in sentences:
        print(f"raybench: {sentence}", file=sys.stderr)


def _unexpected(error: Exception) -> str:
    """A full disk or a lost database speaks for itself; the rest is ours to mend."""
    words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if isinstance(error, OSError) or type(error).__module__.startswith(("sqlalchemy", "sqlite3")):
        return f"{words} (--debug shows where)"
    return f"unexpected {words}; --debug shows where, please report it"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _print(renderable: Any) -> None:
    from rich.console import Console

    from raybench.report.tables import to_text

    console = Console()
    if console.is_terminal:
        console.print(renderable)
    else:
        print(to_text(renderable, PIPE_WIDTH), end="")


def _validate(arguments: argparse.Namespace) -> int:
    from raybench.validate import load_spec

    mistakes: list[str] = []
    for file in arguments.files:
        try:
            spec = load_spec(file, arguments.overrides)
        except UserInputError as error:
            mistakes += error.mistakes
        else:
            print(f"{file}: ok, sweep '{spec.name}'")
    if mistakes:
        raise UserInputError(mistakes)
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from raybench.estimate import estimate_plan
    from raybench.settings import resolve_settings
    from raybench.validate import load_spec

    spec = load_spec(arguments.file, arguments.overrides)
    estimate = estimate_plan(spec, resolve_settings(arguments.home), arguments.usd_per_hour)
    if arguments.json:
        _print_json(estimate.as_json())
        return 0
    from raybench.plan_table import plan_table

    _print(plan_table(estimate))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from raybench.console import ConsoleObserver
    from raybench.library import run_sweep_file

    with ConsoleObserver(quiet=arguments.quiet) as observer:
        result = run_sweep_file(
            arguments.file,
            home=arguments.home,
            overrides=arguments.overrides,
            inline=arguments.inline,
            address=arguments.address,
            max_gpus=arguments.max_gpus,
            num_cpus=arguments.num_cpus,
            num_gpus=arguments.num_gpus,
            tracking=not arguments.no_tracking,
            observer=observer,
        )
    from raybench.report.tables import leaderboard_table

    _print(leaderboard_table(result.snapshot))
    for line in _next_steps(arguments, result):
        print(line, file=sys.stderr)
    return result.exit_code


def _next_steps(arguments: argparse.Namespace, result: Any) -> list[str]:
    """What to type now."""
    home = f" --home {shlex.quote(arguments.home)}" if arguments.home else ""
    name = result.snapshot.sweep
    lines = [result.tracking_problem] if result.tracking_problem else []
    states = [pair.state for pair in result.snapshot.pairs if pair.current]
    if not set(states) <= {"done", "failed"}:
        overrides = [part for text in arguments.overrides for part in ("--set", text)]
        again = shlex.join(["raybench", "run", arguments.file, *overrides])
        word = "drained; nothing is lost" if result.signal is not None else "not every pair is done"
        lines.append(f"{word}. To go on: {again}{home}")
    elif failed := states.count("failed"):
        lines.append(f"{failed} of {len(states)} pairs ended without a result; why: see above")
    lines.append(f"Next: raybench report {name}{home} --html report.html    raybench ui{home}")
    return lines


def _status(arguments: argparse.Namespace) -> int:
    from raybench.library import open as open_sweep

    sweep = open_sweep(arguments.sweep, arguments.home)
    if arguments.json:
        _print_json(sweep.status())
        return 0
    from raybench.report.tables import status_table

    _print(status_table(sweep.snapshot()))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from raybench.library import open as open_sweep

    sweep = open_sweep(arguments.sweep, arguments.home)
    snapshot = sweep.snapshot()
    if arguments.html is not None:
        from raybench.report.page import write_html

        print(f"wrote {write_html(snapshot, arguments.html)}", file=sys.stderr)
    if arguments.csv is not None:
        from raybench.report.csv import write_csv

        for path in write_csv(snapshot, arguments.csv):
            print(f"wrote {path}", file=sys.stderr)
    if arguments.json:
        _print_json(sweep.status())
        return 0
    from raybench.report.tables import leaderboard_table

    _print(leaderboard_table(snapshot))
    return 0


def _sync(arguments: argparse.Namespace) -> int:
    from raybench.library import sync

    result = sync(arguments.sweep, arguments.home)
    counts = ", ".join(f"{number} {state}" for state, number in sorted(result.trials.items()))
    print(f"{result.sweep}: {result.pairs} pairs, {result.epochs} epochs; trials: {counts}")
    return 0


def _ui(arguments: argparse.Namespace) -> int:
    from raybench.settings import resolve_settings
    from raybench.tracking.ui import serve_ui

    settings = resolve_settings(arguments.home)
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


def _backbones(arguments: argparse.Namespace) -> int:
    from raybench.backbones.index import list_backbones

    rows = list_backbones(arguments.pattern)
    if not rows:
        raise UserInputError(
            f"no backbone matches '{arguments.pattern}'; patterns are like 'timm:convnext*'"
        )
    if arguments.json:
        _print_json(rows)
        return 0
    for row in rows:
        print(f"{row['name']:<60} {', '.join(row['weights'])}")
    return 0


def _datasets(arguments: argparse.Namespace) -> int:
    from raybench.datasets.cards import CARDS

    rows = [
        {
            "name": card.name,
            "domain": card.domain,
            "classes": card.classes,
            "images": dict(card.images),
            "source": card.source,
            "licence": card.licence,
            "citation": card.citation,
            "notes": card.notes,
        }
        for card in CARDS.values()
    ]
    if arguments.json:
        _print_json(rows)
        return 0
    for row in rows:
        print(f"{row['name']:<16} {row['domain']:<16} {row['classes']:>4} classes  {row['source']}")
    print("or any folder of class folders: {name: mine, path: ./folder}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from raybench.doctor import examine
    from raybench.settings import resolve_settings

    findings = examine(resolve_settings(arguments.home))
    if arguments.json:
        _print_json([finding.as_json() for finding in findings])
    else:
        for finding in findings:
            mark = "ok " if finding.ok else "BAD" if finding.essential else "no "
            print(f"{mark} {finding.subject:<10} {finding.text}")
    return 0 if all(finding.ok or not finding.essential for finding in findings) else 3


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "validate": _validate,
    "plan": _plan,
    "run": _run,
    "status": _status,
    "report": _report,
    "sync": _sync,
    "ui": _ui,
    "backbones": _backbones,
    "datasets": _datasets,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
