"""What was measured, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from raybench.analysis.cost import cost_tables
from raybench.measurements import Profile
from raybench.report.cost_tables import cost_grids


def profile_table(profiles: Sequence[Profile]) -> RenderableType:
    """One grid per device, precision and image size."""
    return cost_grids(cost_tables(profiles))
