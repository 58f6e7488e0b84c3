"""Training samples: pairs of files as tensors.

The order of an epoch depends on the seed and the epoch only, and the flips of a sample on those and
its index, so the batches are the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dsunet.data.image_files import read_image, read_mask
from dsunet.data.pairs import Pair
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD
from dsunet_runtime.images.decode import encoder_input

_ORDER, _FLIP, _BLEND, _MISMATCH = 0, 1, 2, 3  # separate random streams

Sample = dict[str, Tensor]
"""The inputs `hiera` 3×S×S and `dino` 3×T×T, ImageNet-normalised, and `mask` 1×S×S, 0 to 1, all
float32.  With a feature cache, DINOv2's maps `map0`, ... D×s×s, float16, replace `dino`.  Among
images without masks, `labelled` (bool) indicates whether `mask` is one; otherwise it is 0.  A
teacher's inputs are `teacher_hiera` and `teacher_dino`."""


class SampleKey(NamedTuple):
    """A sample: the index of a pair, in an epoch; both count from 0."""

    epoch: int
    number: int


class Flip(NamedTuple):
    """The flips of a sample, which are applied after resampling."""

    horizontal: bool
    vertical: bool


FLIPS = tuple(
    Flip(horizontal, vertical) for vertical in (False, True) for horizontal in (False, True)
)
"""All four combinations; the first is the identity."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The pairs of every step of every epoch, for process `rank` of `world`.

    A step's batch is divided among the processes, and each accumulates gradients over `parts`.  In
    each epoch, up to `world` - 1 other pairs are dropped, so that all processes have equally many.
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
        """Number of samples of the first part of a step, which is the largest."""
        return len(self.steps(0)[0][0])

    def steps(self, epoch: int) -> list[list[list[SampleKey]]]:
        """The samples of each part of each step of an epoch."""
        order = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(self.count)
        keys = [
            SampleKey(epoch, int(index)) for index in order[: self.count - self.count % self.world]
        ]
        batches = [keys[start : start + self.batch] for start in range(0, len(keys), self.batch)]
        own = [batch[self.rank :: self.world] for batch in batches]
        size = self.batch // self.world // self.parts
        return [[part[k : k + size] for k in range(0, len(part), size)] for part in own]

    def parts_from(self, epoch: int, step: int, epochs: int) -> Iterator[list[SampleKey]]:
        """All parts from a step of an epoch to the end of the last of `epochs`."""
        for number in range(epoch, epochs):
            for parts in self.steps(number)[step if number == epoch else 0 :]:
                yield from parts


class Samples(Dataset[Sample]):
    """Training samples by `SampleKey`: decoded, resampled, flipped.

    Args:
        pairs: The image and mask files.
        sides: Side in pixels of each input, by its name: `hiera`, which the mask comes with, `dino`
            and those of a teacher.
        seed: Random seed of the flips.
        flips: Probabilities of a horizontal and a vertical flip.
        maps: Reads the cached DINOv2 maps of an image and flip.
        unlabelled: Images without a mask, numbered after the pairs.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        sides: dict[str, int],
        *,
        seed: int,
        flips: tuple[float, float] = (0.5, 0.5),
        maps: Callable[[int, Flip], Sample] | None = None,
        unlabelled: Sequence[Path] = (),
    ) -> None:
        self._pairs = pairs
        self._unlabelled = unlabelled
        self._sides = sides
        self._seed = seed
        self._flips = flips
        self._maps = maps

    def __len__(self) -> int:
        return len(self._pairs) + len(self._unlabelled)

    def __getitem__(self, key: SampleKey) -> Sample:
        """Load a sample.  Raises DataError if a file cannot be read."""
        flip = random_flip(self._seed, key, self._flips)
        image, mask = self._files(key.number)
        sample = {
            name: torch.from_numpy(flipped(values, flip))
            for name, values in self._arrays(image, mask).items()
        }
        if self._unlabelled:
            sample["labelled"] = torch.tensor(mask is not None)
        return sample | (self._maps(key.number, flip) if self._maps else {})

    def _files(self, number: int) -> tuple[Path, Path | None]:
        """The files of an image and of its mask, if it has one."""
        if number < len(self._pairs):
            return self._pairs[number].image, self._pairs[number].mask
        return self._unlabelled[number - len(self._pairs)], None

    def _arrays(self, image: Path, mask: Path | None) -> dict[str, NDArray[np.float32]]:
        rgb = read_image(image)
        by_side = {  # a teacher's inputs often have the sides of the student's
            side: encoder_input(rgb, side, IMAGENET_MEAN, IMAGENET_STD)
            for side in {*self._sides.values()}
        }
        arrays = {name: by_side[side] for name, side in self._sides.items()}
        if side := self._sides.get("hiera"):
            empty = np.zeros((1, side, side), np.float32)
            arrays["mask"] = empty if mask is None else mask_target(read_mask(mask), side)
        return arrays


def mask_target(mask: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Convert a mask H×W, 0 to 255, to the target of the loss: 1×side×side, 0 to 1.

    It is resampled with Pillow's bicubic filter, as in the published code.
    """
    resized = Image.fromarray(mask).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)[None] / np.float32(255)


def random_flip(seed: int, key: SampleKey, probabilities: tuple[float, float]) -> Flip:
    """Draw the horizontal and the vertical flip of a sample independently."""
    drawn = np.random.default_rng((_FLIP, seed, *key)).random(2) < probabilities
    return Flip(bool(drawn[0]), bool(drawn[1]))


def random_blend(seed: int, key: SampleKey, probability: float) -> bool:
    """Draw whether the image of a sample is blended with another."""
    return bool(np.random.default_rng((_BLEND, seed, *key)).random() < probability)


def random_mismatch(seed: int, key: SampleKey, probability: float, kinds: int) -> int:
    """Draw the number of a sample's mismatch, 1 to `kinds`, all equally often; 0 is none."""
    drawn = np.random.default_rng((_MISMATCH, seed, *key)).random()
    return 1 + int(drawn / probability * kinds) if drawn < probability else 0


def flipped(values: NDArray[np.float32], flip: Flip) -> NDArray[np.float32]:
    """Apply flips to an array ...×H×W."""
    if flip.horizontal:
        values = values[..., ::-1]
    if flip.vertical:
        values = values[..., ::-1, :]
    return np.ascontiguousarray(values)
