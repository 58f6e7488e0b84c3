"""Load and save checkpoints: those of dsunet, and those of published code.

A dsunet checkpoint is a safetensors file whose metadata holds one JSON document (`header`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsunet.checkpoints.header import METADATA_KEY, WITHOUT_CHECKSUM, Content, Header
from dsunet.checkpoints.mismatch import Mismatch, find_mismatch, not_finite, to_float32
from dsunet.checkpoints.pretrained import encoder_hashes, load_encoders
from dsunet.checkpoints.public_layouts import PublicLayout, find_public_layout
from dsunet.checkpoints.run_checkpoint import Notice, find_checkpoint
from dsunet.checkpoints.states import Network, State, choose_state, find_states
from dsunet.checkpoints.weight_files import WeightFile, read_weights, write_safetensors
from dsunet.errors import CheckpointError, MissingEncodersError
from dsunet.network.config import PRESETS, Decoder, DSUNetConfig, Injection
from dsunet.network.input_sizes import resize_inputs
from dsunet.network.model import DSUNet, build_empty
from dsunet.network.parameters import count_parameters, count_trained_parameters
from dsunet_runtime.errors import OutputError
from dsunet_runtime.message_text import shorten

_MIN_BYTES_PER_PARAMETER = 2
"""Size of a parameter in FP16 or BF16, the smallest types that are read."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint file whose keys and shapes match a model."""

    path: Path
    """The checkpoint file, also if a run folder was given."""
    weights: str
    """`State.name` of the network that was chosen from the file."""
    choices: tuple[str, ...]
    """`State.name` of every network in the file."""
    layout: PublicLayout | None
    """The published code whose key names the file has; None for dsunet's own."""
    content: Content
    model: DSUNet
    """The matching model, on the meta device."""
    tensors: dict[str, Tensor]
    """The file's tensors, unconverted, by the keys of the model's state dict."""
    encoders: dict[str, str]
    """Content hashes of the encoders from the file's metadata; empty if it has none."""
    is_verified: bool
    """Whether the file contains a checksum of its whole content, and it matches."""


def load_model(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    sam2: str | Path | None = None,
    dinov2: str | Path | None = None,
    weights: str | None = None,
    hiera_size: int | None = None,
    dino_size: int | None = None,
    notice: Notice | None = None,
) -> DSUNet:
    """Load a DSU-Net or SAM2-UNet from a checkpoint: float32, on the CPU, in evaluation mode.

    Float32 tensors stay memory-mapped from their files.  While the model is in use, those files may
    be replaced but not modified.

    Args:
        path: A checkpoint file, or a run folder, whose best checkpoint is loaded.
        config: Expected configuration.  By default, the one in the file's metadata, or the preset
            that matches the file's keys and shapes.
        sam2: Official SAM2 or SAM2.1 file, for a checkpoint without the encoders.  It must be the
            file that the checkpoint was trained with.
        dinov2: Official DINOv2 file or `timm:NAME`, in the same way; see `load_encoders`.
        weights: Name of the network to load from a file with several, such as `model` or `ema`.  By
            default, the only one, or the only averaged one (EMA, SWA).
        hiera_size: Side of Hiera's input in pixels, instead of the checkpoint's; see
            `dsunet.resize_inputs`.
        dino_size: Side of DINOv2's input in pixels, in the same way.
        notice: Called with one line per notice: which network or file was chosen, and which weights
            are not finite.

    Returns:
        The model, with gradients required only for what the paper trains.

    Raises:
        CheckpointError: The file is damaged, or does not match the configuration or the encoders.
        ConfigError: A size does not fit the network.

    Example:
        >>> model = load_model("model.pth")
        >>> logits = model(hiera_input, dino_input).fine
    """
    checkpoint = open_checkpoint(path, config=config, weights=weights, notice=notice)
    path, model = checkpoint.path, checkpoint.model
    if checkpoint.content is Content.TRAINED:
        if sam2 is None or (model.dino is not None and dinov2 is None):
            both = "SAM2 and DINOv2" if model.dino is not None else "SAM2"
            raise MissingEncodersError(
                f"{path} has no encoder weights: give the official files of {both} as well "
                "(--sam2, --dinov2)",
                ("sam2", "dinov2") if model.dino is not None else ("sam2",),
            )
        load_encoders(model, sam2=sam2, dinov2=dinov2, notice=notice)
        _check_encoders(checkpoint, {"hiera": sam2, "dino": dinov2})
    elif sam2 is not None or dinov2 is not None:
        raise CheckpointError(f"{path} includes its encoders: leave sam2 and dinov2 out")
    state = model.state_dict()
    held = {key: tensor for key, tensor in state.items() if checkpoint.content.holds(key)}
    filled = to_float32(checkpoint.tensors, held)
    broken = not_finite(filled)
    if broken and notice is not None:
        notice(f"{path}: has NaN or infinity in {shorten(broken)}: its masks are not meaningful")
    model.load_state_dict(state | filled, assign=True)
    if hiera_size is not None or dino_size is not None:
        model = resize_inputs(model, hiera_size=hiera_size, dino_size=dino_size)
        if checkpoint.content is Content.TRAINED:  # resampled once, from the official embeddings
            load_encoders(model, sam2=sam2, dinov2=dinov2)
    return model.eval()


