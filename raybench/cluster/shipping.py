"""What is sent with a job: the sweep file, a folder, a runtime environment, and no secret."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from raybench.cluster.ignored import left_out
from raybench.cluster.settings import is_secret, job_variables
from raybench.errors import SpecError, UserInputError
from raybench.redaction import secret_in, texts_in
from raybench.spec import SweepSpec
from raybench.travelling import Travel
from raybench.validate import find_spec, load_spec
from raybench.yamlio import parse_file


@dataclass(frozen=True)
class Parcel:
    """A checked sweep, ready to be sent.

    Attributes:
        sweep: its name. source: the file here. file: its name there, in the working folder.
        folder: is sent as the job's working folder; None: only the file is.
        runtime_env: Ray's, without the working folder.
    """

    sweep: str
    source: Path
    file: str
    folder: Path | None
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """The whole runtime environment, with a folder that is there for as long."""
        if self.folder is not None:
            yield {**self.runtime_env, "working_dir": str(self.folder)}
            return
        with TemporaryDirectory(prefix="raybench-") as folder:
            shutil.copyfile(self.source, Path(folder) / self.file)
            yield {**self.runtime_env, "working_dir": folder}


def make_parcel(
    source: str | Path,
    overrides: Sequence[str] = (),
    working_dir: str | Path | None = None,
    runtime_env: str | Path | Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Parcel:
    """Check what is to be sent, all of it.

    Args:
        source: a sweep file, or the name of a shipped one.
        overrides: ``--set``; they are checked here and applied there.
        working_dir: folder that is sent along, and that holds the file.
        runtime_env: Ray's runtime environment: a YAML or JSON file, JSON itself, or a mapping.
        environ: this machine's settings.
        tell: hears which of them do not travel.

    Raises:
        UserInputError: every mistake found. ResourceError: a setting that must not travel.
    """
    mistakes: list[str] = []
    env, folder = _read_environment(runtime_env, working_dir, mistakes)
    try:
        path = find_spec(source).resolve()
        spec = load_spec(path, overrides, tell, Travel(folder))
    except SpecError as error:
        raise UserInputError([*error.mistakes, *mistakes]) from None
    if folder is not None:
        mistakes += _not_sent(spec, path, folder)
    if mistakes:
        raise UserInputError(mistakes)
    variables = job_variables(os.environ if environ is None else environ, tell)
    env["env_vars"] = {**variables, **env.get("env_vars", {})}
    file = path.name if folder is None else path.relative_to(folder).as_posix()
    return Parcel(spec.name, path, file, folder, env)


def _not_sent(spec: SweepSpec, file: Path, folder: Path) -> list[str]:
    """Why the sweep file, or data beside it, would not be in the folder when it arrives."""
    if not file.is_relative_to(folder):
        return [f"{file} is not in --working-dir {folder}, which is what is sent"]
    places = [Path(text) for d in spec.datasets for text in (d.path, d.root) if text is not None]
    return left_out(folder, [file, *(place for place in places if place.is_relative_to(folder))])


def _read_environment(
    given: str | Path | Mapping[str, Any] | None,
    working_dir: str | Path | None,
    mistakes: list[str],
) -> tuple[dict[str, Any], Path | None]:
    """The runtime environment, and the folder to send if there is one."""
    try:
        env = _parse_environment(given)
    except UserInputError as error:
        mistakes += error.mistakes
        return {}, None
    mistakes += [*_no_texts(env), *_secrets_in(env)]
    inside = env.pop("working_dir", None)
    inside = inside if isinstance(inside, str) else None
    if inside and working_dir:
        mistakes.append("--working-dir and working_dir in --runtime-env: give one of them")
    elif inside and "://" in inside:
        mistakes.append(
            "--runtime-env: working_dir is fetched by the cluster, so the sweep file cannot be put "
            "into it; give a folder of this machine with --working-dir"
        )
        return env, None
    folder = working_dir or inside
    if folder is None:
        return env, None
    place = Path(folder).expanduser().resolve()
    if not place.is_dir():
        mistakes.append(f"--working-dir {folder}: no such folder")
        return env, None
    return env, place


def _parse_environment(given: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        env: Any = dict(given)
    elif str(given).lstrip().startswith("{"):
        try:
            env = json.loads(str(given))
        except ValueError as error:
            raise UserInputError(f"--runtime-env: no valid JSON: {error}") from None
    else:
        env, _ = parse_file(Path(given))
    variables = env.get("env_vars") if isinstance(env, dict) else None
    if not isinstance(env, dict) or not isinstance(variables, dict | None):
        raise UserInputError(
            '--runtime-env: give keys as Ray\'s runtime environments have them, as in {"pip": '
            '["lightly"], "env_vars": {"NAME": "value"}}'
        )
    return {key: value for key, value in env.items() if value is not None}


def _no_texts(env: Mapping[str, Any]) -> list[str]:
    """Ray takes nothing else there; YAML and JSON easily give a number."""
    given = [(f"env_vars.{name}", name, value) for name, value in env.get("env_vars", {}).items()]
    given += [("working_dir", "", env.get("working_dir", ""))]
    return [
        f"--runtime-env: {place} is no text; put name and value into quotes, as in "
        '{"env_vars": {"OMP_NUM_THREADS": "4"}, "working_dir": "."}'
        for place, name, value in given
        if not (isinstance(name, str) and isinstance(value, str))
    ]


def _secrets_in(env: Mapping[str, Any]) -> list[str]:
    variables = env.get("env_vars", {})
    places = [f"env_vars.{n}" for n, value in variables.items() if is_secret(str(n), str(value))]
    others = {key: value for key, value in env.items() if key != "env_vars"}
    places += [".".join(map(str, path)) for path, text in texts_in(others) if secret_in(text)]
    return [
        f"--runtime-env: {place} holds a secret, which the dashboard would show; set it in the "
        "environment of 'ray start' on the head, or write ${NAME} of a variable that is set there"
        for place in places
    ]
