"""Configuration of a network: sizes, encoders, injection, decoder.  Does not import PyTorch.

The defaults of all classes are the paper's network: `DSUNetConfig()` is the preset `large`.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from dsunet.errors import ConfigError
from dsunet.network.config_fields import bounded_field, check_ranges
from dsunet.network.parameters import count_parameters
from dsunet_runtime.message_text import quote
from dsunet_runtime.plain_values import FieldError, decode, encode

TIMM_PREFIX = "timm:"
"""Prefix of a weight source that is a model name of timm's hub instead of a file."""

MAX_PARAMETERS = 10_000_000_000
"""The largest number of parameters: twenty times the paper's network, 40 GB in float32."""

MAX_IMAGE_SIZE = 4096
"""The largest side of an encoder's input in pixels."""


class Injection(enum.StrEnum):
    """Which DINOv2 maps are fused into which Hiera maps (paper, section IV.E)."""

    LAST = "last"
    """The last DINOv2 map is fused into the fourth Hiera map: the paper's network."""
    NONE = "none"
    """The network has no DINOv2 encoder: ablation A."""
    LEVELS = "levels"
    """Four DINOv2 levels are fused into the four Hiera maps, one each: ablation B."""
    ALL = "all"
    """The last DINOv2 map is fused into all four Hiera maps: ablation C."""

    @property
    def hiera_levels(self) -> tuple[int, ...]:
        """Indices (0 is the finest) of the Hiera maps that receive a DINOv2 map."""
        return {Injection.LAST: (3,), Injection.NONE: ()}.get(self, (0, 1, 2, 3))


class Decoder(enum.StrEnum):
    """The module that merges the maps of two levels; the value begins the keys of its tensors."""

    SFF = "sff"
    """Attention over all positions (`dsunet.network.decoders.SFF`): DSU-Net."""
    UNET = "unet"
    """Concatenation and convolutions (`dsunet.network.decoders.UNetStage`): SAM2-UNet."""


NETWORKS = {
    "DSU-Net": (Injection.LAST, Decoder.SFF),
    "SAM2-UNet": (Injection.NONE, Decoder.UNET),
}
"""The injection and the decoder of each published network."""

ABSENT_IN_EARLIER_FILES = {"decoder": Decoder.SFF.value}
"""Fields of `DSUNetConfig` that earlier formats lack, with the value that these imply."""


@dataclass(frozen=True, slots=True)
class HieraConfig:
    """SAM2's Hiera (`sam2.modeling.backbones.hieradet`) and the adapters before its blocks."""

    image_size: int = bounded_field(352, MAX_IMAGE_SIZE)
    embed_dim: int = bounded_field(144, 1024)
    num_heads: int = bounded_field(2, 64)
    stages: tuple[int, int, int, int] = bounded_field((2, 6, 36, 4), 256)
    global_attention_blocks: tuple[int, ...] = bounded_field((23, 33, 43), 1023, smallest=0)
    window_sizes: tuple[int, int, int, int] = bounded_field((8, 4, 16, 8), 1024)
    background_size: tuple[int, int] = bounded_field((7, 7), 256)
    adapter_dim: int = bounded_field(32, 4096)

    PATCH_STRIDE = 4

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four maps, finest first: they double at every stage."""
        c = self.embed_dim
        return (c, 2 * c, 4 * c, 8 * c)

    @property
    def map_sizes(self) -> tuple[int, int, int, int]:
        """Height (and width) of the four maps, finest first."""
        s = self.image_size // self.PATCH_STRIDE
        return (s, s // 2, s // 4, s // 8)

    @property
    def size_step(self) -> int:
        """The number of which `image_size` is a multiple, for the strides and the first windows."""
        return math.lcm(32, self.PATCH_STRIDE * self.window_sizes[0])

    def validate(self) -> None:
        """Raise ConfigError if SAM2's Hiera could not be built or run with these numbers."""
        check_ranges(self, "hiera.")
        if self.image_size % 32:
            raise ConfigError(
                f"hiera.image_size is {self.image_size}: it must be a multiple of 32, "
                "because the four maps have strides 4, 8, 16 and 32"
            )
        if self.map_sizes[0] % self.window_sizes[0]:
            raise ConfigError(
                f"hiera.image_size {self.image_size} gives a first map of {self.map_sizes[0]}, "
                f"which is not a multiple of the first window, {self.window_sizes[0]}: choose a "
                f"multiple of {self.size_step}"
            )
        odd = [w for w in self.window_sizes[:3] if w % 2]
        if odd:
            raise ConfigError(
                f"hiera.window_sizes has {odd[0]}, which is odd: the windows of the first three "
                "stages are halved where the next stage pools its queries"
            )
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"hiera.embed_dim {self.embed_dim} is not divisible by hiera.num_heads, "
                f"{self.num_heads}"
            )
        depth = sum(self.stages)
        outside = [b for b in self.global_attention_blocks if not 0 <= b < depth]
        if outside:
            raise ConfigError(
                f"hiera.global_attention_blocks {outside} are outside the range 0 to {depth - 1}"
            )
        pooling = {sum(self.stages[:k]) for k in (1, 2, 3)} & set(self.global_attention_blocks)
        if pooling:
            raise ConfigError(
                f"hiera.global_attention_blocks has {min(pooling)}, the first block of a stage: "
                "SAM2 pools queries there inside windows"
            )


