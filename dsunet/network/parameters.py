"""Number of parameters of a configuration, computed without building the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsunet.network.config import DinoConfig, DSUNetConfig, HieraConfig

MLP_RATIO = 4
"""Hidden units of both encoders' MLPs, as a multiple of their channels."""


def count_parameters(config: DSUNetConfig) -> int:
    """Number of parameters of a DSUNet with this configuration, without buffers."""
    dino = _dino(config.dino) if config.injection.hiera_levels else 0
    return _hiera(config.hiera) + dino + count_trainable_parameters(config)


def count_trainable_parameters(config: DSUNetConfig) -> int:
    """Number of parameters without those of the two frozen encoders."""
    channels, width = config.hiera.channels, config.decoder_channels
    adapters = sum(
        _linear(before, config.hiera.adapter_dim) + _linear(config.hiera.adapter_dim, before)
        for before, _ in _hiera_blocks(config.hiera)
    )
    inject = sum(
        _wavelet_path(config.dino.embed_dim, channels[level]) + _cga(channels[level])
        for level in config.injection.hiera_levels
    )
    rfb = sum(_rfb(c, width) for c in channels)
    heads = 3 * _linear(width, 1)
    stage = {
        "sff": _sff(width, config.attention_channels),
        "unet": _conv_norm(2 * width, width, 9) + _conv_norm(width, width, 9),
    }[config.decoder]
    return adapters + inject + rfb + 3 * stage + heads


def _hiera(config: HieraConfig) -> int:
    c, window = config.embed_dim, config.window_sizes[0]
    background = config.background_size[0] * config.background_size[1]
    positions = c * (background + window * window)
    blocks = sum(
        2 * before
        + _linear(before, 3 * after)
        + _linear(after, after)
        + 2 * after
        + _mlp(after)
        + (_linear(before, after) if before != after else 0)
        for before, after in _hiera_blocks(config)
    )
    return positions + _linear(3 * 7 * 7, c) + blocks


def _hiera_blocks(config: HieraConfig) -> list[tuple[int, int]]:
    """Channels before and after each block; the first block of a later stage doubles them."""
    blocks = []
    before = config.embed_dim
    for after, depth in zip(config.channels, config.stages, strict=True):
        blocks += [(before, after)] + [(after, after)] * (depth - 1)
        before = after
    return blocks


def _dino(config: DinoConfig) -> int:
    d = config.embed_dim
    tokens = d * (1 + config.map_size**2) + d
    # Two norms, attention, two layer scales.
    block = 4 * d + _linear(d, 3 * d) + _linear(d, d) + _mlp(d) + 2 * d
    return tokens + _linear(3 * config.patch_size**2, d) + config.depth * block + 2 * d


def _wavelet_path(dino_channels: int, channels: int) -> int:
    subbands = 4 * dino_channels
    depthwise = (9 * subbands + subbands) + (10 * dino_channels + dino_channels)
    return depthwise + _conv_norm(dino_channels, channels, 1)


def _cga(channels: int) -> int:
    hidden = channels // 8
    channel_attention = _linear(channels, hidden) + _linear(hidden, channels)
    pixel_attention = channels * _linear(2 * 7 * 7, 1)
    return channel_attention + _linear(2 * 7 * 7, 1) + pixel_attention + _linear(channels, channels)


def _rfb(channels: int, width: int) -> int:
    branches = sum(
        _conv_norm(channels, width, 1)
        + 2 * _conv_norm(width, width, kernel)
        + _conv_norm(width, width, 9)
        for kernel in (3, 5, 7)
    )
    merge = _conv_norm(4 * width, width, 9)
    return 2 * _conv_norm(channels, width, 1) + branches + merge


def _sff(width: int, attention: int) -> int:
    query = _conv_norm(width, attention, 1) + _conv_norm(attention, attention, 1)
    value, out = _conv_norm(width, attention, 1), _conv_norm(attention, width, 1)
    return (
        2 * _conv_norm(width, width, 1) + 2 * query + value + out + _conv_norm(2 * width, width, 9)
    )


def _linear(inputs: int, outputs: int) -> int:
    """A linear layer, or a convolution with bias and `inputs` weights per output channel."""
    return inputs * outputs + outputs


def _mlp(channels: int) -> int:
    hidden = MLP_RATIO * channels
    return _linear(channels, hidden) + _linear(hidden, channels)


def _conv_norm(inputs: int, outputs: int, positions: int) -> int:
    """A convolution without bias whose kernel has `positions` elements, and its batch norm."""
    return inputs * outputs * positions + 2 * outputs
