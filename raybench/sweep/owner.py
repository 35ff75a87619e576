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
from raybench.storage import Store
from raybench.sweep.trial_files import checkpoints_for_driver
from raybench.trial.files import json_bytes

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
        ResourceError: the object store cannot be written to.
    """
    root = checkpoints_for_driver(settings)
    store = root if isinstance(root, Store) else Store(root)
    if settings.storage_url or not settings.checkpoint_root.is_relative_to(settings.home):
        _claim(store, sweep, ledger_id, settings.home)
    ends = [trial.end for pair in before.pairs for trial in pair.trials if trial.end is not None]
    paths = [end.weights_path for end in ends if end.weights_path]
    if paths and not any(store.exists(path) for path in paths[-_LOOKED_AT:]):
        tell(
            f"the weights of earlier trials are not at {store.place}: move them there, or set "
            "RAYBENCH_STORAGE to where they lie"
        )


def _claim(store: Store, sweep: str, ledger_id: str, home: Path) -> None:
    """Read after it was written, since a store has no lock: of two that come at once one goes."""
    _refuse_others(store, sweep, ledger_id, home)
    store.put(f"{sweep}/{NAME}", json_bytes({"ledger": ledger_id, "home": str(home)}))
    _refuse_others(store, sweep, ledger_id, home)


def _refuse_others(store: Store, sweep: str, ledger_id: str, home: Path) -> None:
    folder = store.uri(sweep)
    try:
        owner = json.loads(store.get(f"{sweep}/{NAME}"))
        other = Path(owner["home"])
        is_copy = other != home and (other / "ledger.db").exists()
        if owner["ledger"] != ledger_id or is_copy:
            raise HomeError(
                f"the checkpoints of sweep '{sweep}' in {folder} are those of the home {other}; "
                "set RAYBENCH_STORAGE to another place, or give the sweep another name"
            )
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise HomeError(f"{folder}/{NAME} is damaged; remove it if {folder} is yours") from None
