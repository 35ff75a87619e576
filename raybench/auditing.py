"""What ``raybench check`` does: find out what DATA means, audit it, save the report."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from raybench.datasets.audit.findings import AuditReport, reference
from raybench.datasets.cards import CARDS, nearest_names
from raybench.datasets.folders import list_and_check
from raybench.datasets.listing import some
from raybench.datasets.tables import is_table
from raybench.errors import DataError, SpecError
from raybench.seeding import derive_seed
from raybench.settings import Settings, make_home
from raybench.spec import DatasetSpec
from raybench.validate import load_spec, shipped_specs

if TYPE_CHECKING:
    from raybench.datasets.audit.audit import Audited
    from raybench.report.audit_page import Picture

Tell = Callable[[str], None]
_SOURCES = ("hf:", "medmnist:")


@dataclass(frozen=True, slots=True)
class Target:
    """One data set to audit, with the sweep's seed and image size where it comes from one."""

    name: str
    spec: DatasetSpec
    split_seed: int
    image_size: int | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The report and where it was saved."""

    report: AuditReport
    json_file: Path
    html_file: Path


def check_data(
    data: Sequence[str],
    settings: Settings,
    tell: Tell,
    html: Path | None = None,
    image_size: int | None = None,
) -> CheckResult:
    """Audit every data set that ``data`` names and save the report in the home.

    Args:
        data: folders, tables, names of data sets, ``hf:``/``medmnist:`` sources, sweep files.
        settings: the home; the report goes to its ``reports/``.
        tell: is given lines of progress.
        html: the page's place, instead of the home's.
        image_size: what the models will see; a sweep file says it itself.

    Raises:
        UserInputError: DATA that means nothing, or of which nothing can be read; every mistake.
            What keeps only a part from being used is in the report, with the audit of the rest.
        ResourceError: a data set that cannot be downloaded.
        HomeError: the report cannot be written.
    """
    from raybench.datasets.audit.audit import audit_dataset, find_overlaps
    from raybench.report.audit_page import render_audit, shown_images
    from raybench.report.files import write_text

    name, targets = find_targets(data, image_size)
    make_home(settings)
    stem = f"check-{name}{_digest(data)}"
    audited = []
    for target in targets:
        tell(f"check: {target.name}")
        downloads = settings.cache_dir / "downloads" / target.spec.name
        audited.append(
            audit_dataset(
                target.name, target.spec, downloads, target.split_seed, target.image_size, tell
            )
        )
    overlaps = find_overlaps(audited) if len(audited) > 1 else ()
    report = AuditReport(name, tuple(one.audit for one in audited), overlaps)
    folder = settings.home / "reports"
    json_file = write_text(folder / f"{stem}.json", json.dumps(report.as_json(), indent=2) + "\n")
    page = render_audit(report, _pictures(audited, shown_images(report)))
    return CheckResult(report, json_file, write_text(html or folder / f"{stem}.html", page))


def _digest(data: Sequence[str]) -> str:
    """What tells the reports of two folders of one name apart; empty where no place is named."""
    places = sorted({str(p.resolve()) for p in map(_path, data) if p.exists()})
    digest = hashlib.sha256("\0".join(places).encode(errors="surrogateescape")).hexdigest()
    return f"-{digest[:8]}" if places else ""


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _pictures(audited: Sequence[Audited], wanted: frozenset[str]) -> dict[str, Picture]:
    from raybench.datasets.audit.inspection import picture_uri
    from raybench.report.audit_page import Picture

    pictures = {}
    for one in audited:
        for sample, split in zip(one.source.samples, one.places.splits, strict=True):
            ref = reference(one.audit.dataset, sample.id)
            if ref in wanted:
                label = one.source.classes[sample.label]
                pictures[ref] = Picture(picture_uri(sample), label, split)
    return pictures


def find_targets(data: Sequence[str], image_size: int | None) -> tuple[str, list[Target]]:
    """A name for the report, and what each word of ``data`` means.

    Raises:
        DataError: all mistakes, where a word means nothing or a data set has nothing to be read.
    """
    mistakes: list[str] = []
    hopeless = False
    targets: list[Target] = []
    names: list[str] = []
    for text in data:
        try:
            name, found = _meant(text, image_size)
        except SpecError as error:
            mistakes += error.mistakes
            hopeless = True
        else:
            names.append(name)
            targets += found
    targets = _distinct(targets)
    for target in targets:
        listing, its_own = list_and_check(target.spec)
        mistakes += its_own
        hopeless |= bool(its_own) and not listing.images
    if hopeless:
        raise DataError(mistakes)
    return "+".join(dict.fromkeys(names))[:80], targets


def _meant(text: str, image_size: int | None) -> tuple[str, list[Target]]:
    """What exists on disk counts first, then sources, names, and shipped sweeps."""
    path = _path(text)
    seed = derive_seed(0, "split")  # as of a sweep that names no seed
    if path.is_dir() or is_table(path):
        spec = DatasetSpec(name=_slug(path.stem), path=str(path.resolve()))
    elif text.startswith(_SOURCES):
        spec = DatasetSpec(name=_slug(text.split("@")[0].split("/")[-1]), source=text)
    elif text in CARDS:
        spec = DatasetSpec(name=text)
    elif path.is_file() or text in shipped_specs():
        sweep = load_spec(text)
        seed, size = derive_seed(sweep.seed, "split"), image_size or sweep.recipe.image_size
        return sweep.name, [Target(dataset.name, dataset, seed, size) for dataset in sweep.datasets]
    else:
        near = nearest_names(text)
        meant = f"; did you mean {some(near)}?" if near else "."
        raise SpecError(
            f"'{text}' is no folder, table, sweep file or data set{meant} Data sets by name: "
            "raybench datasets"
        )
    return spec.name, [Target(spec.name, spec, seed, image_size)]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:64] or "data"


def _distinct(targets: Sequence[Target]) -> list[Target]:
    """Equal data sets once; others of one name get a number, since reports go by name."""
    found: list[Target] = []
    taken: set[str] = set()
    for target in targets:
        if any(replace(target, name=known.name) == known for known in found):
            continue
        number, name = 1, target.name
        while name in taken:
            number += 1
            name = f"{target.name}-{number}"
        taken.add(name)
        found.append(replace(target, name=name))
    return found
