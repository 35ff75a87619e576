"""Before the first trial: find out what each pair's trials need of the devices that are here.

A GPU is shared by as many trials as its memory holds, by measurement: one short exclusive run per
backbone, batch, image size, precision and kind of GPU, kept in the ledger. On CPUs memory is
measured only where it could bind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raybench.errors import ResourceError, TooLargeError
from raybench.measurements import Footprint
from raybench.plan import Pair, Plan
from raybench.spec import BackboneSpec, Recipe, SweepSpec
from raybench.sweep.device import Kind
from raybench.sweep.footprints import (
    Footprints,
    Known,
    footprint_key,
    rounded_classes,
)
from raybench.sweep.packing import (
    HEADROOM,
    MAX_ACCUMULATION,
    OVERHEAD,
    Fit,
    Packing,
    Shape,
    fitting_share,
)

PROCESS_GB = 1.0
"""A worker that has imported torch and Ray and trains a small network on a CPU."""
FIT_GB = 2.0
"""A linear probe's fit beside the forward pass that is measured: L-BFGS keeps up to 1 GiB."""
IMAGE_GB = 0.5
"""Training on one image of 224 px in float32: more than networks up to ViT-L take."""


@dataclass(frozen=True, slots=True)
class Request:
    """One measurement to make: a backbone as it will be trained, on one kind of device."""

    key: str
    kind: Kind
    backbone: BackboneSpec
    classes: int
    recipe: Recipe
    cpus: int


Answer = Footprint | TooLargeError | str
"""A text says why a measurement could not be made."""
Measure = Callable[[Sequence[Request]], Iterable[tuple[Request, Answer]]]


def pack(
    plan: Plan,
    kinds: Sequence[Kind],
    classes: Mapping[str, int],
    store: Footprints,
    measure: Measure,
    max_gpus: float | None,
    tell: Callable[[str], None],
    done: Collection[str] = (),
) -> Packing:
    """What trials of each pair ask for on each kind of device.

    Args:
        plan: of the sweep.
        kinds: of devices that are here.
        classes: pair id -> classes of its data set.
        store: what earlier sweeps of this home have found out.
        measure: for what they have not.
        max_gpus: as ``--max-gpus``.
        tell: called with sentences for the user.
        done: ids of pairs that owe nothing, for which nothing is measured.

    Raises:
        ResourceError: more is asked for than any node has.
    """
    spec = plan.spec
    _check_room(spec, kinds, max_gpus)
    kinds = _with_cores(spec, kinds, tell)
    for kind in kinds:
        if kind.why and spec.resources.gpus not in (0, 1):
            tell(f"{kind.name} is {kind.why}: one trial on each at a time")
    keys = {
        (pair.id, kind.name): footprint_key(spec, pair, kind.name, classes[pair.id])
        for pair in plan.pairs
        for kind in kinds
    }
    known = store.read(set(keys.values()))
    requests = {
        key: _request(spec, pair, kind, key, classes[pair.id])
        for pair in plan.pairs
        for kind in kinds
        if pair.id not in done
        and _is_needed(spec, kind, known.get(key := keys[(pair.id, kind.name)]))
    }
    known |= _measure_all(list(requests.values()), store, measure, tell)
    fits = {
        pair.id: [
            _fit(spec, kind, key := keys[(pair.id, kind.name)], known.get(key), max_gpus)
            for kind in kinds
        ]
        for pair in plan.pairs
    }
    return Packing(fits, store.remember)


def _check_room(spec: SweepSpec, kinds: Sequence[Kind], max_gpus: float | None) -> None:
    wanted, cores = spec.resources.gpus, max(kind.cores for kind in kinds)
    has_gpu = any(kind.is_gpu for kind in kinds)
    if not has_gpu and (wanted not in ("auto", 0) or spec.device == "cuda"):
        asked = "device: cuda" if spec.device == "cuda" else f"resources.gpus: {wanted}"
        raise ResourceError(
            f"{asked} asks for a GPU, but no node of this Ray has one; start a GPU node first, or "
            "give --set resources.gpus=0 --set device=auto"
        )
    if has_gpu and max_gpus == 0 and wanted != 0:
        raise ResourceError("--max-gpus 0 leaves no GPU; give --set resources.gpus=0 for CPUs")
    if spec.resources.cpus > cores:
        raise ResourceError(
            f"resources.cpus asks {spec.resources.cpus} cores, but the largest node has {cores:g}; "
            f"give --set resources.cpus={max(1, int(cores))}"
        )
    if has_gpu and max_gpus is not None and wanted != "auto" and max_gpus < float(wanted):
        raise ResourceError(
            f"--max-gpus {max_gpus:g} leaves no room for a trial with {wanted:g} of a "
            "GPU; give a larger one, or a smaller share with --set resources.gpus=0.25"
        )


