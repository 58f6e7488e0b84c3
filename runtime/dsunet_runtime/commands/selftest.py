"""`dsunet-run selftest`: compare the outputs on this machine with the artifact's references."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.artifact_options import (
    ArtifactArgument,
    CpuFallbackOption,
    DomainOption,
    ProviderOption,
    check_provider_applies,
)
from dsunet_runtime.commands.options import OUTPUT
from dsunet_runtime.errors import ArtifactError, SelfTestError
from dsunet_runtime.provider import Provider

if TYPE_CHECKING:
    from dsunet_runtime.selftest.comparison import Comparison

EXAMPLES = examples(
    "dsunet-run selftest nano.onnx",
    "dsunet-run selftest nano.onnx --provider cuda --json",
    "dsunet-run selftest nano.engine",
)


def selftest(
    artifact: ArtifactArgument,
    provider: ProviderOption = None,
    allow_cpu_fallback: CpuFallbackOption = False,
    domain: DomainOption = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the comparisons as JSON.", rich_help_panel=OUTPUT),
    ] = False,
) -> None:
    """Check the outputs of an artifact on this machine.

    The artifact contains reference outputs for a few synthetic pictures, computed by PyTorch in
    float32, and the tolerance for its precision.  The pictures are computed at the smallest batch,
    1, 2 and the largest, as far as the artifact supports these.

    The exit code is 1 if an output is outside the tolerance.  Other commands then repeat the
    self-test on this machine before they use the artifact.
    """
    check_provider_applies(provider, artifact, allow_cpu_fallback, domain)
    import dsunet_runtime
    from dsunet_runtime.selftest.comparison import check_passed, run_selftest
    from dsunet_runtime.selftest.record import record_outcome

    # `load` must not run the self-test: it would raise before anything is printed.
    with dsunet_runtime.load(
        artifact,
        provider=provider,
        selftest="never",
        allow_cpu_fallback=allow_cpu_fallback,
        domain=domain,
    ) as segmenter:
        manifest = segmenter.manifest
        try:
            comparisons = run_selftest(segmenter)
        except ArtifactError as error:
            raise ArtifactError(f"{artifact}: {error}") from error
        if domain is None:
            record_outcome(artifact, manifest, segmenter.machine, comparisons)
    if as_json:
        import json

        print(json.dumps({"artifact": str(artifact), "comparisons": [*map(_plain, comparisons)]}))
    else:
        for line in _lines(comparisons):
            print(line)
    try:
        check_passed(
            comparisons, manifest, None if is_engine(artifact) else provider or Provider.CPU
        )
    except SelfTestError as error:
        raise SelfTestError(f"{artifact}: {error}") from error


def _lines(comparisons: list[Comparison]) -> list[str]:
    """One line for each batch and size, with the worst picture."""
    groups: dict[tuple[int, int, int], list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault((one.batch, one.case.width, one.case.height), []).append(one)
    lines = []
    for (batch, width, height), members in groups.items():
        worst = max(members, key=lambda one: one.excess)
        lines.append(f"batch {batch}, {width}×{height}: {worst.in_words}")
    return lines


def _plain(one: Comparison) -> dict[str, Any]:
    return {
        "batch": one.batch,
        "place": one.place,
        "picture": one.case.picture,
        "height": one.case.height,
        "width": one.case.width,
        "blocks": one.blocks if isfinite(one.blocks) else None,
        "blocks_tolerance": one.case.blocks_tolerance,
        "points": one.points if isfinite(one.points) else None,
        "points_tolerance": one.case.points_tolerance,
        "passed": one.passed,
    }
