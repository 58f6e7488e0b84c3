"""The trained weights of another domain, for an engine that was built with `--refit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dsunet_runtime.artifact.integrity import check_hashes, check_sizes, check_weights_files
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.errors import ArtifactError


def with_domain(path: Path, manifest: Manifest, domain: Path) -> Manifest:
    """Return the manifest of an engine with the trained weights of an ONNX artifact.

    The self-test references and the origin of the weights are those of the artifact.

    Args:
        path: The engine, for messages.
        manifest: Manifest of the engine.
        domain: ONNX file that was exported with the same `--shared-weights` as the engine's graph.

    Raises:
        ArtifactError: The engine accepts no other weights, the artifact is damaged, or it differs
            from the engine's graph in more than trained weights.
    """
    shared = None if manifest.engine is None else manifest.engine.shared_weights
    if shared is None:
        raise ArtifactError(
            f"{path}: its weights cannot be exchanged: build it with `dsunet-export trt --refit`, "
            f"from a graph exported with --shared-weights"
        )
    other = read_manifest(domain)
    if other.engine is not None:
        raise ArtifactError(f"{domain}: is an engine: name the ONNX file of the domain")
    check_sizes(domain, other)
    check_hashes(domain, other)
    check_weights_files(domain, other)  # TensorRT opens these files
    if shared.sha256 not in {file.sha256 for file in other.files}:
        raise ArtifactError(
            f"{domain}: its frozen weights are not those of {path.name}, in {shared.name}: export "
            f"it with the same encoders, precision and --shared-weights"
        )
    differing = [name for name, ours, theirs in _structure(manifest, other) if ours != theirs]
    if differing:
        raise ArtifactError(
            f"{domain}: differs from the graph of {path.name} in {', '.join(differing)}: export it "
            f"with the same options"
        )
    return replace(
        manifest,
        selftest=other.selftest,
        weights_origin=other.weights_origin,
        weights_are_random=other.weights_are_random,
        checkpoint_sha256=other.checkpoint_sha256,
    )


def _structure(engine: Manifest, other: Manifest) -> list[tuple[str, object, object]]:
    """The properties that determine the nodes of a graph: name for messages, and both values."""
    properties = [
        (
            ("model", one.model),
            ("input form", one.input_form),
            ("mask form", one.mask_form),
            ("precision", one.precision.compute),
            ("layers in float32", [kept.pattern for kept in one.precision.kept_in_float32]),
            ("rewrites", [rewrite.name for rewrite in one.rewrites]),
        )
        for one in (engine, other)
    ]
    return [(name, ours, theirs) for (name, ours), (_, theirs) in zip(*properties, strict=True)]
