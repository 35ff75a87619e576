"""Writes the folder: aside, synced, then renamed, so that half a model is never left behind."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raybench.analysis.whole import Analysis
from raybench.errors import HomeError, UserInputError
from raybench.export import preprocessing
from raybench.export.card import model_card
from raybench.export.choice import choose
from raybench.export.labels import class_names
from raybench.export.model_files import write_model, write_text
from raybench.export.onnx_file import ONNX_NAME, check_extra, write_onnx
from raybench.export.opening import load
from raybench.export.settings import LABELS_NAME, PROCESSOR_NAME, ModelSettings
from raybench.export.timm_folder import CONFIG_NAME, is_timms, timm_config, timm_disagrees
from raybench.predictions import StoredPredictions
from raybench.records import SweepSnapshot
from raybench.settings import Settings
from raybench.storage import Store
from raybench.trial import files
from raybench.trial.classifier import Classifier

Tell = Callable[[str], None]
CARD_NAME = "README.md"


def export_model(
    snapshot: SweepSnapshot,
    home: Settings,
    folder: Path,
    wanted: str | None = None,
    onnx: bool = False,
    tell: Tell = lambda sentence: None,
) -> Path:
    """Write one pair's model to ``folder``, which must be new or empty; returns it.

    Args:
        snapshot: of the sweep.
        home: where its files lie.
        folder: what to write.
        wanted: a pair's id or a part of it; None: the leader of the only task.
        onnx: write ``model.onnx`` too.
        tell: hears what was chosen, and what could not be written.

    Raises:
        UserInputError: no such pair, one that has no model, or a folder that holds something.
        DataError: weights of a frozen backbone that have changed.
        HomeError: the weights are gone or changed, or ``folder`` cannot be written.
        ResourceError: an extra, a library, the store or a frozen backbone's weights are missing.
    """
    analysis = Analysis(snapshot, StoredPredictions(Store(home.checkpoints)))
    chosen = choose(analysis, home, wanted)
    _check_free(folder)
    if onnx:
        check_extra()
    tell(f"exporting {chosen.trial.key} (seed {chosen.trial.seed})")
    with _replacing(folder) as aside:
        settings = write_model(chosen, class_names(chosen), aside)
        classifier = load(aside, "cpu", trust_code=True)  # as whoever gets the folder will
        write_text(aside / LABELS_NAME, _json(list(settings.classes)))
        write_text(aside / PROCESSOR_NAME, _json(preprocessing.for_hugging_face(settings)))
        timm = is_timms(settings) and _write_for_timm(aside, settings, classifier, tell)
        if onnx:
            _write_onnx(aside, settings, classifier, tell)
        write_text(aside / CARD_NAME, model_card(chosen, settings, timm, onnx))
    return folder


def _write_for_timm(
    folder: Path, settings: ModelSettings, classifier: Classifier, tell: Tell
) -> bool:
    """Whether timm makes the same model of the folder now."""
    config = folder / CONFIG_NAME
    write_text(config, _json(timm_config(settings, classifier, folder)))
    why = timm_disagrees(folder, classifier)
    if why:
        tell(f"timm alone cannot load this model ({why}); {CONFIG_NAME} is left out")
        config.unlink()
    return not why


def _write_onnx(folder: Path, settings: ModelSettings, classifier: Classifier, tell: Tell) -> None:
    difference = write_onnx(folder, settings, classifier)
    if difference is None:
        tell(f"{ONNX_NAME}: not compared with torch, since onnxruntime is not installed")
    else:
        tell(f"{ONNX_NAME}: logits within {difference:.0e} of torch's, relative to the largest")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _check_free(folder: Path) -> None:
    """Before the work begins; at its end the system itself replaces nothing but an empty folder.

    Raises:
        UserInputError: something is there already.
    """
    if folder.exists() and not folder.is_dir():
        raise UserInputError(f"'{folder}' is a file; give a new or an empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserInputError(f"'{folder}' holds something already; give a new or an empty folder")


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place when all went well.

    Raises:
        HomeError: it cannot be written.
    """
    target = folder.absolute()
    aside = target.with_name(f"{files.ASIDE}{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        aside.mkdir(parents=True)
        yield aside
        files.sync_folder(aside)
        aside.rename(target)
        files.sync_folder(target.parent)
    except OSError as error:
        raise HomeError(f"'{folder}' cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