@dataclass(frozen=True, slots=True)
class DinoConfig:
    """DINOv2's vision transformer without registers (timm's VisionTransformer)."""

    image_size: int = bounded_field(518, MAX_IMAGE_SIZE)
    patch_size: int = bounded_field(14, 256)
    embed_dim: int = bounded_field(1024, 8192)
    depth: int = bounded_field(24, 256)
    num_heads: int = bounded_field(16, 128)

    @property
    def map_size(self) -> int:
        """Height (and width) of the patch grid."""
        return self.image_size // self.patch_size

    @property
    def quarter_blocks(self) -> tuple[int, int, int, int]:
        """The blocks whose outputs ablation B takes: the ends of the four quarters."""
        first, second, third = (self.depth * k // 4 - 1 for k in (1, 2, 3))
        return (first, second, third, self.depth - 1)

    def validate(self) -> None:
        """Raise ConfigError if the transformer could not be built or run with these numbers."""
        check_ranges(self, "dino.")
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"dino.image_size {self.image_size} is not a multiple of the patch size "
                f"{self.patch_size}"
            )
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"dino.embed_dim {self.embed_dim} is not divisible by dino.num_heads, "
                f"{self.num_heads}"
            )
        if self.depth < 4:
            raise ConfigError(f"dino.depth is {self.depth}: ablation B needs four levels")


@dataclass(frozen=True, slots=True)
class DSUNetConfig:
    """Configuration of a network.  Raises ConfigError if its parts are inconsistent."""

    hiera: HieraConfig = field(default_factory=HieraConfig)
    dino: DinoConfig = field(default_factory=DinoConfig)
    """Not used with injection none."""
    injection: Injection = Injection.LAST
    decoder: Decoder = Decoder.SFF
    decoder_channels: int = bounded_field(64, 4096)
    attention_channels: int = bounded_field(32, 4096)
    """Channels of the attention in the decoder SFF; the other decoder has none."""

    def __post_init__(self) -> None:
        check_ranges(self)
        self.hiera.validate()
        self.dino.validate()
        if self.hiera.embed_dim % 8:
            raise ConfigError(
                f"hiera.embed_dim {self.hiera.embed_dim} is not a multiple of 8, the reduction of "
                "CGA's channel attention"
            )
        smallest = min((self.hiera.map_sizes[k] for k in self.injection.hiera_levels), default=4)
        if smallest < 4:
            raise ConfigError(
                f"hiera.image_size {self.hiera.image_size} gives CGA a map of {smallest}, but its "
                "7×7 convolutions need at least 4: choose 128 or more"
            )
        parameters = count_parameters(self)
        if parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"the configuration has {parameters:,} parameters, more than the limit of "
                f"{MAX_PARAMETERS:,}"
            )

    @property
    def input_sizes(self) -> dict[str, int]:
        """Side of each encoder's square input in pixels, by name: `hiera`, and `dino` if used."""
        sizes = {"hiera": self.hiera.image_size}
        return {**sizes, "dino": self.dino.image_size} if self.injection.hiera_levels else sizes

    @classmethod
    def preset(cls, name: str) -> Self:
        """The configuration of a preset, one of `PRESETS`.  Raises ConfigError for other names."""
        try:
            parts = PRESETS[name]
        except KeyError:
            known = ", ".join(PRESETS)
            raise ConfigError(f"there is no preset {quote(name)}: choose one of {known}") from None
        return cls(**parts)

    def replace(self, **changes: Any) -> Self:
        """Copy the configuration with other values for some top-level fields."""
        return dataclasses.replace(self, **changes)

    @property
    def network(self) -> str | None:
        """Name of the published network with this injection and decoder, or None."""
        parts = (self.injection, self.decoder)
        return next((name for name, own in NETWORKS.items() if own == parts), None)

    def resized(self, *, hiera_size: int | None = None, dino_size: int | None = None) -> Self:
        """Copy the configuration with other input sizes; None keeps a size.

        Raises ConfigError if a size does not fit, and names some that do.
        """
        if dino_size is not None and not self.injection.hiera_levels:
            raise ConfigError(
                "the network has no DINOv2 (injection none): omit the size of its input"
            )
        hiera_size, dino_size = (
            hiera_size or self.hiera.image_size,
            dino_size or self.dino.image_size,
        )
        _check_multiple("Hiera", hiera_size, self.hiera.size_step)
        _check_multiple("DINOv2", dino_size, self.dino.patch_size)
        return self.replace(
            hiera=dataclasses.replace(self.hiera, image_size=hiera_size),
            dino=dataclasses.replace(self.dino, image_size=dino_size),
        )

    def preset_name(self, *, any_size: bool = False) -> str | None:
        """Name of the preset with the sizes of this configuration, or None.

        With `any_size`, also if those of its inputs differ.
        """
        parts = {"injection": self.injection, "decoder": self.decoder}
        for name in PRESETS:
            preset = type(self).preset(name).replace(**parts)
            hiera, dino = self.hiera, self.dino
            if any_size:
                hiera = dataclasses.replace(hiera, image_size=preset.hiera.image_size)
                dino = dataclasses.replace(dino, image_size=preset.dino.image_size)
            if (hiera, dino) == (preset.hiera, preset.dino) and preset == self.replace(
                hiera=hiera, dino=dino
            ):
                return name
        return None

    def describe(self) -> str:
        """Describe the configuration: its preset, and how it differs from the paper's network."""
        name = self.preset_name(any_size=True)
        words = f"preset {name}" if name else "a custom configuration"
        if name and not self.preset_name():
            words += f" with inputs of {describe_sizes(self.input_sizes)} pixels"
        if self.network:
            return words if self.network == "DSU-Net" else f"{self.network}, {words}"
        parts = [words]
        if self.injection is not Injection.LAST:
            parts.append(f"injection {self.injection}")
        if self.decoder is not Decoder.SFF:
            parts.append(f"decoder {self.decoder}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON; `from_dict` reads them."""
        values: dict[str, Any] = encode(self)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, exact: bool = True) -> Self:
        """Read the values that `to_dict` returned, or an earlier or later version of it.

        Raises ConfigError if a field is of another type, if the configuration is inconsistent, or,
        with `exact`, if a field is missing or unknown.
        """
        try:
            return decode(cls, values, exact=exact)
        except FieldError as error:
            raise ConfigError(f"the configuration is not valid: {error}") from error


