"""Comparison of a graph's inputs and outputs with those of its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.message_text import shorten

_NAMES = 4
"""Maximum number of tensor names in a message."""


def check_names(
    path: Path, manifest: Manifest, inputs: Iterable[str], outputs: Iterable[str]
) -> None:
    """Raise ArtifactError unless a loaded graph has the inputs and outputs of its manifest."""
    for kind, found, described in (
        ("inputs", inputs, manifest.inputs),
        ("outputs", outputs, manifest.outputs),
    ):
        in_graph, in_manifest = sorted(found), sorted(spec.name for spec in described)
        if in_graph != in_manifest:
            raise ArtifactError(
                f"{path}: the graph's {kind} are {shorten(in_graph, _NAMES)} and the manifest's "
                f"{shorten(in_manifest, _NAMES)}: export again"
            )
