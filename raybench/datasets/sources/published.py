"""Data sets from their published homes: fetched, unpacked, listed, and counted against the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from raybench.datasets.cards.card import DatasetCard, PublishedFile, PublishedSource
from raybench.datasets.sources.archives import DamagedArchive, unpack
from raybench.datasets.sources.published_layouts import LAYOUTS
from raybench.datasets.sources.samples import Source
from raybench.download import download
from raybench.errors import ResourceError


def open_published(
    card: DatasetCard, folder: Path, tell: Callable[[str], None] = lambda text: None
) -> Source:
    """The samples of ``card``, whose files stand in ``folder`` or are brought there.

    An archive's unpacked folder is used as it is, also when the archive has gone. Cards that share
    files read them from one folder beside ``folder``.

    Raises:
        ResourceError: not to be had, damaged, or not as many images as the card says.
    """
    source = card.published
    if source is None:
        raise ValueError(f"'{card.name}' is not fetched from a home of its own")
    root = published_folder(card, folder)
    for file in source.files:
        # A file that is read as it is goes through ``download`` even if it is there: to be checked.
        if not (root / file.place).exists() or (file.url and not file.unpack):
            _bring(card, source, file, root, tell)
    try:
        listed = LAYOUTS[source.layout](root, source.options)
    except (OSError, KeyError, ValueError) as error:
        raise ResourceError(
            f"data set '{card.name}' in {root} is not laid out as published ({error!r}); "
            f"{_again(source, root)}"
        ) from error
    _check_counts(card, source, listed, root)
    return listed


def published_folder(card: DatasetCard, folder: Path) -> Path:
    """Where the files of ``card`` stand, if its own folder would be ``folder``."""
    shared = card.published.shared if card.published else ""
    return folder.with_name(shared) if shared else folder


def _bring(
    card: DatasetCard,
    source: PublishedSource,
    file: PublishedFile,
    root: Path,
    tell: Callable[[str], None],
) -> None:
    target = root / file.name
    if not file.url:
        raise ResourceError(
            f"data set '{card.name}' cannot be fetched by a program: {file.name} is not in {root}. "
            f"Please {source.by_hand.format(folder=root)}; then run the same command again. "
            f"Its page: {card.source}"
        )
    download(file.url, target, sha256=file.sha256, md5=file.md5, size=file.size, tell=tell)
    if not file.unpack:
        return
    try:
        unpack(target, root / file.place, tell)
    except DamagedArchive as error:
        target.unlink()
        target.with_name(f"{target.name}.sha256").unlink(missing_ok=True)
        raise ResourceError(
            f"data set '{card.name}': {error}; it was removed. Run again to download it from "
            f"{file.url}, or put a whole copy there"
        ) from error


def _check_counts(card: DatasetCard, source: PublishedSource, listed: Source, root: Path) -> None:
    counts: Counter[str] = Counter(sample.split or "all" for sample in listed.samples)
    classes = len({sample.label for sample in listed.samples})
    wrong = [
        f"{counts[split]:,} {'images' if split == 'all' else f'{split} images'} instead of {told:,}"
        for split, told in card.images.items()
        if counts[split] != told
    ]
    if classes != card.classes:
        wrong.append(f"{classes} classes instead of {card.classes}")
    if wrong:
        raise ResourceError(
            f"data set '{card.name}' in {root} is not whole: {', '.join(wrong)}; "
            f"{_again(source, root)}"
        )


def _again(source: PublishedSource, root: Path) -> str:
    if source.by_hand:
        return source.by_hand.format(folder=root)
    folders = " and ".join(str(root / file.place) for file in source.files)
    return f"delete {folders} and run again to unpack it anew"
