"""What a checkpoint is, told without needing its encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet.checkpoint import Content, open_checkpoint
from dsunet.config import DSUNetConfig
from dsunet.matching import to_float32
from dsunet.pretrained import encoder_hashes
from dsunet.weight_files import checkpoint_sha256


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint's description; every field is plain, as JSON wants it."""

    path: str
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
    encoders: dict[str, str]
    """Content hashes of "hiera" and "dino": recorded, or else computed from the file."""
    sha256: str
    """Of the file."""
    size: int
    """Of the file, in bytes."""


def inspect_checkpoint(path: str | Path, *, config: DSUNetConfig | None = None) -> CheckpointInfo:
    """Describe a checkpoint.  Raises CheckpointError where `load_model` would refuse it.

    A checkpoint that holds only what was trained is described without its encoders.
    """
    checkpoint = open_checkpoint(path, config=config)
    model, tensors, encoders = checkpoint.model, checkpoint.tensors, checkpoint.encoders
    if not encoders and checkpoint.content is Content.WHOLE:
        frozen = {k: v for k, v in model.state_dict().items() if not Content.TRAINED.holds(k)}
        encoders = encoder_hashes(to_float32(tensors, frozen))
    dtypes = {
        str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()
    }
    parameters = list(model.parameters())
    return CheckpointInfo(
        path=str(path),
        layout=checkpoint.layout.value,
        content=checkpoint.content.value,
        preset=model.config.preset_name(),
        injection=model.config.injection.value,
        parameters=sum(p.numel() for p in parameters),
        trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        dtype=", ".join(sorted(dtypes)),
        encoders=encoders,
        sha256=checkpoint_sha256(path),
        size=Path(path).stat().st_size,
    )
