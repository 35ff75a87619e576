"""What is measured of backbones outside of trials: footprints to pack by, profiles to compare by.

Values of JSON types, kept in the ledger; nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class _Stored:
    """What the ledger keeps as JSON by itself."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        data = dataclasses.asdict(self)  # type: ignore[call-overload]
        json.dumps(data, allow_nan=False)
        return dict(data)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of ``to_dict``; keys of a newer version are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True, slots=True)
class Footprint(_Stored):
    """What training one backbone needs of one kind of device; trials are packed by it.

    Attributes:
        backbone, kwargs: its name and constructor arguments. device: the kind's name.
        precision: as used, never ``auto``. threads: CPU threads.
        accumulation: micro-batches per step that it was measured with: 1, 2, 4 or 8.
        train_s, evaluate_s: wall seconds per image.
        peak_memory_gb: on a GPU what torch reserved at most; on a CPU the process's peak resident
            memory without file-backed pages; None where neither can be told.
        overhead_gb: on a GPU what the process takes beside torch's allocator; on a CPU 0.
        total_memory_gb: of the device, on a CPU of the machine; None where it cannot be told.
        at: Unix seconds.
    """

    backbone: str
    device: str
    precision: str
    batch_size: int
    image_size: int
    threads: int
    accumulation: int
    train_s: float
    evaluate_s: float
    peak_memory_gb: float | None
    overhead_gb: float
    total_memory_gb: float | None
    at: float
    versions: Mapping[str, str] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing(_Stored):
    """One kind of call, timed alone: inference, or a training step.

    Attributes:
        median_ms, p95_ms: of a single call with its wait for the device.
        count: calls timed so. images_per_s: of calls back to back.
        peak_memory_gb: as in ``Footprint``.
        energy_j: per image, of the whole GPU, by its own counter; None where it has none.
    """

    batch_size: int
    median_ms: float
    p95_ms: float
    count: int
    images_per_s: float
    peak_memory_gb: float | None = None
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class Profile(_Stored):
    """What one backbone costs at one image size, measured with nothing else on the device.

    Attributes:
        backbone, kwargs: its name and constructor arguments. classes: of its classifier.
        device, precision, threads, versions, at: as in ``Footprint``.
        macs, activations: of one image; outputs of convolutions and linear layers, in numbers.
        single, batched: inference of 1 image and of 32. training: one step, optimizer included.
            None: it did not fit into the device's memory.
        shared: something else used the device meanwhile, so that timings may be too long.
        seen: what was seen of it, in words.
    """

    backbone: str
    kwargs: Mapping[str, Any]
    image_size: int
    classes: int
    device: str
    precision: str
    threads: int
    parameters: int
    macs: int | None
    activations: int | None
    single: Timing | None
    batched: Timing | None
    training: Timing | None
    shared: bool
    seen: str
    at: float
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of ``to_dict``; keys of a newer version are ignored."""
        timings = {
            key: None if data[key] is None else Timing.from_dict(data[key])
            for key in ("single", "batched", "training")
        }
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in {**data, **timings}.items() if k in known})
