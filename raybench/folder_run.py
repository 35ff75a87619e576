"""``raybench run FOLDER --budget 30m``: from a folder of images to a sweep file that fits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from raybench.auditing import check_data
from raybench.errors import DataError, UserInputError
from raybench.fields import parse_duration_s
from raybench.proposal import NO_LIMITS, Limits, propose
from raybench.proposal_file import sweep_text
from raybench.report.files import write_text
from raybench.settings import Settings
from raybench.spec import DatasetSpec

Tell = Callable[[str], None]


def sweep_file_for(
    folder: Path,
    budget: str | None,
    settings: Settings,
    tell: Tell,
    limits: Limits = NO_LIMITS,
    accept_leaks: bool = False,
) -> Path:
    """The sweep file of ``folder`` in the working folder: the user's, or a new one.

    A new one comes after an audit of the images, so that nothing is timed or written for images
    that ``run`` would refuse.

    Raises:
        UserInputError: no budget and no file yet; a budget that is no duration or holds nothing.
        DataError, ResourceError: images or weights that cannot be used.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", folder.resolve().name).strip("._-")[:64] or "images"
    file = Path.cwd() / f"{name}.yaml"
    if file.exists():
        kept = "" if budget is None else " (--budget is for a new one; remove it to get that)"
        tell(f"{file.name} is there already and is used as it is{kept}")
        return file
    if budget is None:
        raise UserInputError(
            f"'{folder}' is a folder: say how long its sweep may take, e.g. --budget 30m; or write "
            "a sweep file"
        )
    try:
        budget_s = parse_duration_s(budget)
    except ValueError as error:
        raise UserInputError(f"--budget: {error}") from None
    _audit(folder, settings, tell, accept_leaks)
    dataset = DatasetSpec(name=name, path=str(folder.resolve()))
    proposal = propose(dataset, budget, budget_s, settings, tell, limits)
    command = shlex.join(["raybench", "run", str(folder), "--budget", budget])
    write_text(file, sweep_text(proposal, file.parent, command.replace("\n", " ")))
    tell(f"wrote {file.name}: {len(proposal.backbones)} backbones, {_minutes(proposal.cost_s)}")
    return file


def _audit(folder: Path, settings: Settings, tell: Tell, accept_leaks: bool) -> None:
    """Saves the audit's page, and refuses what ``run`` would refuse.

    Raises:
        DataError: mistakes of the folder, unreadable images, leaks.
    """
    result = check_data([str(folder)], settings, tell)
    (audit,) = result.report.audits
    mistakes = [f.sentence for f in audit.findings if f.severity == "mistake"]
    mistakes += [f"image '{name}': {reason}" for name, reason in audit.bad.items()]
    if not accept_leaks:
        mistakes += [f.sentence for f in audit.findings if f.severity == "leak"]
    if mistakes:
        raise DataError([*mistakes, f"with pictures: {result.html_file}"])
    for finding in audit.findings:
        if finding.severity == "warning":
            tell(f"check: {finding.sentence}")


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"planned to take about {minutes} minute{'s' * (minutes > 1)}"
