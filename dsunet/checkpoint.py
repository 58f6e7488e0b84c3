"""DSU-Net's checkpoints: the published code's files, and our own, in and out.

Our own is a safetensors file whose metadata holds one JSON document: see `dsunet.header`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsunet.config import PRESETS, DSUNetConfig, Injection
from dsunet.errors import CheckpointError
from dsunet.header import METADATA_KEY, Content, Header
from dsunet.matching import Mismatch, compare, not_finite, to_float32
from dsunet.model import DSUNet, build_empty
from dsunet.parameters import count_parameters, count_trained_parameters
from dsunet.pretrained import encoder_hashes, load_encoders
from dsunet.public_layout import HAAR_KEYS, MASK_TOKEN_KEY, is_public_layout, public_key
from dsunet.run_checkpoint import Notice, find_checkpoint
from dsunet.states import Network, State, choose_state, find_states
from dsunet.weight_files import WeightFile, read_weights, write_safetensors
from dsunet_runtime.errors import OutputError
from dsunet_runtime.message_text import shorten

_LEAST_BYTES = 2
"""Of a number in a file: half precision."""


class Layout(enum.StrEnum):
    """Whose key names a file has."""

    DSUNET = "dsunet"
    PUBLIC = "public"
    """Those of the paper's published code, which knows only the paper's injection."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that was found to fit a model, key by key and shape by shape."""

    path: Path
    """The file, also where a run folder was given."""
    weights: str
    """Which of the networks in the file this is, as `State.name`."""
    choices: tuple[str, ...]
    """All that it might have been."""
    layout: Layout
    content: Content
    model: DSUNet
    """The model that it fits, holding no numbers yet."""
    tensors: dict[str, Tensor]
    """The file's tensors as they are, under the names of the model's state."""
    encoders: dict[str, str]
    """The encoders' content hashes that the file records; empty where it records none."""
    is_verified: bool
    """Whether the file holds a checksum over all of it, which matches."""


def load_model(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    sam2: str | Path | None = None,
    dinov2: str | Path | None = None,
    weights: str | None = None,
    notice: Notice | None = None,
) -> DSUNet:
    """A DSU-Net from a checkpoint: float32, on the CPU, in evaluation mode.

    `path` is a file, or the folder of a run, of which the best checkpoint is taken.  Without
    `config`, the model is what the file says, or else the preset that fits.  `sam2` and `dinov2`
    are the official encoder files for a checkpoint that holds only what was trained, and must be
    those that it was trained with; see `load_encoders`.  `weights` names one of several networks in
    a file (`model`, `ema`); without it, an average over the training is preferred.  `notice` is
    told what was chosen, and of weights that are not finite.

    Tensors stay mapped from their files where they can: replace those, never write into them,
    while the model is in use.  Raises CheckpointError if anything is broken or does not fit.
    """
    checkpoint = open_checkpoint(path, config=config, weights=weights, notice=notice)
    path, model = checkpoint.path, checkpoint.model
    if checkpoint.content is Content.TRAINED:
        if sam2 is None or (model.dino is not None and dinov2 is None):
            both = "SAM2 and DINOv2" if model.dino is not None else "SAM2"
            raise CheckpointError(
                f"{path} holds only what was trained: give the official files of {both} too, "
                "as sam2 and dinov2 (--sam2, --dinov2)"
            )
        load_encoders(model, sam2=sam2, dinov2=dinov2, notice=notice)
        _check_encoders(checkpoint, {"hiera": sam2, "dino": dinov2})
    elif sam2 is not None or dinov2 is not None:
        raise CheckpointError(f"{path} holds its own encoders: leave sam2 and dinov2 out")
    state = model.state_dict()
    held = {key: tensor for key, tensor in state.items() if checkpoint.content.holds(key)}
    filled = to_float32(checkpoint.tensors, held)
    broken = not_finite(filled)
    if broken and notice is not None:
        notice(f"{path}: holds NaN or infinity, in {shorten(broken)}: its masks mean nothing")
    model.load_state_dict(state | filled, assign=True)
    return model.eval()


