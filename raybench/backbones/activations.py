"""How many numbers a model's convolutions and linear layers put out: what training must keep."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_COUNTED = {_aten.convolution, _aten._convolution, _aten.mm, _aten.addmm}
"""As fvcore counts them (its ``ActivationCountAnalysis``, which timm's benchmark uses), of a model
whose attention is fused: products of two activations, ``bmm``, are part of that.
"""


class ActivationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, sums the outputs of convolutions and linear layers in ``total``.

    On torch's operators rather than its modules, since models call layers as functions as well.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in _COUNTED:
            self.total += result.numel()
        return result
