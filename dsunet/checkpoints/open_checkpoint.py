"""Find the network in a checkpoint file: the model whose keys and shapes the file matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsunet.checkpoints.header import WITHOUT_CHECKSUM, Content, Header
from dsunet.checkpoints.mismatch import Mismatch, find_mismatch, to_float32
from dsunet.checkpoints.public_layouts import PublicLayout, find_public_layout
from dsunet.checkpoints.run_checkpoint import Notice, find_checkpoint
from dsunet.checkpoints.state_dicts import Network, StateDict, choose_state_dict, find_state_dicts
from dsunet.checkpoints.weight_files import WeightFile, read_weights
from dsunet.errors import CheckpointError
from dsunet.network.config import PRESETS, Decoder, DSUNetConfig, Injection
from dsunet.network.model import DSUNet, build_empty
from dsunet.network.parameters import count_parameters, count_trainable_parameters
from dsunet_runtime.message_text import shorten

_MIN_BYTES_PER_PARAMETER = 2
"""Size of a parameter in FP16 or BF16, the smallest types that are read."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint file whose keys and shapes match a model."""

    path: Path
    """The checkpoint file, also if a run folder was given."""
    weights: str
    """`StateDict.name` of the network that was chosen from the file."""
    choices: tuple[str, ...]
    """`StateDict.name` of every network in the file."""
    layout: PublicLayout | None
    """The published code whose key names the file has; None for dsunet's own."""
    content: Content
    model: DSUNet
    """The model whose keys and shapes the file matches, on the meta device."""
    tensors: dict[str, Tensor]
    """The file's tensors, unconverted, by the keys of the model's state dict."""
    encoders: dict[str, str]
    """Content hashes of the encoders from the file's metadata; empty if it has none."""
    is_verified: bool
    """Whether the file contains a checksum of its whole content, and it matches."""

    def float32_tensors(self) -> dict[str, Tensor]:
        """The file's tensors as the model holds them; see `to_float32`."""
        return to_float32(self.tensors, self.content.select(self.model.state_dict()))


def open_checkpoint(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    weights: str | None = None,
    notice: Notice | None = None,
) -> Checkpoint:
    """Read a checkpoint and find the model that matches all its keys and shapes.

    The arguments are those of `load_model`.  The model's parameters are not loaded.  Raises
    CheckpointError if the file is not a checkpoint, or does not match `config`.
    """
    file = read_weights(find_checkpoint(path, notice))
    path = file.path
    states = find_state_dicts(file)
    state = choose_state_dict(states, Network.DSU_NET, weights, notice)
    if state is None:
        raise _not_a_checkpoint(file, states)
    header = Header.read(file)
    if header is not None:
        if config is not None and config != header.config:
            raise CheckpointError(
                f"{path} holds {header.config.describe()}, not {config.describe()}"
            )
        config = header.config
        _check_size(file, header)
    content = header.content if header else Content.WHOLE
    layout = find_public_layout(state.tensors)
    configs = [config] if config else _preset_configs(state, layout)
    if len({one.injection for one in configs}) > 1:
        raise CheckpointError(
            f"{path} is ambiguous: its keys match injection levels and all: give its configuration"
        )
    model, mismatch = _nearest_model(state, layout, content, configs)
    if mismatch and config is None:
        nearest = model.config.describe()
        raise CheckpointError(f"{path} matches no preset; compared with {nearest}: {mismatch}")
    if mismatch:
        presets = _preset_configs(state, layout)
        other, other_mismatch = _nearest_model(state, layout, content, presets)
        hint = "" if other_mismatch else f" (it matches {other.config.describe()})"
        is_earlier = header is not None and header.format_version == WITHOUT_CHECKSUM
        remedy = "; convert the original file again" if is_earlier else ""
        raise CheckpointError(
            f"{path} does not match {model.config.describe()}{hint}: {mismatch}{remedy}"
        )
    if layout is not None:
        _check_filters(state, layout, model)
    file_keys = _file_keys(model, layout, content)
    return Checkpoint(
        path=path,
        weights=state.name,
        choices=tuple(s.name for s in states if s.network is Network.DSU_NET),
        layout=layout,
        content=content,
        model=model,
        tensors={
            key: state.tensors[file_key]
            for key, file_key in file_keys.items()
            if file_key in state.tensors
        },
        encoders=header.encoders if header else {},
        is_verified=file.is_verified,
    )


