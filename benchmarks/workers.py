"""Throughput of one process, of several, and of Ray on one machine, on the same images.

process          `dsunet-run predict` without options
workers_1        `--workers 1`
workers_2        `--workers 2`
ray_2            `--ray local --workers 2 --threads-per-worker 1`

Conditions: the demonstration checkpoint (`nano`) in float32, `frames` form, ONNX Runtime on the
CPU, synthetic scenes of 320×320, batch 1, interleaved.  The start is the time until the first
outcome, without the start of Python; the time of an image is that after the first quarter of them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from common import add_rounds_option, make_parser, summaries, write

from dsunet_runtime.artifact.manifest import InputForm
from dsunet_runtime.masks.renderings import Mask
from dsunet_runtime.prediction.jobs import Destination, OutputKind, plan
from dsunet_runtime.selftest.policy import SelfTestPolicy
from dsunet_runtime.workers.dispatch import dispatch
from dsunet_runtime.workers.parallelism import LOCAL, Parallelism
from dsunet_runtime.workers.worker import LoadOptions

FIRST = "process"
VARIANTS = {
    FIRST: Parallelism(None, None, None),
    "workers_1": Parallelism("1", None, None),
    "workers_2": Parallelism("2", None, None),
    "ray_2": Parallelism("2", 1, LOCAL),
}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--images", type=int, default=200, help="Number of images (default: %(default)s)."
    )
    add_rounds_option(parser, 5)
    arguments = parser.parse_args()
    # Not above: worker processes import this file, and would wait for PyTorch.
    from exports import export_ours

    from dsunet import load_model
    from dsunet.checkpoints.demonstration import demonstration_checkpoint
    from dsunet.scenes import write_scenes

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_scenes(folder / "scenes", arguments.images, seed=0)
        graph = folder / "nano.onnx"
        export_ours(load_model(demonstration_checkpoint()), graph, input_form=InputForm.FRAMES)
        found = measure(graph, folder / "scenes/Image", folder / "masks", arguments.rounds)
    write("workers_nano", {"preset": "nano", "images": arguments.images, **found})


def measure(graph: Path, images: Path, masks: Path, rounds: int) -> dict[str, Any]:
    """Run each variant in each round, each round beginning with another one."""
    names = [*VARIANTS]
    starts: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start, each = run(graph, images, masks, VARIANTS[name])
            starts[name].append(start)
            seconds[name].append(each)
            print(f"{name:12} start {start:6.2f} s, {1 / each:6.1f} images/s", flush=True)
    return {
        "start": summaries(starts),
        "image": summaries(seconds),
    }


def run(graph: Path, images: Path, masks: Path, parallelism: Parallelism) -> tuple[float, float]:
    """Return the seconds until the first outcome, and the seconds of each image later on."""
    jobs = plan([images], Destination(masks, (OutputKind(Mask(), ".png"),)))
    loading = LoadOptions(graph, None, SelfTestPolicy.AUTO, False, None)
    begin = time.perf_counter()
    with dispatch(loading, jobs, None, parallelism) as (_, outcomes):
        times = [time.perf_counter() for _ in outcomes]
    skipped = len(times) // 4
    return times[0] - begin, (times[-1] - times[skipped]) / (len(times) - 1 - skipped)


if __name__ == "__main__":
    main()
