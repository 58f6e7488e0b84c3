"""Load the official SAM2 and DINOv2 weights into a DSU-Net."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from dsunet.checkpoints.mismatch import find_mismatch, to_float32
from dsunet.checkpoints.run_checkpoint import Notice
from dsunet.checkpoints.state_dicts import Network, choose_state_dict, find_state_dicts
from dsunet.checkpoints.weight_files import read_start, read_weights
from dsunet.errors import CheckpointError
from dsunet.network.config import PRESETS, TIMM_PREFIX, DinoConfig, DSUNetConfig
from dsunet.network.input_sizes import resample_positions
from dsunet.network.model import DSUNet
from dsunet_runtime.message_text import quote, reason

ENCODER_PREFIXES = {"hiera": "hiera.trunk.", "dino": "dino.vit."}
"""Key prefixes of the frozen encoders in a DSUNet's state dict."""

SAM2_TRUNK_PREFIX = "image_encoder.trunk."
REGISTER_KEYS = ("register_tokens", "reg_token")
"""Keys of the register tokens in DINOv2's own files and in timm's."""

_CHUNK = re.compile(r"^blocks\.\d+\.(?=\d+\.)")
"""DINOv2 training files name blocks `blocks.CHUNK.BLOCK.`, where BLOCK counts all blocks."""


def load_encoders(
    model: DSUNet,
    *,
    sam2: str | Path | None,
    dinov2: str | Path | None = None,
    notice: Notice | None = None,
) -> None:
    """Load official encoder weights into a model on the CPU; its other weights do not change.

    Position embeddings of DINOv2 for another grid are resampled as DINOv2 does.

    Args:
        model: The model, on the CPU.
        sam2: A SAM2 or SAM2.1 file (the trunk of its image encoder is read), or a file of the
            trunk alone.
        dinov2: A DINOv2 file without registers, including files of its own training (the teacher
            is read), or `timm:NAME` for a model of timm's hub (needs a network or timm's cache).
            None for a model without DINOv2 (ablation A).
        notice: Called with one line if one of several networks in a file was chosen.

    Raises:
        CheckpointError: A file is missing, cannot be read, or does not match the model.
    """
    sam2, dinov2 = check_sources(model.config, sam2, dinov2)
    # Read both before changing anything.
    trunk = _fit(_read_sam2(sam2, notice), model.hiera.trunk, sam2)
    if model.dino is not None and dinov2 is not None:
        vit = _read_dinov2(dinov2, model.config.dino, notice)
        vit = _fit(vit, model.dino.vit, dinov2)
        model.dino.vit.load_state_dict(vit, assign=True)
    model.hiera.trunk.load_state_dict(trunk, assign=True)


def check_sources(
    config: DSUNetConfig, sam2: str | Path | None, dinov2: str | Path | None
) -> tuple[str | Path, str | Path | None]:
    """Return the sources of a network's encoder weights, before the network is built.

    Raises CheckpointError if one is missing, superfluous, or a file that cannot be opened.
    """
    needs_dinov2 = bool(config.injection.hiera_levels)
    if sam2 is None:
        raise CheckpointError("the model needs SAM2 weights: give the official file as sam2")
    if not needs_dinov2 and dinov2 is not None:
        raise CheckpointError("the model has no DINOv2 (injection none): omit dinov2")
    if needs_dinov2 and dinov2 is None:
        raise CheckpointError("the model needs DINOv2 weights: give a file or timm:NAME as dinov2")
    for source in map(str, filter(None, (sam2, dinov2))):
        if not source.startswith(TIMM_PREFIX):
            read_start(Path(source))
    return sam2, dinov2


