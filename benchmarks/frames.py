"""Latency of the frames form and the tensors form for images of 720p, 1080p and 4K.

frames     pre- and postprocessing in the graph: one ONNX Runtime call from image to mask
tensors    pre- and postprocessing outside: by Pillow and NumPy

Conditions: from a decoded image to its mask by `Segmenter.batch`, batch 1, CPU, float32, randomly
initialised weights, all cores.  The forms are interleaved; the sizes are measured one after the
other.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from common import (
    measure_interleaved_calls,
    preset_parser,
    print_times,
    ratio,
    schedule_of,
    summaries,
    write,
)

from dsunet_runtime.artifact.manifest import InputForm
from dsunet_runtime.bench.image import make_image
from dsunet_runtime.bench.measurement import Schedule
from dsunet_runtime.images.decode import as_rgb
from dsunet_runtime.segmenter import load

SIZES = {"720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
"""Height and width."""


def main() -> None:
    parser = preset_parser(__doc__, "nano")
    arguments = parser.parse_args()
    from exports import export_ours, new_model

    with tempfile.TemporaryDirectory() as folder:
        forms = {form: Path(folder) / f"{form}.onnx" for form in InputForm}
        for form, path in forms.items():
            export_ours(new_model(arguments.preset), path, input_form=form)
        sizes = measure(forms, schedule_of(arguments))
    write(f"frames_{arguments.preset}", {"preset": arguments.preset, "sizes": sizes})


def measure(forms: dict[InputForm, Path], schedule: Schedule) -> dict[str, Any]:
    """Measure the seconds from image to mask by size, for an artifact in each form."""
    found = {}
    with load(forms[InputForm.FRAMES]) as frames, load(forms[InputForm.TENSORS]) as tensors:
        for name, size in SIZES.items():
            with tempfile.TemporaryDirectory() as folder:
                rgb = as_rgb(make_image(Path(folder) / "image.jpg", size))
            print(name, file=sys.stderr)
            calls = {
                "frames": lambda rgb=rgb: frames.batch([rgb]),
                "tensors": lambda rgb=rgb: tensors.batch([rgb]),
            }
            times = measure_interleaved_calls(calls, schedule)
            print_times(times)
            found[name] = {
                "height": size[0],
                "width": size[1],
                "times": summaries(times),
                "frames_over_tensors": ratio(times["frames"], times["tensors"]),
            }
    return found


if __name__ == "__main__":
    main()
