"""One file over HTTP: resumed, retried, checked, renamed; many processes fetch it once.

    <target>                what was asked for: there whole and checked, or not at all
    <target>.sha256         its SHA-256 on first download (``sha256sum -c`` reads it)
    <target>.part           what has come so far
    <target>.part.json      of which version: the server's ETag and Last-Modified
    <target>.lock           held while one process fetches

Only the standard library. Proxies are taken from the environment, as urllib does; so is the wish
to stay offline, as the Hugging Face client does.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from raybench.errors import ResourceError
from raybench.transfer import (
    Refused,
    Stale,
    Transient,
    Validator,
    open_url,
    read_chunks,
    readable_url,
)
from raybench.whole_files import Wanted, beside, locked, size_of, sync_folder, write_text

OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
_TRUE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads it
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_TOLD_EVERY_S = 5.0
_PROGRESS_BYTES = 1 << 20  # an attempt that brought this much does not count as a failure


class DownloadError(ResourceError):
    """A file that cannot be fetched.

    Attributes:
        tried: what was asked, and what came of it.
        by_hand: what a person can do.
    """

    def __init__(self, target: Path, tried: str) -> None:
        self.tried = tried
        self.by_hand = f"get that file and save it as {target}"
        super().__init__(
            f"'{target.name}' could not be downloaded: {tried}. By hand: {self.by_hand}"
        )


def _no_fault(path: Path) -> str:
    return ""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    find_fault: Callable[[Path], str] = _no_fault,
    tell: Callable[[str], None] = lambda text: None,
    stall_s: float = 30,
    tries: int = 5,
) -> str:
    """Make ``target`` be the file at ``url``; returns its SHA-256.

    A target that is there already is only checked. Where no SHA-256 is published (``sha256`` is
    None), the one of the first download is recorded beside the target and holds from then on.

    Args:
        url: http or https; redirects are followed, but not from https to http.
        target: the file's place; missing folders are made.
        sha256: published, in hex.
        md5: published, in hex.
        size: published size in bytes.
        find_fault: says of the file that came what is wrong with it ("is a web page"), before it
            gets its place and its hash is recorded; empty: nothing.
        tell: gets progress, every few seconds at most.
        stall_s: seconds without a byte after which the connection is given up.
        tries: attempts in a row that bring less than a MiB before it fails.

    Raises:
        DownloadError: not to be had, not what was published, or offline by the user's wish.
        ResourceError: not what was recorded, or not to be written.
    """
    if not target.exists():
        refuse_offline(url, target)
    wanted = Wanted(sha256 and sha256.lower(), md5 and md5.lower(), size)
    job = _Job(url, target, wanted, find_fault, tell, stall_s, tries)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, tell) as alone:
            if target.exists():
                return _keep(job)
            return _fetch(job) if alone else _fetch_apart(job.apart())
    except OSError as error:
        raise ResourceError(
            f"{target} cannot be written: {error.strerror or error}; what was downloaded so far "
            "stays beside it, and the same command continues there"
        ) from error


def is_offline() -> bool:
    """Whether the user has said that nothing is to be fetched."""
    return os.environ.get(OFFLINE_VARIABLE, "").upper() in _TRUE


def refuse_offline(url: str, target: Path) -> None:
    """For all that is fetched, by whichever library.

    Raises:
        DownloadError: ``HF_HUB_OFFLINE`` is set; names what would have been fetched.
    """
    if is_offline():
        raise DownloadError(
            target, f"{OFFLINE_VARIABLE} is set, so {readable_url(url)} was not asked"
        )


def recorded_sha256(target: Path) -> str | None:
    """What ``target`` had as its SHA-256 when it was first downloaded; None where unknown.

    Raises:
        ResourceError: the record is damaged.
    """
    record = beside(target, ".sha256")
    if not record.exists():
        return None
    found = re.match(r"[0-9a-f]{64}\b", record.read_text(errors="replace"))
    if found is None:
        raise ResourceError(f"{record} holds no SHA-256; delete it if you trust {target.name}")
    return found[0]


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    target: Path
    wanted: Wanted
    find_fault: Callable[[Path], str]
    tell: Callable[[str], None]
    stall_s: float
    tries: int
    suffix: str = ".part"

    @property
    def part(self) -> Path:
        return beside(self.target, self.suffix)

    @property
    def state(self) -> Path:
        return beside(self.target, f"{self.suffix}.json")

    def apart(self) -> _Job:
        """For a file system without locks: a part of one's own; renaming decides who is first."""
        suffix = f".{uuid.uuid4().hex[:8]}.part"
        return replace(self, suffix=suffix)

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def fault(self, recorded: str | None) -> tuple[str, str]:
        """SHA-256 of what came, and what is wrong with it; empty: nothing."""
        sha256, difference = self.wanted.difference(self.part, recorded)
        return sha256, f"has {difference}" if difference else self.find_fault(self.part)

    def failure(self, came: str) -> DownloadError:
        return DownloadError(self.target, f"asked {readable_url(self.url)}; {came}")