def describe_sizes(sizes: Mapping[str, int]) -> str:
    """Describe input sizes by encoder, such as `352 (hiera) and 518 (dino)`."""
    return " and ".join(f"{size} ({name})" for name, size in sizes.items())


def _check_multiple(encoder: str, size: int, step: int) -> None:
    if size % step:
        near = [step * n for n in (size // step, size // step + 1) if n]
        raise ConfigError(
            f"the size of {encoder}'s input is {size}: it must be a multiple of {step}, such as "
            f"{' or '.join(map(str, near))}"
        )


_VIT_B = DinoConfig(embed_dim=768, depth=12, num_heads=12)
_VIT_S = DinoConfig(embed_dim=384, depth=12, num_heads=6)
_HIERA_NANO = HieraConfig(
    image_size=160,
    embed_dim=24,
    num_heads=1,
    stages=(1, 1, 3, 1),
    global_attention_blocks=(4,),
    window_sizes=(8, 4, 8, 4),
    adapter_dim=8,
)
_VIT_NANO = DinoConfig(image_size=224, embed_dim=96, depth=4, num_heads=3)

PRESETS: dict[str, dict[str, Any]] = {
    "large": {},
    "base_plus": {
        "hiera": HieraConfig(
            embed_dim=112,
            num_heads=2,
            stages=(2, 3, 16, 3),
            global_attention_blocks=(12, 16, 20),
            window_sizes=(8, 4, 14, 7),
            background_size=(14, 14),
        ),
        "dino": _VIT_B,
    },
    "small": {
        "hiera": HieraConfig(
            embed_dim=96,
            num_heads=1,
            stages=(1, 2, 11, 2),
            global_attention_blocks=(7, 10, 13),
            window_sizes=(8, 4, 14, 7),
        ),
        "dino": _VIT_B,
    },
    "tiny": {
        "hiera": HieraConfig(
            embed_dim=96,
            num_heads=1,
            stages=(1, 2, 7, 2),
            global_attention_blocks=(5, 7, 9),
            window_sizes=(8, 4, 14, 7),
        ),
        "dino": _VIT_S,
    },
    "nano": {
        "hiera": _HIERA_NANO,
        "dino": _VIT_NANO,
        "decoder_channels": 32,
        "attention_channels": 16,
    },
    "pico": {
        "hiera": dataclasses.replace(_HIERA_NANO, image_size=128),
        "dino": dataclasses.replace(_VIT_NANO, image_size=98),
        "decoder_channels": 16,
        "attention_channels": 8,
    },
}
"""`large` is the paper's network.  `base_plus`, `small` and `tiny` use the smaller official Hiera
and DINOv2 models.  `nano` is for tests and demonstrations: it has the special cases of `large`
(padded windows, an odd-sized wavelet map, a non-integer resampling) and runs in seconds on a CPU.
`pico` is a student for `nano`: its encoders at smaller input sizes and a narrower decoder, with 4.2
times fewer multiply-adds.
"""
