"""What a bundle's members are called."""

from __future__ import annotations

FORMAT = 1
"""Raised when an older raybench could no longer read what is written."""

MANIFEST, VERSIONS, CITATION = "MANIFEST.json", "versions.json", "CITATION.txt"
LEDGER, SWEEP_FILE, SPLITS, PREDICTIONS = "ledger.json", "sweep.yaml", "splits", "predictions"
"""Of each sweep, below a folder of its name."""
