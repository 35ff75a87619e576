"""The four random generators a trial draws from: seeded by name, saved and restored exactly."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch import Tensor

from raybench.seeding import derive_seed


def seed_all(*names: str | int) -> None:
    """Seeds Python's, NumPy's legacy (timm's Mixup draws from it) and torch's generators."""
    seed = derive_seed(*names)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rng_states(device: torch.device) -> dict[str, Tensor]:
    """States of all generators as tensors, so that a checkpoint needs no pickle."""
    _, words, python_gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    numpy_words = [*numpy_state["state"]["key"].tolist(), numpy_state["state"]["pos"]]
    gauss = [
        math.nan if python_gauss is None else python_gauss,
        numpy_state["gauss"] if numpy_state["has_gauss"] else math.nan,
    ]
    states = {
        "rng.python": torch.tensor(words, dtype=torch.int64),
        "rng.numpy": torch.tensor(numpy_words, dtype=torch.int64),
        "rng.gauss": torch.tensor(gauss, dtype=torch.float64),
        "rng.torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["rng.cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_rng_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Inverse of ``rng_states``; a state of another kind of device is left out."""
    python_gauss, numpy_gauss = states["rng.gauss"].tolist()
    words = tuple(states["rng.python"].tolist())
    random.setstate((3, words, None if math.isnan(python_gauss) else python_gauss))
    *key, position = states["rng.numpy"].tolist()
    has_gauss = not math.isnan(numpy_gauss)
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": np.array(key, dtype=np.uint32), "pos": position},
            "has_gauss": int(has_gauss),
            "gauss": numpy_gauss if has_gauss else 0.0,
        }
    )
    torch.set_rng_state(states["rng.torch"])
    if device.type == "cuda" and "rng.cuda" in states:
        torch.cuda.set_rng_state(states["rng.cuda"], device)