def encoder_hashes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Content hash (SHA-256) of each encoder in a DSUNet's state dict.

    The keys of the result are those of `ENCODER_PREFIXES`; an encoder that the model lacks has no
    entry.  The hash covers the encoder's tensors sorted by key: for each, a line such as
    `hiera.trunk.pos_embed float32 1x144x7x7` with its newline, then its bytes, row-major and
    little-endian.  It is independent of the format of the file that the weights came from.
    """
    hashes = {}
    for encoder, prefix in ENCODER_PREFIXES.items():
        keys = sorted(key for key in state if key.startswith(prefix))
        if not keys:
            continue
        digest = hashlib.sha256()
        for key in keys:
            tensor = state[key].detach().cpu().contiguous()
            dtype = str(tensor.dtype).removeprefix("torch.")
            digest.update(f"{key} {dtype} {'x'.join(map(str, tensor.shape))}\n".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
        hashes[encoder] = digest.hexdigest()
    return hashes


def _read_sam2(source: str | Path, notice: Notice | None) -> dict[str, Tensor]:
    """Read the trunk's tensors, with the keys of SAM2's Hiera."""
    if str(source).startswith(TIMM_PREFIX):
        raise CheckpointError(
            f"{source}: timm names are accepted for DINOv2 only: give an official SAM2 file"
        )
    state = choose_state_dict(find_state_dicts(read_weights(source)), Network.SAM2, notice=notice)
    if state is None:
        raise CheckpointError(
            f"{source} is not a SAM2 file: it has neither keys {SAM2_TRUNK_PREFIX}* nor those of a "
            "bare trunk"
        )
    trunk = {
        key.removeprefix(SAM2_TRUNK_PREFIX): value
        for key, value in state.tensors.items()
        if key.startswith(SAM2_TRUNK_PREFIX)
    }
    return trunk or state.tensors


def _read_dinov2(
    source: str | Path, config: DinoConfig, notice: Notice | None
) -> dict[str, Tensor]:
    """Read the ViT's tensors, with timm's keys and position embeddings for `config`."""
    name = str(source)
    if name.startswith(TIMM_PREFIX):
        tensors = _download(name.removeprefix(TIMM_PREFIX))
    else:
        state = choose_state_dict(
            find_state_dicts(read_weights(source)), Network.DINOV2, notice=notice
        )
        if state is None:
            raise CheckpointError(
                f"{source} is not a DINOv2 file: it lacks the keys of a vision transformer"
            )
        tensors = {_CHUNK.sub("blocks.", key): value for key, value in state.tensors.items()}
    if any(key in tensors for key in REGISTER_KEYS):
        raise CheckpointError(
            f"{source} is a DINOv2 with registers, which DSU-Net does not use: give the file "
            "without reg4 in its name"
        )
    tensors = {key: value for key, value in tensors.items() if key != "mask_token"}
    position = tensors.get("pos_embed")
    if position is not None and position.dim() == 3:
        old, new = math.isqrt(position.shape[1] - 1), config.map_size
        if old != new and old * old + 1 == position.shape[1]:
            tensors["pos_embed"] = resample_positions(position.float(), new)
    return tensors


def _download(name: str) -> dict[str, Tensor]:
    """Download the weights of a timm model."""
    if not (timm.is_model(name.split(".")[0]) and "dinov2" in name):
        known = ", ".join(timm.list_models("*patch14_dinov2*", pretrained=True))
        raise CheckpointError(f"timm has no DINOv2 named {quote(name)}; it has {known}")
    try:
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # timm, its hub and its HTTP client raise their own types
        raise CheckpointError(
            f"timm cannot download {name} ({reason(error)}): give a DINOv2 file instead"
        ) from error
    return state


def _fit(tensors: dict[str, Tensor], encoder: nn.Module, source: str | Path) -> dict[str, Tensor]:
    """Convert tensors for an encoder.  A mismatch raises CheckpointError, with matching presets."""
    expected = encoder.state_dict()
    mismatch = find_mismatch(tensors, expected)
    if mismatch:
        presets = " and ".join(_presets_with(tensors))
        hint = f"; it is an encoder of preset {presets}" if presets else ""
        raise CheckpointError(f"{source} does not match the model: {mismatch}{hint}")
    return to_float32(tensors, expected)


def _presets_with(tensors: dict[str, Tensor]) -> list[str]:
    """The presets that have an encoder of this width and depth."""
    depth = len({key.split(".")[1] for key in tensors if key.startswith("blocks.")})
    embedding = tensors.get("patch_embed.proj.bias")
    size = (0 if embedding is None else embedding.numel(), depth)
    presets = {name: DSUNetConfig.preset(name) for name in PRESETS}
    return [
        name
        for name, config in presets.items()
        if size
        in (
            (config.hiera.embed_dim, sum(config.hiera.stages)),
            (config.dino.embed_dim, config.dino.depth),
        )
    ]
