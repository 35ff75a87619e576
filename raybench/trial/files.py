"""Files that matter: written aside, hashed on the way, fsynced, renamed. No torch at import."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ASIDE = ".tmp-"
_DISK_IS_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_CHUNK_BYTES = 1 << 20
_SAFETENSORS_NAMES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}


def disk_is_full(error: OSError) -> bool:
    """Also by a quota, or a limit on a file's size."""
    return error.errno in _DISK_IS_FULL


def write_synced(path: Path, chunks: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Writes and fsyncs one file; returns its ``size`` in bytes and ``sha256``."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return {"size": size, "sha256": digest.hexdigest()}


def replace_file(path: Path, chunks: Iterable[bytes | memoryview]) -> str:
    """Writes ``path`` as a whole or not at all; returns its SHA-256."""
    make_folder(path.parent)
    aside = path.with_name(f"{ASIDE}{path.name}")
    try:
        written = write_synced(aside, chunks)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)  # on a full disk, the ledger needs its space
        raise
    sync_folder(path.parent)
    return str(written["sha256"])


def make_folder(folder: Path) -> None:
    """A folder that survives a power cut, and those that it stands in."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def json_bytes(value: Any) -> bytes:
    """Compact JSON; refuses NaN. Floats come back as the same bits."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def safetensors_chunks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """A safetensors file, tensor by tensor.

    The library's own ``save`` needs two more copies of the whole model, refuses tied weights, and
    reports a full disk as an error without number. Layout: https://github.com/huggingface/safetensors
    (8 bytes header length, JSON header padded to 8 bytes, then the bytes of the tensors).
    """
    assert sys.byteorder == "little", "safetensors is little-endian"
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _SAFETENSORS_NAMES[str(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json_bytes(header)
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    yield from (_raw_bytes(tensor) for tensor in tensors.values() if tensor.numel())


def _raw_bytes(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]
