"""One file of a Hugging Face hub: from its client's cache, or through its client.

The client knows ``HF_ENDPOINT`` (mirrors), ``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_OFFLINE`` and
proxies, and locks, so that the processes of a node fetch a file once. What is cached is found here
without it, since it asks the network even then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from raybench.backbones.published import HubFile
from raybench.download import OFFLINE_VARIABLE, is_offline
from raybench.errors import DataError, RaybenchError, ResourceError
from raybench.transfer import readable_url

_ANSWER_S = 5.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def cache_place(file: HubFile) -> str:
    """Where the client keeps the repository."""
    from huggingface_hub import constants

    return str(Path(constants.HF_HUB_CACHE) / repository_folder(file))


def repository_folder(file: HubFile) -> str:
    """What the client calls the repository's folder in its cache."""
    return "models--" + file.repository.replace("/", "--")


def hub_address(file: HubFile) -> str:
    """The repository's page on the hub or its mirror, without a password in the address."""
    from huggingface_hub import constants

    return f"{readable_url(constants.ENDPOINT)}/{file.repository}"


def find_cached(file: HubFile, cache: Path | None = None) -> Path | None:
    """The file in the client's cache, or in a folder of the same layout; asks no network."""
    from huggingface_hub import constants, try_to_load_from_cache

    folder = cache or Path(constants.HF_HUB_CACHE)
    for name in file.names:
        found = try_to_load_from_cache(file.repository, name, folder, file.revision)
        if isinstance(found, str):
            return Path(found)
    return None


def hub_sha256(path: Path) -> str:
    """The hub's own SHA-256 of a large file: in its cache the link's target is called so."""
    if not path.is_symlink():
        return ""
    blob = path.readlink()
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else ""


def refuse_offline(address: str) -> None:
    """``HF_HUB_OFFLINE`` is the user's word for all weights, also those from elsewhere.

    Raises:
        ResourceError: it is set.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or is_offline():
        raise ResourceError(f"{OFFLINE_VARIABLE} is set, so {address} was not asked")


def fetch(file: HubFile, tell: Callable[[str], None]) -> Path:
    """The first of the file's names that the hub has, in the client's cache.

    Raises:
        DataError: the hub answers that there is no such repository, revision or file.
        ResourceError: out of reach, broken off, or not allowed. Neither names a token.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    _knock(constants.ENDPOINT)
    for name in file.names:
        tell(f"fetching {name} from {hub_address(file)}")
        try:
            return _download(file, name)
        except LocalEntryNotFoundError as error:
            raise ResourceError(_reason(error.__cause__ or error)) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client raises what its HTTP library raises
            raise _refusal(error) from error
    raise DataError(f"it has none of {', '.join(file.names)}")


def _download(file: HubFile, name: str) -> Path:
    from huggingface_hub import constants, hf_hub_download, utils

    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:  # else the user has said what to show
        quiet: Any = utils
        quiet.disable_progress_bars()
    return Path(hf_hub_download(file.repository, name, revision=file.revision))


def _knock(endpoint: str) -> None:
    """One request, since the client tries for most of a minute before it says: no network.

    Raises:
        ResourceError: nobody answers.
    """
    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=_ANSWER_S):
            return
    except HTTPError:
        return  # it answers; what it thinks of this address is not the question
    except (OSError, ValueError) as error:
        raise ResourceError(f"it does not answer ({_reason(error)})") from error


def _refusal(error: Exception) -> RaybenchError:
    """What the client's error means for the user."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ResourceError(
            "it is gated: accept its licence on the model's page, and set HF_TOKEN to a token of "
            "the account that did"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return DataError(
            "there is no such repository, or it is private and HF_TOKEN gives no access to it"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DataError("it has no such revision")
    if isinstance(error, errors.HFValidationError):
        return DataError("that is no name of a repository; write ORG/NAME")
    return ResourceError(_reason(error))


def _reason(error: BaseException) -> str:
    """One line, without addresses: a signed one is a secret."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"it answered {status}: HF_TOKEN is missing or gives no access"
    if status is not None:
        return f"it answered {status}"
    reason = getattr(error, "reason", None)
    words = getattr(reason, "strerror", None) or str(reason or error).strip().partition("\n")[0]
    return re.sub(r"https?://\S+", lambda url: readable_url(url[0]), words) or type(error).__name__
