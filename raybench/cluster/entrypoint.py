"""The shell line that a job runs: an absolute Python, then ``raybench``.

The head's PATH is that of whoever started Ray there, and its ``python`` seldom the one that Ray
runs on. A job's shell is the child of Ray's job supervisor, a worker, which is the child of the
raylet, whose command line says which Python starts workers. (``/proc/<worker>/exe`` would not do:
it is where the links of a virtual environment lead, and Ray overwrites a worker's command line.)
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_FIND = (
    r"""raylet=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$PPID/status"); """
    r"""python=$(tr '\0' '\n' < "/proc/$raylet/cmdline" | sed -n """
    r"""-e 's/^--python_worker_command="\([^"]*\)" .*/\1/p' """
    r"""-e 's/^--python_worker_command=\([^" ]*\) .*/\1/p'); """
    r"""if [ -z "$python" ]; then echo "raybench: cannot tell which Python this cluster's Ray """
    r"""runs on; give --python PATH" >&2; exit 3; fi; exec "$python" """
)
_OWN_PYTHON = ("pip", "uv", "conda", "image_uri", "container")
"""Keys of a runtime environment that brings a Python, which Ray then puts first on the PATH."""


def entrypoint(
    arguments: Sequence[str], python: str = "", runtime_env: Mapping[str, Any] | None = None
) -> str:
    """A line for ``sh``; ``exec``, so that Ray's signals reach the driver and nothing between."""
    command = shlex.join(["-m", "raybench.cli", *arguments])
    if python:
        return f"exec {shlex.quote(python)} {command}"
    if any((runtime_env or {}).get(key) for key in _OWN_PYTHON):
        return f"exec python {command}"
    return _FIND + command
