"""Whose checkpoints these are: a folder outside the home may be named by two homes, or be left.

Trials of one sweep name lie under the same path whichever home runs them, so one would take the
other's checkpoints for its own, and remove what its ledger does not name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from raybench.errors import HomeError
from raybench.records import SweepSnapshot
from raybench.settings import Settings
from raybench.trial.files import json_bytes, replace_file

NAME = "owner.json"
_LOOKED_AT = 3


def claim_checkpoints(
    settings: Settings,
    sweep: str,
    ledger_id: str,
    before: SweepSnapshot,
    tell: Callable[[str], None],
) -> None:
    """Mark the sweep's folder as this ledger's; say so where earlier weights are not there.

    Raises:
        HomeError: another home keeps its checkpoints there.
    """
    if not settings.checkpoint_root.is_relative_to(settings.home):
        _claim(settings.checkpoint_root / sweep / NAME, sweep, ledger_id, settings.home)
    ends = [trial.end for pair in before.pairs for trial in pair.trials if trial.end is not None]
    paths = [settings.checkpoint_root / end.weights_path for end in ends if end.weights_path]
    if paths and not any(path.exists() for path in paths[-_LOOKED_AT:]):
        tell(
            f"the weights of earlier trials are not at {settings.checkpoint_root}: move them "
            "there, or set RAYBENCH_STORAGE to where they lie"
        )


def _claim(marker: Path, sweep: str, ledger_id: str, home: Path) -> None:
    try:
        owner = json.loads(marker.read_bytes())
        other = Path(owner["home"])
        is_copy = other != home and (other / "ledger.db").exists()
        if owner["ledger"] != ledger_id or is_copy:
            raise HomeError(
                f"the checkpoints of sweep '{sweep}' in {marker.parent} are those of the home "
                f"{other}; set RAYBENCH_STORAGE to another place, or give the sweep another name"
            )
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        raise HomeError(f"{marker} is damaged; remove it if {marker.parent} is yours") from None
    replace_file(marker, [json_bytes({"ledger": ledger_id, "home": str(home)})])
