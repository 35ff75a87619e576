"""Weights made ready before the first trial: found or fetched, hashed, or refused in one sentence.

Looked for in this order: the file that the spec names; the weights folder; the libraries' own
caches; the network. What is found is never looked for further, so a warm machine asks no network.
``docs/weights.md`` tells users the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from raybench.backbones import hub
from raybench.backbones.index import is_weights_file
from raybench.backbones.object_store import copy_from_store
from raybench.backbones.published import HubFile, UrlFile, published_file
from raybench.backbones.weights import file_sha256, weights_fault
from raybench.download import DownloadError, download, recorded_sha256
from raybench.errors import DataError, RaybenchError, ResourceError, UserInputError
from raybench.redaction import fill_in
from raybench.spec import BackboneSpec
from raybench.transfer import readable_url

__all__ = ["ResolvedWeights", "resolve_all", "resolve_file", "resolve_weights"]

Tell = Callable[[str], None]

_AT_ONCE = 4  # downloads; more only share the same line
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResolvedWeights:
    """A weights file that is here and whose hash is what it should be.

    Attributes:
        path: of the file. sha256: of its content, in hex.
        source: in words, where it was: a file, the weights folder, a cache, or an address.
    """

    path: Path
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    source: str
    sha256: str = ""  # what is known of it; the leading digits, or empty


def resolve_weights(
    spec: BackboneSpec, weights_dir: Path | None = None, tell: Tell = _logger.info
) -> ResolvedWeights | None:
    """The weights file of one backbone; None for ``weights: none``.

    Args:
        spec: name and weights.
        weights_dir: folder of weights files for machines without a network.
        tell: gets a line per file; more while a download lasts.

    Raises:
        DataError: a file that is missing, unreadable or not the published one; an unknown name.
        ResourceError: not here, and not to be fetched; names every place that was looked at.
    """
    try:
        found = _find(spec, weights_dir, tell)
        if found is None:
            return None
        sha256 = _checked_sha256(found)
        size_mb = found.path.stat().st_size / 1e6
    except OSError as error:
        raise DataError(f"weights '{spec.weights}' of '{spec.name}': {error}") from error
    tell(f"weights: {spec.name}: {found.path.name}, {size_mb:.1f} MB, from {found.source}")
    return ResolvedWeights(found.path, sha256, found.source)


def resolve_all(
    specs: Iterable[BackboneSpec], weights_dir: Path | None = None, tell: Tell = _logger.info
) -> dict[str, ResolvedWeights]:
    """Several at once; by ``spec.model_dump_json()``, without those that load nothing.

    Raises:
        DataError: every mistake of every backbone, where one of them is the user's.
        ResourceError: the same, where all that is missing is out of reach.
    """
    wanted = {spec.model_dump_json(): spec for spec in specs}
    lock = threading.Lock()

    def tell_in_turn(text: str) -> None:
        with lock:
            tell(text)

    def resolve(spec: BackboneSpec) -> ResolvedWeights | RaybenchError | None:
        try:
            return resolve_weights(spec, weights_dir, tell_in_turn)
        except (DataError, ResourceError) as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="weights") as pool:
        results = dict(zip(wanted, pool.map(resolve, wanted.values()), strict=True))
    _raise_all([result for result in results.values() if isinstance(result, RaybenchError)])
    return {key: found for key, found in results.items() if isinstance(found, ResolvedWeights)}


def resolve_file(file: HubFile | UrlFile, weights_dir: Path | None, tell: Tell) -> Path:
    """Any published file, with the same places and checks; no weights: a ``config.json``.

    Raises:
        DataError, ResourceError: as ``resolve_weights``.
    """
    found = _find_published(file, f"'{file.local_names[0]}'", weights_dir, tell)
    _checked_sha256(found)
    return found.path


def _raise_all(errors: list[RaybenchError]) -> None:
    sentences = [sentence for error in errors for sentence in error.sentences]
    if any(isinstance(error, UserInputError) for error in errors):
        raise DataError(sentences)
    if errors:
        raise ResourceError(sentences)


def _find(spec: BackboneSpec, weights_dir: Path | None, tell: Tell) -> _Found | None:
    if is_weights_file(spec.weights):
        path = Path(spec.weights).absolute()
        if not path.is_file():
            raise DataError(f"weights '{spec.weights}' of '{spec.name}': no such file")
        return _Found(path, "the file itself")
    wanted = published_file(spec)
    if wanted is None:
        return None
    shown = readable_url(spec.weights) if "://" in spec.weights else spec.weights
    return _find_published(wanted, f"weights '{shown}' of '{spec.name}'", weights_dir, tell)


def _find_published(
    file: HubFile | UrlFile, title: str, weights_dir: Path | None, tell: Tell
) -> _Found:
    """In the weights folder, else in a cache, else from the network."""
    found = _in_folder(file, weights_dir) if weights_dir else None
    if found is not None:
        return found
    try:
        if isinstance(file, HubFile):
            return _look_on_hub(file, tell)
        return _look_behind_url(file, tell)
    except ResourceError as error:
        raise ResourceError(
            f"{title}: not found. Looked for it in {_places(file, weights_dir)}; {error}. "
            f"{_help(file, weights_dir)}"
        ) from error
    except DataError as error:
        raise DataError(f"{title}: asked {_address(file)}; {error}") from error


_NAMED_FOLDER = "a folder and name that in RAYBENCH_WEIGHTS"


def _help(file: HubFile | UrlFile, weights_dir: Path | None) -> str:
    """What to do, with the names that the file may have; all of them stand in docs/weights.md."""
    best = PurePosixPath(file.local_names[0])
    named = (PurePosixPath(name) for name in file.local_names[1:])
    others = [name.suffix for name in named if name == best.with_suffix(name.suffix)]
    kinds = f" (or {', '.join(others)}, as its kind is)" if others else ""
    where = f"{weights_dir} (RAYBENCH_WEIGHTS)" if weights_dir else _NAMED_FOLDER
    return (
        "Run `raybench fetch FILE` where there is a network, with the same caches, or put the file "
        f"as {best}{kinds} in {where}"
    )


def _in_folder(file: HubFile | UrlFile, folder: Path) -> _Found | None:
    if not folder.is_dir():
        raise DataError(f"the weights folder {folder} is no folder; correct RAYBENCH_WEIGHTS")
    for name in file.local_names:
        if (folder / name).is_file():
            sha256 = file.sha256 if isinstance(file, UrlFile) else ""
            return _Found(folder / name, "the weights folder", sha256)
    found = hub.find_cached(file, folder) if isinstance(file, HubFile) else None
    return _Found(found, "the weights folder", hub.hub_sha256(found)) if found else None


def _look_on_hub(file: HubFile, tell: Tell) -> _Found:
    path, source = hub.find_cached(file), "the Hugging Face cache"
    if path is None:
        hub.refuse_offline(_address(file))
        path, source = _fetch_from_hub(file, tell), hub.hub_address(file)
    return _Found(path, source, hub.hub_sha256(path))


def _fetch_from_hub(file: HubFile, tell: Tell) -> Path:
    try:
        return hub.fetch(file, tell)
    except ResourceError as error:
        raise ResourceError(f"then asked {hub.hub_address(file)}; {error}") from error


def _look_behind_url(file: UrlFile, tell: Tell) -> _Found:
    path = _hub_folder() / file.name
    if path.is_file():
        return _Found(path, "torch's hub folder", file.sha256 or recorded_sha256(path) or "")
    hub.refuse_offline(_address(file))
    find_fault = partial(_find_fault, file.sha256)
    url = _with_secrets(file.url)
    if not url.startswith(("http://", "https://")):
        copy_from_store(url, path, find_fault, tell)
        return _Found(path, readable_url(file.url), file.sha256)
    whole = file.sha256 if len(file.sha256) == 64 else None
    try:
        download(url, path, sha256=whole, find_fault=find_fault, tell=tell)
    except DownloadError as error:
        raise ResourceError(f"then {error.tried}") from error
    return _Found(path, readable_url(file.url), file.sha256)


def _with_secrets(url: str) -> str:
    """What the sweep file names as ``${NAME}``, for the download alone.

    Raises:
        ResourceError: the variable is not set.
    """
    try:
        return fill_in(url)
    except KeyError as error:
        raise ResourceError(
            f"then the variable {error.args[0]} in its address is not set"
        ) from None


def _find_fault(published: str, path: Path) -> str:
    """An error page sent as if all were well must not become what is checked against.

    Args:
        published: SHA-256, or the leading digits of it; empty: none is, so it must open.
        path: of what came.
    """
    if published:
        came = file_sha256(path)
        return "" if came.startswith(published) else f"has SHA-256 {came}, published is {published}"
    return weights_fault(path)


def _hub_folder() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _checked_sha256(found: _Found) -> str:
    """The file's hash.

    Raises:
        DataError: another one is known: the file is damaged, cut short, or another file.
    """
    sha256 = file_sha256(found.path)
    if not sha256.startswith(found.sha256):
        raise DataError(
            f"weights {found.path} are damaged or another file: SHA-256 {sha256}, expected "
            f"{found.sha256}; delete the file to have it fetched again, or put the right one there"
        )
    return sha256


def _places(file: HubFile | UrlFile, weights_dir: Path | None) -> str:
    """Every place that was looked at before the network, with exact paths."""
    if weights_dir is None:
        places = ["a weights folder (RAYBENCH_WEIGHTS is not set)"]
    else:
        places = [f"{weights_dir} (as {', '.join(file.local_names)})"]
    if isinstance(file, UrlFile):
        return ", ".join([*places, str(_hub_folder() / file.name)])
    if weights_dir is not None:
        places.append(str(weights_dir / hub.repository_folder(file)))
    return ", ".join([*places, hub.cache_place(file)])


def _address(file: HubFile | UrlFile) -> str:
    return hub.hub_address(file) if isinstance(file, HubFile) else readable_url(file.url)
