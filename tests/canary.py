"""A canary in every place that takes a secret, and where to look for it afterwards."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from raybench.cli import main
from tests.specs import tiny_data, write_sweep

CANARY = "cAnArY7b1e55ed"
LEAKY = f'''
import os

def make(*args, **kwargs):
    """The user's code says more than it should."""
    raise RuntimeError(
        "cannot ask https://me:{CANARY}@store.example/w?sig={CANARY} "
        f"password={CANARY} with {{os.environ['HF_TOKEN']}}"
    )
'''
SECRETS = {
    "HF_TOKEN": CANARY,
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": CANARY,
    "MLFLOW_TRACKING_TOKEN": CANARY,
    "AWS_ACCESS_KEY_ID": "AKIA" + "C" * 16,
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "https_proxy": f"http://me:{CANARY}@127.0.0.1:9",
    "no_proxy": "127.0.0.1,localhost",
    "CANARY_PASSWORD": CANARY,
    "CANARY_SIGNATURE": CANARY,
    "CANARY_X": CANARY,  # a name that says nothing of secrets
}
URL = (
    "http://me:${CANARY_PASSWORD}@127.0.0.1:%d/w.safetensors?sig=${CANARY_SIGNATURE}&x=${CANARY_X}"
)


SEEN: list[tuple[str, str | None]] = []
"""Paths that a store was asked for, and as whom."""


class Store(BaseHTTPRequestHandler):
    """Gives ``/w.safetensors`` to who knows the canary, and nothing else to anybody."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        wanted = "Basic " + base64.b64encode(f"me:{CANARY}".encode()).decode()
        known = self.headers["Authorization"] == wanted and parse_qs(parts.query) == {
            "sig": [CANARY], "x": [CANARY],
        }  # fmt: skip
        if parts.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        self.server.seen.append((parts.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        content: bytes = self.server.content  # type: ignore[attr-defined]
        status = 401 if not known else 200 if parts.path == "/w.safetensors" else 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@dataclass
class Place:
    """A folder that holds all that the commands of one test may write."""

    folder: Path
    port: int
    said: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environ(self, **more: str) -> dict[str, str]:
        quiet = {
            k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "HF_"))
        }
        places = {
            "HOME": str(self.folder),
            "TORCH_HOME": str(self.folder / "torch"),
            "HF_HOME": str(self.folder / "hf"),
            "PYTHONPATH": os.pathsep.join([str(self.folder), *sys.path]),
        }
        return quiet | places | SECRETS | more

    def command(self, *arguments: object, **environ: str) -> int:
        """One command as a process of its own; what it says is kept."""
        done = subprocess.run(
            [sys.executable, "-m", "raybench.cli", *map(str, arguments)],
            env=self.environ(**environ), cwd=self.folder, timeout=240,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said.append(done.stdout)
        return done.returncode

    def leaks(self, folder: Path | None = None) -> list[str]:
        """Where the canary stands: what was said, and names and contents of all files."""
        forms = [CANARY, base64.b64encode(f"me:{CANARY}".encode()).decode().rstrip("=")]
        found = [text for text in self.said if any(form in text for form in forms)]
        for path in sorted((folder or self.folder).rglob("*")):
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            if CANARY in path.name or any(form.encode() in content for form in forms):
                if path.name != "leaky.py" and path.suffix != ".pyc":
                    found.append(str(path))
        return found


def prepare(folder: Path, port: int) -> Place:
    """A sweep on weights of the store, and on a backbone whose code tells secrets."""
    (folder / "leaky.py").write_text(LEAKY)
    backbones = [
        {"name": "timm:test_resnet", "weights": URL % port},
        {"name": "python:leaky:make", "weights": "none"},
    ]
    data = tiny_data(backbones=backbones, budget={"trials": 1}, final={"seeds": [0]})
    write_sweep(folder / "tiny.yaml", data)
    return Place(folder, port)


def enter(place: Place, patch: pytest.MonkeyPatch) -> None:
    """For commands in this process: its folder, and the secrets in the environment."""
    for name, value in place.environ().items():
        patch.setenv(name, value)
    patch.chdir(place.folder)


def told(place: Place, *arguments: object) -> int:
    """Exit code of a command in this process, which is tried with ``--debug`` as well."""
    codes = set()
    for debug in ([], ["--debug"]):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            codes.add(main([*debug, *map(str, arguments)]))
        place.said.append(stream.getvalue())
    (code,) = codes
    return code
