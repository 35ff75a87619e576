"""Exceptions as classes that the driver's retry rules know."""

from __future__ import annotations

import pytest
import torch

from raybench.errors import DataError, ResourceError
from raybench.trial.failures import DivergedError, ModelError, classify, one_line


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (DivergedError("x"), "diverged"),
        (DataError("x"), "data"),
        (ModelError("x"), "user"),
        (caused(ModelError("x"), caused(DataError("x"), MemoryError())), "oom"),
        (MemoryError(), "oom"),
        (torch.OutOfMemoryError("x"), "oom"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory: 8 bytes"), "oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "oom"),
        (OSError(12, "Cannot allocate memory"), "oom"),
        (OSError(28, "No space left on device"), "disk"),
        (OSError(122, "Disk quota exceeded"), "disk"),
        (OSError(27, "File too large"), "disk"),
        (PermissionError(13, "Permission denied"), "user"),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), "infrastructure"),
        (ResourceError("hub"), "infrastructure"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "user"),
    ],
)
def test_classes(error: Exception, failure: str) -> None:
    assert classify(error) == failure


def test_reasons_are_one_short_line() -> None:
    assert one_line(ValueError("two\n  lines")) == "ValueError: two lines"
    assert one_line(DataError(["a", "b"])) == "a b"
    assert len(one_line(ValueError("x" * 9999))) == 500
