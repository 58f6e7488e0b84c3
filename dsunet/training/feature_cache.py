"""What the frozen DINOv2 gives for each image and each of its flips, computed once and kept.

A file holds the maps of one image and flip, because a flipped image's map is not the flipped map:
position embeddings stay where they are.  They are kept in float16, resampled to what the network
injects where that is smaller.  A file's name is a hash of all that its content depends on, so a
cache can be shared by any number of runs, and what does not fit is never found.  The name is in the
file too, under a checksum over all of it: a file that is damaged, or another one, is computed anew.
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

from dsunet.checksum import PLACEHOLDER, Checksum, compare_checksum
from dsunet.config import DSUNetConfig, Injection
from dsunet.data.samples import FLIPS, Flip, Sample
from dsunet.errors import DataError, TrainingError
from dsunet.weight_files import write_safetensors
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import parse_object
from dsunet_runtime.message_text import reason

FORMAT_VERSION = 2


def map_sides(config: DSUNetConfig) -> tuple[int, ...]:
    """Height (and width) of each DINOv2 map that is kept: what the network reads of it, or all."""
    whole, read = config.dino.map_size, config.hiera.map_sizes
    if config.injection is Injection.ALL:  # one map for all levels, each of another size
        return (whole,)
    return tuple(min(whole, read[level]) for level in config.injection.hiera_levels)


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """The maps of the images whose files have `image_hashes`, by their index."""

    folder: Path
    config: DSUNetConfig
    encoder_hash: str
    """Of DINOv2's weights; see `pretrained.encoder_hashes`."""
    precision: str
    """What DINOv2 computes in."""
    image_hashes: tuple[str, ...]

    def path(self, index: int, flip: Flip) -> Path:
        """Where the maps of an image and flip are, or will be."""
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
        """The maps of one image and flip: `map0` and so on, each D×s×s, float16.

        Raises DataError if the file is not there, or damaged.
        """
        path = self.path(index, flip)
        try:
            with open_regular(path) as file:  # safetensors takes no path that is no UTF-8
                content = file.read()
            if compare_checksum(io.BytesIO(content)) is not Checksum.MATCHES:
                raise ValueError("it is damaged")
            if _name_in(content) != path.stem:
                raise ValueError("it is another file")
            return load(content)
        except Exception as error:  # safetensors' own, and what PyTorch makes of types it lacks
            raise DataError(
                f"{path} cannot be read: {reason(error)}; --resume computes it anew"
            ) from error

    def write(self, index: int, maps: Sequence[Sequence[Tensor]]) -> None:
        """Keep an image's maps: for each of FLIPS each map D×s×s.

        Raises TrainingError if they cannot be written.
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
        """The images whose maps are not there whole; every file is read."""
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


def kept_maps(maps: Sequence[Tensor], config: DSUNetConfig) -> list[Tensor]:
    """DINOv2's maps N×D×h×w as they are kept, N×D×s×s: resampled as the network does it."""
    return [
        F.interpolate(one, (side, side), mode="bilinear")
        for one, side in zip(maps, map_sides(config), strict=True)
    ]


def flipped_images(images: Tensor) -> Iterator[Tensor]:
    """Images N×3×T×T, mirrored in each way of FLIPS."""
    for flip in FLIPS:
        axes = [axis for axis, wanted in ((3, flip.horizontal), (2, flip.vertical)) if wanted]
        yield images.flip(axes)


def _name_in(content: bytes) -> object:
    """The name that a safetensors file says it was written under; None if it says none."""
    length = int.from_bytes(content[:8], "little")
    metadata = parse_object(content[8 : 8 + length]).get("__metadata__")
    return metadata.get("name") if isinstance(metadata, dict) else None
