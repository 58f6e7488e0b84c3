"""DSU-Net's checkpoints: the published code's files, and our own, in and out.

Our own is a safetensors file whose metadata holds, under `METADATA_KEY`, one JSON document:
a checksum over the whole file (`checksum`), the format's version, the configuration, whether the
file holds everything or only what was trained, and the content hashes of the encoders
(`pretrained.encoder_hashes`).  Version 1 had no checksum, and is still read.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsunet.checksum import PLACEHOLDER
from dsunet.config import PRESETS, DSUNetConfig, Injection
from dsunet.errors import CheckpointError, ConfigError
from dsunet.matching import Mismatch, compare, to_float32
from dsunet.model import DSUNet, build_empty
from dsunet.pretrained import ENCODER_PREFIXES, encoder_hashes, load_encoders, recognize_encoder
from dsunet.public_layout import HAAR_KEYS, MASK_TOKEN_KEY, is_public_layout, public_key
from dsunet.weight_files import WeightFile, read_weights, write_safetensors
from dsunet_runtime.errors import OutputError
from dsunet_runtime.quoting import shorten

METADATA_KEY = "dsunet"
FORMAT_VERSION = 2
_WITHOUT_CHECKSUM = 1


class Layout(enum.StrEnum):
    """Whose key names a file has."""

    DSUNET = "dsunet"
    PUBLIC = "public"
    """Those of the paper's published code, which knows only the paper's injection."""


class Content(enum.StrEnum):
    """How much of a model a file holds."""

    WHOLE = "whole"
    TRAINED = "trained"
    """All but the two frozen encoders."""

    def holds(self, key: str) -> bool:
        """Whether a file with this content has the tensor that a DSUNet's state names `key`."""
        frozen = key.startswith(tuple(ENCODER_PREFIXES.values()))
        return self is Content.WHOLE or not frozen


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that was found to fit a model, key by key and shape by shape."""

    path: Path
    layout: Layout
    content: Content
    model: DSUNet
    """The model that it fits, holding no numbers yet."""
    tensors: dict[str, Tensor]
    """The file's tensors as they are, under the names of the model's state."""
    encoders: dict[str, str]
    """The encoders' content hashes that the file records; empty where it records none."""


def load_model(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    sam2: str | Path | None = None,
    dinov2: str | Path | None = None,
) -> DSUNet:
    """A DSU-Net from a checkpoint: float32, on the CPU, in evaluation mode.

    Without `config`, it is what the file says, or else the preset that fits.  `sam2` and `dinov2`
    are the official encoder files for a checkpoint that holds only what was trained, and must be
    those that it was trained with; see `load_encoders`.

    Tensors stay mapped from their files where they can: replace those, never write into them,
    while the model is in use.  Raises CheckpointError if anything is broken or does not fit.
    """
    checkpoint = open_checkpoint(path, config=config)
    model = checkpoint.model
    if checkpoint.content is Content.TRAINED:
        if sam2 is None or (model.dino is not None and dinov2 is None):
            both = "SAM2 and DINOv2" if model.dino is not None else "SAM2"
            raise CheckpointError(
                f"{path} holds only what was trained: give the official files of {both} too, "
                "as sam2 and dinov2 (--sam2, --dinov2)"
            )
        load_encoders(model, sam2=sam2, dinov2=dinov2)
        _check_encoders(checkpoint, {"hiera": sam2, "dino": dinov2})
    elif sam2 is not None or dinov2 is not None:
        raise CheckpointError(f"{path} holds its own encoders: leave sam2 and dinov2 out")
    state = model.state_dict()
    held = {key: tensor for key, tensor in state.items() if checkpoint.content.holds(key)}
    model.load_state_dict(state | to_float32(checkpoint.tensors, held), assign=True)
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
    header = {
        "checksum": PLACEHOLDER,
        "format_version": FORMAT_VERSION,
        "config": model.config.to_dict(),
        "content": content.value,
        "encoders": encoder_hashes(state),
    }
    held = {key: tensor for key, tensor in state.items() if content.holds(key)}
    try:
        write_safetensors(path, held, {METADATA_KEY: json.dumps(header)})
    except OutputError as error:
        raise CheckpointError(str(error)) from error


def open_checkpoint(path: str | Path, *, config: DSUNetConfig | None = None) -> Checkpoint:
    """Read a checkpoint and find the model that it fits, strictly, without filling it.

    Raises CheckpointError if there is none, or if it is not that of `config`.
    """
    file = read_weights(path)
    if METADATA_KEY in file.metadata:
        content, encoders, recorded = _read_header(file)
        if config is not None and config != recorded:
            raise CheckpointError(
                f"{path} holds {describe_config(recorded)}, not {describe_config(config)}"
            )
        config = recorded
    else:
        content, encoders = Content.WHOLE, {}
    layout = _layout(file)
    model, mismatch = _nearest(
        file, layout, content, [config] if config else _presets(file, layout)
    )
    if mismatch and config is None:
        nearest = describe_config(model.config)
        raise CheckpointError(f"{path} fits no preset; against {nearest}: {mismatch}")
    if mismatch:
        other, misfit = _nearest(file, layout, content, _presets(file, layout))
        hint = "" if misfit else f" (it fits {describe_config(other.config)})"
        raise CheckpointError(
            f"{path} does not fit {describe_config(model.config)}{hint}: {mismatch}"
        )
    if layout is Layout.PUBLIC:
        _check_filters(file, model)
    names = _names(model, layout, content)
    tensors = {key: file.tensors[name] for key, name in names.items() if name in file.tensors}
    return Checkpoint(file.path, layout, content, model, tensors, encoders)


