"""Load and save checkpoints: those of dsunet, and those of published code.

A dsunet checkpoint is a safetensors file whose metadata holds one JSON document (`header`).
"""

from __future__ import annotations

from pathlib import Path

from dsunet.checkpoints.header import METADATA_KEY, Content, Header
from dsunet.checkpoints.mismatch import not_finite, to_float32
from dsunet.checkpoints.open_checkpoint import Checkpoint, open_checkpoint
from dsunet.checkpoints.pretrained import encoder_hashes, load_encoders
from dsunet.checkpoints.run_checkpoint import Notice
from dsunet.checkpoints.weight_files import write_safetensors
from dsunet.errors import CheckpointError, MissingEncodersError
from dsunet.network.config import DSUNetConfig
from dsunet.network.input_sizes import resize_inputs
from dsunet.network.model import DSUNet
from dsunet_runtime.errors import OutputError
from dsunet_runtime.message_text import shorten


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
    if checkpoint.content is Content.TRAINED:
        _load_encoders(checkpoint, sam2, dinov2, notice)
    elif sam2 is not None or dinov2 is not None:
        raise CheckpointError(f"{checkpoint.path} includes its encoders: omit sam2 and dinov2")
    _load_tensors(checkpoint, notice)
    model = checkpoint.model
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
    try:
        write_safetensors(path, content.select(state), {METADATA_KEY: header.to_text()})
    except OutputError as error:
        raise CheckpointError(str(error)) from error


def _load_encoders(
    checkpoint: Checkpoint,
    sam2: str | Path | None,
    dinov2: str | Path | None,
    notice: Notice | None,
) -> None:
    """Load the encoders that a checkpoint does not contain from their official files."""
    path, model = checkpoint.path, checkpoint.model
    if sam2 is None or (model.dino is not None and dinov2 is None):
        names = "SAM2 and DINOv2" if model.dino is not None else "SAM2"
        raise MissingEncodersError(
            f"{path} has no encoder weights: give the official files of {names} as well "
            "(--sam2, --dinov2)",
            ("sam2", "dinov2") if model.dino is not None else ("sam2",),
        )
    load_encoders(model, sam2=sam2, dinov2=dinov2, notice=notice)
    _check_encoders(checkpoint, {"hiera": sam2, "dino": dinov2})


def _load_tensors(checkpoint: Checkpoint, notice: Notice | None) -> None:
    """Load the tensors of a checkpoint into its model."""
    tensors = checkpoint.float32_tensors()
    if notice is not None and (keys := not_finite(tensors)):
        notice(
            f"{checkpoint.path}: has NaN or infinity in {shorten(keys)}: its masks are not "
            "meaningful"
        )
    checkpoint.model.load_state_dict(checkpoint.model.state_dict() | tensors, assign=True)


def _check_encoders(checkpoint: Checkpoint, sources: dict[str, str | Path | None]) -> None:
    """Raise CheckpointError unless the checkpoint was trained with these encoders."""
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
