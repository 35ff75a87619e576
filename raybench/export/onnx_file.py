"""The model as ONNX: normalised images in, logits out, any number at a time."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from raybench.errors import ResourceError
from raybench.export.settings import ModelSettings
from raybench.trial.classifier import Classifier

ONNX_NAME = "model.onnx"
INPUT, OUTPUT = "pixel_values", "logits"  # Hugging Face's names
TOLERANCE = 1e-3
"""Of logits, relative to the largest: other kernels sum in another order."""
_NOTES = frozenset({"doc_string", "metadata_props"})
_IMAGES = 3  # differs from the two that the model is traced with: the batch must be free


def check_extra() -> None:
    """Asked before anything is written.

    Raises:
        ResourceError: the extra is not installed.
    """
    missing = [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]
    if missing:
        raise ResourceError(
            f"--onnx needs {' and '.join(missing)}: pip install 'raybench[onnx]', or leave --onnx "
            "out"
        )


def write_onnx(folder: Path, settings: ModelSettings, classifier: Classifier) -> float | None:
    """Write ``model.onnx``; how far its logits are from torch's, relative to the largest.

    None: onnxruntime is not installed, so nothing was compared.

    Raises:
        ResourceError: torch cannot write this model, or the file gives other logits.
    """
    import torch

    path, size = folder / ONNX_NAME, settings.image_size
    model = classifier.model.cpu()
    example = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with _quiet():
            torch.onnx.export(
                model,
                (example,),
                str(path),
                dynamo=True,
                external_data=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                verbose=False,
            )
            _describe(path, settings)
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise ResourceError(
            f"torch {torch.__version__} cannot write '{settings.backbone.name}' as ONNX "
            f"({type(error).__name__}: {words}); leave --onnx out"
        ) from error
    difference = _difference(path, model, settings)
    if difference is not None and not difference <= TOLERANCE:
        raise ResourceError(
            f"the ONNX file of '{settings.backbone.name}' gives other logits than torch (by "
            f"{difference:.2g} of the largest, allowed are {TOLERANCE:g}); leave --onnx out"
        )
    return difference


def _describe(path: Path, settings: ModelSettings) -> None:
    """Labels and normalisation inside the file, for whoever gets it alone; no word of its maker's.

    The exporter notes with every node which lines of which files on this machine it comes from.
    """
    import onnx

    facts = {
        "labels": settings.classes,
        "mean": settings.mean,
        "std": settings.std,
        "image_size": settings.image_size,
        "crop": settings.crop,
    }
    model = onnx.load(str(path))
    _clear_notes(model)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(model, str(path))


def _clear_notes(message: Any) -> None:
    """Of the model, its graphs, functions, nodes and values: of all that a message holds."""
    for field, value in message.ListFields():
        if field.name in _NOTES:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _clear_notes(part)


def _difference(path: Path, model: Any, settings: ModelSettings) -> float | None:
    """Of logits, relative to the largest: probabilities may all be 0 and 1."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime  # type: ignore[import-untyped]
    import torch

    size, generator = settings.image_size, torch.Generator().manual_seed(1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (settings.mean, settings.std))
    images = (torch.rand(_IMAGES, 3, size, size, generator=generator) - mean) / std
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (theirs,) = session.run([OUTPUT], {INPUT: images.numpy()})
    with torch.no_grad():
        ours = model(images).float().numpy()
    return float(np.abs(ours - np.asarray(theirs)).max() / np.abs(ours).max())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own progress and warnings about its inner workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
