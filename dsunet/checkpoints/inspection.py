"""Describe a checkpoint; files of encoders are not needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet.checkpoints.header import Content
from dsunet.checkpoints.mismatch import not_finite
from dsunet.checkpoints.open_checkpoint import open_checkpoint
from dsunet.checkpoints.pretrained import encoder_hashes
from dsunet.checkpoints.run_checkpoint import Notice
from dsunet.checkpoints.weight_files import checkpoint_sha256
from dsunet.network.config import DSUNetConfig


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """Description of a checkpoint; all fields can be written as JSON."""

    path: str
    """The checkpoint file, also if a run folder was given."""
    weights: str
    """Name of the network in the file; "." if the file holds nothing else."""
    choices: list[str]
    """Names of all networks in the file that `weights` can select."""
    layout: str
    """Naming scheme of the keys: "dsunet", or "public" for a network's published code."""
    content: str
    """"whole", or "trained" for a file without the frozen encoders."""
    network: str | None
    """"DSU-Net" or "SAM2-UNet"; None for other injections and decoders."""
    preset: str | None
    """Name of the preset, which may have other input sizes, or None for a custom configuration."""
    input_sizes: dict[str, int]
    """Side of the input of "hiera", and of "dino" if the model has it, in pixels."""
    injection: str
    decoder: str
    parameters: int
    """Number of parameters of the whole model, including encoders that the file lacks."""
    trained_parameters: int
    dtype: str
    """The floating-point types in the file."""
    not_finite: list[str]
    """Keys of the tensors that have NaN or infinity after conversion to float32."""
    encoders: dict[str, str]
    """Content hashes of "hiera" and "dino", from the metadata or computed from the tensors."""
    is_verified: bool
    """Whether the file contains a checksum of its whole content, and it matches."""
    sha256: str
    """SHA-256 of the file."""
    size: int
    """Size of the file in bytes."""


def inspect_checkpoint(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    weights: str | None = None,
    notice: Notice | None = None,
) -> CheckpointInfo:
    """Describe a checkpoint.

    The arguments are those of `load_model`.  A checkpoint without the encoders is described without
    their files.  Raises CheckpointError if `load_model` would.
    """
    checkpoint = open_checkpoint(path, config=config, weights=weights, notice=notice)
    model, tensors, encoders = checkpoint.model, checkpoint.tensors, checkpoint.encoders
    float32_tensors = checkpoint.float32_tensors()
    if not encoders and checkpoint.content is Content.WHOLE:
        encoders = encoder_hashes(float32_tensors)
    dtypes = {
        str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()
    }
    parameters = list(model.parameters())
    return CheckpointInfo(
        path=str(checkpoint.path),
        weights=checkpoint.weights,
        choices=list(checkpoint.choices),
        layout="public" if checkpoint.layout else "dsunet",
        content=checkpoint.content.value,
        network=model.config.network,
        preset=model.config.preset_name(any_size=True),
        input_sizes=model.config.input_sizes,
        injection=model.config.injection.value,
        decoder=model.config.decoder.value,
        parameters=sum(p.numel() for p in parameters),
        trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        dtype=", ".join(sorted(dtypes)),
        not_finite=not_finite(float32_tensors),
        encoders=encoders,
        is_verified=checkpoint.is_verified,
        sha256=checkpoint_sha256(checkpoint.path),
        size=checkpoint.path.stat().st_size,
    )
