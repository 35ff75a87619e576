"""Every random draw comes from a named seed: one function turns names into seeds."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: str | int) -> int:
    """A 31-bit seed from named parts, e.g. ``derive_seed(0, "split", "digits")``.

    SHA-256 rather than ``hash()``, which changes with the process; 31 bits because NumPy's legacy
    generators refuse more than 32.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
