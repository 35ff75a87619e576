"""What any network costs before it was ever trained here: multiply-adds, and rates that are named.

Each rate says on what it was taken.
"""

from __future__ import annotations

import json

from raybench.backbones.index import LIBRARIES, load_index, split_name
from raybench.spec import BackboneSpec, SweepSpec

REFERENCE_MACS_PER_S = 3 * 4.09e9 * 128 / 0.11093
"""A Tesla V100 training torchvision's ResNet-50 (4.09 GMACs an image, three times that for forward
and backward) in mixed precision: a batch of 128 in 110.93 ms. Source: torchvision_exp/README.md of
github.com/sandeepkumar-skb/pytorch_experiments.
"""
REFERENCE = "the rate at which a Tesla V100 trains ResNet-50 in mixed precision"
CORE_MACS_PER_S = 5e10
"""One core of a cloud machine (2 cores, shared; torch 2.11) training torchvision's ResNet-50 at 96
px in batches of 32: 51.6 GMACs a second, ResNet-18 54.6, MobileNetV3 20.5.
"""
CORE = "the rate at which one core of a cloud machine trains ResNet-50"
HOME = "the rate of this home's earlier trials"
PROBED = "the rate of this home's probes"
TRAINING_PASSES = 3
"""Forward, and backward to weights and to inputs."""
LEAST_STEP_S = 0.05
"""A training step on a core, however few its multiply-adds: in the shipped quickstart (images of 32
px) steps of MobileNetV3 and of a ViT of four blocks took 0.05 to 0.07 s. Not known of a GPU.
"""
FIT_S_PER_IMAGE = {"linear_probe": 2e-3, "knn": 1e-5}
"""A classifier on features that are there, on one core: 24 probes of 1,077 images of digits took
about 2 s of processor time each, weakly regularised ones the most.
"""
TRIAL_S = 0.25
"""What a trial costs beside its epochs and checkpoints (``docs/performance.md``)."""
SAVE_S, SAVE_BYTES_PER_S = 0.008, 5.5e8
"""A checkpoint: 13 ms with 3 MB, 62 ms with 30 MB (``docs/performance.md``)."""
CHECKPOINT_BYTES, WEIGHT_BYTES = 12, 4
"""Per parameter: float32, with AdamW's two moments; and without."""


def model_key(backbone: BackboneSpec) -> str:
    """What time depends on: the network and its arguments, whichever weights it loads."""
    library, model, _ = split_name(backbone.name)
    return f"{library}:{model} {json.dumps(backbone.kwargs, sort_keys=True)}"


def macs_per_image(backbone: BackboneSpec, image_size: int) -> float | None:
    """Multiply-adds of one forward pass; work grows with the image's area."""
    _, macs, side = described(backbone)
    return None if macs is None else macs * (image_size / side) ** 2


def described(backbone: BackboneSpec) -> tuple[float | None, float | None, int]:
    """Parameters, MACs and input side from the shipped table, where it has the backbone."""
    from raybench.backbones.describe import describe_spec

    library, model, _ = split_name(backbone.name)
    if library not in LIBRARIES or model not in load_index()[library]:
        return None, None, 1
    # Arguments make it another model, but seldom a much dearer one.
    plain = backbone.model_copy(update={"kwargs": {}})
    (weights,) = describe_spec(plain).weights
    return weights.parameters, weights.macs, weights.input_size[0]


def weights_kept(spec: SweepSpec, searches: int, finals: int) -> int:
    """How many whole models stay on disk; on a frozen backbone only a probe's finals hold one."""
    if spec.recipe.method == "knn":
        return 0
    if spec.recipe.method == "linear_probe" or spec.keep == "winners":
        return finals
    return searches + finals


def checkpoint_models(spec: SweepSpec) -> int:
    """A checkpoint in units of one model's weights: as trained, best, average, and moments."""
    moments = 2 if any(stage.optimizer == "adamw" for stage in spec.recipe.stages) else 1
    average = spec.recipe.model_ema is not None or "model_ema" in spec.space
    return 2 + average + moments