def save_model(model: DSUNet, path: str | Path, *, only_trained: bool = False) -> None:
    """Save a model as a dsunet checkpoint: safetensors, float32, with configuration and checksum.

    An existing file is replaced atomically.

    Args:
        model: The model, on any device.
        path: File to write, usually NAME.safetensors.
        only_trained: Leave out the frozen encoders: 29 MB instead of 2.1 GB for `large`.

    Raises:
        CheckpointError: The file cannot be written.
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
    """Read a checkpoint and find the model that matches all its keys and shapes.

    The arguments are those of `load_model`.  The model's parameters are not loaded.  Raises
    CheckpointError if the file is not a checkpoint, or does not match `config`.
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
                f"{path} holds {header.config.describe()}, not {config.describe()}"
            )
        config = header.config
        _check_size(file, header)
    content = header.content if header else Content.WHOLE
    layout = find_public_layout(state.tensors)
    configs = [config] if config else _presets(state, layout)
    if len({one.injection for one in configs}) > 1:
        raise CheckpointError(
            f"{path} is ambiguous: its keys match injection levels and all: give its configuration"
        )
    model, mismatch = _nearest(state, layout, content, configs)
    if mismatch and config is None:
        nearest = model.config.describe()
        raise CheckpointError(f"{path} matches no preset; compared with {nearest}: {mismatch}")
    if mismatch:
        other, misfit = _nearest(state, layout, content, _presets(state, layout))
        hint = "" if misfit else f" (it matches {other.config.describe()})"
        is_earlier = header is not None and header.format_version == WITHOUT_CHECKSUM
        remedy = "; convert the original file again" if is_earlier else ""
        raise CheckpointError(
            f"{path} does not match {model.config.describe()}{hint}: {mismatch}{remedy}"
        )
    if layout is not None:
        _check_filters(state, layout, model)
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


def _check_size(file: WeightFile, header: Header) -> None:
    """Refuse a configuration with more parameters than the file can hold, before building it."""
    whole = header.content is Content.WHOLE
    count = (count_parameters if whole else count_trained_parameters)(header.config)
    size = file.path.stat().st_size
    if count * _MIN_BYTES_PER_PARAMETER > size:
        raise CheckpointError(
            f"{file.path} has damaged metadata: it describes {count:,} parameters, which need at "
            f"least {count * _MIN_BYTES_PER_PARAMETER:,} bytes, but the file has {size:,}"
        )


def _no_checkpoint(file: WeightFile, states: Sequence[State]) -> CheckpointError:
    """The error for a file without a DSU-Net, with a description of its content."""
    if states:
        name = states[0].network
        return CheckpointError(
            f"{file.path} is a {name} file, not a DSU-Net checkpoint: give it with "
            f"--{name.lower()}, beside a DSU-Net checkpoint without the encoders"
        )
    keys = [key for group in file.groups.values() for key in group]
    found = f"keys such as {shorten(keys)}" if keys else "no tensors"
    return CheckpointError(f"{file.path} is not a DSU-Net checkpoint: it has {found}")


