"""Versions that decide what can be read and what can be compared."""

__version__ = "0.1.0"

RESULT_VERSION = 3
"""Raised when the code would give other numbers for the same spec; part of every pair's id."""

LEDGER_SCHEMA = 1
"""Raised when the ``raybench_*`` tables change shape; a home of another schema is refused."""
