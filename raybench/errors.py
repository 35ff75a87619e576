"""What can go wrong for a user, as one tree.

    RaybenchError
    ├── UserInputError            exit 2: spec, data, leaks; carries every mistake found
    │   ├── SpecError             the sweep file
    │   └── DataError             images, splits, weights or models that the preflight found wanting
    └── SetupError                exit 3: the environment
        ├── LeaseHeldError        another driver owns this sweep
        ├── HomeError             the home is damaged, unwritable or of another version
        └── ResourceError         weights, hub, GPU, cluster or tracking store out of reach
            └── TooLargeError     a model does not fit into the device's memory

A trial that fails, diverges, runs out of memory or is stopped early is no exception: it is a state
on its record (``raybench.records``). A traceback that a user sees is our bug.
"""

from __future__ import annotations

from collections.abc import Iterable

from raybench.redaction import redact


class RaybenchError(Exception):
    """Root of the tree; ``exit_code`` is what the command line returns.

    ``sentences`` is what to tell, one at a time, without secrets.
    """

    exit_code = 1

    def __init__(self, sentences: str | Iterable[str] = ()) -> None:
        several = (sentences,) if isinstance(sentences, str) else sentences
        self.sentences = tuple(redact(sentence) for sentence in several)
        super().__init__("\n".join(self.sentences))


class UserInputError(RaybenchError):
    """The user's input is wrong. ``mistakes`` holds every mistake found, one sentence each."""

    exit_code = 2

    @property
    def mistakes(self) -> tuple[str, ...]:
        return self.sentences


class SpecError(UserInputError):
    """The sweep file (or a ``--set``) is wrong."""


class DataError(UserInputError):
    """A data set, a weights file or a model cannot be used as the spec asks."""


class SetupError(RaybenchError):
    """The environment does not allow it."""

    exit_code = 3


class LeaseHeldError(SetupError):
    """Another live driver owns the sweep."""


class HomeError(SetupError):
    """The home cannot be used: damaged, not writable, or written by another version."""


class ResourceError(SetupError):
    """Something outside the home is missing: weights, hub, GPU, cluster, tracking store."""


class TooLargeError(ResourceError):
    """A model cannot be trained in the device's memory, however small its micro-batches."""