def _with_cores(spec: SweepSpec, kinds: Sequence[Kind], tell: Callable[[str], None]) -> list[Kind]:
    """Those whose nodes have the cores that a trial takes; on the others it would wait for ever."""
    enough = [kind for kind in kinds if kind.cores >= spec.resources.cpus]
    for kind in kinds:
        if kind not in enough:
            tell(
                f"{kind.name} is left alone: its nodes have {kind.cores:g} cores, a trial takes "
                f"{spec.resources.cpus}"
            )
    return enough


def _is_needed(spec: SweepSpec, kind: Kind, known: Known | None) -> bool:
    """Whether a measurement would change what trials ask for, and is not there yet."""
    if known is not None and (known.footprint is not None or known.too_large):
        return False
    if spec.resources.gpus != "auto" and kind.is_gpu:
        return False
    if kind.is_gpu:
        return kind.shareable and kind.memory_gb > 0
    return kind.memory_gb > 0 and _memory_bound_gb(spec) > _memory_per_slot_gb(spec, kind)


def _memory_bound_gb(spec: SweepSpec) -> float:
    """More than a trial takes on a CPU, whatever the backbone."""
    area = (spec.recipe.image_size / 224) ** 2
    passes = 1.0 if spec.recipe.method == "finetune" else 0.25
    return PROCESS_GB + IMAGE_GB * passes * spec.largest_batch * area


def _memory_per_slot_gb(spec: SweepSpec, kind: Kind) -> float:
    return kind.memory_gb / max(1, int(kind.cores // spec.resources.cpus))


def _request(spec: SweepSpec, pair: Pair, kind: Kind, key: str, classes: int) -> Request:
    recipe = spec.recipe.model_copy(update={"batch_size": spec.largest_batch})
    backbone = pair.backbone.model_copy(update={"weights": "none"})
    return Request(key, kind, backbone, rounded_classes(classes), recipe, spec.resources.cpus)


def _measure_all(
    requests: Sequence[Request],
    store: Footprints,
    measure: Measure,
    tell: Callable[[str], None],
) -> dict[str, Known]:
    if not requests:
        return {}
    names = " and ".join(sorted({request.kind.name for request in requests}))
    backbones = len({request.backbone.name for request in requests})
    tell(f"measuring how {backbones} backbones fit on {names}, once for this home")
    for request, answer in measure(requests):
        if isinstance(answer, Footprint):
            store.write(request.key, answer)
        elif isinstance(answer, TooLargeError):
            store.write_too_large(request.key)
            tell(str(answer))
        else:
            tell(f"could not measure {request.backbone.name}: {answer}")
    return store.read({request.key for request in requests})


def _fit(spec: SweepSpec, kind: Kind, key: str, known: Known | None, max_gpus: float | None) -> Fit:
    known = known or Known(None)
    if not kind.is_gpu or spec.resources.gpus == 0:
        return _cpu_fit(spec, kind, key, known)
    most = 1.0 if max_gpus is None else min(1.0, max_gpus)
    overhead = OVERHEAD
    if known.footprint is not None and known.footprint.total_memory_gb:
        whole_gb = min(known.footprint.total_memory_gb, kind.memory_gb or math.inf)
        overhead = known.footprint.overhead_gb / whole_gb
    share = 1.0 if known.too_large else max(_share(spec, kind, known), known.least)
    shape = Shape(float(spec.resources.cpus), min(most, share), 0.0, kind.accelerator)
    parts = MAX_ACCUMULATION if known.too_large else known.accumulation
    return Fit(key, shape, parts, overhead, most, too_large=known.too_large)


def _share(spec: SweepSpec, kind: Kind, known: Known) -> float:
    if not kind.shareable:
        return 1.0
    if spec.resources.gpus != "auto":
        return float(spec.resources.gpus)
    if known.footprint is None or known.footprint.peak_memory_gb is None:
        return 1.0
    more_gb = 0.0 if spec.recipe.method == "finetune" else FIT_GB
    return fitting_share(known.footprint, kind.memory_gb or math.inf, more_gb)


def _cpu_fit(spec: SweepSpec, kind: Kind, key: str, known: Known) -> Fit:
    """Memory is asked for where it was measured, or where a trial has run out of it."""
    measured = known.footprint.peak_memory_gb if known.footprint is not None else None
    needed_gb = max(known.least, 0.0, 0.0 if measured is None else HEADROOM * measured)
    most_gb = kind.memory_gb
    if most_gb == 0:
        needed_gb = 0.0
    shape = Shape(float(spec.resources.cpus), 0.0, min(needed_gb, most_gb))
    return Fit(key, shape, known.accumulation, most_memory_gb=most_gb)