def save_model(model: DSUNet, path: str | Path, *, only_trained: bool = False) -> None:
    """Write a model in our own format, float32; an older file is replaced at once or not at all.

    With `only_trained`, without the frozen encoders: 29 MB instead of 2.1 GB for `large`.
    Raises CheckpointError if the file cannot be written.
    """
    path = Path(path)
    content = Content.TRAINED if only_trained else Content.WHOLE
    whole = model.state_dict()
    state = to_float32({key: tensor.detach().cpu() for key, tensor in whole.items()}, whole)
    header = Header(model.config, content, encoder_hashes(state))
    held = {key: tensor for key, tensor in state.items() if content.holds(key)}
    try:
        write_safetensors(path, held, {METADATA_KEY: header.to_text()})
    except OutputError as error:
        raise CheckpointError(str(error)) from error


def open_checkpoint(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    weights: str | None = None,
    notice: Notice | None = None,
) -> Checkpoint:
    """Read a checkpoint and find the model that it fits, strictly, without filling it.

    The arguments are those of `load_model`.  Raises CheckpointError if there is no checkpoint, or
    if it is not that of `config`.
    """
    file = read_weights(find_checkpoint(path, notice))
    path = file.path
    states = find_states(file)
    state = choose_state(states, Network.DSU_NET, weights, notice)
    if state is None:
        raise _no_checkpoint(file, states)
    header = Header.read(file)
    if header is not None:
        if config is not None and config != header.config:
            raise CheckpointError(
                f"{path} holds {describe_config(header.config)}, not {describe_config(config)}"
            )
        config = header.config
        _check_size(file, header)
    content = header.content if header else Content.WHOLE
    layout = Layout.PUBLIC if is_public_layout(state.tensors) else Layout.DSUNET
    configs = [config] if config else _presets(state, layout)
    if len({one.injection for one in configs}) > 1:
        raise CheckpointError(
            f"{path} does not say whether its injection is levels or all, which have the same "
            "keys: give its configuration"
        )
    model, mismatch = _nearest(state, layout, content, configs)
    if mismatch and config is None:
        nearest = describe_config(model.config)
        raise CheckpointError(f"{path} fits no preset; against {nearest}: {mismatch}")
    if mismatch:
        other, misfit = _nearest(state, layout, content, _presets(state, layout))
        hint = "" if misfit else f" (it fits {describe_config(other.config)})"
        raise CheckpointError(
            f"{path} does not fit {describe_config(model.config)}{hint}: {mismatch}"
        )
    if layout is Layout.PUBLIC:
        _check_filters(state, model)
    names = _names(model, layout, content)
    return Checkpoint(
        path=path,
        weights=state.name,
        choices=tuple(s.name for s in states if s.network is Network.DSU_NET),
        layout=layout,
        content=content,
        model=model,
        tensors={k: state.tensors[name] for k, name in names.items() if name in state.tensors},
        encoders=header.encoders if header else {},
        is_verified=file.is_verified,
    )


def describe_config(config: DSUNetConfig) -> str:
    """A configuration in words: its preset, and its injection if that is not the paper's."""
    name = config.preset_name()
    words = f"preset {name}" if name else "a configuration that is no preset"
    return words if config.injection is Injection.LAST else f"{words}, injection {config.injection}"


def _check_size(file: WeightFile, header: Header) -> None:
    """Before anything is built: refuse a configuration of more numbers than the file can hold."""
    whole = header.content is Content.WHOLE
    count = (count_parameters if whole else count_trained_parameters)(header.config)
    size = file.path.stat().st_size
    if count * _LEAST_BYTES > size:
        raise CheckpointError(
            f"{file.path} has damaged metadata: it describes {count:,} parameters, which take "
            f"{count * _LEAST_BYTES:,} bytes at least, and the file has {size:,}"
        )


