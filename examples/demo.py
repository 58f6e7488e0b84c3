"""The whole chain on one photograph: random weights, ONNX, ONNX Runtime, a mask, and an engine.

Ends with a table.  The engine is built, not run: that needs the GPU that it is for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import dsunet_runtime
from dsunet import DSUNetConfig, random_model
from dsunet.config import PRESETS
from dsunet_export.onnx import export_onnx
from dsunet_export.options import ExportOptions, WeightsOrigin
from dsunet_export.tensorrt.builder import build_engine
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.targets import choose, parse_wanted
from dsunet_runtime.images import as_rgb
from dsunet_runtime.writing import write_mask, write_overlay

ROOT = Path(__file__).parent.parent
PHOTOGRAPH = ROOT / "assets/astronaut.jpg"
FOLDER = ROOT / "build/demo"
GPU = "rtx4090"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="nano")
    preset = parser.parse_args().preset

    rows: list[tuple[str, float, str]] = []
    watch = time.perf_counter()
    model = random_model(DSUNetConfig.preset(preset))
    parameters = sum(p.numel() for p in model.parameters())
    rows.append(("make a model", time.perf_counter() - watch, f"{preset}, {parameters:,} weights"))

    artifact = FOLDER / f"{preset}.onnx"
    manifest = export_onnx(
        model,
        WeightsOrigin.random(0),
        artifact,
        ExportOptions(),
        lambda step, seconds: rows.append((step, seconds, "")),
    )
    files = [artifact, *(artifact.with_name(file.name) for file in manifest.files)]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    saved = 1 - manifest.macs / manifest.rewrites[0].macs_before

    watch = time.perf_counter()
    with dsunet_runtime.load(artifact) as segmenter:
        rows.append(("load", time.perf_counter() - watch, "ONNX Runtime, CPU"))
        watch = time.perf_counter()
        mask = segmenter(PHOTOGRAPH)
        size = f"{mask.shape[1]}×{mask.shape[0]}"
        rows.append(("photograph to mask", time.perf_counter() - watch, f"{size}, 8 bits"))
    write_mask(mask, FOLDER / "astronaut.png")
    write_overlay(as_rgb(PHOTOGRAPH), mask, FOLDER / "astronaut_overlay.jpg")

    engine_file = FOLDER / f"{preset}.engine"
    options = EngineOptions()
    built = build_engine(
        artifact,
        engine_file,
        choose(None, parse_wanted([GPU], []), options),
        options,
        lambda step, seconds: rows.append((f"engine: {step}", seconds, "")),
    ).engine

    print(f"{'stage':36}{'seconds':>8}  result")
    for stage, seconds, result in rows:
        print(f"{stage:36}{seconds:8.2f}  {result}")
    print(f"{'artifact':36}{'':8}  {artifact.relative_to(ROOT)}, {megabytes:,.1f} MB")
    print(f"{'multiply-adds':36}{'':8}  {manifest.macs / 1e9:,.2f} G, {saved:.1%} fewer than plain")
    for check in manifest.verification:
        print(
            f"{'parity with PyTorch':36}{'':8}  {check.inputs}: {check.output} within "
            f"{check.max_abs_error:.3g} {check.tolerance_unit}, mean {check.mean_abs_error:.2g}"
        )
    if built is not None:
        share = built.proof.weight_bytes_reduced / built.proof.weight_bytes
        print(
            f"{f'engine for {GPU}':36}{'':8}  {engine_file.relative_to(ROOT)}, "
            f"{built.file.size / 1e6:,.1f} MB, {share:.1%} of the weights' bytes in float16; "
            "built, not run"
        )
    print(f"\nOverlay: {(FOLDER / 'astronaut_overlay.jpg').relative_to(ROOT)}")
    print("The weights are random, so the mask means nothing: it shows that the chain works.")


if __name__ == "__main__":
    main()
