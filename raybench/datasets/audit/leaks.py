"""The same picture twice, within and across splits. Pure NumPy on what the cache keeps.

The rule, in one sentence: a picture, or a group, that stands in two splits is a leak where the
images are yours, since you can mend it, and a warning on a published set, since nobody can: its
images and splits are what others report on. So CIFAR, whose own test split repeats training
pictures, is badged and not refused; the same folder given with ``path:`` is refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.audit.duplicates import Duplicates, find_duplicates
from raybench.datasets.audit.findings import Finding, Severity, by_severity
from raybench.datasets.audit.likeness import THUMB, Thumbs, thumbnail
from raybench.datasets.cache.frames import Frames, Images
from raybench.datasets.listing import plural, some
from raybench.datasets.splits import Indices

_UNSPLIT = ""
_FIRST = ("test", "val", "train")  # how much a leak into it weighs


@dataclass(frozen=True, slots=True)
class Places:
    """Where each image stands: id, class, split (``""``: in none) and group."""

    ids: Sequence[str]
    labels: NDArray[np.int64]
    splits: Sequence[str]
    groups: Sequence[str | None]


def leaks_of(
    sha256: Sequence[str],
    phash: NDArray[np.uint64],
    images: Images,
    splits: Mapping[str, Indices],
    groups: Sequence[str | None],
    ids: Sequence[str],
    labels: NDArray[np.int64],
    sizes: NDArray[np.int32],
    published: bool,
) -> tuple[Finding, ...]:
    """Duplicates and groups across splits, label conflicts; for ``run``, from the cache alone.

    Args:
        sha256: of each file, N of them.
        phash: (N,) ``perceptual_hash`` of each picture in its own size.
        images: as the cache keeps them; only candidates are read.
        splits: name -> indices (``train``, ``val``, ``test``, or folds).
        groups: what must stay together, per image, or None.
        ids: of the images, for the sentences.
        labels: (N,) class indices.
        sizes: (N, 2) width and height of each picture in its own size.
        published: images or splits that the user cannot mend: leaks are only warnings.

    Pictures (or a cache) with sides under 32 pixels are compared exactly only.
    """
    places = Places(ids, labels, split_names(len(ids), splits), groups)
    large = (sizes.min(1) >= THUMB) & (_smallest_side(images) >= THUMB)
    keys = _content_keys(sha256, phash, images)
    duplicates = find_duplicates(keys, phash, large, lambda used: _cached_thumbs(images, used))
    found = duplicate_findings(duplicates, places, published) + group_findings(places, published)
    return by_severity(found)


def _smallest_side(images: Images) -> int:
    return int(images.shapes.min() if isinstance(images, Frames) else min(images.shape[1:3]))


def split_names(count: int, splits: Mapping[str, Indices]) -> list[str]:
    """The split of each image, ``""`` where it is in none."""
    names = [_UNSPLIT] * count
    for name, indices in splits.items():
        for index in indices:
            names[index] = name
    return names


def _content_keys(
    sha256: Sequence[str], phash: NDArray[np.uint64], images: Images
) -> list[Hashable]:
    """Equal for equal files, and for equal pixels in the cache (saved again without loss)."""
    values, counts = np.unique(phash, return_counts=True)
    repeated = np.isin(phash, values[counts > 1])
    keys: list[Hashable] = list(sha256)
    for index in np.flatnonzero(repeated):
        pixels = hashlib.sha256(np.ascontiguousarray(images[int(index)]).data)
        keys[index] = (int(phash[index]), pixels.hexdigest())
    return keys


def _cached_thumbs(images: Images, used: Indices) -> Thumbs:
    from PIL import Image

    thumbs = np.zeros((len(used), THUMB, THUMB), dtype=np.uint8)
    for row, index in enumerate(used):
        thumbs[row] = thumbnail(Image.fromarray(images[index]))
    return thumbs


def duplicate_findings(
    duplicates: Duplicates, places: Places, published: bool
) -> tuple[Finding, ...]:
    """Exact and near duplicates across splits and within one; labels that contradict."""
    whole = {same[0]: same for same in duplicates.exact}
    near = [(*whole.get(a, (a,)), *whole.get(b, (b,))) for a, b in duplicates.near]
    more = "at least " if duplicates.bounded else ""
    severity: Severity = "warning" if published else "leak"
    exact_across, exact_within = _parted(duplicates.exact, places)
    near_across, near_within = _parted(near, places)
    findings = [
        _finding("exact_across_splits", severity, exact_across, places, "", published),
        _finding("near_across_splits", severity, near_across, places, more, published),
        _finding("exact_within_split", "warning", exact_within, places, "", published),
        _finding("near_within_split", "info", near_within, places, more, published),
        _finding(
            "label_conflict", "warning", _conflicting(duplicates.exact, places), places, "", False
        ),
        _finding("near_label_conflict", "warning", _conflicting(near, places), places, more, False),
    ]
    return by_severity([finding for finding in findings if finding.count])


# {n}: how many; {s}: the verb's ending where it is one; {where}: which splits.
_WORDS = {
    "exact_across_splits": "{n} with the same pixels stand{s} in more than one split{where}",
    "near_across_splits": "{n} look{s} alike and stand{s} in more than one split{where}",
    "exact_within_split": (
        "{n} with the same pixels stand{s} more than once in one split and count{s} that often; "
        "keep one copy"
    ),
    "near_within_split": "{n} look{s} alike and stand{s} in one split",
    "label_conflict": (
        "{n} with the same pixels stand{s} in more than one class; decide on one, remove the others"
    ),
    "near_label_conflict": (
        "{n} look{s} alike but stand{s} in different classes; see whether it is one picture"
    ),
}
_MEND = (
    "; keep each in one split: remove the copies, or name what belongs together with group_by "
    "(run refuses this without --accept-leaks)"
)
_PUBLISHED = "; the set is published so, hence its results are marked and not refused"


def _finding(
    kind: str,
    severity: Severity,
    sets: Sequence[tuple[int, ...]],
    places: Places,
    more: str,
    published: bool,
) -> Finding:
    noun = ("pair", "pairs") if kind.startswith("near_") else ("picture", "pictures")
    number = more + plural(len(sets), *noun) + (" of pictures" if noun[0] == "pair" else "")
    advice = _PUBLISHED if published else _MEND
    sentence = _WORDS[kind].format(
        n=number, s="s" * (len(sets) == 1), where=f" ({_split_pairs(sets, places)}){advice}"
    )
    named = tuple(tuple(places.ids[i] for i in members) for members in sets)
    return Finding(kind, severity, sentence, len(sets), named)


def _parted(
    sets: Iterable[Sequence[int]], places: Places
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Sets that stand in several splits, those into test first; and the others."""
    across: list[tuple[int, ...]] = []
    within: list[tuple[int, ...]] = []
    for members in sets:
        torn = len({places.splits[i] for i in members} - {_UNSPLIT}) > 1
        (across if torn else within).append(
            _side_by_side(members, places) if torn else tuple(members)
        )
    return sorted(across, key=lambda members: _weight(members, places)), within


