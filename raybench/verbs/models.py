"""Verbs that hand a model over and use it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raybench.errors import UserInputError
from raybench.verbs.output import tell


def export(arguments: argparse.Namespace) -> int:
    from raybench.bundle.reading import is_bundle
    from raybench.library import open as open_sweep

    if is_bundle(arguments.sweep):
        raise UserInputError(
            f"'{arguments.sweep}' names a file: a bundle holds what a sweep has found, not its "
            "weights; give the sweep's name and the --home that it ran in"
        )
    sweep = open_sweep(arguments.sweep, arguments.home)
    print(sweep.export(arguments.folder, arguments.pair, onnx=arguments.onnx, tell=tell))
    tell(f"Next: raybench predict {arguments.folder} IMAGES...    its card: README.md")
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Exit code 1 where some images could not be read; none at all is the user's mistake."""
    from raybench.export.opening import load
    from raybench.export.predicting import Predicting, find_images

    if str(arguments.csv) == "-":
        raise UserInputError("without --csv the lines go to stdout; give it a file's name")
    classifier = load(arguments.folder, arguments.device, arguments.trust_code)
    predicting = Predicting(classifier, tell, arguments.top_k)
    paths = find_images(arguments.images, predicting)
    with _lines(arguments.csv) as write:
        for line in predicting.lines(paths):
            write(line)
        if not predicting.done:
            raise UserInputError(f"none of {len(paths)} images could be read; see above")
    if arguments.csv is not None:
        tell(f"wrote {arguments.csv}: {predicting.done} images")
    if predicting.unreadable:
        tell(f"left out: {predicting.unreadable} that could not be read")
    return 1 if predicting.unreadable else 0


@contextmanager
def _lines(file: Path | None) -> Iterator[Callable[[str], object]]:
    """Where lines go: ``file``, as a whole or not at all, or stdout."""
    if file is None:
        yield sys.stdout.write
        return
    from raybench.report.files import written_aside

    with written_aside(file) as stream:
        yield lambda line: stream.write(line.encode())
