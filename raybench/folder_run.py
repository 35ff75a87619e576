"""``raybench run FOLDER --budget 30m``: from a folder of images to a sweep file that fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from raybench.errors import UserInputError
from raybench.fields import parse_duration_s
from raybench.proposal import propose
from raybench.proposal_file import sweep_text
from raybench.report.files import write_text
from raybench.settings import Settings
from raybench.spec import DatasetSpec

Tell = Callable[[str], None]


def sweep_file_for(
    folder: Path, budget: str | None, settings: Settings, tell: Tell, inline: bool = False
) -> Path:
    """The sweep file of ``folder`` in the working folder: the user's, or a new one.

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
    dataset = DatasetSpec(name=name, path=str(folder.resolve()))
    proposal = propose(dataset, budget, budget_s, settings, tell, inline)
    write_text(file, sweep_text(proposal, file.parent))
    tell(f"wrote {file.name}: {len(proposal.backbones)} backbones, {_minutes(proposal.cost_s)}")
    return file


def _minutes(seconds: float) -> str:
    return f"planned to take about {max(1, round(seconds / 60))} minutes"
