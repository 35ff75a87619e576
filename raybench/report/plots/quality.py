"""From stored predictions: reliability, recall of each class, who is taken for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np

from raybench.analysis import numbers
from raybench.analysis.calibration import Calibration
from raybench.analysis.whole import Analysis
from raybench.report.plots.marks import (
    Cast,
    matrix,
    tooltip,
)
from raybench.report.plots.plot import Layers, Plot, Row

BACKBONES = 8
"""Backbones per task that are drawn: the best ones."""
CLASSES = 30
"""Classes per task that are drawn: those that fare worst."""
_HEIGHT = 320


def reliability(analysis: Analysis, cast: Cast) -> Plot | None:
    """Accuracy of the predictions of each confidence."""
    shown = _best(analysis)
    rows = [row for found in shown for row in _bin_rows(found, cast)]
    if not rows:
        return None
    return Plot(
        name="reliability",
        title=_gap_title(shown),
        caption=(
            "Test predictions of all final runs, by their confidence in 15 equal bins; larger "
            "marks hold more of them. On the dashed line confidence is right; below it the "
            f"backbone is too sure.{_limit(analysis)}"
        ),
        chart=_reliability_chart(cast),
        rows=rows,
        choices={"task": tuple(dict.fromkeys(found.task for found in shown))},
        width=400,
    )


def _reliability_chart(cast: Cast) -> Layers:
    focus = cast.focus
    scale = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("confidence:Q", title="Confidence (%)", scale=scale)
    y = alt.Y("accuracy:Q", title="Accuracy (%)", scale=scale)
    base = alt.Chart().encode(x=x, y=y, color=cast.colour, opacity=cast.opacity(focus))
    size = alt.Size("images:Q", scale=alt.Scale(type="sqrt", range=[12, 160]), legend=None)
    # One row of the panel's, so that the line is drawn once.
    once = alt.Chart().transform_aggregate(rows="count()")
    corners = {"x": alt.XDatum(0), "x2": alt.X2Datum(100), "y": alt.YDatum(0)}
    diagonal = once.mark_rule(style="rule", strokeDash=[4, 4])
    layers = [
        diagonal.encode(y2=alt.Y2Datum(100), **corners),
        base.mark_line(strokeWidth=1.4, strokeOpacity=0.5).encode(strokeDash=cast.dash),
        base.mark_point(filled=True).encode(shape=cast.shape, size=size, tooltip=_BIN_TIP),
    ]
    return alt.layer(*layers).add_params(focus).properties(height=_HEIGHT)


def recall(analysis: Analysis, cast: Cast) -> Plot | None:
    """Recall of each class by each backbone."""
    shown = _best(analysis)
    by_task: dict[str, list[Calibration]] = {}
    for found in shown:
        by_task.setdefault(found.task, []).append(found)
    rows = [row for found in by_task.values() for row in _recall_rows(found, cast)]
    if not rows:
        return None
    most = max((len(found[0].recalls) for found in by_task.values()), default=0)
    more = f" Of {most} classes the {CLASSES} found least." if most > CLASSES else ""
    return Plot(
        name="recall",
        title="Which classes are found",
        caption=(
            "Percentage of a class's test images that are recognised, mean over the final runs; "
            f"the class that is found least on top.{more}{_limit(analysis)}"
        ),
        chart=matrix(head=cast.head),
        rows=rows,
        choices={"task": tuple(by_task)},
        width=alt.Step(58),
    )


def confusion(analysis: Analysis, cast: Cast) -> Plot | None:
    """What the leader of each task takes each class for."""
    first: dict[str, Calibration] = {}
    for found in _best(analysis):
        first.setdefault(found.task, found)
    rows = [row for found in first.values() for row in _confusion_rows(found, cast)]
    if not rows:
        return None
    leaders = [f"{cast.names[one.backbone]} on {task}" for task, one in first.items()]
    who = f" The backbones: {', '.join(leaders)}." if len(leaders) <= 6 else ""
    most = max(len(found.confusion.classes) for found in first.values())
    more = f" Of {most} classes the {CLASSES} that are mistaken most." if most > CLASSES else ""
    return Plot(
        name="confusion",
        title="What the best backbone of each task mistakes for what",
        caption=(
            "Percentage of the test images of the row's class that are taken for the column's, "
            f"over all final runs; empty: none.{more}{who}"
        ),
        chart=matrix(),
        rows=rows,
        choices={"task": tuple(first)},
        width=alt.Step(44),
    )


_BIN_TIP = tooltip(backbone="backbone", shown="accuracy at confidence", images="predictions")


def _best(analysis: Analysis) -> list[Calibration]:
    """The ``BACKBONES`` best of each task that have predictions, best first."""
    found = {(one.task, one.backbone): one for one in analysis.calibration}
    ranked = [
        [found[key] for s in standings if (key := (task, s.result.pair.backbone)) in found]
        for task, standings in analysis.standings.items()
    ]
    return [one for ones in ranked for one in ones[:BACKBONES]]


def _limit(analysis: Analysis) -> str:
    most = max((len(standings) for standings in analysis.standings.values()), default=0)
    return f" The {BACKBONES} best backbones of each task." if most > BACKBONES else ""


def _bin_rows(found: Calibration, cast: Cast) -> Iterator[Row]:
    for part in found.bins:
        yield {
            "task": found.task,
            "backbone": cast.names[found.backbone],
            "confidence": 100 * part.confidence,
            "accuracy": 100 * part.accuracy,
            "images": part.images,
            "shown": f"{100 * part.accuracy:.0f}% at {100 * part.confidence:.0f}%",
        }


def _gap_title(shown: Sequence[Calibration]) -> str:
    sure = sum(found.confidence_gap > 0 for found in shown)
    return f"Backbones are too sure of themselves in {sure} of {len(shown)} cases"


def _recall_rows(found: Sequence[Calibration], cast: Cast) -> Iterator[Row]:
    """Backbones are columns; rows by their mean."""
    task = found[0].task
    recalls = [{part.label: part for part in one.recalls} for one in found]
    labels = [label for label in recalls[0] if all(label in own for own in recalls)]
    mean = {label: sum(own[label].recall for own in recalls) for label in labels}
    ranked = sorted(labels, key=lambda label: mean[label])[:CLASSES]
    for row, label in enumerate(ranked, 1):
        yield {"kind": "row", "task": task, "row": row, "label": numbers.clean(label)}
    for column, (one, own) in enumerate(zip(found, recalls, strict=True), 1):
        name = cast.names[one.backbone]
        yield {"kind": "column", "task": task, "column": column, "label": name}
        for row, label in enumerate(ranked, 1):
            part = own[label]
            low, high = (100 * end for end in part.interval)
            yield _cell(task, row, column, 100 * part.recall) | {
                "first": numbers.clean(label),
                "second": name,
                "shown": f"{100 * part.recall:.0f}% [{low:.0f}, {high:.0f}] of {part.images:,}",
            }


def _confusion_rows(found: Calibration, cast: Cast) -> Iterator[Row]:
    """Cells that hold something; of many classes those with the most mistakes, in their order."""
    matrix, task, name = found.confusion.matrix, found.task, cast.names[found.backbone]
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    kept = sorted(np.argsort(-wrong, kind="stable")[:CLASSES].tolist())
    names = [numbers.clean(found.confusion.classes[index]) for index in kept]
    support = np.maximum(1, matrix.sum(axis=1))
    for place, label in enumerate(names, 1):
        yield {"kind": "row", "task": task, "row": place, "label": label}
        yield {"kind": "column", "task": task, "column": place, "label": label}
    for row, true in enumerate(kept, 1):
        for column, guess in enumerate(kept, 1):
            count = int(matrix[true, guess])
            if count:
                share = 100 * count / int(support[true])
                yield _cell(task, row, column, share) | {
                    "first": names[row - 1],
                    "second": names[column - 1],
                    "shown": f"{share:.1f}% ({count:,} predictions of {name})",
                }


def _cell(task: str, row: int, column: int, share: float) -> Row:
    words = f"{share:.0f}" if share >= 0.5 else "<1"
    return {"kind": "cell", "task": task, "row": row, "column": column, "share": share,
            "words": words}  # fmt: skip
