"""Engines in C++ on the stand-ins: frames in host memory, threads, and calls that fail."""

from __future__ import annotations

import concurrent.futures
import time
from pathlib import Path

import pytest

from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.cuda import nvml
from tests.cpp import c_interface
from tests.cpp.c_interface import CallError, Library
from tests.cpp.engine_cases import Case, attempt, check, images
from tests.cpp.stand_ins import OUT_OF_MEMORY, StandIn
from tests.runtime.fake_cuda import GPU


@pytest.mark.parametrize("interleaved", [0, 1])
def test_masks(case: Case, gpu: StandIn, interleaved: int) -> None:
    gpu.set("interleaved", interleaved)
    with case.open() as segmenter:
        check(segmenter, images((40, 60)))
        check(segmenter, images((33, 17), (1, 1), (1, 9), (40, 60), (64, 64), (33, 17)))
        check(segmenter, images(*[(16, 16)] * 9))
        description = segmenter.describe()
        driver = nvml.driver_version() or "cuda13.0"
        assert description.machine.decode() == ", ".join(
            (f"{case.flavor.title} {case.version}", GPU.name, driver)
        )
        assert description.provider.decode() == case.flavor.value
        assert (description.batch.minimum, description.batch.maximum) == (1, 4)


def test_a_smallest_batch_is_filled_up(case: Case) -> None:
    case.build(batch=(3, 4, 4))
    with case.open() as segmenter:
        check(segmenter, images((5, 7), (9, 3)))


def test_threads_share_one_context(case: Case, gpu: StandIn) -> None:
    gpu.set("interleaved", 1)
    gpu.set("slow", 1)

    def work(seed: int) -> None:
        for turn in range(8):
            check(segmenter, images((3 + seed, 5 + turn), (4, 4), seed=seed))

    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert gpu.calls("cuStreamCreate") <= 3  # of the engine, and of two lanes


def test_a_lane_that_cannot_open_waits_for_another(case: Case, gpu: StandIn) -> None:
    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(3) as pool:
        check(segmenter, images((8, 8)))
        gpu.fail("cuStreamCreate")
        with gpu.paused("enqueueV3") as entered:
            calls = [pool.submit(check, segmenter, images((8, 8 + n))) for n in range(3)]
            entered()
            while gpu.calls("cuStreamCreate") < 4:  # of the engine, of its lane, and of two calls
                time.sleep(0.001)
        for call in calls:
            call.result(30)
        gpu.fail("cuStreamCreate", 0)


def test_calls_go_on_while_a_lane_opens(case: Case, gpu: StandIn) -> None:
    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(3) as pool:
        check(segmenter, images((8, 8)))
        with gpu.paused("cuStreamCreate") as opens:
            with gpu.paused("enqueueV3") as runs:
                first = pool.submit(check, segmenter, images((8, 8)))
                runs()
                second = pool.submit(check, segmenter, images((9, 9)))
                opens()
            first.result(30)
            pool.submit(check, segmenter, images((10, 10))).result(30)
            assert not second.done()
        second.result(30)


def test_two_engines_at_once(case: Case) -> None:
    with case.open() as one, case.open() as other:
        check(one, images((8, 8)))
        check(other, images((9, 9)))
        check(one, images((10, 10)))


def test_a_steady_state_allocates_nothing(case: Case, gpu: StandIn) -> None:
    calls = ("cuMemAlloc", "cuMemHostAlloc", "cuStreamCreate", "cuEventCreate", "setInputShape")
    with case.open() as segmenter:
        check(segmenter, images((32, 48)))
        before = [gpu.calls(call) for call in calls]
        for seed in range(3):
            check(segmenter, images((32, 48), seed=seed))
        assert [gpu.calls(call) for call in calls] == before


RUNNING = (
    "cuCtxPushCurrent", "cuMemAlloc", "cuMemHostAlloc", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync",
    "cuStreamCreate", "cuStreamWaitEvent", "cuEventCreate", "cuEventRecord", "cuEventSynchronize",
)  # fmt: skip


@pytest.mark.parametrize("call", RUNNING)
def test_a_call_of_cuda_fails_while_it_runs(case: Case, gpu: StandIn, call: str) -> None:
    errors = []
    with case.open() as segmenter:
        for skipped in range(3):
            gpu.fail(call, skipped=skipped)
            given = images((9 + skipped, 9), (8, 8 + skipped))
            errors.append(attempt(lambda given=given: segmenter(*given)))
            gpu.fail(call, 0)
            check(segmenter, images((12, 13), (8, 8)))
    found = {(error.status, str(error)) for error in errors if error}
    assert found == {(c_interface.BACKEND, f"CUDA failed: {call}: CUDA_ERROR_UNKNOWN")}


def test_too_little_memory(case: Case, gpu: StandIn) -> None:
    with case.open() as segmenter:
        gpu.fail("cuMemAlloc", OUT_OF_MEMORY)
        with pytest.raises(CallError, match="not enough free GPU memory: stop other processes"):
            segmenter(*images((8, 8)))


@pytest.mark.parametrize(
    ("call", "message"), [("setInputShape", "the shape failed"), ("enqueueV3", "the kernel failed")]
)
def test_tensorrt_fails_to_run(case: Case, gpu: StandIn, call: str, message: str) -> None:
    with case.open() as segmenter:
        check(segmenter, images((8, 8)))
        gpu.fail(call)
        with pytest.raises(CallError, match=f"TensorRT failed: {message}$") as caught:
            segmenter(*images((9, 9)))
        assert caught.value.status == c_interface.BACKEND
        gpu.fail(call, 0)
        for side in (9, 8, 9):
            check(segmenter, images((side, side)))


def test_a_lost_gpu(runtime: Library, stand_ins: Path, tmp_path: Path, gpu: StandIn) -> None:
    """A frame that is freed too early, which a real GPU answers for ever with an error."""
    case = Case(runtime, stand_ins, tmp_path, Flavor.TENSORRT)
    with case.open() as segmenter:
        gpu.set("lost", 1)
        with pytest.raises(CallError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            segmenter(*images((8, 8)))
        with pytest.raises(CallError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            segmenter(*images((8, 8)))
    gpu.reset()  # what it held is lost with it
