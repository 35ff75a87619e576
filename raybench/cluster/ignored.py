"""What Ray leaves out of a folder that it sends: what ``.gitignore`` and ``.rayignore`` name.

Data is seldom in a repository, so a sweep whose images are beside it would arrive without them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_quiet = logging.getLogger(f"{__name__}.ray")
_quiet.setLevel(logging.WARNING)  # Ray tells of every file with such a name


def left_out(folder: Path, wanted: Iterable[Path]) -> list[str]:
    """A sentence for each file or folder of ``wanted``, all below ``folder``, that loses something.

    Raises:
        OSError: the folder cannot be read.
    """
    sent = set(_sent(folder, ()))
    sentences = []
    for place in wanted:
        files = [p for p in place.rglob("*") if p.is_file()] if place.is_dir() else [place]
        missing = sum(file not in sent for file in files)
        if missing:
            sentences.append(
                f"{place.relative_to(folder)}: {missing} of its {len(files)} files would not be "
                "sent, because .gitignore or .rayignore names them; an absolute path of the "
                "cluster needs none, and RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1 sends what .gitignore "
                "names"
            )
    return sentences


def _sent(place: Path, excludes: Iterable[Callable[[Path], bool]]) -> Iterator[Path]:
    """Files below ``place`` as Ray packs them."""
    from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

    with_git = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1"
    more = get_excludes_from_ignore_files(place, include_gitignore=with_git, logger=_quiet)
    excludes = [*excludes, *more]
    for child in place.iterdir():
        if any(excluded(child) for excluded in excludes):
            continue
        if child.is_dir():
            yield from _sent(child, excludes)
        else:
            yield child
