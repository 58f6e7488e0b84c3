"""Pairs of files as the tensors of a training step.

Nothing here depends on who computes it: the order of an epoch is drawn from its seed and number,
a sample's flips from those and its index, so any number of workers gives the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dsunet.data.files import read_image, read_mask
from dsunet.data.pairs import Pair
from dsunet_runtime.images import encoder_input
from dsunet_runtime.manifest import IMAGENET_MEAN, IMAGENET_STD

_ORDER, _FLIP = 0, 1  # so that the two draw from streams of their own

Sample = dict[str, Tensor]
"""`hiera` 3×S×S and `dino` 3×T×T, normalised, `mask` 1×S×S, 0 to 1, and instead of `dino` maybe
DINOv2's maps `map0` and so on, D×s×s; float32, the maps float16."""


class Key(NamedTuple):
    """Which sample: the number of a pair, in an epoch; both count from 0."""

    epoch: int
    number: int


class Flip(NamedTuple):
    """How a sample is mirrored, after resampling."""

    horizontal: bool
    vertical: bool


FLIPS = tuple(
    Flip(horizontal, vertical) for vertical in (False, True) for horizontal in (False, True)
)
"""All four; the first changes nothing."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Which pairs every step of every epoch takes, for one of `world` processes.

    A step's batch is dealt to the processes, and each takes its share in `parts`.  Of an epoch's
    pairs, up to `world` - 1 are left out, others each time, so that all shares are equal.
    """

    count: int
    batch: int
    seed: int
    parts: int = 1
    rank: int = 0
    world: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return -(-(self.count - self.count % self.world) // self.batch)

    @property
    def largest_part(self) -> int:
        """How many samples the first part of a step has; none has more."""
        return len(self.steps(0)[0][0])

    def steps(self, epoch: int) -> list[list[list[Key]]]:
        """For each step its parts, for each part its samples."""
        order = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(self.count)
        keys = [Key(epoch, int(index)) for index in order[: self.count - self.count % self.world]]
        batches = [keys[start : start + self.batch] for start in range(0, len(keys), self.batch)]
        shares = [batch[self.rank :: self.world] for batch in batches]
        size = self.batch // self.world // self.parts
        return [[share[k : k + size] for k in range(0, len(share), size)] for share in shares]

    def parts_from(self, epoch: int, step: int, epochs: int) -> Iterator[list[Key]]:
        """All parts from a step of an epoch to the end of `epochs`."""
        for number in range(epoch, epochs):
            for parts in self.steps(number)[step if number == epoch else 0 :]:
                yield from parts


class Samples(Dataset[Sample]):
    """Training samples by `Key`: decoded, resampled, flipped.

    `sides` names the encoders' inputs that a sample holds and their sizes, `hiera` and `dino` or
    one of them; the mask goes with `hiera`.  `flips` are the probabilities of each flip, horizontal
    and vertical.  `maps`, if given, looks up what DINOv2 makes of the pair with a number.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        sides: dict[str, int],
        *,
        seed: int,
        flips: tuple[float, float] = (0.5, 0.5),
        maps: Callable[[int, Flip], Sample] | None = None,
    ) -> None:
        self._pairs = pairs
        self._sides = sides
        self._seed = seed
        self._flips = flips
        self._maps = maps

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, key: Key) -> Sample:
        """Raises DataError if a file cannot be read, which `check_pairs` would have found."""
        flip = draw_flip(self._seed, key, self._flips)
        pair = self._pairs[key.number]
        sample = {
            name: torch.from_numpy(flipped(values, flip))
            for name, values in self._arrays(pair).items()
        }
        return sample | (self._maps(key.number, flip) if self._maps else {})

    def _arrays(self, pair: Pair) -> dict[str, NDArray[np.float32]]:
        rgb = read_image(pair.image)
        arrays = {
            name: encoder_input(rgb, side, IMAGENET_MEAN, IMAGENET_STD)
            for name, side in self._sides.items()
        }
        if "hiera" in self._sides:
            arrays["mask"] = mask_target(read_mask(pair.mask), self._sides["hiera"])
        return arrays


def mask_target(mask: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """A mask H×W, 0 to 255, as what the logits are compared with: 1×side×side, 0 to 1.

    Resampled by Pillow's bicubic filter, as in the published code.
    """
    resized = Image.fromarray(mask).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)[None] / np.float32(255)


def draw_flip(seed: int, key: Key, probabilities: tuple[float, float]) -> Flip:
    """The flip of a sample: horizontal and vertical, drawn independently."""
    drawn = np.random.default_rng((_FLIP, seed, *key)).random(2) < probabilities
    return Flip(bool(drawn[0]), bool(drawn[1]))


def flipped(values: NDArray[np.float32], flip: Flip) -> NDArray[np.float32]:
    """An array ...×H×W, mirrored."""
    if flip.horizontal:
        values = values[..., ::-1]
    if flip.vertical:
        values = values[..., ::-1, :]
    return np.ascontiguousarray(values)
