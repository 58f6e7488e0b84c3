"""Latency and throughput of batches in a GPU's memory, and what ONNX Runtime loses there.

onnxruntime_fp32, onnxruntime_fp16   `dsunet-export onnx`, CUDA provider, bound to device memory
torch_eager                          the model in float16, image arithmetic in float32
torch_compiled                       the same by `torch.compile`, kernels chosen by timing them
torch_captured                       the same, replayed as a CUDA graph

Regime: 8-bit frames of 1280×720 to 8-bit masks, random weights, no TF32; the ways take turns.  The
file is written after every batch, so a run that is ended keeps what it has.  What fails is left
out, with the reason.  **Not run on a GPU yet.**
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from common import add_plan, plan_of, print_times, summary, write
from exporting import new_model
from gpu_calls import (
    AUTOTUNED,
    add_machine,
    captured,
    onnxruntime_call,
    open_device,
    open_session,
    reason_of,
    torch_call,
    watched_turns,
)
from gpu_frames import Frames, frames_artifact, make_frames, mask_parity
from torch import Tensor

from dsunet_export.macs import count_macs
from dsunet_export.options import ExportPrecision
from dsunet_runtime.artifact import read_manifest
from dsunet_runtime.backends.onnxruntime import check_provider
from dsunet_runtime.bench.subjects import Call, Runner
from dsunet_runtime.provider import Provider

ARTIFACTS = {"onnxruntime_fp32": ExportPrecision.FP32, "onnxruntime_fp16": ExportPrecision.FP16}
TORCH = ("torch_eager", "torch_compiled", "torch_captured")
Maker = Callable[[Tensor], Call]
"""Makes the call for a batch of frames on the device."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_machine(parser)
    parser.add_argument("--name", default="batches", help="Of the result file: gpu_NAME.json.")
    parser.add_argument("--ways", nargs="+", choices=(*ARTIFACTS, *TORCH), required=True)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 1, 4, 16, 2])
    add_plan(parser, rounds=5, seconds=2)
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    makers, found, left_out = make_ways(arguments)
    found |= {"preset": arguments.preset, "batches": [], "left_out": left_out}
    for batch in arguments.batches:
        frames = make_frames(batch).to(arguments.device)
        calls: dict[str, Call] = {}
        for way, maker in makers.items():
            try:
                calls[way] = maker(frames)
                calls[way]()
            except Exception as error:  # whatever a library raises: the others go on
                calls.pop(way, None)
                left_out[f"{way}, batch {batch}"] = reason_of(error)
        if calls:
            times, seen = watched_turns(calls, plan_of(arguments), gpu)
            print_times(times)
            found["batches"].append({"batch": batch, "ways": rates(times, batch), **seen})
        write(f"gpu_{arguments.name}", found, gpu)
    if not found["batches"]:
        raise SystemExit("gpu_batches.py: nothing could be measured: see `left_out`")


def make_ways(
    arguments: argparse.Namespace,
) -> tuple[dict[str, Maker], dict[str, Any], dict[str, str]]:
    """What can be measured here; multiply-adds of an image, and parity; what is left out, why."""
    makers: dict[str, Maker] = {}
    found: dict[str, Any] = {"macs": {}, "parity": {}}
    left_out: dict[str, str] = {}
    provider = Provider(arguments.device)
    for way in (way for way in ARTIFACTS if way in arguments.ways):
        try:
            check_provider(provider)
            artifact = frames_artifact(arguments.preset, ARTIFACTS[way], arguments.work)
            found["macs"][way] = read_manifest(artifact).macs
            makers[way] = session_maker(open_session(artifact, provider))
            found["parity"][way] = mask_parity(Runner(artifact, provider), artifact)
        except Exception as error:  # as above
            left_out[way] = reason_of(error)
    asked = [way for way in TORCH if way in arguments.ways]
    if "torch_captured" in asked and arguments.device == "cpu":
        asked.remove("torch_captured")
        left_out["torch_captured"] = "a CPU has no CUDA graphs"
    if asked:
        model = new_model(arguments.preset)
        found["macs"] |= dict.fromkeys(asked, count_macs(model))
        frames = Frames(model, torch.float16).eval().to(arguments.device)
        compiled = torch.compile(frames, mode=AUTOTUNED, dynamic=False)
        ways: dict[str, Maker] = {
            "torch_eager": lambda image: torch_call(frames, {"image": image}),
            "torch_compiled": lambda image: torch_call(compiled, {"image": image}),
            "torch_captured": lambda image: captured(compiled, {"image": image}),
        }
        makers |= {way: ways[way] for way in asked}
    return makers, found, left_out


def session_maker(session: Any) -> Maker:
    return lambda frames: onnxruntime_call(session, {"image": frames})


def rates(times: dict[str, list[float]], batch: int) -> dict[str, Any]:
    """Seconds of a call, and images of a second."""
    summaries = {way: summary(seconds) for way, seconds in times.items()}
    return {way: {**one, "images_per_s": batch / one["median_s"]} for way, one in summaries.items()}


if __name__ == "__main__":
    main()