def describe_config(config: DSUNetConfig) -> str:
    """A configuration in words: its preset, and its injection if that is not the paper's."""
    name = config.preset_name()
    words = f"preset {name}" if name else "a configuration that is no preset"
    return words if config.injection is Injection.LAST else f"{words}, injection {config.injection}"


def _read_header(file: WeightFile) -> tuple[Content, dict[str, str], DSUNetConfig]:
    """What a file of our own says about itself."""
    try:
        header: dict[str, Any] = json.loads(file.metadata[METADATA_KEY])
        version = header["format_version"]
        if version not in (FORMAT_VERSION, _WITHOUT_CHECKSUM):
            raise CheckpointError(
                f"{file.path} has format version {version}, and this dsunet reads version "
                f"{FORMAT_VERSION}: update dsunet"
            )
        if version == FORMAT_VERSION and not file.is_verified:
            raise CheckpointError(f"{file.path} has lost its checksum: get the file again")
        encoders = {str(name): str(digest) for name, digest in header["encoders"].items()}
        return Content(header["content"]), encoders, DSUNetConfig.from_dict(header["config"])
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{file.path} has damaged metadata: {error!r}") from error


def _layout(file: WeightFile) -> Layout:
    """Whose key names these are.  Raises CheckpointError if they are no DSU-Net's."""
    if is_public_layout(file.tensors):
        return Layout.PUBLIC
    if any(key.startswith(("hiera.", "rfb.")) for key in file.tensors):
        return Layout.DSUNET
    encoder = recognize_encoder(file.tensors)
    if encoder is not None:
        name = {"sam2": "SAM2", "dinov2": "DINOv2"}[encoder]
        raise CheckpointError(
            f"{file.path} is {name}'s own file, which holds only an encoder: give a DSU-Net "
            f"checkpoint, and this file as {encoder} (--{encoder}) if that one holds only what "
            "was trained"
        )
    found = f"keys such as {shorten(list(file.tensors))}" if file.tensors else "no tensors"
    raise CheckpointError(f"{file.path} is no DSU-Net checkpoint: it holds {found}")


def _presets(file: WeightFile, layout: Layout) -> list[DSUNetConfig]:
    """The presets, with the injection that the keys of a file without metadata tell of."""
    injection = Injection.LAST
    if layout is Layout.DSUNET:
        levels = {key.split(".")[1] for key in file.tensors if key.startswith("inject.")}
        if not levels:
            injection = Injection.NONE
        elif len(levels) > 1:
            raise CheckpointError(
                f"{file.path} does not say whether its injection is levels or all, which have the "
                "same keys: give its configuration"
            )
    return [DSUNetConfig.preset(name).replace(injection=injection) for name in PRESETS]


def _nearest(
    file: WeightFile, layout: Layout, content: Content, configs: Iterable[DSUNetConfig]
) -> tuple[DSUNet, Mismatch]:
    """The empty model of the first configuration that fits, or else of the nearest."""
    fits = []
    for config in configs:
        if layout is Layout.PUBLIC and config.injection is not Injection.LAST:
            raise CheckpointError(
                f"{file.path} has the published code's keys, which are always of injection last, "
                f"not {config.injection}"
            )
        model = build_empty(config)
        state, names = model.state_dict(), _names(model, layout, content)
        found = file.tensors
        if layout is Layout.PUBLIC:
            extra = (*HAAR_KEYS, MASK_TOKEN_KEY)
            found = {key: tensor for key, tensor in found.items() if key not in extra}
        mismatch = compare(found, {name: state[key] for key, name in names.items()})
        if not mismatch:
            return model, mismatch
        fits.append((model, mismatch))
    return min(fits, key=lambda fit: len(fit[1]))


def _names(model: DSUNet, layout: Layout, content: Content) -> dict[str, str]:
    """From the keys of a model's state to those in a file."""
    keys = filter(content.holds, model.state_dict())
    return {key: public_key(key) if layout is Layout.PUBLIC else key for key in keys}


def _check_filters(file: WeightFile, model: DSUNet) -> None:
    """Refuse a checkpoint that was trained with another wavelet, or in another order of bands."""
    ours: Tensor = model.get_buffer("inject.3.wavelet.depthwise.filters")
    for key in HAAR_KEYS:
        theirs = file.tensors.get(key, ours)
        # Every tap is ±0.5, which half precision holds exactly.
        if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, atol=1e-3):
            raise CheckpointError(
                f"{file.path} was trained with another wavelet: {key} is not Haar's, with the "
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
