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


class BackboneModel(PythonModel):  # type: ignore[misc]  # MLflow's is untyped
    """Rebuilds the backbone as the trial did, then loads its weights (safetensors)."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build on the CPU, without weights of its own: these follow."""
        import torch
        from safetensors.torch import load_file

        from raybench.backbones.build import build_backbone
        from raybench.spec import BackboneSpec
        from raybench.trial.classifier import Classifier
        from raybench.trial.device import Precision

        config = json.loads(Path(context.artifacts["config"]).read_text(encoding="utf-8"))
        spec, classes = BackboneSpec.model_validate(config["backbone"]), config["classes"]
        backbone = build_backbone(spec, classes, config["image_size"], load=False)
        backbone.model.load_state_dict(load_file(context.artifacts["weights"]))
        self._classifier = Classifier(
            model=backbone.model.eval(),
            classes=tuple(map(str, range(classes))),
            image_size=config["image_size"],
            crop="none",
            mean=backbone.mean,
            std=backbone.std,
            device=torch.device("cpu"),
            precision=Precision("fp32", "cpu"),
        )

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # bare, as below: MLflow warns about any other hint
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Class probabilities (n, classes) of uint8 images (n, height, width, 3)."""
        return self._classifier.predict(np.ascontiguousarray(model_input, dtype=np.uint8))


set_model(BackboneModel())
