"""A folder of ``raybench export`` as a classifier. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from raybench.errors import DataError
from raybench.export.settings import WEIGHTS_NAME, ModelSettings, read_settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from raybench.trial.classifier import Classifier
    from raybench.trial.device import Precision


def load(folder: str | Path, device: str = "auto", trust_code: bool = False) -> Classifier:
    """The model of a folder, ready to predict.

    Args:
        folder: what ``raybench export`` wrote.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        trust_code: import the Python function that the folder names as its backbone, which runs
            code of whoever wrote that function; only ``python:`` backbones need it.

    Raises:
        DataError: no such folder, one that was changed, or code that is not trusted.
        ResourceError: the backbone's library is not installed.
        UserInputError: a device that is not here.
    """
    from raybench.trial.classifier import Classifier
    from raybench.trial.device import pick_device

    place = Path(folder)
    settings = read_settings(place)
    _check_trust(settings, trust_code)
    target = pick_device(device)
    model = _model(settings, place, target)
    return Classifier(
        model=_placed(model, target),
        classes=settings.classes,
        image_size=settings.image_size,
        crop=settings.crop,
        mean=settings.mean,
        std=settings.std,
        device=target,
        precision=_precision(settings, target),
    )


def _check_trust(settings: ModelSettings, trust_code: bool) -> None:
    if settings.backbone.name.startswith("python:") and not trust_code:
        raise DataError(
            f"the backbone of this model is the function '{settings.backbone.name}', which has to "
            "be importable here and is run; if you trust it: raybench.load(DIR, trust_code=True), "
            "or raybench predict --trust-code"
        )


def _model(settings: ModelSettings, folder: Path, device: torch.device) -> nn.Module:
    """On the CPU, with the folder's weights in it."""
    from raybench.backbones.build import build_backbone
    from raybench.trial.tap import HEAD_TENSORS, ProbedNetwork

    state = _checked_weights(settings, folder / WEIGHTS_NAME)
    backbone = build_backbone(
        settings.backbone,
        len(settings.classes),
        settings.image_size,
        load=False,
        weights_dir=folder,  # there the configuration of a hub's model stands
    )
    model = backbone.model
    if settings.kind == "head":
        missing = [name for name in HEAD_TENSORS if name not in state]
        if missing:
            raise DataError(f"'{folder / WEIGHTS_NAME}' lacks {', '.join(missing)}")
        head = {name: state[name] for name in HEAD_TENSORS}
        model = ProbedNetwork(backbone, _wide(head, device))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # another version of the library may build another model
        words = " ".join(str(error).split())[:500]
        raise DataError(
            f"the weights do not fit '{settings.backbone.name}' as this machine's libraries build "
            f"it; the versions that made it stand in the folder's README.md ({words})"
        ) from error
    return model


def _wide(head: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """In float64, where the device has it."""
    if device.type == "mps":
        return dict(head)
    return {name: tensor.double() for name, tensor in head.items()}


def _checked_weights(settings: ModelSettings, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from raybench.backbones.weights import file_sha256

    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from error
    if sha256 != settings.weights_sha256:
        raise DataError(
            f"'{path}' is not the file that was exported: its SHA-256 is {sha256[:12]}..., not "
            f"{settings.weights_sha256[:12]}...; export again"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(f"'{path}' is no safetensors file: {error}") from error


def _placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Channels last, as in a trial."""
    import torch

    placed: nn.Module = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed.eval()


def _precision(settings: ModelSettings, device: torch.device) -> Precision:
    """The trial's number format on its own kind of device, else float32."""
    from raybench.trial.device import pick_precision

    same = device.type == settings.device
    return pick_precision(settings.precision if same else "fp32", device)
