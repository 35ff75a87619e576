"""The command line: thin verbs, each calling one library function. Imports wait for their verb."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence

from raybench.errors import RaybenchError, SetupError
from raybench.parser import build_parser
from raybench.redaction import redact, redact_logs, redacted_traceback
from raybench.verbs import cluster, materials, models, sweeps

GARBAGE_AFTER = 50_000
"""New objects between two looks for garbage; Python's own is 700."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run the verb, and turn our exceptions into words and an exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code = _VERBS[arguments.verb](arguments)
        sys.stdout.flush()
        return code
    except RaybenchError as error:
        _say_why(arguments.debug, error, error.sentences)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our stdout (head, less) has left; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort; --debug shows where
        _say_why(arguments.debug, error, [_unexpected(error)])
        return SetupError.exit_code


def _say_why(debug: bool, error: Exception, sentences: Iterable[str]) -> None:
    if debug:
        print(redacted_traceback(error), end="", file=sys.stderr)
        return
    for sentence in sentences:
        print(f"raybench: {redact(sentence)}", file=sys.stderr)


def _unexpected(error: Exception) -> str:
    """A full disk or a lost database speaks for itself; the rest is ours to mend."""
    words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if isinstance(error, OSError) or type(error).__module__.startswith(("sqlalchemy", "sqlite3")):
        return f"{words} (--debug shows where)"
    return f"unexpected {words}; --debug shows where, please report it"


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "validate": sweeps.validate,
    "plan": sweeps.plan,
    "fetch": sweeps.fetch,
    "run": sweeps.run,
    "submit": cluster.submit,
    "logs": cluster.logs,
    "stop": cluster.stop,
    "status": sweeps.status,
    "report": sweeps.report,
    "sync": sweeps.sync,
    "ui": sweeps.ui,
    "export": models.export,
    "predict": models.predict,
    "backbones": materials.backbones,
    "profile": materials.profile,
    "datasets": materials.datasets,
    "check": materials.check,
    "cache": materials.cache,
    "doctor": materials.doctor,
}


def command() -> int:
    """``main`` as a process of its own, which ends when it is done.

    Importing torch, Ray and MLflow makes a million objects, none of them garbage. Looking for it
    took 1.5 s of processor time on the way in, and 2 s on the way out (0.3 s when frozen).
    """
    gc.set_threshold(GARBAGE_AFTER, 20, 20)
    redact_logs()
    code = main()
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(command())
