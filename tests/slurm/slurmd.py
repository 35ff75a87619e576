"""slurmd of one node: python slurmd.py FOLDER NODE. Runs what ``srun`` puts into its folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

CPUS = "1"


def serve(folder: Path, node: str) -> None:
    """Until it is killed; each step in a session of its own, its output in the job's file."""
    running: dict[Path, subprocess.Popen[bytes]] = {}
    while True:
        for request in folder.glob("*.json"):
            running[request] = _start(request, node)
        for request, process in list(running.items()):
            wanted = request.with_suffix(".signal")
            if wanted.exists():
                process.send_signal(int(wanted.read_text()))
                wanted.unlink()
            code = process.poll()
            if code is not None:
                _say(request.with_suffix(".code"), str(code if code >= 0 else 128 - code))
                del running[request]
        time.sleep(0.05)


def _start(request: Path, node: str) -> subprocess.Popen[bytes]:
    asked = json.loads(request.read_text())
    request.unlink()
    environ = asked["environ"] | {"SLURM_CPUS_ON_NODE": CPUS, "SLURMD_NODENAME": node}
    with (request.parent.parent / "steps.txt").open("ab") as output:
        return subprocess.Popen(
            asked["command"],
            cwd=asked["cwd"],
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _say(path: Path, text: str) -> None:
    aside = path.with_suffix(".tmp")
    aside.write_text(text)
    aside.replace(path)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
