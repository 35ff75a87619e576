"""An exception that ended a trial, as data: its class and one sentence for people."""

from __future__ import annotations

import errno
import time

import torch

from raybench.errors import DataError, RaybenchError, SetupError
from raybench.records import EndRecord, FailureClass
from raybench.redaction import redact
from raybench.trial.files import disk_is_full

# What torch raises as a plain RuntimeError: the CPU's allocator, MPS, and CUDA's libraries.
_OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "ALLOC_FAILED",
)


class DivergedError(Exception):
    """The loss or the predictions are no longer finite."""


class ModelError(Exception):
    """The backbone cannot be built as the spec asks; a class of its own beside bad data."""


class DrainRequested(Exception):  # noqa: N818 - a request, not an error
    """``should_stop`` said so; raised between two batches."""


def end_of_failure(error: Exception) -> EndRecord:
    """The record of a trial that ``error`` ended."""
    return EndRecord(
        state="failed", finished_at=time.time(), failure=classify(error), reason=one_line(error)
    )


def classify(error: Exception) -> FailureClass:
    """Failure class, as the driver's retry rules know them.

    A dead CUDA context (``AcceleratorError``) and an unreachable hub are the machine's fault, so a
    retry elsewhere may work; everything unknown is taken for the user's model or recipe.
    """
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, DataError):
        return "data"
    if _is_out_of_memory(error):
        return "oom"
    if isinstance(error, OSError) and disk_is_full(error):
        return "disk"
    if isinstance(error, torch.AcceleratorError | SetupError):
        return "infrastructure"
    return "user"


def one_line(error: Exception) -> str:
    """``Type: message`` on one line, cut at 500 characters; our own errors speak for themselves.

    Ledger, MLflow and reports keep it, so it holds no secret.
    """
    message = " ".join(redact(str(error)).split())
    if isinstance(error, DivergedError | ModelError | RaybenchError):
        return message[:500]
    return f"{type(error).__name__}: {message}"[:500]


def _is_out_of_memory(error: BaseException | None) -> bool:
    if error is None:
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _OUT_OF_MEMORY):
        return True
    return _is_out_of_memory(error.__cause__)  # of a model that could not be built
