"""What trials need on a node before they begin there: decoded data sets and pretrained weights.

The driver has them all, from its preflight, and puts them on the storage that every node reaches;
a task on each node takes what that node lacks. Nodes need neither the images nor a network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raybench.errors import DataError
from raybench.plan import Pair, Plan
from raybench.settings import Settings, private_files
from raybench.spec import BackboneSpec, DatasetSpec
from raybench.storage import Store, is_url

Tell = Callable[[str], None]


@dataclass(frozen=True)
class DataNeed:
    """A decoded set: its spec as JSON, how it was decoded, and the digest of its content."""

    dataset: str
    image_size: int
    crop: str
    digest: str


@dataclass(frozen=True)
class WeightsNeed:
    """A weights file: the backbone's spec as JSON, and the file's hash and name."""

    backbone: str
    sha256: str
    file: str


@dataclass(frozen=True)
class Supplies:
    """What some pairs need, in plain values that travel to any node.

    Attributes:
        shared: folder or URL that all nodes reach.
        cache_dir: on each node. weights_dir: ``RAYBENCH_WEIGHTS``, empty without one.
        cache_is_shared: ``cache_dir`` is itself a folder that all nodes have.
    """

    shared: str
    cache_dir: str
    weights_dir: str
    cache_is_shared: bool
    data: tuple[DataNeed, ...]
    weights: tuple[WeightsNeed, ...]

    def of_trial(self, data_digest: str, weights_sha256: str) -> Supplies:
        """What one trial needs, which is not to wait for the rest."""
        return replace(
            self,
            data=tuple(need for need in self.data if need.digest == data_digest),
            weights=tuple(want for want in self.weights if want.sha256 == weights_sha256),
        )


def supplies_of(
    plan: Plan, settings: Settings, pairs: Iterable[Pair], facts: Mapping[str, Mapping[str, Any]]
) -> Supplies:
    """What ``pairs`` need; ``facts`` are the preflight's, by pair."""
    recipe, pairs = plan.spec.recipe, list(pairs)
    known = {pair.id: facts.get(pair.id, {}) for pair in pairs}
    data = {
        DataNeed(pair.dataset.model_dump_json(), recipe.image_size, recipe.crop, str(digest))
        for pair in pairs
        if (digest := known[pair.id].get("data_digest"))
    }
    weights = {
        WeightsNeed(pair.backbone.model_dump_json(), str(sha256), str(file))
        for pair in pairs
        if (sha256 := known[pair.id].get("weights_sha256"))
        and (file := known[pair.id].get("weights_file"))
    }
    inside = settings.cache_dir.is_relative_to(settings.storage)
    return Supplies(
        shared=str(settings.cache_dir) if inside else settings.storage,
        cache_dir=str(settings.cache_dir),
        weights_dir="" if settings.weights_dir is None else str(settings.weights_dir),
        cache_is_shared=inside and not is_url(settings.storage),
        data=tuple(sorted(data, key=lambda need: need.dataset)),
        weights=tuple(sorted(weights, key=lambda need: need.backbone)),
    )


def publish_supplies(supplies: Supplies, tell: Tell) -> None:
    """On the driver's machine: put on the storage what is not there yet.

    Raises:
        DataError: weights have changed since the preflight.
        ResourceError: the storage is out of reach.
    """
    from raybench.backbones.share import publish_weights
    from raybench.datasets.cache.share import publish_set

    storage = Store(supplies.shared)
    for need in supplies.data if not supplies.cache_is_shared else ():
        publish_set(Path(supplies.cache_dir) / _folder(need), storage, tell)
    for want in supplies.weights:
        spec = BackboneSpec.model_validate_json(want.backbone)
        publish_weights(spec, want.sha256, storage, _weights_dir(supplies), tell)


def fetch_supplies(supplies: Supplies, tell: Tell) -> None:
    """On a node: what its cache lacks comes from the storage, else from where the driver had it.

    Raises:
        DataError: it is nowhere, or not what the driver has checked.
        ResourceError: it is nowhere, the storage is out of reach, or this node has no room.
    """
    storage, cache_dir = Store(supplies.shared), Path(supplies.cache_dir)
    if storage.is_remote:
        storage.check()  # a node's own credentials may do less than the driver's
    with private_files(cache_dir):  # the node's own umask may let everybody read
        for need in supplies.data:
            _fetch_data(need, storage, cache_dir, tell)
        for want in supplies.weights:
            _fetch_weights(want, storage, supplies, tell)


def _fetch_data(need: DataNeed, storage: Store, cache_dir: Path, tell: Tell) -> None:
    from raybench.datasets.cache.share import pull_set
    from raybench.datasets.cache.store import open_cache

    if pull_set(_folder(need), need.digest, storage, cache_dir, tell):
        return
    spec = DatasetSpec.model_validate_json(need.dataset)
    crop: Any = need.crop
    came = open_cache(spec, need.image_size, cache_dir, crop, tell).digest
    if came != need.digest:
        raise DataError(
            f"data set '{spec.name}' on this node is not the driver's: its digest is "
            f"{came[:12]}, not {need.digest[:12]}"
        )


def _fetch_weights(want: WeightsNeed, storage: Store, supplies: Supplies, tell: Tell) -> None:
    from raybench.backbones.resolve import resolve_weights
    from raybench.backbones.share import pull_weights

    spec = BackboneSpec.model_validate_json(want.backbone)
    cache_dir = Path(supplies.cache_dir)
    if not pull_weights(spec, want.sha256, want.file, storage, cache_dir, tell):
        resolve_weights(spec, _weights_dir(supplies), tell)


def _folder(need: DataNeed) -> str:
    from raybench.datasets.cache.build import folder_name

    crop: Any = need.crop
    return folder_name(json.loads(need.dataset)["name"], need.image_size, crop, need.digest)


def _weights_dir(supplies: Supplies) -> Path | None:
    return Path(supplies.weights_dir) if supplies.weights_dir else None
