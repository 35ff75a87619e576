"""Beyond one number: calibration, classes, confusions, and the images that were got wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from raybench.analysis import calibration as calibrations
from raybench.analysis import numbers
from raybench.analysis.calibration import Calibration
from raybench.analysis.mistakes import MissedByAll, Mistake, TaskMistakes, Worst
from raybench.report.blocks import (
    Block,
    Cell,
    Column,
    Gallery,
    Panels,
    Picture,
    Row,
    Section,
    Table,
    Words,
)
from raybench.report.view import View, number_cell

_CONFUSIONS = 2
_BEST_SHOWN = 2


def quality_section(view: View) -> Section:
    """From the finals' stored predictions; without them one line."""
    analysis = view.analysis
    by_task: dict[str, list[Calibration]] = {}
    for one in analysis.calibration:
        by_task.setdefault(one.task, []).append(one)
    blocks: list[Block] = []
    if by_task:
        mistakes = {one.task: one for one in analysis.mistakes}
        panels = {
            task: [*_calibration(view, found), *_mistakes(view, mistakes.get(task))]
            for task, found in by_task.items()
        }
        blocks = [
            *view.drawn("reliability", "recall", "confusion"),
            Panels(panels),
            Words([calibrations.NOTE], "rule"),
        ]
    return Section(
        "quality",
        "Calibration, classes and mistakes",
        "Mistakes",
        blocks,
        "The finals' predictions are not here, so nothing can be said of calibration, "
        "classes and single images.",
    )


def _calibration(view: View, found: Sequence[Calibration]) -> list[Block]:
    titles = ("ECE", "NLL", "Brier", "Worst class recall")
    columns = [
        Column("Backbone", numeric=False),
        *map(Column, titles),
        Column("Most confused (true → guessed)", numeric=False, wraps=True),
    ]
    images = numbers.plural(found[0].images, "test image")
    caption = f"Calibration and classes, over {images}"
    return [Table(caption, columns, [_row(view, one) for one in found])]


def _row(view: View, one: Calibration) -> Row:
    cells = [
        view.backbone(one.backbone),
        number_cell(one.ece, 3, one.ece_interval),
        number_cell(one.nll, 3, one.nll_interval),
        number_cell(one.brier, 3, one.brier_interval),
        _worst_class(one),
        Cell("; ".join(_confusions(one)) or numbers.MISSING),
    ]
    return Row(cells)


def _worst_class(one: Calibration) -> Cell:
    worst = min(one.recalls, key=lambda recall: recall.recall, default=None)
    if worst is None:
        return Cell()
    return Cell(f"{100 * worst.recall:.0f}%", worst.recall, note=numbers.clean(worst.label))


def _confusions(one: Calibration) -> Iterable[str]:
    for found in one.confusion.most_confused[:_CONFUSIONS]:
        label, guess = numbers.clean(found.label), numbers.clean(found.guess)
        yield f"{label} → {guess} {100 * found.share:.0f}%"


def _mistakes(view: View, found: TaskMistakes | None) -> list[Block]:
    """What no backbone gets right, then the surest mistakes of the task's best backbones."""
    if found is None:
        return []
    best = [s.result.pair.backbone for s in view.analysis.standings[found.task]][:_BEST_SHOWN]
    shown = [one for name in best for one in found.worst if one.backbone == name and one.examples]
    uris = _thumbnails(view, found, shown)
    blocks: list[Block] = [Words([found.sentence])] if found.sentence else []
    if found.missed_by_all:
        title = f"Missed by every backbone ({found.missed:,} of {found.images:,})"
        blocks.append(Gallery(title, [_missed(uris, one) for one in found.missed_by_all]))
    for worst in shown:
        title = f"Surest mistakes of {view.looks[worst.backbone].name}"
        blocks.append(Gallery(title, [_example(uris, example) for example in worst.examples]))
    return [*blocks, Words([_about_pictures(view, bool(uris))], "note")] if blocks else []


def _about_pictures(view: View, shown: bool) -> str:
    if shown:
        return (
            "These pictures are taken from the data: look at them before you share this page, or "
            "leave them out (raybench report --no-pictures)."
        )
    why = "as asked" if view.pictures is None else view.pictures.why or "none of them is kept"
    return f"Without pictures: {why}."


def _thumbnails(view: View, found: TaskMistakes, shown: Sequence[Worst]) -> Mapping[str, str]:
    pair = next((r.pair for r in view.analysis.results if r.task == found.task), None)
    if view.pictures is None or pair is None:
        return {}
    wanted = [one.image for one in found.missed_by_all]
    wanted += [example.image for worst in shown for example in worst.examples]
    return view.pictures.read(pair, dict.fromkeys(wanted))


def _missed(uris: Mapping[str, str], one: MissedByAll) -> Picture:
    return _picture(uris, one.image, one.label, one.guess, f"{100 * one.share:.0f}% of runs say so")


def _example(uris: Mapping[str, str], one: Mistake) -> Picture:
    detail = f"{100 * one.confidence:.0f}% sure, wrong in {one.wrong} of {one.runs} runs"
    return _picture(uris, one.image, one.label, one.guess, detail)


def _picture(uris: Mapping[str, str], image: str, label: str, guess: str, detail: str) -> Picture:
    title = f"{numbers.clean(label)}, taken for {numbers.clean(guess)}"
    return Picture(uris.get(image, ""), title, f"{detail} · {numbers.clean(image)}")
