"""Export the artifacts of the GPU benchmarks.  It needs no GPU; `large` takes a minute.

An export that fails is reported, and the others go on.
"""

from __future__ import annotations

import functools
import time
import traceback
from pathlib import Path

from exports import calibration_images, export_ours
from gpu_calls import machine_parser
from gpu_frames import frames_artifact

from dsunet import load_model
from dsunet.checkpoints.demonstration import demonstration_checkpoint
from dsunet_export.options import ExportPrecision
from dsunet_runtime.artifact.manifest import InputForm

SCENES = 32
"""Number of calibration images."""


def main() -> None:
    arguments = machine_parser(__doc__).parse_args()
    exports = [
        *(
            functools.partial(frames_artifact, preset, precision, arguments.work)
            for preset in dict.fromkeys((arguments.preset, "nano"))
            for precision in (ExportPrecision.FP16, ExportPrecision.FP32)
        ),
        *(
            functools.partial(demonstration_artifact, precision, arguments.work)
            for precision in ExportPrecision
        ),
    ]
    for export in exports:
        begun = time.perf_counter()
        try:
            print(f"{export()}: {time.perf_counter() - begun:.1f} s", flush=True)
        except Exception:  # whatever a library raises
            traceback.print_exc()


def demonstration_artifact(precision: ExportPrecision, folder: Path) -> Path:
    """Export the demonstration checkpoint in `frames` form, unless it exists."""
    path = folder / f"demonstration_{precision}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = {"input_form": InputForm.FRAMES, "batch": None, "precision": precision}
        if precision.is_quantized:
            options["images"] = calibration_images(folder, SCENES)
        export_ours(load_model(demonstration_checkpoint()), path, **options)
    return path


if __name__ == "__main__":
    main()