def _side_by_side(members: Sequence[int], places: Places) -> tuple[int, ...]:
    """One of each split first, so that a page that shows two shows what is wrong."""
    seen: set[str] = set()
    first: list[int] = []
    rest: list[int] = []
    for index in sorted(members, key=lambda i: _rank(places.splits[i])):
        (rest if places.splits[index] in seen else first).append(index)
        seen.add(places.splits[index])
    return (*first, *rest)


def _rank(split: str) -> int:
    return _FIRST.index(split) if split in _FIRST else len(_FIRST)


def _weight(members: Sequence[int], places: Places) -> list[int]:
    return sorted({_rank(places.splits[i]) for i in members})


def _conflicting(sets: Iterable[Sequence[int]], places: Places) -> list[tuple[int, ...]]:
    return [tuple(members) for members in sets if len({places.labels[i] for i in members}) > 1]


def _split_pairs(sets: Iterable[Sequence[int]], places: Places) -> str:
    """``train and test: 3, train and val: 1``."""
    counts: Counter[str] = Counter()
    for members in sets:
        names = {places.splits[i] for i in members} - {_UNSPLIT}
        counts[" and ".join(sorted(names, key=lambda name: (-_rank(name), name)))] += 1
    return ", ".join(f"{names}: {count:,}" for names, count in counts.most_common())


def group_findings(places: Places, published: bool) -> tuple[Finding, ...]:
    """Groups (patients, scenes) that stand in more than one split."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(places.groups):
        if group is not None:
            members[group].append(index)
    torn, _ = _parted(members.values(), places)
    if not torn:
        return ()
    named = [str(places.groups[same[0]]) for same in torn]
    sentence = (
        f"{plural(len(torn), 'group')} ({some(named)}) in more than one split "
        f"({_split_pairs(torn, places)})"
        + (_PUBLISHED if published else "; keep each group in one split")
    )
    ids = tuple(tuple(places.ids[i] for i in same) for same in torn)
    return (
        Finding(
            "group_across_splits", "warning" if published else "leak", sentence, len(torn), ids
        ),
    )
