"""An artifact for DeepStream: a configuration for nvinfer, and the graph that it can feed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet_export.artifact import save, write_errors
from dsunet_export.errors import ExportError
from dsunet_export.servers.checked_artifact import CheckedArtifact
from dsunet_export.servers.model_folder import model_staging
from dsunet_export.servers.nvinfer_config import NvinferModel, is_supported, make_nvinfer_config
from dsunet_export.servers.nvinfer_graph import make_nvinfer_graph, verify_nvinfer_graph
from dsunet_runtime.artifact.manifest import InputForm, Manifest

_SEVERAL = 2
"""Batch size with which a graph of a dynamic batch is verified."""


@dataclass(frozen=True, slots=True)
class DeepStreamOptions:
    """Options of `write_deepstream`."""

    name: str
    size: tuple[int, int] | None = None
    """Height and width that frames are scaled to; None for those of the artifact."""
    batch: int | None = None
    """Number of streams that are joined; None for the batch of the artifact, or 1."""


def write_deepstream(
    folder: Path, artifact: CheckedArtifact, options: DeepStreamOptions
) -> list[Path]:
    """Write the graph and the configuration; return their paths.

    Raises ExportError if nvinfer cannot run the artifact, if a file exists or cannot be written,
    and VerificationError if the graph computes other masks than the artifact.
    """
    manifest = artifact.manifest
    _check(artifact)
    model = NvinferModel(
        options.name,
        manifest.precision.element_type,
        _size(artifact, options.size),
        _batch(artifact, options.batch),
        has_fixed_batch=isinstance(manifest.inputs[0].shape[0], int),
    )
    outputs = [folder / name for name in (model.graph, model.config)]
    for path in outputs:
        if path.exists() or path.is_symlink():
            raise ExportError(f"{path} exists: choose another --name, or remove it")
    graph = make_nvinfer_graph(artifact.path, manifest, model.size)
    with model_staging(folder) as staged:
        save(graph, staged / model.graph)
        verify_nvinfer_graph(
            staged / model.graph, artifact.path, model.size, _verified_batch(manifest)
        )
        with write_errors(staged / model.config):
            (staged / model.config).write_text(make_nvinfer_config(model), encoding="utf-8")
        for file in sorted(staged.iterdir(), key=lambda file: file.name == model.config):
            file.rename(folder / file.name)
    return outputs


def _check(artifact: CheckedArtifact) -> None:
    """Raise ExportError if nvinfer cannot run an artifact."""
    manifest = artifact.manifest
    if manifest.engine is not None:
        raise ExportError(
            f"{artifact.path}: nvinfer cannot run engines with 8-bit inputs and outputs: name the "
            f"ONNX file that it was built from; nvinfer builds an engine of that"
        )
    if manifest.input_form is not InputForm.FRAMES:
        raise ExportError(
            f"{artifact.path}: nvinfer prepares one input, with one scale for all channels: export "
            f"it with --input frames, which prepares the images in the graph"
        )
    precision = manifest.precision.element_type
    if not is_supported(precision):
        raise ExportError(
            f"{artifact.path}: nvinfer builds no engines in {precision}: export it with "
            f"--precision fp32 or fp16"
        )


def _size(artifact: CheckedArtifact, given: tuple[int, int] | None) -> tuple[int, int]:
    height, width = artifact.manifest.inputs[0].shape[1:3]
    if isinstance(height, int) and isinstance(width, int):
        if given not in (None, (height, width)):
            raise ExportError(
                f"{artifact.path} takes images of {height}x{width} only: omit --size, or export "
                f"it with `--size dynamic`"
            )
        return height, width
    if given is None:
        raise ExportError(
            f"{artifact.path} takes images of any size, and nvinfer scales frames to one: give "
            f"--size HEIGHTxWIDTH, for example 720x1280"
        )
    return given


def _batch(artifact: CheckedArtifact, given: int | None) -> int:
    batch = artifact.manifest.inputs[0].shape[0]
    if isinstance(batch, str):
        return given or 1
    if given not in (None, batch):
        raise ExportError(
            f"{artifact.path} takes batches of {batch} only: omit --batch, or export it with "
            f"`--batch dynamic`"
        )
    return batch


def _verified_batch(manifest: Manifest) -> int:
    batch = manifest.inputs[0].shape[0]
    return batch if isinstance(batch, int) else _SEVERAL
