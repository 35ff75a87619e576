"""How numbers are written for people: one spelling in sentences, tables and the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from raybench.analysis.intervals import Interval

MISSING = "—"
_LOPSIDED = 1e-5  # a hundredth of the last digit shown; what images say is kept in single precision
_PERCENT = frozenset(
    "accuracy balanced_accuracy macro_f1 average_precision sensitivity specificity".split()
)
_ABBREVIATED = frozenset({"auroc", "nll", "ece"})


def is_percent(metric: str) -> bool:
    """Whether ``metric`` is written in percent (one decimal) rather than as a number (three)."""
    return metric.split("/", 1)[-1] in _PERCENT


def metric_title(metric: str) -> str:
    """``accuracy`` for ``val/accuracy``, ``AUROC`` for ``test/auroc``."""
    name = metric.split("/", 1)[-1]
    return name.upper() if name in _ABBREVIATED else name.replace("_", " ").replace("f1", "F1")


def metric_value(metric: str, value: float | None, unit: bool = True) -> str:
    """``97.8%`` or ``0.123``; a dash where there is none."""
    if value is None:
        return MISSING
    return f"{100 * value:.1f}{'%' * unit}" if is_percent(metric) else f"{value:.3f}"


def metric_change(metric: str, value: float | None) -> str:
    """A difference with its sign, ``+1.2`` (points) or ``-0.012``."""
    if value is None:
        return MISSING
    text = f"{100 * value:+.1f}" if is_percent(metric) else f"{value:+.3f}"
    return text.lstrip("+-") if float(text) == 0 else text


def points(metric: str, gap: float) -> str:
    """The size of a difference: ``6.7 points`` or ``0.012``."""
    return metric_change(metric, abs(gap)).lstrip("+") + " points" * is_percent(metric)


def with_interval(
    metric: str, mean: float | None, interval: Interval | None, unit: bool = True
) -> str:
    """``97.8% ± 0.6``; ``99.5% [98.1, 100.0]`` where clipping left the interval lopsided."""
    parts = (metric_value(metric, mean, unit), interval_text(metric, mean, interval))
    return " ".join(part for part in parts if part)


def interval_text(metric: str, mean: float | None, interval: Interval | None) -> str:
    """``± 0.6`` or ``[98.1, 100.0]``; empty where there is none."""
    if mean is None or interval is None:
        return ""
    low, high = interval
    if abs((high - mean) - (mean - low)) > _LOPSIDED:
        ends = ", ".join(metric_value(metric, end, unit=False) for end in (low, high))
        return f"[{ends}]"
    return f"± {metric_value(metric, high - mean, unit=False)}"


def chance(probability: float | None) -> str:
    """``62%``; ``< 1%`` and ``> 99%`` at the ends, since draws cannot tell 0 and 1."""
    if probability is None:
        return MISSING
    percent = 100 * probability
    return "< 1%" if percent < 1 else "> 99%" if percent > 99 else f"{percent:.0f}%"


def plain(value: float | None, interval: Interval | None = None, digits: int = 2) -> str:
    """A number without a unit, ``2.31 [1.90, 2.72]``; a dash where there is none."""
    if value is None:
        return MISSING
    ends = "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"


def hyperparameter(name: str, value: float) -> str:
    """Rates as ``3.0e-04``, whole numbers whole, the rest short."""
    if name in {"lr", "l2"} or 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:g}"


def hyperparameters(params: Mapping[str, float] | None) -> str:
    """``3.0e-04`` for lr alone, else ``lr 3.0e-04, weight_decay 0.01``."""
    if not params:
        return MISSING
    if list(params) == ["lr"]:
        return hyperparameter("lr", params["lr"])
    return ", ".join(f"{name} {hyperparameter(name, params[name])}" for name in sorted(params))


def duration(seconds: float | None) -> str:
    """``1 h 02 m``, ``3 m 20 s``, ``4.1 s``; days are left as hours."""
    if seconds is None:
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} m"


def millions(parameters: float | None) -> str:
    """Parameters as ``5.4 M``; ``0.04 M`` for toys."""
    if parameters is None:
        return MISSING
    count = parameters / 1e6
    return f"{count:.1f} M" if count >= 0.1 else f"{count:.3f} M"


def giga(count: float | None) -> str:
    """Billions as ``4.1 G``; ``0.022 G`` below one."""
    if count is None:
        return MISSING
    billions = count / 1e9
    return f"{billions:.3f} G" if billions < 1 else f"{billions:,.1f} G"


def short(value: float | None) -> str:
    """Three digits that count: ``0.842``, ``5.03``, ``23.1``, ``1,234``."""
    if value is None:
        return MISSING
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    rounded = round(value, digits)
    digits = 2 - math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{rounded:,.{max(0, digits)}f}"


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listing(names: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def clean(text: str) -> str:
    """One line without control characters: names and reasons are other people's text."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def short_names(backbones: Iterable[str]) -> dict[str, str]:
    """``resnet50`` for ``timm:resnet50.a1_in1k``; longer where two would be the same.

    Tag and library come back only where they tell two backbones apart.
    """
    names = list(dict.fromkeys(backbones))
    forms = {name: _forms(name) for name in names}
    counts = Counter(form for name in names for form in set(forms[name]))
    return {n: next((f for f in forms[n] if counts[f] == 1), forms[n][-1]) for n in names}


def _forms(name: str) -> tuple[str, ...]:
    """From shortest to full: ``resnet50``, ``resnet50.a1_in1k``, ``timm:resnet50.a1_in1k``."""
    full = clean(name)
    tagged = full.rsplit(":", 1)[-1]
    model, bracket, rest = tagged.partition(" [")
    bare = model.partition(".")[0] + bracket + rest
    return tuple(form for form in (bare, tagged, full) if form) or ("?",)
