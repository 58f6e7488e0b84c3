"""Latency and throughput of batches in a GPU's memory.

onnxruntime_fp32, onnxruntime_fp16   `dsunet-export onnx`, CUDA provider, bound to device memory
torch_eager                          the model in float16, image processing in float32
torch_eager_captured                 torch_eager, replayed as a CUDA graph
torch_compiled                       channels-last maps, precomputed constants, blocks by
                                     `torch.compile`, the fastest attention backend
torch_compiled_captured              torch_compiled, replayed as a CUDA graph
torch_streams_captured               torch_compiled_captured, the two encoders on two streams
torch_tanh_captured                  torch_streams_captured, GELU of the encoders' MLPs by tanh in
                                     the matmul's epilogue, which changes it by at most 4.8e-4

Conditions: 8-bit frames of 1280×720 to 8-bit masks, randomly initialised weights, no TF32; the
variants are interleaved.
Ceilings: a float16 matmul of 8192×8192 random values, and a copy of 512 MiB, both by PyTorch.

The result file is written after every batch, first without the compiled variants, so that a run
that is interrupted keeps its results.  A variant that fails is left out, with the reason.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from common import add_schedule_options, print_times, schedule_of, summary, write
from exports import new_model
from gpu_calls import (
    captured,
    machine_parser,
    measure_with_monitor,
    onnxruntime_call,
    open_device,
    open_session,
    reason_of,
    torch_call,
)
from gpu_ceiling import add_side_option, measure_ceiling
from gpu_compiled import Choices, attention_times, compiled, with_choices
from gpu_frames import Frames, frames_artifact, make_frames, mask_parity
from torch import Tensor

from dsunet_export.macs import count_macs
from dsunet_export.options import ExportPrecision
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.onnxruntime.backend import check_provider
from dsunet_runtime.bench.workload import Call, Runner
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.provider import Provider

ARTIFACTS = {"onnxruntime_fp32": ExportPrecision.FP32, "onnxruntime_fp16": ExportPrecision.FP16}
COMPILED = {
    "torch_compiled_captured": Choices(),
    "torch_streams_captured": Choices(two_streams=True),
    "torch_tanh_captured": Choices(two_streams=True, tanh_gelu=True),
}
TORCH = ("torch_eager", "torch_eager_captured", "torch_compiled", *COMPILED)
Maker = Callable[[Tensor], Call]
"""Makes the call for a batch of frames on the device."""


def main() -> None:
    parser = machine_parser(__doc__)
    parser.add_argument(
        "--name",
        default="batches",
        help="Name of the result file, gpu_NAME.json (default: %(default)s).",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=(*ARTIFACTS, *TORCH),
        required=True,
        help="Variants to measure, interleaved.",
    )
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[8, 1, 4],
        help="Numbers of images per call (default: 8 1 4).",
    )
    add_side_option(parser)
    add_schedule_options(parser, rounds=5, seconds=2)
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    found: dict[str, Any] = {"preset": arguments.preset, "batches": [], "left_out": {}}
    found["ceiling"] = dataclasses.asdict(measure_ceiling(arguments.device, arguments.side))
    print(found["ceiling"], flush=True)
    makers = make_variants(arguments, found)
    slow = ("torch_compiled", *COMPILED)
    quick = {variant: maker for variant, maker in makers.items() if variant not in slow}
    passes = [quick, makers] if quick and len(quick) < len(makers) else [makers]
    for variants in passes:
        for batch in arguments.batches:
            one = measure(batch, variants, arguments, gpu, found["left_out"])
            others = [other for other in found["batches"] if other["batch"] != batch]
            found["batches"] = [*others, *one]
            write(f"gpu_{arguments.name}", found, gpu)
    if not found["batches"]:
        raise SystemExit("gpu_batches.py: nothing could be measured: see `left_out`")


def measure(
    batch: int,
    makers: dict[str, Maker],
    arguments: argparse.Namespace,
    gpu: Gpu | None,
    left_out: dict[str, str],
) -> list[dict[str, Any]]:
    """Measure all variants on one batch, interleaved; empty if none works."""
    frames = make_frames(batch).to(arguments.device)
    calls: dict[str, Call] = {}
    for variant, maker in makers.items():
        begun = time.perf_counter()
        try:
            calls[variant] = maker(frames)
            calls[variant]()
        except Exception as error:  # whatever a library raises: the others go on
            calls.pop(variant, None)
            left_out[f"{variant}, batch {batch}"] = reason_of(error)
        print(f"batch {batch}: {variant} after {time.perf_counter() - begun:.1f} s", flush=True)
    if not calls:
        return []
    times, seen = measure_with_monitor(calls, schedule_of(arguments), gpu)
    print_times(times)
    return [{"batch": batch, "variants": rates(times, batch), **seen}]


def make_variants(arguments: argparse.Namespace, found: dict[str, Any]) -> dict[str, Maker]:
    """Return the variants that can be measured on this machine.

    Multiply-adds per image, parity, skipped variants with reasons, and the speed of attention are
    added to `found`.
    """
    makers: dict[str, Maker] = {}
    found |= {"macs": {}, "parity": {}}
    provider = Provider(arguments.device)
    for variant in (variant for variant in ARTIFACTS if variant in arguments.variants):
        try:
            check_provider(provider)
            artifact = frames_artifact(arguments.preset, ARTIFACTS[variant], arguments.work)
            found["macs"][variant] = read_manifest(artifact).macs
            makers[variant] = session_maker(open_session(artifact, provider))
            found["parity"][variant] = mask_parity(Runner(artifact, provider), artifact)
        except Exception as error:  # whatever a library raises
            found["left_out"][variant] = reason_of(error)
    wanted = [variant for variant in TORCH if variant in arguments.variants]
    if arguments.device == "cpu":
        wanted = [variant for variant in wanted if not variant.endswith("captured")]
        found["left_out"]["captured"] = "a CPU has no CUDA graphs"
    if wanted:
        model = new_model(arguments.preset)
        found["macs"] |= dict.fromkeys(wanted, count_macs(model))
        eager = Frames(model, torch.float16).eval().to(arguments.device)
        found["attention_s"] = attention_times(eager.model, 8, arguments.device)
        backend = next(iter(found["attention_s"]), None)
        fast = compiled(copy.deepcopy(eager), backend)

        def compiled_call(variant: str, image: Tensor) -> Call:
            chosen = with_choices(fast, COMPILED.get(variant, Choices()))
            with torch.inference_mode():
                levels = (chosen(image=image).int() - eager(image=image).int()).abs()
            found["parity"][f"{variant} and torch_eager, batch {len(image)}"] = {
                "mean": levels.float().mean().item(),
                "largest": levels.max().item(),
            }
            make = captured if variant in COMPILED else torch_call
            return make(chosen, {"image": image})

        variants: dict[str, Maker] = {
            "torch_eager": lambda image: torch_call(eager, {"image": image}),
            "torch_eager_captured": lambda image: captured(eager, {"image": image}),
            **{one: functools.partial(compiled_call, one) for one in ("torch_compiled", *COMPILED)},
        }
        makers |= {variant: variants[variant] for variant in wanted}
    return makers


def session_maker(session: Any) -> Maker:
    return lambda frames: onnxruntime_call(session, {"image": frames})


def rates(times: dict[str, list[float]], batch: int) -> dict[str, Any]:
    """Seconds of a call, and images of a second."""
    summaries = {variant: summary(seconds) for variant, seconds in times.items()}
    return {
        variant: {**one, "images_per_s": batch / one["median_s"]}
        for variant, one in summaries.items()
    }


if __name__ == "__main__":
    main()
