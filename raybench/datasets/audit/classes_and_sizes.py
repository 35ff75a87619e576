"""What an audit says about class names, class balance and the pictures' sizes and colours."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.datasets.audit.findings import Finding
from raybench.datasets.audit.inspection import Inspection
from raybench.datasets.listing import plural, some, worded

IMBALANCE = 10
FEW_IMAGES = 10
_DARK = 1 / 16  # of a 16-bit range: what 12 bits stored in 16 fill
_LONG = 2.5  # sides; such a picture is squeezed until its content is hard to recognise


def name_findings(classes: Sequence[str]) -> list[Finding]:
    """Names that a person may have meant as one: case, blanks, accents' encoding, plural."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[_folded(name)].append(name)
    for folded in sorted(alike):
        if folded + "s" in alike and not folded[-1:].isdigit():
            alike[folded] += alike.pop(folded + "s")
    twins = [names for names in alike.values() if len(names) > 1]
    if not twins:
        return []
    listed = "; ".join(" and ".join(repr(name) for name in names) for names in twins[:10])
    sentence = f"class names differ only in spelling: {listed}; if one class is meant, merge them"
    return [Finding("label_names", "warning", sentence, len(twins))]


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\s_.-]+", " ", plain).strip()


def balance_findings(counts: dict[str, int]) -> list[Finding]:
    """The largest and the smallest class; tiny ones by name."""
    large, small = max(counts, key=lambda n: counts[n]), min(counts, key=lambda n: counts[n])
    words = f"'{small}' has {plural(counts[small], 'image')}, '{large}' {counts[large]:,}"
    findings = []
    if counts[large] >= IMBALANCE * max(1, counts[small]):
        advice = "let search.metric be val/balanced_accuracy or val/macro_f1"
        findings.append(
            Finding("class_balance", "warning", f"classes differ: {words}; {advice}", 1)
        )
    else:
        told = f"{counts[small]:,} images each" if counts[small] == counts[large] else words
        classes = plural(len(counts), "class", "classes")
        findings.append(Finding("class_balance", "info", f"{classes}: {told}"))
    few = [name for name, count in counts.items() if count < FEW_IMAGES]
    if few:
        sentence = (
            f"{plural(len(few), 'class', 'classes')} with fewer than {FEW_IMAGES} images, too few "
            f"to measure: {some(few)}; add images, or merge or remove classes"
        )
        findings.append(Finding("small_classes", "warning", sentence, len(few)))
    return findings


def picture_findings(
    found: Inspection, ids: Sequence[str], image_size: int | None
) -> list[Finding]:
    """Sizes against the sweep's, long shapes. Needs at least one readable picture."""
    sizes = found.sizes[found.readable]
    short, long = sizes.min(1), sizes.max(1)
    low, middle, high = (int(v) for v in np.quantile(short, [0, 0.5, 1], method="nearest"))
    words = f"short sides of {low:,} to {high:,} pixels, median {middle:,}"
    if low == high:
        words = f"short sides of {low:,} pixels"
    findings = []
    if image_size is not None and (short < image_size).any():
        share = (short < image_size).mean()
        words += f"; {_percent(share)} enlarged to the sweep's {image_size}"
        if middle < image_size / 2:
            words += ", most by more than twice: a smaller image_size costs less and loses nothing"
    findings.append(Finding("image_sizes", "info", words))
    stretched = long > _LONG * short
    if stretched.any():
        names = [ids[i] for i in np.flatnonzero(found.readable)[stretched]]
        sentence = (
            f"{plural(len(names), 'picture is', 'pictures are')} more than {_LONG:g} times as long "
            f"as wide and will be squeezed to a square; crop {_them(names)}, or use crop: random"
        )
        findings.append(Finding("long_shapes", "info", sentence, len(names), _each(names)))
    return findings


def grey_findings(
    found: Inspection, labels: NDArray[np.int64], classes: Sequence[str]
) -> list[Finding]:
    """Grey among colour; a warning where it tells classes apart, since a model would learn that."""
    readable = found.readable
    share = found.grey[readable].mean()
    if share in (0, 1):
        return [Finding("colour", "info", "all pictures are " + ("grey" if share else "in colour"))]
    shares = {
        name: found.grey[readable & (labels == index)].mean()
        for index, name in enumerate(classes)
        if (readable & (labels == index)).any()
    }
    grey = [name for name, part in shares.items() if part >= 0.9]
    colour = [name for name, part in shares.items() if part <= 0.1]
    if grey and colour:
        sentence = (
            f"{worded(grey, 'class {} is', 'classes {} are')} grey and "
            f"{worded(colour, 'class {} is', 'classes {} are')} in colour: a model can tell them "
            "apart without looking at the content; make all pictures grey, or all in colour"
        )
        return [Finding("colour", "warning", sentence, len(grey))]
    return [Finding("colour", "info", f"{_percent(share)} of the pictures are grey")]


def dark_findings(found: Inspection, ids: Sequence[str]) -> list[Finding]:
    """16-bit pictures so far below white that eight bits leave next to nothing of them."""
    with np.errstate(invalid="ignore"):
        dark = np.flatnonzero(found.range_used < _DARK)
    if not len(dark):
        return []
    most = found.range_used[dark].max()
    names = [ids[int(i)] for i in dark]
    sentence = (
        f"{plural(len(dark), 'picture uses', 'pictures use')} less than 1/16 of the 16-bit range "
        f"(at most {100 * most:.2g}%) and {'comes' if len(dark) == 1 else 'come'} out nearly "
        "black; stretch all of them by one factor"
    )
    return [Finding("dark_pictures", "warning", sentence, len(dark), _each(names))]


def unreadable_finding(found: Inspection) -> list[Finding]:
    """Every image that could not be decoded to its end, with its reason."""
    if not found.bad:
        return []
    while_there = "it is" if len(found.bad) == 1 else "they are"
    sentence = (
        f"{plural(len(found.bad), 'image')} cannot be read; replace or remove "
        f"{_them(list(found.bad))}, run refuses the data set as long as {while_there} there"
    )
    return [Finding("unreadable", "warning", sentence, len(found.bad), _each(found.bad))]


def statistics(found: Inspection, counts: dict[str, int]) -> dict[str, Any]:
    """Numbers for programs: images per class, spread of sizes, share of grey pictures."""
    sizes = found.sizes[found.readable]
    spread = (
        {} if not len(sizes) else {"width": _spread(sizes[:, 0]), "height": _spread(sizes[:, 1])}
    )
    aspect = _spread(sizes[:, 0] / sizes[:, 1]) if len(sizes) else None
    grey = float(found.grey[found.readable].mean()) if len(sizes) else None
    return {"classes": counts, **spread, "aspect": aspect, "grey_share": grey}


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _spread(values: NDArray[Any]) -> list[float]:
    return [round(float(v), 3) for v in (values.min(), np.median(values), values.max())]


def _percent(share: float) -> str:
    if share in (0, 1):
        return "all" if share else "none"
    return "under 1%" if share < 0.01 else f"{100 * share:.0f}%"


def _each(names: Sequence[str] | dict[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple((name,) for name in names)
