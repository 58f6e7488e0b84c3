"""The TensorRT backend on a fake GPU that puts off all work: slots, order, capture, lifetime."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_runtime import BackendError, ImageError, Segmenter
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.backends.tensorrt.backend import TensorRTBackend
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.cli import app
from tests.runtime import artifacts, engines
from tests.runtime.conftest import IN_BOTH_ORDERS, Machine
from tests.runtime.fake_tensorrt import CudaGraphStrategy, Severity
from tests.runtime.test_segmenter import (
    assert_masks_close,
    expected_tensors_mask,
    random_image,
)

LENT = ["cache", "configuration", "context", "engine", "runtime"]


pytestmark = IN_BOTH_ORDERS


@pytest.fixture
def classic(machine: Machine) -> Machine:
    machine.use(Flavor.TENSORRT)
    return machine


@pytest.fixture
def segmenter(machine: Machine, tmp_path: Path) -> Iterator[Segmenter]:
    with dsunet_runtime.load(engines.frames(tmp_path / "a.engine")) as segmenter:
        yield segmenter


def assert_masks(images: list[NDArray[np.uint8]], masks: list[NDArray[np.uint8]]) -> None:
    assert len(masks) == len(images)
    for image, mask in zip(images, masks, strict=True):
        np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))


class TestHostPath:
    @pytest.mark.parametrize("size", [(1, 1), (64, 64), (41, 53)])
    def test_mask(self, segmenter: Segmenter, size: tuple[int, int]) -> None:
        image = random_image(*size)
        assert_masks([image], [segmenter(image)])

    @pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 9, 23])
    def test_more_than_the_profile_takes_at_once(self, segmenter: Segmenter, count: int) -> None:
        images = [random_image(6, 5, seed) for seed in range(count)]
        assert_masks(images, segmenter.batch(images))

    def test_mixed_sizes(self, segmenter: Segmenter) -> None:
        images = [random_image(*[(5, 7), (64, 4), (6, 6)][i % 3], seed=i) for i in range(20)]
        assert_masks(images, segmenter.batch(images))

    def test_smallest_batch_is_filled_up(self, machine: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", batch=(2, 3, 4))
        with dsunet_runtime.load(path) as segmenter:
            assert segmenter.best_batch == 3
            images = [random_image(6, 5, seed) for seed in range(5)]
            assert_masks(images, segmenter.batch(images))
            assert [count for _, count in machine.context.enqueued] == [4, 2]

    def test_two_inputs(self, machine: Machine, tmp_path: Path) -> None:
        images = [random_image(5 + seed, 40 - seed, seed) for seed in range(11)]
        with dsunet_runtime.load(engines.tensors(tmp_path / "a.engine")) as segmenter:
            for image, mask in zip(images, segmenter.batch(images), strict=True):
                assert_masks_close(mask, expected_tensors_mask(image))
            assert [count for _, count in machine.context.enqueued] == [4, 4, 3]

    def test_masks_belong_to_the_caller(self, segmenter: Segmenter) -> None:
        images = [random_image(4, 4, seed) for seed in range(3)]
        masks = [segmenter(image) for image in images]
        assert_masks(images, masks)
        masks[0][:] = 0  # writable

    def test_the_next_batch_is_under_way_before_the_first_is_waited_for(
        self, machine: Machine, segmenter: Segmenter
    ) -> None:
        backend = segmenter._open()
        batches = [{"image": random_image(4, 5, seed)[None]} for seed in range(5)]
        enqueued = []
        for batch, outputs in zip(batches, backend.infer_each(iter(batches)), strict=True):
            expected = artifacts.expected_frames_mask(batch["image"])
            np.testing.assert_array_equal(outputs["mask"], expected)
            enqueued.append(len(machine.context.enqueued))
        # The result of batch 1 came with batch 3 enqueued already, and so on to the end.
        assert enqueued == [3, 4, 5, 5, 5]
        assert len({stream for stream, _ in machine.context.enqueued}) == 2

    def test_batches_are_made_as_they_are_needed(self, segmenter: Segmenter) -> None:
        made = []

        def batches() -> Iterator[dict[str, NDArray[np.uint8]]]:
            for seed in range(6):
                made.append(seed)
                yield {"image": random_image(4, 5, seed)[None]}

        results = segmenter._open().infer_each(batches())
        next(results)
        assert len(made) == 3
        results.close()  # type: ignore[attr-defined]
        # Whoever comes next finds both slots.
        images = [random_image(4, 5, seed) for seed in range(20)]
        assert_masks(images, segmenter.batch(images))

    @pytest.mark.parametrize("end", ["all", "early", "failure"])
    def test_slots_are_free_after_their_work(
        self, machine: Machine, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        """Another thread would overwrite the buffers of a slot that is given back too early."""
        backend = segmenter._open()
        assert isinstance(backend, TensorRTBackend)
        put, idle = backend._free.put, []

        def checked_put(slot: Any) -> None:
            idle.append(not machine.device.work[slot._stream.handle])
            put(slot)

        with monkeypatch.context() as patch:
            patch.setattr(backend._free, "put", checked_put)
            batches = [{"image": random_image(4, 5, seed)[None]} for seed in range(5)]
            results = backend.infer_each(iter(batches))
            next(results)
            if end == "all":
                assert len(list(results)) == 4
            elif end == "failure":
                machine.trt.fails = {"execute"}
                with pytest.raises(BackendError, match="the kernel failed"):
                    next(results)
            results.close()  # type: ignore[attr-defined]
        assert idle == [True, True]

    def test_from_many_threads(self, segmenter: Segmenter) -> None:
        groups = [[random_image(9, 9, 10 * g + i) for i in range(9)] for g in range(12)]
        with ThreadPoolExecutor(6) as pool:
            for images, masks in zip(groups, pool.map(segmenter.batch, groups), strict=True):
                assert_masks(images, masks)

    def test_memory_grows_with_what_comes_and_no_further(
        self, machine: Machine, segmenter: Segmenter
    ) -> None:
        def used() -> int:
            return sum(array.nbytes for array in machine.device.allocated.values())

        assert used() == 0
        segmenter(random_image(8, 8))
        assert used() == 8 * 8 * (3 + 1)
        allocations = machine.device.allocations
        for height in (8, 4, 1, 8):
            segmenter(random_image(height, 8))
        assert machine.device.allocations == allocations
        segmenter(random_image(16, 8))
        assert used() == 16 * 8 * (3 + 1)

    def test_outside_the_profile(self, segmenter: Segmenter) -> None:
        message = r"image is 65×3 .* takes 1 to 64×1 to 64: resize .*, or build .* another `--size`"
        with pytest.raises(ImageError, match=message):
            segmenter(random_image(3, 65))

    @pytest.mark.parametrize(
        ("call", "what"), [("set_input_shape", "shape"), ("execute", "kernel")]
    )
    def test_failure_while_computing(
        self, machine: Machine, segmenter: Segmenter, call: str, what: str
    ) -> None:
        images = [random_image(4, 4, seed) for seed in range(9)]
        machine.trt.fails = {call}
        for _ in range(3):
            with pytest.raises(BackendError, match=rf"^TensorRT failed: the {what} failed$"):
                segmenter.batch(images)
        machine.trt.fails = set()
        assert_masks(images, segmenter.batch(images))
        # Larger: so what the failed ones had is freed.
        images = [random_image(9, 9, seed) for seed in range(9)]
        assert_masks(images, segmenter.batch(images))

    def test_not_enough_memory(self, machine: Machine, tmp_path: Path) -> None:
        side = (1, 64, 1 << 20)
        path = engines.frames(tmp_path / "a.engine", height=side, width=side)
        image = random_image(4, 4)
        with dsunet_runtime.load(path) as segmenter:
            assert_masks([image], [segmenter(image)])
            huge = np.broadcast_to(np.uint8(0), (1, 1 << 18, 1 << 17, 3))
            with pytest.raises(BackendError, match="not enough free GPU memory"):
                segmenter._open().infer({"image": huge})
            assert_masks([image] * 3, [segmenter(image) for _ in range(3)])

    def test_predict(self, machine: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine")
        images = [random_image(4 + seed % 3, 5, seed) for seed in range(23)]
        photos, masks = tmp_path / "photos", tmp_path / "masks"
        photos.mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(photos / f"{index:02}.png")
        result = CliRunner().invoke(app, ["predict", str(path), str(photos), "-o", str(masks)])
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith("23 masks, 0 failed, ")
        assert_masks(images, [np.asarray(Image.open(file)) for file in sorted(masks.iterdir())])


class TestCapture:
    def test_classic_replays_what_repeats(self, classic: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT)
        with dsunet_runtime.load(path) as segmenter:
            for seed in range(6):
                image = random_image(5, 6, seed)
                assert_masks([image], [segmenter(image)])
            # A plain run, a recorded one, and four replays.
            assert len(classic.context.enqueued) == 2
            images = [random_image(7, 6, seed) for seed in range(24)]
            assert_masks(images, segmenter.batch(images))  # two slots, other shapes
            again = random_image(5, 6)
            assert_masks([again], [segmenter(again)])

    def test_a_recording_holds_for_its_shapes(self, classic: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT)
        with dsunet_runtime.load(path) as segmenter:
            # After the first all find their buffers where they were.
            for height, count in ((8, 1), (6, 3), (7, 3), (8, 3)):
                for seed in range(count):
                    image = random_image(height, 6, seed)
                    assert_masks([image], [segmenter(image)])

    def test_one_recording_for_each_slot(self, classic: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT, batch=(1, 1, 1))
        with dsunet_runtime.load(path) as segmenter:
            images = [random_image(7, 6, seed) for seed in range(12)]
            assert_masks(images, segmenter.batch(images))
            # The first plain, then each slot's recording.
            assert len(classic.context.enqueued) == 3

    def test_what_cannot_be_captured_is_run(self, classic: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT)
        classic.trt.fails = {"capture"}
        with dsunet_runtime.load(path) as segmenter:
            images = [random_image(5, 6, seed) for seed in range(4)]
            assert_masks(images, [segmenter(image) for image in images])
            assert len(classic.context.enqueued) == 4
            assert classic.context.captures == 1  # and never tried again

    def test_a_binding_that_does_not_capture(self, classic: Machine, tmp_path: Path) -> None:
        classic.cuda.captures = False
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT)
        with dsunet_runtime.load(path) as segmenter:
            images = [random_image(5, 6, seed) for seed in range(4)]
            assert_masks(images, [segmenter(image) for image in images])
            assert len(classic.context.enqueued) == 4

    def test_rtx_captures_by_itself(self, machine: Machine, segmenter: Segmenter) -> None:
        config = machine.trt.engines[-1].config
        assert config is not None
        assert config.cuda_graph_strategy is CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        for seed in range(4):
            segmenter(random_image(5, 6, seed))
        assert len(machine.context.enqueued) == 4


class TestLifetime:
    def test_everything_is_freed(self, machine: Machine, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine")
        with dsunet_runtime.load(path) as segmenter:
            segmenter.batch([random_image(4, 4, seed) for seed in range(20)])
        assert machine.device.closed  # which the fake refuses while anything is left
        assert not machine.device.allocated
        segmenter.close()
        with pytest.raises(BackendError, match="closed: load the artifact again"):
            segmenter(random_image(4, 4))

    @pytest.mark.parametrize("flavor", Flavor)
    def test_captured_or_not(self, machine: Machine, tmp_path: Path, flavor: Flavor) -> None:
        machine.use(flavor)
        with dsunet_runtime.load(engines.frames(tmp_path / "a.engine", flavor=flavor)) as segmenter:
            for seed in range(4):
                segmenter(random_image(4, 4, seed))
        assert machine.device.closed

    @pytest.mark.parametrize("call", ["deserialize", "create_execution_context"])
    def test_loading_that_fails_leaves_nothing(
        self, machine: Machine, tmp_path: Path, call: str
    ) -> None:
        log_of(machine.trt).log(Severity.ERROR, "something else")
        machine.trt.fails = {call}
        with pytest.raises(BackendError, match=r"a\.engine: TensorRT cannot .*: (magicTag|out of)"):
            dsunet_runtime.load(engines.frames(tmp_path / "a.engine"))
        assert machine.device.closed  # which the fake refuses while the error holds any of it

    def test_freed_in_the_order_that_tensorrt_wants(self, machine: Machine, tmp_path: Path) -> None:
        with dsunet_runtime.load(engines.frames(tmp_path / "a.engine")) as segmenter:
            segmenter(random_image(4, 4))
            assert sorted(machine.device.lent) == LENT
        assert machine.device.freed == ["context", "cache", "configuration", "engine", "runtime"]

    def test_two_engines_at_once(self, machine: Machine, tmp_path: Path) -> None:
        with (
            dsunet_runtime.load(engines.frames(tmp_path / "a.engine")) as first,
            dsunet_runtime.load(engines.frames(tmp_path / "b.engine")) as second,
        ):
            machine.trt.fails = {"execute"}
            for segmenter in (first, second, first):
                # Which nobody asks the reason of.
                machine.trt.log.log(Severity.ERROR, "something else")
                with pytest.raises(BackendError, match=r"^TensorRT failed: the kernel failed$"):
                    segmenter(random_image(4, 4))

    def test_every_call_reports_a_lost_gpu(self, machine: Machine, tmp_path: Path) -> None:
        with dsunet_runtime.load(engines.frames(tmp_path / "a.engine")) as segmenter:
            segmenter(random_image(4, 4))
            machine.device.lost = True
            for count in (1, 9, 9):
                with pytest.raises(BackendError, match="CUDA failed: call: CUDA_ERROR_ILLEGAL"):
                    segmenter.batch([random_image(4, 4)] * count)
        assert machine.device.closed

    def test_closing_waits_for_other_threads(self, machine: Machine, tmp_path: Path) -> None:
        segmenter = dsunet_runtime.load(engines.frames(tmp_path / "a.engine"))
        backend = segmenter._open()
        results = backend.infer_each({"image": random_image(4, 4, seed)[None]} for seed in range(4))
        first = next(results)
        closer = threading.Thread(target=segmenter.close)
        closer.start()
        closer.join(0.2)
        assert closer.is_alive()
        assert [o["mask"].shape for o in (first, *results)] == [(1, 4, 4)] * 4
        closer.join(10)
        assert machine.device.closed
        with pytest.raises(BackendError, match="closed"):
            backend.infer({"image": random_image(4, 4)[None]})
        with pytest.raises(BackendError, match="closed"):
            backend.run_device({}, {}, 0)
