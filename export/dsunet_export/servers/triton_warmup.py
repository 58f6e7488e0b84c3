"""Triton's warm-up requests: the pictures of an artifact's self-test.

Triton sends a sample `batch_size` times, as requests of one image that it joins to a batch.  The
first picture is sent as the largest batch as well; the others are not, for a quick start on CPUs.
A model whose shapes include the batch gets one request, and its file holds all images of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import Manifest, SelfTestCase
from dsunet_runtime.artifact.shapes import batch_range
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.errors import ImageError
from dsunet_runtime.forms import form_of
from dsunet_runtime.memory import check_memory
from dsunet_runtime.selftest.pictures import picture


@dataclass(frozen=True, slots=True)
class Sample:
    """A warm-up request: one picture, or several if shapes include the batch."""

    name: str
    """Name of its first picture, with which the names of its files begin."""
    inputs: Tensors
    """Tensors with the shapes of Triton's `dims`: without the batch, unless shapes include it."""
    batches: tuple[int, ...]
    """Triton's `batch_size` for each repetition of the request."""


def make_samples(manifest: Manifest, largest: int) -> list[Sample]:
    """Make the warm-up requests of an artifact from the pictures that it accepts.

    Args:
        manifest: The artifact's; empty if it has no self-test.
        largest: Triton's `max_batch_size`: 0 if shapes include the batch.
    """
    taken = list(_taken(manifest))
    if largest:
        first = tuple(sorted({1, largest}))
        return [
            Sample(f"picture{case.picture}", inputs, (1,) if place else first)
            for place, (case, inputs) in enumerate(taken)
        ]
    batch = batch_range(manifest).minimum
    check_memory(
        batch * max((_size_of(inputs) for _, inputs in taken), default=0),
        f"the warm-up with {batch:,} images",
        "export the artifact with a smaller --batch or --size",
    )
    by_size: dict[tuple[int, int], list[tuple[int, Tensors]]] = {}
    for case, inputs in taken:
        by_size.setdefault((case.height, case.width), []).append((case.picture, inputs))
    return [sample for members in by_size.values() for sample in _full_batches(members, batch)]


def raw(tensor: NDArray[Any]) -> bytes:
    """Return the bytes of a tensor in Triton's layout: row-major, little-endian."""
    return tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()


def _taken(manifest: Manifest) -> Iterator[tuple[SelfTestCase, Tensors]]:
    form = form_of(manifest)
    for case in manifest.selftest:
        with suppress(ImageError):  # an engine for other sizes
            prepared = form.prepare(picture(case.picture, case.height, case.width))
            yield case, prepared.inputs


def _size_of(inputs: Tensors) -> int:
    """Return the bytes of tensors."""
    return sum(tensor.nbytes for tensor in inputs.values())


def _full_batches(members: list[tuple[int, Tensors]], batch: int) -> Iterator[Sample]:
    """Join pictures of one size; the last batch has the first of them again."""
    pictures = cycle(members)
    for _ in range(0, len(members), batch):
        joined = [*islice(pictures, batch)]
        yield Sample(f"picture{joined[0][0]}", _stack([inputs for _, inputs in joined]), (1,))


def _stack(members: list[Tensors]) -> Tensors:
    return {name: np.stack([member[name] for member in members]) for name in members[0]}
