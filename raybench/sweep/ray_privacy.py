"""A private Ray is its owner's alone: on loopback, with a token, in a folder nobody else may enter.

Ray 2.60 by itself (measured on Linux): its servers listen on all addresses, its folder is open to
everybody (0777), and the token that it makes can be read by others (0644).
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Ray's switch between loopback (its default on macOS and Windows) and an address that other
# machines can reach, which alone makes its servers listen on 127.0.0.1 only.
CLUSTER_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_LONGEST_SCRATCH = 40  # characters; Ray adds up to 66, and a socket's path may have 107


def token_file() -> Path:
    """Where Ray looks for its token."""
    return Path.home() / ".ray" / "auth_token"


def readable_by_others(path: Path) -> bool:
    """Whether the file is there and anybody but its owner may read it."""
    return path.exists() and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


@contextmanager
def keep_to_loopback() -> Iterator[None]:
    """Ray's servers that start meanwhile listen on 127.0.0.1, unless the user has set the switch.

    Both Ray's constant and the variable are set: this process may have imported Ray long ago, and
    its children read the variable.
    """
    from ray._private import ray_constants

    if CLUSTER_SWITCH in os.environ:
        yield
        return
    before = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[CLUSTER_SWITCH], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[CLUSTER_SWITCH]


@contextmanager
def keep_token() -> Iterator[None]:
    """A token where the user has none: in Ray's file, or where that cannot be, for this run only.

    Not where ``RAY_AUTH_MODE`` says that none is wanted.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    if mode != "token" or any(name in os.environ for name in _TOKEN_VARIABLES):
        yield
        return
    try:
        make_token(token_file())
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        yield
    finally:
        os.environ.pop("RAY_AUTH_TOKEN", None)


def make_token(path: Path) -> None:
    """Write a token for its owner's eyes, unless there is one; whole from the first moment.

    Raises:
        OSError: the folder cannot be written.
    """
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent)  # 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(aside, path)
    except FileExistsError:
        pass  # another driver was first
    finally:
        Path(aside).unlink()


def scratch_folder() -> str | None:
    """For Ray's sockets and logs; None where ``RAY_TMPDIR`` says where they go.

    Ray opens the folder that it is given to everybody, so it is one inside a private folder.
    """
    if "RAY_TMPDIR" in os.environ:
        return None
    base = Path(tempfile.gettempdir())
    name = f"raybench-{os.getuid()}"
    if len(f"{base}/{name}/ray") > _LONGEST_SCRATCH:
        base = Path("/tmp")
    return str(_private_folder(base / name) / "ray")


def _private_folder(folder: Path) -> Path:
    """``folder``, ours and closed; another where somebody else has taken its name."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="raybench-", dir=folder.parent))
    folder.chmod(0o700)
    return folder