def _presets(state: State, layout: PublicLayout | None) -> list[DSUNetConfig]:
    """All presets, each with the parts that match the keys of a file without metadata.

    The injections levels and all have the same keys.
    """
    if layout is not None:
        injections, decoder = [layout.injection], layout.decoder
    else:
        injections, decoder = _injections(state), _decoder(state)
    presets = [DSUNetConfig.preset(name) for name in PRESETS]
    return [
        preset.replace(injection=injection, decoder=decoder)
        for preset in presets
        for injection in injections
    ]


def _injections(state: State) -> list[Injection]:
    levels = {key.split(".")[1] for key in state.tensors if key.startswith("inject.")}
    if len(levels) > 1:
        return [Injection.LEVELS, Injection.ALL]
    return [Injection.LAST if levels else Injection.NONE]


def _decoder(state: State) -> Decoder:
    own = (d for d in Decoder if any(key.startswith(f"{d}.") for key in state.tensors))
    return next(own, Decoder.SFF)


def _nearest(
    state: State, layout: PublicLayout | None, content: Content, configs: Iterable[DSUNetConfig]
) -> tuple[DSUNet, Mismatch]:
    """The empty model of the first matching configuration, or of the one with fewest mismatches."""
    fits = []
    held = sum(tensor.numel() for tensor in state.tensors.values())
    # Closest parameter count first: a file has the parameters and a few buffers.
    for config in sorted(configs, key=lambda config: abs(count_parameters(config) - held)):
        found = state.tensors
        if layout is not None:
            _check_parts(state, layout, config)
            found = {key: tensor for key, tensor in found.items() if not layout.is_extra(key)}
        model = build_empty(config)
        empty, names = model.state_dict(), _names(model, layout, content)
        mismatch = find_mismatch(found, {name: empty[key] for key, name in names.items()})
        if not mismatch:
            return model, mismatch
        fits.append((model, mismatch))
    return min(fits, key=lambda fit: len(fit[1]))


def _names(model: DSUNet, layout: PublicLayout | None, content: Content) -> dict[str, str]:
    """Map the keys of a model's state dict to those in a file."""
    keys = filter(content.holds, model.state_dict())
    return {key: layout.key(key) if layout is not None else key for key in keys}


def _check_parts(state: State, layout: PublicLayout, config: DSUNetConfig) -> None:
    """Refuse a configuration with parts that the published code does not have."""
    if (config.injection, config.decoder) != (layout.injection, layout.decoder):
        raise CheckpointError(
            f"{state.path} has the keys of {layout.network}'s published code, which supports only "
            f"injection {layout.injection} with decoder {layout.decoder}, not {config.injection} "
            f"with {config.decoder}"
        )


def _check_filters(state: State, layout: PublicLayout, model: DSUNet) -> None:
    """Refuse a checkpoint trained with another wavelet or another order of sub-bands."""
    for key in layout.haar_filters:
        ours: Tensor = model.get_buffer("inject.3.wavelet.depthwise.filters")
        theirs = state.tensors.get(key, ours)
        # Every tap is ±0.5, which FP16 represents exactly.
        if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, atol=1e-3):
            raise CheckpointError(
                f"{state.path} was trained with another wavelet: {key} does not hold Haar filters "
                "with the sub-bands in the order mean, rows, columns, both"
            )


def _check_encoders(checkpoint: Checkpoint, sources: dict[str, str | Path | None]) -> None:
    """Refuse encoders other than those that the checkpoint was trained with."""
    for encoder, digest in encoder_hashes(checkpoint.model.state_dict()).items():
        recorded = checkpoint.encoders.get(encoder)
        if recorded is None:
            raise CheckpointError(
                f"{checkpoint.path} does not record which {encoder} it was trained with: "
                "save it again from the whole model"
            )
        if digest != recorded:
            raise CheckpointError(
                f"{sources[encoder]} is not the encoder that {checkpoint.path} was trained with: "
                f"its content has SHA-256 {digest}, the checkpoint records {recorded}"
            )
