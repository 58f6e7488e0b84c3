"""Cache of the frozen DINOv2's feature maps of each image and flip.

A file has the maps of one image and flip.  Flips are stored separately because position embeddings
are not flipped.  Maps are float16, resampled to the size that the network injects if that is
smaller.  The name of a file is a hash of everything that its content depends on, so that any
number of runs can share a cache.  A file also contains its name and a checksum; damaged or
misplaced files are computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor

from dsunet.checkpoints.checksum import PLACEHOLDER, Checksum, compare_checksum
from dsunet.checkpoints.weight_files import write_safetensors
from dsunet.data.samples import FLIPS, Flip, Sample
from dsunet.errors import DataError, TrainingError
from dsunet.network.config import DSUNetConfig, Injection
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import parse_object
from dsunet_runtime.message_text import reason

FORMAT_VERSION = 2


def map_sides(config: DSUNetConfig) -> tuple[int, ...]:
    """Side of each cached DINOv2 map: the size that the network injects, or the whole map."""
    whole, sizes = config.dino.map_size, config.hiera.map_sizes
    if config.injection is Injection.ALL:  # one map is resampled to the size of each level
        return (whole,)
    return tuple(min(whole, sizes[level]) for level in config.injection.hiera_levels)


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """The cached maps of images, by the index of their file in `image_hashes`."""

    folder: Path
    config: DSUNetConfig
    encoder_hash: str
    """Content hash of DINOv2's weights; see `pretrained.encoder_hashes`."""
    precision: str
    """Precision of DINOv2's forward pass."""
    image_hashes: tuple[str, ...]

    def path(self, index: int, flip: Flip) -> Path:
        """Path of the maps of an image and flip."""
        content = {
            "format_version": FORMAT_VERSION,
            "image": self.image_hashes[index],
            "flip": flip,
            "encoder": self.encoder_hash,
            "precision": self.precision,
            "image_size": self.config.dino.image_size,
            "injection": self.config.injection.value,
            "map_sides": map_sides(self.config),
        }
        name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def read(self, index: int, flip: Flip) -> Sample:
        """Read the maps of one image and flip: `map0` and so on, each D×s×s, float16.

        Raises DataError if the file is missing or damaged.
        """
        path = self.path(index, flip)
        try:
            with open_regular(path) as file:  # safetensors accepts only UTF-8 paths
                content = file.read()
            if compare_checksum(io.BytesIO(content)) is not Checksum.MATCHES:
                raise ValueError("it is damaged")
            if _name_in(content) != path.stem:
                raise ValueError("it belongs to other data")
            return load(content)
        except Exception as error:  # of safetensors, and of PyTorch for types that it lacks
            raise DataError(
                f"{path} cannot be read: {reason(error)}; resume the run to compute it again"
            ) from error

    def write(self, index: int, maps: Sequence[Sequence[Tensor]]) -> None:
        """Write an image's maps, each D×s×s, for each of FLIPS.

        Raises TrainingError if a file cannot be written.
        """
        for flip, of_flip in zip(FLIPS, maps, strict=True):
            tensors = {f"map{k}": one.half().cpu().contiguous() for k, one in enumerate(of_flip)}
            path = self.path(index, flip)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_safetensors(path, tensors, {"checksum": PLACEHOLDER, "name": path.stem})
            except (OSError, OutputError) as error:
                raise TrainingError(f"the cache cannot be written: {reason(error)}") from error

    def missing(self) -> list[int]:
        """Indices of images with missing or damaged maps; reads all files."""
        with ThreadPoolExecutor() as threads:
            whole = list(threads.map(self._is_whole, range(len(self.image_hashes))))
        return [index for index, is_whole in enumerate(whole) if not is_whole]

    def _is_whole(self, index: int) -> bool:
        try:
            for flip in FLIPS:
                self.read(index, flip)
        except DataError:
            return False
        return True


def resample_for_cache(maps: Sequence[Tensor], config: DSUNetConfig) -> list[Tensor]:
    """Resample DINOv2's maps N×D×h×w to N×D×s×s for the cache, as the network does."""
    return [
        F.interpolate(one, (side, side), mode="bilinear")
        for one, side in zip(maps, map_sides(config), strict=True)
    ]


def flipped_images(images: Tensor) -> Iterator[Tensor]:
    """Yield the images N×3×T×T with each of FLIPS."""
    for flip in FLIPS:
        axes = [axis for axis, wanted in ((3, flip.horizontal), (2, flip.vertical)) if wanted]
        yield images.flip(axes)


def _name_in(content: bytes) -> object:
    """The file name in a safetensors file's metadata, or None."""
    length = int.from_bytes(content[:8], "little")
    metadata = parse_object(content[8 : 8 + length]).get("__metadata__")
    return metadata.get("name") if isinstance(metadata, dict) else None
