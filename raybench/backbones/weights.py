"""Weights from a file into a model: all of them, or an error that says which are missing.

The only module that calls ``torch.load``, always with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybench.backbones.index import is_weights_file
from raybench.errors import DataError
from raybench.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
_MAX_NAMED = 5
_HEAD_BYTES = 512
_SHOWN = 60
_PAGE = "it is a web page (HTML), such as an error or a login"
_FOREIGN = (
    "it holds Python objects besides tensors (a whole model?), which could run code and are never "
    "loaded, or it is damaged"
)
_KINDS = {
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file itself",
    b"pk\3\4": _FOREIGN,
    b"\x80": _FOREIGN,  # a pickle
}


def weights_sha256(spec: BackboneSpec) -> str:
    """SHA-256 of the local weights file; empty where the weights are not one.

    Raises:
        DataError: the file is not there or cannot be read.
    """
    if not is_weights_file(spec.weights):
        return ""
    try:
        return file_sha256(Path(spec.weights))
    except OSError as error:
        raise DataError(f"weights '{spec.weights}': {error.strerror}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, computed once per process while size and time of change stay.

    Raises:
        OSError: not there, or not to be read.
    """
    stat = path.stat()
    return _digest(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, freed from wrappers and prefixes.

    Raises:
        DataError: no state dict, or a file that holds more than tensors.
    """
    try:
        return _state_dict(path)
    except _NoWeights as error:
        raise DataError(
            f"weights '{path}': {error}; give a state dict saved by torch.save(model.state_dict()) "
            "or a .safetensors file"
        ) from error


def weights_fault(path: Path) -> str:
    """Why ``read_weights`` would refuse a file; empty: it would not."""
    try:
        _state_dict(path)
    except _NoWeights as error:
        return str(error)
    return ""


class _NoWeights(ValueError):
    """What is wrong with the file, without its path."""


def _state_dict(path: Path) -> dict[str, Tensor]:
    state = _load(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state or not _all_tensors(state):
        raise _NoWeights("holds no state dict (names of tensors)")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return dict(state)


def load_weights(
    model: nn.Module, state: Mapping[str, Tensor], head: Iterable[str], source: str
) -> None:
    """Copy ``state`` into ``model``, except its classifier, which stays freshly initialised.

    Args:
        model: built for the task's number of classes.
        state: may hold a classifier (of the same names) or none.
        head: names of the classifier's parameters.
        source: what to call the weights in errors.

    Raises:
        DataError: names or shapes that do not fit, in both directions.
    """
    own = model.state_dict()
    dropped = set(head)
    given = {name: tensor for name, tensor in state.items() if name not in dropped}
    # Counters that older files lack; no weights.
    expected = {name for name in own if not name.endswith("num_batches_tracked")} - dropped
    mistakes = _differences("lacks", expected - given.keys())
    mistakes += _differences("holds unknown", given.keys() - own.keys())
    mistakes += _differences(
        "has another shape of",
        {
            f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
            for name in given.keys() & own.keys()
            if given[name].shape != own[name].shape
        },
    )
    if mistakes:
        raise DataError(f"weights '{source}' do not fit the model: it {m}" for m in mistakes)
    model.load_state_dict(given, strict=False)


def _differences(verb: str, names: Iterable[str]) -> list[str]:
    listed = sorted(names)
    if not listed:
        return []
    shown = ", ".join(listed[:_MAX_NAMED])
    more = f" and {len(listed) - _MAX_NAMED} more" if len(listed) > _MAX_NAMED else ""
    return [f"{verb} {shown}{more}"]


def _all_tensors(state: Mapping[Any, Any]) -> bool:
    import torch

    return all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items())


def _load(path: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix.lower() == ".safetensors" or _has_safetensors_header(path):
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a damaged or foreign file raises anything
        # torch's own words would advise to switch the protection off.
        reason = error.strerror if isinstance(error, OSError) else ""
        raise _NoWeights(
            f"cannot be read as plain tensors: {reason or _what_it_is(path)}"
        ) from error


def _has_safetensors_header(path: Path) -> bool:
    """Eight bytes of length, then JSON (the format's own page); what comes has other suffixes."""
    with path.open("rb") as file:
        head = file.read(9)
    fits = 8 + int.from_bytes(head[:8], "little") <= path.stat().st_size
    return head[8:] == b"{" and fits


def _what_it_is(path: Path) -> str:
    """By its first bytes."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "it is empty"
    for begin, words in _KINDS.items():
        if head.lstrip().lower().startswith(begin):
            return words
    text = " ".join(head.decode(errors="ignore").split())
    if text.isprintable():
        return f"it is text, which begins with '{text[:_SHOWN]}'"
    return "it is damaged, cut short or of another kind"
