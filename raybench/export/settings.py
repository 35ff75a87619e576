"""``raybench.json``: what makes a folder of ``raybench export`` a classifier again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from raybench.errors import DataError
from raybench.spec import BackboneSpec

SETTINGS_NAME = "raybench.json"
WEIGHTS_NAME = "model.safetensors"
LABELS_NAME = "labels.json"
PROCESSOR_NAME = "preprocessor_config.json"

_Channel = Annotated[float, Field(ge=0, le=1)]
_Deviation = Annotated[float, Field(gt=0)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelSettings(BaseModel):
    """One handed-over model; keys of a newer raybench are passed over.

    Attributes:
        kind: ``network``: the weights are all of the backbone's; ``head``: and a linear classifier
            beside it, see ``trial.tap.ProbedNetwork``.
        classes: label names in the order of the outputs.
        mean, std: per RGB channel in 0..1. crop: as in the recipe.
        device, precision: the kind of device it was trained on, and the number format there.
        trained: where it comes from; read by people only.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    format: Literal[1] = 1
    backbone: BackboneSpec
    kind: Literal["network", "head"]
    weights_sha256: _Sha256
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    image_size: Annotated[int, Field(ge=8, le=2048)]
    crop: Literal["none", "random"]
    mean: tuple[_Channel, _Channel, _Channel]
    std: tuple[_Deviation, _Deviation, _Deviation]
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16", "fp16"]
    trained: dict[str, JsonValue] = {}

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def read_settings(folder: Path) -> ModelSettings:
    """The settings of a folder.

    Raises:
        DataError: there is none, or it is not one that ``raybench export`` wrote.
    """
    path = folder / SETTINGS_NAME
    try:
        return ModelSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"'{folder}' holds no {SETTINGS_NAME} that can be read ({error.strerror}); give a "
            "folder that 'raybench export' wrote"
        ) from error
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in wrong["loc"]) or "the whole file"
        raise DataError(
            f"'{path}' is damaged or of another version of raybench: {place}: {wrong['msg']}"
        ) from error
