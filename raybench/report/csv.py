"""The sweep as four CSV files, for spreadsheets and R."""

from __future__ import annotations

from pathlib import Path

from raybench.analysis.cost import costs_frame
from raybench.analysis.frames import records_frame, trials_frame
from raybench.analysis.whole import Analysis
from raybench.report.files import write_text


def write_csv(analysis: Analysis, folder: Path) -> tuple[Path, ...]:
    """Writes ``leaderboard.csv``, ``trials.csv``, ``epochs.csv``, ``costs.csv`` into ``folder``.

    Raises:
        HomeError: the folder cannot be written.
    """
    snapshot = analysis.snapshot
    frames = {
        "leaderboard.csv": analysis.leaderboard(),
        "trials.csv": trials_frame(snapshot),
        "epochs.csv": records_frame(snapshot),
        "costs.csv": costs_frame(snapshot),
    }
    return tuple(
        write_text(folder / name, frame.to_csv(index=False, lineterminator="\n"))
        for name, frame in frames.items()
    )