def _no_checkpoint(file: WeightFile, states: Sequence[State]) -> CheckpointError:
    """What a file without a DSU-Net is instead."""
    if states:
        name = states[0].network
        return CheckpointError(
            f"{file.path} is {name}'s own file, which holds only an encoder: give a DSU-Net "
            f"checkpoint, and this file as {name.lower()} (--{name.lower()}) if that one holds "
            "only what was trained"
        )
    keys = [key for group in file.groups.values() for key in group]
    found = f"keys such as {shorten(keys)}" if keys else "no tensors"
    return CheckpointError(f"{file.path} is no DSU-Net checkpoint: it holds {found}")


def _presets(state: State, layout: Layout) -> list[DSUNetConfig]:
    """The presets, with each injection that the keys of a file without metadata may be of."""
    injections = [Injection.LAST]
    if layout is Layout.DSUNET:
        levels = {key.split(".")[1] for key in state.tensors if key.startswith("inject.")}
        if not levels:
            injections = [Injection.NONE]
        elif len(levels) > 1:
            injections = [Injection.LEVELS, Injection.ALL]
    presets = [DSUNetConfig.preset(name) for name in PRESETS]
    return [preset.replace(injection=injection) for preset in presets for injection in injections]


def _nearest(
    state: State, layout: Layout, content: Content, configs: Iterable[DSUNetConfig]
) -> tuple[DSUNet, Mismatch]:
    """The empty model of the first configuration that fits, or else of the nearest."""
    fits = []
    held = sum(tensor.numel() for tensor in state.tensors.values())
    # The likeliest first: the file holds the parameters and a few numbers more.
    for config in sorted(configs, key=lambda config: abs(count_parameters(config) - held)):
        if layout is Layout.PUBLIC and config.injection is not Injection.LAST:
            raise CheckpointError(
                f"{state.path} has the published code's keys, which are always of injection last, "
                f"not {config.injection}"
            )
        model = build_empty(config)
        empty, names = model.state_dict(), _names(model, layout, content)
        found = state.tensors
        if layout is Layout.PUBLIC:
            extra = (*HAAR_KEYS, MASK_TOKEN_KEY)
            found = {key: tensor for key, tensor in found.items() if key not in extra}
        mismatch = compare(found, {name: empty[key] for key, name in names.items()})
        if not mismatch:
            return model, mismatch
        fits.append((model, mismatch))
    return min(fits, key=lambda fit: len(fit[1]))


def _names(model: DSUNet, layout: Layout, content: Content) -> dict[str, str]:
    """From the keys of a model's state to those in a file."""
    keys = filter(content.holds, model.state_dict())
    return {key: public_key(key) if layout is Layout.PUBLIC else key for key in keys}


def _check_filters(state: State, model: DSUNet) -> None:
    """Refuse a checkpoint that was trained with another wavelet, or in another order of bands."""
    ours: Tensor = model.get_buffer("inject.3.wavelet.depthwise.filters")
    for key in HAAR_KEYS:
        theirs = state.tensors.get(key, ours)
        # Every tap is ±0.5, which half precision holds exactly.
        if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, atol=1e-3):
            raise CheckpointError(
                f"{state.path} was trained with another wavelet: {key} is not Haar's, with the "
                "sub-bands in the order mean, rows, columns, both"
            )


def _check_encoders(checkpoint: Checkpoint, sources: dict[str, str | Path | None]) -> None:
    """Refuse encoders other than those that a trained-only checkpoint was trained with."""
    for encoder, digest in encoder_hashes(checkpoint.model.state_dict()).items():
        recorded = checkpoint.encoders.get(encoder)
        if recorded is None:
            raise CheckpointError(
                f"{checkpoint.path} does not say which {encoder} it was trained with: "
                "write it again from the whole model"
            )
        if digest != recorded:
            raise CheckpointError(
                f"{sources[encoder]} is not the encoder that {checkpoint.path} was trained with: "
                f"its content has SHA-256 {digest}, and the checkpoint names {recorded}"
            )
