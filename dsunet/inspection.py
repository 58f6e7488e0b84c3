"""What a checkpoint is, told without needing its encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet.checkpoint import open_checkpoint
from dsunet.config import DSUNetConfig
from dsunet.header import Content
from dsunet.matching import not_finite, to_float32
from dsunet.pretrained import encoder_hashes
from dsunet.run_checkpoint import Notice
from dsunet.weight_files import checkpoint_sha256


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint's description; every field is plain, as JSON wants it."""

    path: str
    """Of the file, also where a run folder was given."""
    weights: str
    """Which of the networks in the file this is; "." where the file is nothing else."""
    choices: list[str]
    """All networks in the file that `weights` might have named."""
    layout: str
    """Whose key names: "dsunet", or "public" for the paper's published code."""
    content: str
    """"whole", or "trained" without the encoders."""
    preset: str | None
    """None where the configuration is no preset."""
    injection: str
    parameters: int
    """Of the whole model, whatever the file holds."""
    trained_parameters: int
    dtype: str
    """The floating-point types in the file."""
    not_finite: list[str]
    """The tensors that hold NaN or infinity, in float32."""
    encoders: dict[str, str]
    """Content hashes of "hiera" and "dino": recorded, or else computed from the file."""
    is_verified: bool
    """Whether the file holds a checksum over all of it, which matches; only dsunet's own do."""
    sha256: str
    """Of the file."""
    size: int
    """Of the file, in bytes."""


def inspect_checkpoint(
    path: str | Path,
    *,
    config: DSUNetConfig | None = None,
    weights: str | None = None,
    notice: Notice | None = None,
) -> CheckpointInfo:
    """Describe a checkpoint.  Raises CheckpointError where `load_model` would refuse it.

    The arguments are those of `load_model`; a checkpoint that holds only what was trained is
    described without its encoders.
    """
    checkpoint = open_checkpoint(path, config=config, weights=weights, notice=notice)
    model, tensors, encoders = checkpoint.model, checkpoint.tensors, checkpoint.encoders
    state = model.state_dict()
    held = to_float32(tensors, {k: v for k, v in state.items() if checkpoint.content.holds(k)})
    if not encoders and checkpoint.content is Content.WHOLE:
        encoders = encoder_hashes(held)
    dtypes = {
        str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()
    }
    parameters = list(model.parameters())
    return CheckpointInfo(
        path=str(checkpoint.path),
        weights=checkpoint.weights,
        choices=list(checkpoint.choices),
        layout=checkpoint.layout.value,
        content=checkpoint.content.value,
        preset=model.config.preset_name(),
        injection=model.config.injection.value,
        parameters=sum(p.numel() for p in parameters),
        trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        dtype=", ".join(sorted(dtypes)),
        not_finite=not_finite(held),
        encoders=encoders,
        is_verified=checkpoint.is_verified,
        sha256=checkpoint_sha256(checkpoint.path),
        size=checkpoint.path.stat().st_size,
    )
