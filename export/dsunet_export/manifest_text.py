"""Format a manifest as text."""

from __future__ import annotations

from collections.abc import Iterator

from dsunet.network.config import DSUNetConfig
from dsunet_export.options import FLOAT16_MAX
from dsunet_export.tensorrt.engine_text import engine_rows
from dsunet_export.verification.compare_artifact import (
    comparison_in_words,
    fraction_of_tolerance,
)
from dsunet_runtime.artifact.manifest import (
    InputForm,
    Manifest,
    NarrowedWeights,
    Precision,
    Quantization,
    TensorSpec,
)
from dsunet_runtime.message_text import readable, shorten

_PATTERNS_SHOWN = 4
"""Maximum number of patterns in a line."""
_LOW_CONTRAST = 4
"""Range of a mask in levels below which shuffled weights may pass the self-test.  Measured with the
demonstration checkpoint and a constant taken from its logits: all of 27 modules are noticed with a
range of 7, none with 1."""


def describe_manifest(manifest: Manifest, each: bool = False) -> str:
    """Format a manifest as lines of a name and a value; `each` lists every comparison and node."""
    rows = list(_rows(manifest, each))
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:{width}}{readable(value)}" for name, value in rows)


def _rows(manifest: Manifest, each: bool) -> Iterator[tuple[str, str]]:
    config = DSUNetConfig.from_dict(manifest.model, exact=False)
    yield "model", config.describe()
    yield "weights", manifest.weights_origin
    if manifest.checkpoint_sha256:
        yield "checkpoint sha256", manifest.checkpoint_sha256
    yield "input form", manifest.input_form
    yield "mask", manifest.mask_form
    for role, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        for spec in specs:
            yield role, _in_words(spec)
    where = "in the graph" if manifest.preprocessing.in_graph else "by the runtime"
    sizes = ", ".join(
        f"{name} {side}×{side}" for name, side in manifest.preprocessing.sizes.items()
    )
    yield "preprocessing", f"{where}: {sizes}"
    yield "precision", manifest.precision.compute
    if manifest.precision.quantized:
        yield "  quantised", quantized_in_words(manifest.precision.quantized)
    for line in kept_in_words(manifest.precision, each):
        yield "  in float32", line
    for line in headroom_in_words(manifest.precision):
        yield "  largest", line
    if manifest.precision.weights:
        yield "  weights", _weights_in_words(manifest.precision.weights)
    if manifest.engine is not None:
        yield from engine_rows(manifest, manifest.engine)
    yield "multiply-adds", f"{manifest.macs / 1e9:,.3f} G per image"
    for rewrite in manifest.rewrites:
        saved = rewrite.macs_before - rewrite.macs_after
        change = f"-{saved / 1e9:,.3f} G ({saved / rewrite.macs_before:.2%})" if saved else "same"
        yield f"  {rewrite.name}", f"{rewrite.macs_after / 1e9:,.3f} G, {change}"
    if not manifest.rewrites:
        yield "  rewrites", "none (--plain)"
    for line in verified_in_words(manifest, each):
        yield "verified", line
    if not manifest.verification:
        yield "verified", "no"
    for line in selftest_in_words(manifest):
        yield "self-test", line
    for file in manifest.files:
        yield "file", f"{file.name}, {file.size / 1e6:,.1f} MB, sha256 {file.sha256}"
    yield "built with", ", ".join(f"{k} {v}" for k, v in manifest.built_with.items())


def kept_in_words(precision: Precision, each: bool = False) -> list[str]:
    """List what stays in float32 and why, a line for each reason; `each` lists every pattern."""
    by_reason: dict[str, list[str]] = {}
    for kept in precision.kept_in_float32:
        by_reason.setdefault(kept.reason, []).append(f"{kept.pattern} ({kept.nodes} nodes)")
    shown = len(precision.kept_in_float32) if each else _PATTERNS_SHOWN
    return [f"{shorten(kept, shown)}: {reason}" for reason, kept in by_reason.items()]


def quantized_in_words(quantized: Quantization) -> str:
    """Describe the quantised matrix multiplications."""
    noise = quantized.noise
    most = f"; rounding adds at most {noise:.1%} of noise to an input" if noise else ""
    return (
        f"{quantized.matmuls} of {quantized.candidates} matrix multiplications of the encoders, "
        f"{quantized.weights / 1e6:,.1f} M weights, in {quantized.data_type}; calibrated on "
        f"{quantized.images} images{most}"
    )


def headroom_in_words(precision: Precision) -> list[str]:
    """List the tensors with the least headroom below the float16 maximum, the least first."""
    return [
        f"{peak.tensor} reaches {peak.magnitude:.4g} on {peak.images}, "
        f"×{FLOAT16_MAX / max(peak.magnitude, 1e-30):,.0f} headroom below the float16 maximum "
        f"({FLOAT16_MAX:.0f})"
        for peak in precision.peaks
    ]


def verified_in_words(manifest: Manifest, each: bool = False) -> list[str]:
    """Describe the worst comparison, or with `each` every one; empty if there was none.

    The worst comparison is the one with the largest difference relative to its tolerance.
    """
    checks = manifest.verification
    if each or len(checks) < 2:
        return [comparison_in_words(check) for check in checks]
    worst = max(checks, key=fraction_of_tolerance)
    return [f"{len(checks)} comparisons, the worst: {comparison_in_words(worst)}"]


def selftest_in_words(manifest: Manifest) -> list[str]:
    """Warn of a self-test that detects few faults, as its masks are almost uniform; else empty."""
    if manifest.input_form is InputForm.TENSORS or not manifest.selftest:
        return []
    range_ = max(max(case.points) - min(case.points) for case in manifest.selftest)
    if range_ >= _LOW_CONTRAST:
        return []
    return [
        "detects few faults: the network finds no object in its pictures, whose masks have a range "
        f"of {range_:.0f} levels; an export with --mask stretched or --input tensors has one that "
        "detects more"
    ]


def _weights_in_words(weights: NarrowedWeights) -> str:
    fraction = weights.reduced / max(weights.reduced + weights.kept, 1)
    return (
        f"{fraction:.2%} converted; of these {weights.subnormal:,} became subnormal and "
        f"{weights.zeroed:,} became zero"
    )


def _in_words(spec: TensorSpec) -> str:
    shape = "×".join(str(dim) for dim in spec.shape)
    return f"{spec.name}: {spec.dtype} {shape} ({spec.layout}), {spec.range}"
