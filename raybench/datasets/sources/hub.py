"""Data sets of the Hugging Face hub, through the ``datasets`` library (extra ``hf``).

A revision is resolved to its commit once and written down beside the downloads; from then on that
commit is meant, with or without network. Images stay in the library's Arrow files as the bytes
they were published in. Code from a repository is never run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raybench.datasets.sources.hub_columns import hub_samples
from raybench.datasets.sources.names import HubName
from raybench.datasets.sources.samples import Source
from raybench.errors import DataError, RaybenchError, ResourceError
from raybench.spec import DatasetSpec

Tell = Callable[[str], None]
_PIN = "revision.json"


def resolve_commit(name: HubName, download_dir: Path) -> str:
    """The commit that ``name`` means: written down earlier, or asked of the hub.

    Raises:
        ResourceError: no such data set or revision, no access, or no network and nothing known.
    """
    if name.commit is not None:
        return name.commit
    pin, wanted = download_dir / _PIN, [name.repo, name.revision]
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = json.loads(pin.read_text())
        if known["of"] == wanted:
            return str(known["commit"])
    commit = _asked_commit(name)
    aside = pin.with_name(f".{_PIN}.{uuid.uuid4().hex[:8]}")
    download_dir.mkdir(parents=True, exist_ok=True)
    with aside.open("w") as file:
        file.write(json.dumps({"of": wanted, "commit": commit}))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(pin)
    return commit


def open_hub(name: HubName, spec: DatasetSpec, download_dir: Path, tell: Tell) -> Source:
    """The samples of one configuration, fetched into the library's own cache (``HF_HOME``).

    Raises:
        DataError: its columns, labels or splits cannot be used as they are.
        ResourceError: not to be had.
    """
    commit = resolve_commit(name, download_dir)
    tell(f"{spec.name}: {name.repo} at commit {commit[:12]}")
    with _in_words(name):
        tables = _load(name, commit)
    return hub_samples(tables, spec, tell)


def _load(name: HubName, commit: str) -> dict[str, Any]:
    """Split name -> ``datasets.Dataset``, of exactly that commit."""
    import datasets

    with _without_bars():
        builder = datasets.load_dataset_builder(  # hf:// so that no folder here is meant
            f"hf://datasets/{name.repo}", name.config, revision=commit
        )
        if builder.hash != commit:  # without network the library takes what it finds in its cache
            raise ResourceError(
                f"'{name.repo}' at commit {commit} is not in the cache of the datasets library, "
                f"which holds {builder.hash}, and cannot be fetched; run `raybench fetch` with a "
                "network, or pin the commit that is there"
            )
        builder.download_and_prepare()
        return dict(builder.as_dataset().items())


def _asked_commit(name: HubName) -> str:
    from huggingface_hub import HfApi, constants

    with _in_words(name):
        if constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE", "") in ("1", "true"):
            return _cached_commit(name)
        info = HfApi(endpoint=constants.ENDPOINT).dataset_info(
            name.repo, revision=name.revision, timeout=30
        )
        return str(info.sha)


def _cached_commit(name: HubName) -> str:
    """What the hub's own cache noted for the revision when something was last fetched."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=name.repo, repo_type="dataset")
    noted = Path(constants.HF_HUB_CACHE) / folder / "refs" / (name.revision or "main")
    if not noted.is_file():
        raise ConnectionError(f"offline, and {noted} is not there")
    return noted.read_text().strip()


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Progress bars of the library stay off; a library prints nothing."""
    import datasets
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown, hub_shown = datasets.is_progress_bar_enabled(), not are_progress_bars_disabled()
    datasets.disable_progress_bars()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
        if hub_shown:
            enable_progress_bars()


@contextlib.contextmanager
def _in_words(name: HubName) -> Iterator[None]:
    """Turn what the two libraries raise into what a person can act on."""
    if importlib.util.find_spec("datasets") is None:
        raise ResourceError(
            f"hf:{name.repo} needs the datasets library: pip install 'raybench[hf]'"
        )
    try:
        yield
    except RaybenchError:
        raise
    except Exception as error:  # both libraries, fsspec, httpx and pyarrow raise their own
        raise _worded(name, error) from error


def _worded(name: HubName, error: Exception) -> RaybenchError:
    import huggingface_hub.errors as hub
    from datasets.exceptions import DatasetNotFoundError

    text, repo = f"{type(error).__name__}: {error}", name.repo
    if isinstance(error, hub.RevisionNotFoundError):
        return ResourceError(f"'{repo}' has no revision '{name.revision}' on the hub")
    if isinstance(error, hub.GatedRepoError) or "is a gated dataset" in text:
        return ResourceError(
            f"'{repo}' is gated: accept its terms at https://huggingface.co/datasets/{repo} and "
            "give a token in HF_TOKEN"
        )
    if isinstance(error, hub.RepositoryNotFoundError | DatasetNotFoundError):
        return ResourceError(
            f"there is no data set '{repo}' on the hub, or it is private: check the name; a "
            "private one needs a token in HF_TOKEN"
        )
    if "BuilderConfig" in text or "Config name is missing" in text:
        known = " ".join(str(error).splitlines()[:2])  # then an example in Python
        return DataError(f"hf:{repo}: {known} Write it as hf:{repo}/CONFIG")
    if "scripts are no longer supported" in text:
        return DataError(
            f"hf:{repo} is made by a program of its own, which is never run here; look for a "
            f"Parquet branch (hf:{repo}@refs/convert/parquet)"
        )
    return ResourceError(
        f"hf:{repo} cannot be fetched, nor is it in the cache ({text}); HF_ENDPOINT, HF_TOKEN, "
        "HF_HOME and HF_HUB_OFFLINE are heeded"
    )
