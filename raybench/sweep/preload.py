"""Imported by a private Ray's first workers before anybody asks them to: what trials need."""

from __future__ import annotations

import importlib
import os

from raybench.sweep.stop_signal import LIGHT

if LIGHT not in os.environ:
    importlib.import_module("raybench.sweep.trainable")
