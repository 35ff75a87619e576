"""No batch makes the host wait for the GPU; shown without one.

``PretendedGpu`` lets tensors "on cuda" have shapes and no values. All that needs a value, or copies
from pages that are not pinned, is refused: on a real GPU the host would have to wait there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from raybench.spec import Recipe
from raybench.trial.augment import augment
from raybench.trial.batches import BatchLoader, make_loader
from raybench.trial.device import Precision, upload
from raybench.trial.learner import Learner
from raybench.trial.meter import CHECK_EVERY, Meter
from raybench.trial.progress import Progress

CUDA = torch.device("cuda", 0)
NEEDS_VALUES = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"}
ARRANGES = {  # what launches no kernel
    *("device", "detach", "alias", "view", "_unsafe_view", "expand", "permute", "transpose", "t"),
    *("unsqueeze", "unsqueeze_", "squeeze", "select", "slice", "unbind", "split_with_sizes"),
    *("as_strided", "empty", "empty_like", "empty_strided", "new_empty", "lift_fresh"),
}


class WaitError(AssertionError):
    """The host would wait here."""


class PretendedGpu(TorchDispatchMode):
    """Computes on the CPU as ever, and follows what goes to the GPU; counts kernels and copies.

    torch can pretend all operations of a batch but SGD's fused one, which gives nothing back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._pinned: list[Tensor] = []  # kept, so that no other tensor gets one's address
        self.strict = True
        self.kernels, self.uploads = 0, 0

    def __enter__(self) -> PretendedGpu:
        self._fake.__enter__()
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._fake.__exit__(kind, error, trace)

    def __torch_dispatch__(
        self, op: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, keywords = op.overloadpacket.__name__, dict(kwargs or {})
        leaves = tree_leaves((args, keywords))
        here = any(isinstance(leaf, FakeTensor) for leaf in leaves)
        if not here and CUDA.type not in [getattr(leaf, "type", None) for leaf in leaves]:
            return self._on_the_cpu(op, name, args, keywords)
        if not self.strict:
            return op(*args, **keywords)
        if not here:
            self._check_upload(name, args, keywords)
        elif name in NEEDS_VALUES or keywords.get("device") == torch.device("cpu"):
            raise WaitError(name)
        elif name.startswith("index") and any(_is_mask(leaf) for leaf in leaves):
            raise WaitError(f"{name} with a mask")
        self.kernels += name not in ARRANGES
        return None if name == "_fused_sgd_" else op(*args, **keywords)

    def _on_the_cpu(self, op: Any, name: str, args: Any, keywords: dict[str, Any]) -> Any:
        pinned = name == "_pin_memory" or keywords.pop("pin_memory", False)
        if name == "is_pinned":
            return False
        with unset_fake_temporarily():
            result = args[0].clone() if name == "_pin_memory" else op(*args, **keywords)
        if pinned:
            self._pinned.append(result)
        return result

    def _check_upload(self, name: str, args: Any, keywords: dict[str, Any]) -> None:
        for tensor in args:
            if not isinstance(tensor, Tensor):
                continue
            if tensor.data_ptr() not in [pinned.data_ptr() for pinned in self._pinned]:
                raise WaitError(f"{name} from pages that are not pinned")
            if not keywords.get("non_blocking"):
                raise WaitError(f"{name} that is not non_blocking")
            self.uploads += 1


def _is_mask(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dtype == torch.bool


@pytest.fixture
def gpu() -> Iterator[PretendedGpu]:
    with PretendedGpu() as mode:
        yield mode


@contextlib.contextmanager
def setting_up(gpu: PretendedGpu) -> Iterator[None]:
    """Once per trial or epoch the host may wait."""
    gpu.strict = False
    yield
    gpu.strict = True


def open_loader(gpu: PretendedGpu) -> BatchLoader:
    images = np.zeros((64, 32, 32, 3), dtype=np.uint8)
    with setting_up(gpu):
        return make_loader(images, np.zeros(64, dtype=np.int64), CUDA, (0.5,) * 3, (0.2,) * 3)


def open_learner(gpu: PretendedGpu, accumulation: int, **recipe: Any) -> Learner:
    with unset_fake_temporarily():
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(3600, 5)
        )
    with setting_up(gpu):
        settings = Recipe(image_size=32, batch_size=64, **recipe)
        precision = Precision("fp32", "cuda")  # torch refuses autocast where there is no GPU
        return Learner(model, settings, 5, (), torch.ones(5), CUDA, precision, accumulation)


def fill_gradients(learner: Learner) -> Callable[[Tensor], None]:
    """Instead of ``Tensor.backward``, whose threads need a real GPU."""

    def backward(loss: Tensor) -> None:
        for parameter in learner.model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    return backward


WAITS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x[0].item(),
    "bool": lambda x: bool(x.sum() > 1),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "mask": lambda x: x[x > 0],
    "mask set": lambda x: x.index_put_((x > 0,), x[0]),
    "nonzero": lambda x: x.nonzero(),
    "pageable": lambda x: x + torch.ones(4).to(x.device, non_blocking=True),
    "literal": lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device),
    "blocking": lambda x: x + torch.ones(4).pin_memory().to(x.device),
}


@pytest.mark.parametrize("kind", WAITS)
def test_the_pretended_gpu_notices(gpu: PretendedGpu, kind: str) -> None:
    values = upload(torch.ones(4), CUDA)
    with pytest.raises(WaitError):
        WAITS[kind](values)


@pytest.mark.parametrize(
    ("kind", "kernels", "uploads"),
    [("none", 7, 2), ("flip", 11, 3), ("trivial", 106, 4), ("randaugment", 206, 6)],
)
def test_a_batch_does_not_wait(gpu: PretendedGpu, kind: str, kernels: int, uploads: int) -> None:
    """Nor does its way to the network cost more kernels, which the host starts one by one."""
    loader = open_loader(gpu)
    for seed in range(4):
        gpu.kernels = gpu.uploads = 0
        pixels, labels = loader.fetch(np.arange(64))
        images = loader.normalise(augment(pixels, kind, seed))
        assert (images.device, labels.device) == (CUDA, CUDA)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert gpu.kernels <= kernels
        assert gpu.uploads == uploads


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"mixup": 0.2, "cutmix": 0.5, "smoothing": 0.1, "clip_grad": 1.0},
        {"stages": ({"optimizer": "sgd"},), "smoothing": 0.1},
    ],
    ids=["adamw", "mixed", "sgd"],
)
def test_a_step_does_not_wait(
    gpu: PretendedGpu,
    monkeypatch: pytest.MonkeyPatch,
    accumulation: int,
    recipe: dict[str, Any],
) -> None:
    loader, learner = open_loader(gpu), open_learner(gpu, accumulation, **recipe)
    monkeypatch.setattr(Tensor, "backward", fill_gradients(learner))
    progress = Progress()
    with setting_up(gpu):
        meter = Meter(progress, CUDA)
    for number in range(1, CHECK_EVERY):
        progress.batch = number
        pixels, labels = loader.fetch(np.arange(64))
        loss, logits = learner.step(loader.normalise(pixels), labels, 1e-3, number)
        meter.add(loss, logits, labels)
    with pytest.raises(WaitError):
        meter.check()
