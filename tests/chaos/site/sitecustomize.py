"""First on the PYTHONPATH of processes under chaos: arms the failpoints, then steps aside.

Python imports one ``sitecustomize``; the one that would have been found without us comes after.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _run(spec: ModuleSpec | None) -> None:
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_failpoints = _HERE.parent / "failpoints.py"
_spec = importlib.util.spec_from_file_location("raybench_failpoints", _failpoints)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
_module.install()
_elsewhere = [path for path in sys.path if Path(path or ".").resolve() != _HERE]
_run(PathFinder.find_spec("sitecustomize", _elsewhere))
