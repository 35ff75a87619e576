"""The audit of a data set before money is spent: decode everything, compare everything, say it.

What each finding means and how the thresholds were chosen: ``docs/data-audit.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from raybench.datasets.audit.classes_and_sizes import (
    balance_findings,
    dark_findings,
    grey_findings,
    name_findings,
    picture_findings,
    statistics,
    unreadable_finding,
)
from raybench.datasets.audit.duplicates import find_duplicates
from raybench.datasets.audit.findings import Audit, Finding, by_severity, reference
from raybench.datasets.audit.inspection import Inspection, inspect
from raybench.datasets.audit.leaks import Places, duplicate_findings, group_findings, split_names
from raybench.datasets.audit.likeness import THUMB, Thumbs
from raybench.datasets.folders import list_and_check
from raybench.datasets.listing import ListedImage, plural
from raybench.datasets.sources.open import fingerprint, open_source
from raybench.datasets.sources.samples import Source
from raybench.datasets.splits import Indices, make_splits
from raybench.errors import DataError
from raybench.spec import DatasetSpec

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """An audit with what it was made from: for thumbnails and for comparing data sets."""

    audit: Audit
    source: Source
    places: Places
    inspection: Inspection


def audit_dataset(
    name: str,
    spec: DatasetSpec,
    download_dir: Path,
    split_seed: int,
    image_size: int | None,
    tell: Tell,
) -> Audited:
    """Audit one data set; ``image_size`` is the sweep's, None where there is no sweep.

    Mistakes of the listing, and images that cannot be read, are findings: the rest is audited.

    Raises:
        DataError: mistakes that leave nothing to be read.
        ResourceError: cannot be downloaded.
    """
    images, mistakes = _listed(spec, download_dir)
    source = open_source(spec, images, download_dir, tell)
    found = inspect(source, lambda text: tell(f"{name}: {text}"))
    splits, uncut = _splits(source, spec, split_seed)
    samples = source.samples
    places = Places(
        ids=[sample.id for sample in samples],
        labels=np.array([sample.label for sample in samples], dtype=np.int64),
        splits=split_names(len(samples), splits),
        groups=[sample.group for sample in samples],
    )
    counts = Counter(source.classes[sample.label] for sample in samples)
    per_class = {name: counts[name] for name in source.classes}
    findings = [Finding("unusable", "mistake", mistake, 1) for mistake in mistakes]
    findings += [*unreadable_finding(found), *uncut, *_duplicates(found, places, spec)]
    findings += group_findings(places, published=spec.path is None)
    findings += [*name_findings(source.classes), *balance_findings(per_class)]
    if found.readable.any():
        findings += picture_findings(found, places.ids, image_size)
        findings += grey_findings(found, places.labels, source.classes)
        findings += dark_findings(found, places.ids)
    audit = Audit(
        dataset=name,
        images=len(samples),
        splits={name: len(indices) for name, indices in splits.items()},
        findings=by_severity(findings),
        bad=found.bad,
        statistics=statistics(found, per_class),
    )
    return Audited(audit, source, places, found)


def _listed(spec: DatasetSpec, download_dir: Path) -> tuple[list[ListedImage], list[str]]:
    """The user's files, none of a published set, and what is wrong with the others.

    Raises:
        DataError, ResourceError: as ``audit_dataset``.
    """
    if spec.path is None:
        return fingerprint(spec, download_dir)[1], []
    listing, mistakes = list_and_check(spec)
    if not listing.images:
        raise DataError(mistakes)
    return listing.images, mistakes


def _splits(
    source: Source, spec: DatasetSpec, split_seed: int
) -> tuple[dict[str, Indices], list[Finding]]:
    """What ``run`` would cut with this seed: train, val and test, or every fold."""
    labels = np.array([sample.label for sample in source.samples], dtype=np.int64)
    official = [sample.split for sample in source.samples]
    groups = [sample.group for sample in source.samples]
    given = (labels, source.classes, official, groups, spec.split, split_seed)
    try:
        if spec.folds is not None:
            return {
                f"fold {fold + 1}": make_splits(*given, folds=spec.folds, fold=fold).test
                for fold in range(spec.folds)
            }, []
        cut = make_splits(*given)
    except DataError as error:
        sentence = f"no splits can be cut: {'; '.join(error.mistakes)}"
        return {}, [Finding("splits", "warning", sentence, len(error.mistakes))]
    return {"train": cut.train, "val": cut.val, "test": cut.test}, []


def _duplicates(found: Inspection, places: Places, spec: DatasetSpec) -> list[Finding]:
    large = found.sizes.min(1) >= THUMB
    duplicates = find_duplicates(
        found.pixels, found.phash, large, lambda indices: found.thumbs[indices]
    )
    findings = list(duplicate_findings(duplicates, places, published=spec.path is None))
    small = int((found.readable & ~large).sum())
    if small:
        sentence = (
            f"{plural(small, 'picture')} under {THUMB} pixels compared only for equal pixels: "
            "so small, different ones look alike"
        )
        findings.append(Finding("too_small_to_compare", "info", sentence, small))
    return findings


def find_overlaps(audited: Sequence[Audited]) -> tuple[Finding, ...]:
    """Pictures that several data sets share, equal or nearly; ids read ``<data set>: <id>``."""
    owner = np.repeat(np.arange(len(audited)), [len(a.places.ids) for a in audited])
    ids = [reference(a.audit.dataset, name) for a in audited for name in a.places.ids]
    starts = np.searchsorted(owner, np.arange(len(audited)))

    def thumbs_of(indices: Indices) -> Thumbs:
        rows = [audited[owner[i]].inspection.thumbs[i - starts[owner[i]]] for i in indices]
        return np.stack(rows) if rows else np.empty((0, THUMB, THUMB), np.uint8)

    duplicates = find_duplicates(
        [key for a in audited for key in a.inspection.pixels],
        np.concatenate([a.inspection.phash for a in audited]),
        np.concatenate([a.inspection.sizes.min(1) >= THUMB for a in audited]),
        thumbs_of,
    )
    findings = []
    for one, other in combinations(range(len(audited)), 2):
        shared = [
            [next(i for i in same if owner[i] == place) for place in (one, other)]
            for same in (*duplicates.exact, *duplicates.near)
            if {one, other} <= {int(owner[i]) for i in same}
        ]
        if shared:
            names = [audited[place].audit.dataset for place in (one, other)]
            sentence = (
                f"'{names[0]}' and '{names[1]}' share {plural(len(shared), 'picture')}, equal or "
                "slightly changed; results on them are not independent of each other"
            )
            sets = tuple(tuple(ids[i] for i in pair) for pair in shared)
            findings.append(Finding("overlap", "warning", sentence, len(shared), sets))
    return tuple(findings)
