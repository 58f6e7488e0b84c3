"""A manifest in words."""

from __future__ import annotations

from collections.abc import Iterator

from dsunet.config import DSUNetConfig
from dsunet_runtime.manifest import Manifest, TensorSpec


def describe(manifest: Manifest) -> str:
    """Several lines, a name and a value each."""
    rows = list(_rows(manifest))
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in rows)


def _rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    config = DSUNetConfig.from_dict(manifest.model)
    yield "model", f"{config.preset_name() or 'own sizes'}, injection {config.injection}"
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
    kept = manifest.precision.kept_in_float32
    yield (
        "precision",
        manifest.precision.compute + (f", {len(kept)} kept in float32" if kept else ""),
    )
    yield "multiply-adds", f"{manifest.macs / 1e9:,.3f} G an image"
    for rewrite in manifest.rewrites:
        saved = rewrite.macs_before - rewrite.macs_after
        share = f"-{saved / 1e9:,.3f} G ({saved / rewrite.macs_before:.2%})" if saved else "same"
        yield f"  {rewrite.name}", f"{rewrite.macs_after / 1e9:,.3f} G, {share}"
    if not manifest.rewrites:
        yield "  rewrites", "none (--plain)"
    for check in manifest.verification:
        yield (
            "verified",
            f"{check.inputs}: {check.output} within {check.max_abs_error:.3g} "
            f"{check.tolerance_unit} of PyTorch's (allowed {check.tolerance:.3g})",
        )
    if not manifest.verification:
        yield "verified", "no"
    for file in manifest.files:
        yield "file", f"{file.name}, {file.size / 1e6:,.1f} MB, sha256 {file.sha256}"
    yield "built with", ", ".join(f"{k} {v}" for k, v in manifest.built_with.items())


def _in_words(spec: TensorSpec) -> str:
    shape = "×".join(str(dim) for dim in spec.shape)
    return f"{spec.name}: {spec.dtype} {shape} ({spec.layout}), {spec.range}"
