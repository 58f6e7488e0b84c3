from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from dsunet import DSUNet, random_model
from dsunet.training.loss import stage_losses
from dsunet.training.recomputation import recompute_blocks
from tests.training.conftest import SMALL


@contextmanager
def counting_saved_bytes() -> Iterator[list[int]]:
    """The bytes that the forward passes keep for the gradients, parameters left out."""
    sizes: dict[int, int] = {}
    total = [0]

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            total[0] = sum(sizes.values())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield total


def gradients(model: DSUNet) -> tuple[dict[str, Tensor], int]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 3, side, side, generator=generator) for side in (128, 98)]
    mask = (torch.rand(2, 1, 128, 128, generator=generator) > 0.5).float()
    with counting_saved_bytes() as kept:
        loss = stage_losses(model.train()(*images), mask).sum()
    loss.backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return found, kept[0]


@pytest.mark.parametrize("whole", [False, True], ids=["frozen", "from-scratch"])
def test_same_gradients_from_less_memory(whole: bool) -> None:
    plain, saving = random_model(SMALL, seed=4), random_model(SMALL, seed=4)
    if whole:
        plain.requires_grad_(True)
        saving.requires_grad_(True)
    recompute_blocks(saving)

    expected, much = gradients(plain)
    found, little = gradients(saving)

    assert found.keys() == expected.keys()
    # The same operations on the same numbers in the same order: equal to the last bit.
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert little < 0.8 * much  # most is the decoder's, in so small a model
    assert saving.state_dict().keys() == plain.state_dict().keys()
    assert all(map(torch.equal, saving.state_dict().values(), plain.state_dict().values()))