def _check_size(file: WeightFile, header: Header) -> None:
    """Raise CheckpointError if the configuration has more parameters than the file can hold."""
    whole = header.content is Content.WHOLE
    count = (count_parameters if whole else count_trainable_parameters)(header.config)
    size = file.path.stat().st_size
    if count * _MIN_BYTES_PER_PARAMETER > size:
        raise CheckpointError(
            f"{file.path} has damaged metadata: it describes {count:,} parameters, which need at "
            f"least {count * _MIN_BYTES_PER_PARAMETER:,} bytes, but the file has {size:,}"
        )


def _not_a_checkpoint(file: WeightFile, states: Sequence[StateDict]) -> CheckpointError:
    """The error for a file without a DSU-Net, with a description of its content."""
    if states:
        name = states[0].network
        return CheckpointError(
            f"{file.path} is a {name} file, not a DSU-Net checkpoint: give it with "
            f"--{name.lower()}, beside a DSU-Net checkpoint without the encoders"
        )
    keys = [key for group in file.groups.values() for key in group]
    content = f"keys such as {shorten(keys)}" if keys else "no tensors"
    return CheckpointError(f"{file.path} is not a DSU-Net checkpoint: it has {content}")


def _preset_configs(state: StateDict, layout: PublicLayout | None) -> list[DSUNetConfig]:
    """All presets, each with the parts that match the keys of a file without metadata.

    The injections levels and all have the same keys.
    """
    if layout is not None:
        injections, decoder = [layout.injection], layout.decoder
    else:
        injections, decoder = _possible_injections(state), _decoder(state)
    presets = [DSUNetConfig.preset(name) for name in PRESETS]
    return [
        preset.replace(injection=injection, decoder=decoder)
        for preset in presets
        for injection in injections
    ]


def _possible_injections(state: StateDict) -> list[Injection]:
    levels = {key.split(".")[1] for key in state.tensors if key.startswith("inject.")}
    if len(levels) > 1:
        return [Injection.LEVELS, Injection.ALL]
    return [Injection.LAST if levels else Injection.NONE]


def _decoder(state: StateDict) -> Decoder:
    used = (d for d in Decoder if any(key.startswith(f"{d}.") for key in state.tensors))
    return next(used, Decoder.SFF)


def _nearest_model(
    state: StateDict, layout: PublicLayout | None, content: Content, configs: Iterable[DSUNetConfig]
) -> tuple[DSUNet, Mismatch]:
    """The empty model of the first matching configuration, or of the one with fewest mismatches."""
    candidates = []
    stored = sum(tensor.numel() for tensor in state.tensors.values())
    # Closest parameter count first: a file has the parameters and a few buffers.
    for config in sorted(configs, key=lambda config: abs(count_parameters(config) - stored)):
        tensors = state.tensors
        if layout is not None:
            _check_supported(state, layout, config)
            tensors = {k: tensor for k, tensor in tensors.items() if not layout.is_unused(k)}
        model = build_empty(config)
        empty, file_keys = model.state_dict(), _file_keys(model, layout, content)
        mismatch = find_mismatch(
            tensors, {file_key: empty[key] for key, file_key in file_keys.items()}
        )
        if not mismatch:
            return model, mismatch
        candidates.append((model, mismatch))
    return min(candidates, key=lambda candidate: len(candidate[1]))


def _file_keys(model: DSUNet, layout: PublicLayout | None, content: Content) -> dict[str, str]:
    """Map the keys of a model's state dict to those in a file."""
    keys = filter(content.holds, model.state_dict())
    return {key: layout.key(key) if layout is not None else key for key in keys}


def _check_supported(state: StateDict, layout: PublicLayout, config: DSUNetConfig) -> None:
    """Raise CheckpointError if the published code does not support the configuration."""
    if (config.injection, config.decoder) != (layout.injection, layout.decoder):
        raise CheckpointError(
            f"{state.path} has the keys of {layout.network}'s published code, which supports only "
            f"injection {layout.injection} with decoder {layout.decoder}, not {config.injection} "
            f"with {config.decoder}"
        )


def _check_filters(state: StateDict, layout: PublicLayout, model: DSUNet) -> None:
    """Raise CheckpointError if another wavelet or order of sub-bands was trained with."""
    for key in layout.haar_filters:
        ours: Tensor = model.get_buffer("inject.3.wavelet.depthwise.filters")
        theirs = state.tensors.get(key, ours)
        # Every tap is ±0.5, which FP16 represents exactly.
        if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, atol=1e-3):
            raise CheckpointError(
                f"{state.path} was trained with another wavelet: {key} does not hold Haar filters "
                "with the sub-bands in the order mean, rows, columns, both"
            )
