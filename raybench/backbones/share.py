"""Weights on a storage that all nodes reach, by their hash: a node needs no network for them.

    <storage>/weights/<sha256>-<name>      the file that the driver has found and checked
    <cache_dir>/weights/<sha256>-<name>    a node's copy, which is loaded before any other
    .../weights/<org>__<name>/config.json  what a model on a hub is

Whatever a node has of it is checked by its hash when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from raybench.backbones.index import HUB_PREFIX, split_name
from raybench.backbones.published import hub_config
from raybench.backbones.resolve import ResolvedWeights, resolve_file, resolve_weights
from raybench.backbones.weights import file_sha256
from raybench.errors import DataError, ResourceError
from raybench.spec import BackboneSpec
from raybench.storage import Store
from raybench.whole_files import beside, locked

Tell = Callable[[str], None]
SHARED = "weights"


def publish_weights(
    spec: BackboneSpec, sha256: str, storage: Store, weights_dir: Path | None, tell: Tell
) -> None:
    """Put what ``spec`` loads on the storage, unless it is there as a whole.

    Args:
        spec: the backbone.
        sha256: of its weights, as the sweep was checked with.
        storage: of all nodes.
        weights_dir: as for ``resolve_weights``.
        tell: hears what is copied.

    Raises:
        DataError: the file has changed since it was checked.
        ResourceError: it is gone, or the storage is out of reach.
    """
    found = resolve_weights(spec, weights_dir, lambda text: None)
    if found is None:
        return
    if found.sha256 != sha256:
        raise DataError(f"weights '{spec.weights}' of '{spec.name}' have just changed")
    name = _name(sha256, found.path.name)
    if storage.sizes(SHARED).get(name) != found.path.stat().st_size:  # or a stump of an upload
        tell(f"weights: {spec.name} goes to the storage, for all nodes")
        storage.put(name, found.path)
    if (config := _hub_config_name(spec)) is not None:
        path = resolve_file(hub_config(split_name(spec.name)[1]), weights_dir, lambda text: None)
        storage.put(config, path)


def pull_weights(
    spec: BackboneSpec, sha256: str, file: str, storage: Store, cache_dir: Path, tell: Tell
) -> bool:
    """Make this node's cache have the weights; whether it has them now.

    Args:
        spec: the backbone.
        sha256: of its weights.
        file: their file's name.
        storage: where ``publish_weights`` may have put them.
        cache_dir: this node's.
        tell: hears what is copied, and what is damaged.

    Raises:
        ResourceError: the storage is out of reach, or the cache cannot be written.
    """
    target = cache_dir / _name(sha256, file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, tell):
            if pulled_weights(cache_dir, sha256) is None:
                tell(f"weights: {spec.name} comes from the storage")
                part = beside(target, ".part")
                storage.get_file(_name(sha256, file), part)
                if file_sha256(part) != sha256:
                    part.unlink()
                    # Of the right size it would stay: who publishes does not read it all.
                    storage.delete([_name(sha256, file)])
                    tell(
                        f"weights: {storage.uri(_name(sha256, file))} was damaged and is removed; "
                        "the next start puts it there again"
                    )
                    return False
                part.replace(target)
        if (config := _hub_config_name(spec)) is not None:
            storage.get_file(config, cache_dir / config)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ResourceError(f"the cache {cache_dir} cannot be written: {error}") from error
    return True


def pulled_folder(cache_dir: Path | None) -> Path | None:
    """Where this node keeps what it has pulled; None where it has pulled nothing."""
    folder = None if cache_dir is None else cache_dir / SHARED
    return folder if folder is not None and folder.is_dir() else None


def pulled_weights(cache_dir: Path | None, sha256: str) -> ResolvedWeights | None:
    """This node's copy of the weights with that hash; a damaged one is none."""
    folder = pulled_folder(cache_dir) if sha256 else None
    for path in folder.glob(f"{sha256}-*") if folder else ():
        if path.suffix not in (".lock", ".part") and file_sha256(path) == sha256:
            return ResolvedWeights(path, sha256, "the storage")
    return None


def _name(sha256: str, file: str) -> str:
    return f"{SHARED}/{sha256}-{file}"


def _hub_config_name(spec: BackboneSpec) -> str | None:
    model = split_name(spec.name)[1]
    if not model.startswith(HUB_PREFIX):
        return None
    return f"{SHARED}/{hub_config(model).local_names[0]}"
