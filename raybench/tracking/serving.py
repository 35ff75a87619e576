"""The loadable model of a pair's winner, as MLflow's 'model from code': this file is copied.

MLflow runs the copy when somebody loads the model, so it may lean on installed packages only.
Input: uint8 images (n, height, width, 3). Output: class probabilities (n, classes), float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_BATCH = 64


class BackboneModel(PythonModel):  # type: ignore[misc]  # MLflow's is untyped
    """Rebuilds the backbone as the trial did, then loads its weights (safetensors)."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build on the CPU, without weights of its own: these follow."""
        import torch
        from safetensors.torch import load_file

        from raybench.backbones.build import build_backbone
        from raybench.spec import BackboneSpec

        config = json.loads(Path(context.artifacts["config"]).read_text(encoding="utf-8"))
        spec = BackboneSpec.model_validate(config["backbone"])
        backbone = build_backbone(spec, config["classes"], config["image_size"], load=False)
        backbone.model.load_state_dict(load_file(context.artifacts["weights"]))
        self._model = backbone.model.eval()
        self._mean = torch.tensor(backbone.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(backbone.std).view(1, 3, 1, 1)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # bare, as below: MLflow warns about any other hint
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Class probabilities (n, classes) of uint8 images (n, height, width, 3)."""
        import torch

        images = torch.as_tensor(np.ascontiguousarray(model_input, dtype=np.uint8))
        with torch.inference_mode():
            parts = [self._probabilities(batch) for batch in torch.split(images, _BATCH)]
        return np.concatenate(parts)

    def _probabilities(self, images: Any) -> np.ndarray[Any, Any]:
        scaled = images.permute(0, 3, 1, 2).float() / 255
        logits = self._model((scaled - self._mean) / self._std)
        probabilities: np.ndarray[Any, Any] = logits.float().softmax(dim=1).numpy()
        return probabilities


set_model(BackboneModel())
