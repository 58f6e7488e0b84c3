"""The command `dsunet-export inspect`, which needs neither PyTorch nor ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet_export.artifact import check_files
from dsunet_export.commands.options import Verbose
from dsunet_runtime.commands.app import examples

EXAMPLES = examples(
    "dsunet-export inspect dsunet.onnx",
    "dsunet-export inspect dsunet.engine --json",
)


def inspect(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="Exported ONNX file or engine.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
    verbose: Verbose = False,
) -> None:
    """Describe an artifact and check its files.

    Prints the manifest, then compares sizes and SHA-256 hashes of the artifact and of the files
    beside it with those that the manifest records.
    """
    from dsunet_export.manifest_text import describe_manifest
    from dsunet_runtime.artifact.manifest_file import read_manifest

    manifest = read_manifest(artifact)
    print(manifest.to_json(indent=2) if as_json else describe_manifest(manifest, verbose))
    check_files(artifact, manifest)
