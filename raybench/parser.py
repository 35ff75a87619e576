"""What can be typed: the verbs and their arguments. The verbs themselves: ``cli``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from raybench.version import __version__


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raybench",
        description="Which image backbone should I fine-tune on my data? Sweeps with evidence.",
    )
    parser.add_argument("--version", action="version", version=f"raybench {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_declaring(verbs)
    _add_running(verbs)
    _add_cluster(verbs)
    _add_reading(verbs)
    _add_models(verbs)
    _add_looking(verbs)
    return parser


def _add_declaring(verbs: Any) -> None:
    verb = _verb(verbs, "validate", "report every mistake in sweep files")
    verb.add_argument("files", nargs="+", metavar="FILE")
    verb.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    verb = _verb(verbs, "plan", "show pairs, trials, quotas and estimates; run nothing")
    _spec_arguments(verb)
    _home(verb)
    verb.add_argument("--usd-per-hour", type=_amount, metavar="X", help="price of one device-hour")
    verb.add_argument(
        "--devices", type=_positive, metavar="N",
        help="wall time on N GPUs, on CPU N trials at once (default: what this machine offers)",
    )  # fmt: skip
    _json(verb)


def _add_running(verbs: Any) -> None:
    verb = _verb(verbs, "fetch", "download and check weights and data; run then needs no network")
    _spec_arguments(verb)
    _home(verb)
    _json(verb)
    verb = _verb(verbs, "run", "start or resume a sweep, end with the leaderboard")
    _spec_arguments(verb, "a sweep file, the name of a shipped one, or a folder of images")
    _home(verb)
    verb.add_argument("--budget", metavar="TIME", help="for a folder: how long it may take (30m)")
    verb.add_argument(
        "--accept-leaks", action="store_true", help="run though images stand in several splits"
    )
    verb.add_argument("--address", help="a running Ray (default: RAY_ADDRESS, else a private one)")
    verb.add_argument("--max-gpus", type=_amount, metavar="N", help="leave the other GPUs alone")
    verb.add_argument("--num-cpus", type=_count, metavar="N", help="cores of a private Ray")
    verb.add_argument("--num-gpus", type=_count, metavar="N", help="GPUs of a private Ray")
    verb.add_argument("--inline", action="store_true", help="in this process, without Ray")
    verb.add_argument("--no-tracking", action="store_true", help="leave MLflow to a later sync")
    verb.add_argument("--quiet", action="store_true", help="no progress, only the leaderboard")
    # Given by ``submit``: what sent it, in JSON. Progress then comes in lines for that side.
    verb.add_argument("--submitted-by", metavar="JSON", help=argparse.SUPPRESS)


def _add_cluster(verbs: Any) -> None:
    verb = _verb(verbs, "submit", "run a sweep as a job on a Ray cluster")
    _spec_arguments(verb)
    _dashboard(verb)
    verb.add_argument("--home", metavar="DIR", help="on the cluster (default: ~/raybench-home)")
    verb.add_argument(
        "--working-dir", metavar="DIR", help="send this folder, which holds FILE, your code, data"
    )
    verb.add_argument(
        "--runtime-env", metavar="FILE|JSON", help="Ray's runtime environment for the job"
    )
    verb.add_argument(
        "--python", metavar="PATH", help="on the cluster (default: the one its Ray runs on)"
    )
    verb.add_argument("--max-gpus", type=_amount, metavar="N", help="leave the other GPUs alone")
    verb.add_argument(
        "--accept-leaks", action="store_true", help="run though images stand in several splits"
    )
    verb.add_argument(
        "--wait", action="store_true", help="show it until it ends, then the leaderboard"
    )
    _json(verb)
    verb = _verb(verbs, "logs", "what a submitted sweep says")
    _job(verb)
    verb.add_argument("-f", "--follow", action="store_true", help="until it ends")
    verb = _verb(verbs, "stop", "drain a submitted sweep; submitting it again goes on")
    _job(verb)


def _job(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("sweep", metavar="SWEEP", help="or a submission id")
    _dashboard(verb)
    verb.add_argument("--home", metavar="DIR", help="on the cluster, where it runs in several")


def _dashboard(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--address", metavar="URL",
        help="the cluster's dashboard (default: RAY_API_SERVER_ADDRESS, else "
        "http://127.0.0.1:8265)",
    )  # fmt: skip


def _add_reading(verbs: Any) -> None:
    verb = _verb(verbs, "status", "per pair: done, running, owed, spent")
    _sweep(verb)
    _json(verb)
    # For the same verb on the other end of a cluster's job.
    verb.add_argument("--packed", action="store_true", help=argparse.SUPPRESS)
    _add_report(verbs)
    verb = _verb(verbs, "sync", "complete or rebuild MLflow from the ledger")
    _sweep(verb)
    verb = _verb(verbs, "ui", "MLflow's UI on this home, loopback only")
    _home(verb)
    verb.add_argument("--port", type=_port, default=5000, metavar="N")


def _add_report(verbs: Any) -> None:
    verb = _verb(verbs, "report", "results with intervals: tables, one page, plots, files")
    verb.add_argument(
        "sweeps", nargs="*", metavar="SWEEP|BUNDLE",
        help="several are joined; may be left out where the home has one sweep",
    )  # fmt: skip
    _home_and_address(verb)
    _json(verb)
    for name, metavar, text in (
        ("html", "FILE", "one self-contained page"),
        ("csv", "DIR", "leaderboard, trials, epochs, costs"),
        ("parquet", "DIR", "the same typed, and every prediction"),
        ("latex", "FILE", "tables to put into a paper"),
        ("plots", "DIR", "every plot as PNG and SVG"),
        ("bundle", "FILE", "everything that the numbers come from, for strangers to check"),
    ):
        verb.add_argument(f"--{name}", type=Path, metavar=metavar, help=f"write {text}")
    verb.add_argument(
        "--reference", choices=("paper",), help="compare with what was published (Table 1)"
    )
    verb.add_argument("--max-latency-ms", type=_amount, metavar="X", help="of one image")
    verb.add_argument("--max-params-m", type=_amount, metavar="X", help="in millions")
    verb.add_argument(
        "--licence", metavar="PATTERN", help="of the weights: a shell pattern, several by comma"
    )
    verb.add_argument(
        "--no-pictures", dest="pictures", action="store_false",
        help="leave the worst examples' pictures out of the page",
    )  # fmt: skip


def _add_models(verbs: Any) -> None:
    verb = _verb(verbs, "export", "hand a trained model over: weights, labels, card, in one folder")
    verb.add_argument("sweep", metavar="SWEEP")
    verb.add_argument(
        "pair", nargs="?", metavar="PAIR",
        help="a pair's id or a part of it (default: the leader of the sweep's only task)",
    )  # fmt: skip
    verb.add_argument("folder", type=Path, metavar="DIR", help="a new or an empty folder")
    _home(verb)
    verb.add_argument("--onnx", action="store_true", help="write model.onnx too (extra 'onnx')")
    verb = _verb(verbs, "predict", "label images with an exported model; CSV on stdout")
    verb.add_argument("folder", type=Path, metavar="DIR", help="what export wrote")
    verb.add_argument(
        "images", nargs="+", metavar="IMAGES", help="files, folders, quoted patterns ('**/*.jpg')"
    )
    verb.add_argument("--csv", type=Path, metavar="FILE", help="write it to FILE instead")
    verb.add_argument(
        "--top-k", type=_positive, metavar="K", help="the K likeliest labels, not every class"
    )
    verb.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")
    verb.add_argument(
        "--trust-code", action="store_true", help="import the function of a python: backbone"
    )


def _add_looking(verbs: Any) -> None:
    verb = _verb(verbs, "backbones", "what can be named as a backbone")
    verb.add_argument(
        "pattern", nargs="?", help="a group, or a shell pattern: @modern, 'timm:convnext*.fb_in1k'"
    )
    verb.add_argument(
        "--image-size", type=_side, metavar="N", help="measure MACs at this size, now"
    )
    _json(verb)
    verb = _verb(verbs, "profile", "measure latency, throughput, memory and energy, each alone")
    verb.add_argument(
        "what", nargs="+", metavar="SWEEP|BACKBONE",
        help="a sweep's backbones at its image size; or names, groups, patterns",
    )  # fmt: skip
    _home(verb)
    verb.add_argument(
        "--image-size", type=_side, metavar="N", help="default: the sweep's, else the weights' own"
    )
    verb.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), help="default: auto")
    verb.add_argument(
        "--threads", type=_positive, metavar="N", help="of the CPU; default: a trial's, else 1"
    )
    _json(verb)
    verb = _verb(verbs, "datasets", "what can be named as a data set")
    _json(verb)
    verb = _verb(verbs, "check", "audit data before money is spent: unreadable, twice, leaking")
    verb.add_argument(
        "data", nargs="+", metavar="DATA", help="a folder, a table, a data set's name, a sweep file"
    )
    _home(verb)
    _json(verb)
    verb.add_argument("--html", type=Path, metavar="FILE", help="default: in the home's reports/")
    verb.add_argument("--image-size", type=_count, metavar="N", help="what the models will see")
    verb = _verb(verbs, "cache", "decoded images: what is there, how large, when last used")
    verb.add_argument(
        "--prune", nargs="?", const=True, type=_amount, metavar="GB",
        help="remove unused sets, oldest first, until GB are left (RAYBENCH_CACHE_GB, else 0)",
    )  # fmt: skip
    _home(verb)
    _json(verb)
    verb = _verb(verbs, "doctor", "what works here, what does not, what to do")
    verb.add_argument(
        "--cluster", type=Path, metavar="FILE", help="look at a file for ray up instead"
    )
    _home(verb)
    _json(verb)


def _verb(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(verb=name)
    # Also after the verb, where people type it; SUPPRESS keeps what stood before it.
    verb.add_argument("--debug", action="store_true", default=argparse.SUPPRESS)
    return verb


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _side(text: str) -> int:
    value = int(text)
    if not 0 < value <= 4096:
        raise ValueError
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise ValueError
    return value


# argparse puts a type's name into "invalid ... value"
_amount.__name__, _count.__name__, _port.__name__ = "amount", "count", "port"
_side.__name__, _positive.__name__ = "number of pixels", "positive number"


def _spec_arguments(
    verb: argparse.ArgumentParser, what: str = "a sweep file, or the name of a shipped one"
) -> None:
    verb.add_argument("file", metavar="FILE", help=what)
    verb.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")


def _home(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--home", metavar="DIR", help="default: RAYBENCH_HOME, else ./raybench-home")


def _sweep(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("sweep", nargs="?", help="may be left out where the home has one sweep")
    _home_and_address(verb)


def _home_and_address(verb: argparse.ArgumentParser) -> None:
    _home(verb)
    verb.add_argument(
        "--address", metavar="URL", help="of the cluster where its home is; --home is there, too"
    )


def _json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="machine-readable, on stdout")