def _keep(job: _Job) -> str:
    """Check a target that is there already; a file put there by hand gets its record."""
    recorded = recorded_sha256(job.target)
    sha256, difference = job.wanted.difference(job.target, recorded)
    if difference:
        raise ResourceError(
            f"{job.target} has changed or is another file: it has {difference}. Move it away and "
            f"run again to download it from {readable_url(job.url)}"
        )
    if recorded is None:
        _record(job, sha256)
    return sha256


def _fetch_apart(job: _Job) -> str:
    """Nobody will continue a part that has a name of its own, so a failure leaves none."""
    try:
        return _fetch(job)
    finally:
        job.forget()


def _fetch(job: _Job) -> str:
    recorded = recorded_sha256(job.target)
    resumed = _transfer(job)
    sha256, fault = job.fault(recorded)
    if fault and resumed:  # the earlier part may be what is wrong
        job.tell(f"{job.target.name}: what came {fault}; starting afresh")
        job.forget()
        _transfer(job)
        sha256, fault = job.fault(recorded)
    if fault:
        job.forget()
        raise job.failure(f"what came {fault}, and was thrown away")
    job.part.replace(job.target)
    job.state.unlink(missing_ok=True)
    _record(job, sha256)
    sync_folder(job.target.parent)
    return sha256


def _transfer(job: _Job) -> bool:
    """Bring the whole part here, whatever it takes; whether bytes of an earlier try are in it."""
    failures, resumed = 0, False
    while True:
        before = size_of(job.part)
        try:
            return _attempt(job) or resumed
        except Refused as error:
            raise job.failure(str(error)) from error
        except Transient as error:
            if isinstance(error, Stale):
                job.forget()
            resumed = resumed or before > 0
            gained = size_of(job.part) - before >= _PROGRESS_BYTES
            failures = 1 if gained else failures + 1
            if failures >= job.tries:
                raise job.failure(f"{error}, {failures} times in a row") from error
            wait_s = min(_LONGEST_WAIT_S, max(error.wait_s, _FIRST_WAIT_S * 2 ** (failures - 1)))
            job.tell(f"{job.target.name}: {error}; trying again in {wait_s:.0f} s")
            time.sleep(wait_s)


def _attempt(job: _Job) -> bool:
    """One connection, from where the part ends; whether it began with bytes of before.

    Without a validator a part is only continued where a published hash tells at the end whether
    the two halves belong together.
    """
    validator = Validator.read(job.state, job.url)
    checked = bool(job.wanted.sha256 or job.wanted.md5)
    have = size_of(job.part) if validator and (validator.usable or checked) else 0
    with open_url(job.url, have, validator, job.stall_s) as answer:
        if answer.complete:
            return True
        total = answer.total
        if job.wanted.size is not None and total is not None and total != job.wanted.size:
            raise Refused(
                f"the server announces {total:,} bytes instead of {job.wanted.size:,} (published)"
            )
        if answer.start == 0:
            write_text(job.state, json.dumps(answer.validator.as_json(job.url)))
        with job.part.open("ab" if answer.start else "wb") as file:
            meter = _Meter(job, answer.start, total)
            for chunk in read_chunks(answer, job.stall_s):
                file.write(chunk)
                file.flush()  # a kill loses what is in the buffer, and with it the way back
                meter.add(len(chunk))
            os.fsync(file.fileno())
    if total is not None and meter.have < total:
        raise Transient(f"the connection closed after {meter.have:,} of {total:,} bytes")
    return answer.start > 0


class _Meter:
    """Tells how far a transfer is, every few seconds."""

    def __init__(self, job: _Job, have: int, total: int | None) -> None:
        self.have, self._start, self._total = have, have, total
        self._tell, self._name = job.tell, job.target.name
        self._begun = self._told = time.monotonic()
        self._tell(f"{self._name}: downloading from {readable_url(job.url)}")

    def add(self, count: int) -> None:
        self.have += count
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_S:
            self._told = now
            rate = (self.have - self._start) / (now - self._begun) / 1e6
            of = f" of {self._total / 1e6:,.0f}" if self._total else ""
            self._tell(f"{self._name}: {self.have / 1e6:,.0f}{of} MB, {rate:.1f} MB/s")


def _record(job: _Job, sha256: str) -> None:
    write_text(beside(job.target, ".sha256"), f"{sha256}  {job.target.name}\n")
    if job.wanted.sha256 is None and job.wanted.md5 is None:
        job.tell(
            f"{job.target.name}: SHA-256 {sha256} recorded, not published; checked from now on"
        )
