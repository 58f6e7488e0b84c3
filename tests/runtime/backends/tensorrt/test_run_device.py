"""`Segmenter.run_device` on a fake GPU: order, what it must not do, and what it refuses."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import BackendError, DeviceTensor, ImageError, Segmenter
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.backends.tensorrt import dlpack
from dsunet_runtime.backends.tensorrt.device_tensors import stream_handle
from tests.runtime import artifacts, engines
from tests.runtime.conftest import IN_BOTH_ORDERS, Machine
from tests.runtime.device_memory import Caller, Interface, Packed, strides_of
from tests.runtime.fake_cuda import DEFAULT_STREAMS, POISON, FakeEvent
from tests.runtime.test_segmenter import random_image


@pytest.fixture
def flavor() -> Flavor:
    return Flavor.RTX


@pytest.fixture
def segmenter(flavor: Flavor, machine: Machine, tmp_path: Path) -> Iterator[Segmenter]:
    machine.use(flavor)
    path = engines.frames(tmp_path / "a.engine", flavor=flavor)
    with dsunet_runtime.load(path) as segmenter:
        yield segmenter


@pytest.fixture
def caller(segmenter: Segmenter, machine: Machine) -> Iterator[Caller]:
    caller = Caller(machine)
    yield caller
    caller.close()


@pytest.fixture
def image(caller: Caller) -> DeviceTensor:
    return caller.tensor(2, 6, 5, 3)


@pytest.fixture
def mask(caller: Caller) -> DeviceTensor:
    return caller.tensor(2, 6, 5)


def frames(seed: int = 0, count: int = 2) -> NDArray[np.uint8]:
    return np.stack([random_image(6, 5, count * seed + i) for i in range(count)])


@IN_BOTH_ORDERS
@pytest.mark.parametrize("flavor", Flavor)
class TestOrder:
    @pytest.mark.parametrize("default", [None, *DEFAULT_STREAMS])
    def test_enqueues_and_does_not_wait(
        self,
        segmenter: Segmenter,
        caller: Caller,
        image: DeviceTensor,
        mask: DeviceTensor,
        default: int | None,
    ) -> None:
        stream = caller.stream.handle if default is None else default
        content = frames()
        caller.write(image, content, stream)
        waits, allocations = caller.device.waits, caller.device.allocations
        segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)
        assert (caller.device.waits, caller.device.allocations) == (waits, allocations)
        assert (caller.read(mask) == POISON).all()
        # What comes into the stream afterwards does not reach the run.
        caller.write(image, frames(9), stream)
        caller.wait(stream)
        np.testing.assert_array_equal(caller.read(mask), artifacts.expected_frames_mask(content))

    def test_runs_follow_each_other_whatever_their_streams(
        self, segmenter: Segmenter, caller: Caller
    ) -> None:
        with caller.device.current(), caller.device.stream() as other:
            streams = [caller.stream.handle, other.handle, 0, other.handle, 0, 1] * 2
            pairs = []
            for seed, stream in enumerate(streams):
                image, mask = caller.tensor(2, 6, 5, 3), caller.tensor(2, 6, 5)
                caller.write(image, frames(seed), stream)
                segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)
                pairs.append((mask, stream))
            for seed, (mask, stream) in reversed(list(enumerate(pairs))):
                caller.wait(stream)
                expected = artifacts.expected_frames_mask(frames(seed))
                np.testing.assert_array_equal(caller.read(mask), expected)

    def test_between_images_from_the_host(
        self, segmenter: Segmenter, caller: Caller, image: DeviceTensor, mask: DeviceTensor
    ) -> None:
        stream = caller.stream.handle
        for seed in range(4):
            caller.write(image, frames(seed), stream)
            segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)
            host = [random_image(7, 4, i) for i in range(12)]
            for one, result in zip(host, segmenter.batch(host), strict=True):
                np.testing.assert_array_equal(result, artifacts.expected_frames_mask(one))
            caller.wait(stream)
            expected = artifacts.expected_frames_mask(frames(seed))
            np.testing.assert_array_equal(caller.read(mask), expected)

    def test_a_change_of_shapes_while_a_recording_runs(
        self, segmenter: Segmenter, caller: Caller, image: DeviceTensor, mask: DeviceTensor
    ) -> None:
        host = [random_image(9, 8, seed)[None] for seed in range(6)]
        host += [frames(seed) for seed in range(3)]

        def batches() -> Iterator[dict[str, NDArray[np.uint8]]]:
            for index, batch in enumerate(host):
                if index == 6:  # a slot is still at work on the batch before
                    segmenter.run_device({"image": image}, {"mask": mask}, stream=0)
                yield {"image": batch}

        for batch, outputs in zip(host, segmenter._open().infer_each(batches()), strict=True):
            np.testing.assert_array_equal(outputs["mask"], artifacts.expected_frames_mask(batch))
        caller.wait(0)

    def test_does_not_wait_while_the_host_path_does(
        self, segmenter: Segmenter, caller: Caller, image: DeviceTensor, mask: DeviceTensor
    ) -> None:
        """Recordings that a change of shapes has made useless are waited for."""
        returned = []

        def synchronize(event: Any) -> None:
            if threading.current_thread() is threading.main_thread():
                thread = threading.Thread(target=run_device)
                thread.start()
                thread.join(2)
                returned.append(not thread.is_alive())
            wait(event)

        def run_device() -> None:
            segmenter.run_device({"image": image}, {"mask": mask}, stream=0)

        wait = FakeEvent.synchronize
        for shape in ((9, 8), (9, 8), (9, 8), (6, 5)):
            segmenter(random_image(*shape))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeEvent, "synchronize", synchronize)
            segmenter(random_image(6, 5))
        assert returned
        assert all(returned)
        caller.wait(0)

    def test_from_many_threads(self, segmenter: Segmenter, caller: Caller) -> None:
        def work(index: int) -> None:
            image, mask = caller.tensor(2, 6, 5, 3), caller.tensor(2, 6, 5)
            with (
                caller.device.current(),
                caller.device.stream() as stream,
                caller.device.event() as done,
            ):
                for seed in range(index, index + 8):
                    caller.write(image, frames(seed), stream.handle)
                    segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)
                    done.record(stream.handle)
                    done.synchronize()
                    expected = artifacts.expected_frames_mask(frames(seed))
                    right.append(np.array_equal(caller.read(mask), expected))

        right: list[bool] = []
        threads = [threading.Thread(target=work, args=(10 * i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 48

    def test_a_failure_leaves_the_stream_usable(
        self,
        segmenter: Segmenter,
        machine: Machine,
        caller: Caller,
        image: DeviceTensor,
        mask: DeviceTensor,
    ) -> None:
        machine.trt.fails = {"execute"}
        for stream in (caller.stream.handle, 0):
            with pytest.raises(BackendError, match="TensorRT failed: the kernel failed"):
                segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)
        machine.trt.fails = set()
        caller.write(image, frames(), 0)
        segmenter.run_device({"image": image}, {"mask": mask}, stream=0)
        caller.wait(0)
        np.testing.assert_array_equal(caller.read(mask), artifacts.expected_frames_mask(frames()))


@IN_BOTH_ORDERS
def test_two_inputs(machine: Machine, tmp_path: Path) -> None:
    with dsunet_runtime.load(engines.tensors(tmp_path / "a.engine")) as segmenter:
        caller = Caller(machine)
        sides = {"hiera": artifacts.HIERA, "dino": artifacts.DINO}
        inputs = {name: caller.tensor(2, 3, s, s, dtype="float32") for name, s in sides.items()}
        values = {
            name: np.random.default_rng(1).normal(size=tensor.shape).astype(np.float32)
            for name, tensor in inputs.items()
        }
        for name, tensor in inputs.items():
            caller.write(tensor, values[name], 0)
        logits = caller.tensor(2, 1, artifacts.HIERA, artifacts.HIERA, dtype="float32")
        segmenter.run_device(inputs, {"logits": logits}, stream=0)
        caller.wait(0)
        for found, hiera, dino in zip(caller.read(logits), *values.values(), strict=True):
            # The same sums in another order.
            expected = artifacts.expected_logits(hiera, dino)
            np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)
        inputs["dino"] = caller.tensor(1, 3, *[artifacts.DINO] * 2, dtype="float32")
        with pytest.raises(ImageError, match=r"different batch sizes \(hiera 2, dino 1\): use one"):
            segmenter.run_device(inputs, {"logits": logits}, stream=0)
        caller.close()


class TestTensors:
    @pytest.mark.parametrize(
        "wrap",
        [
            Interface,
            lambda t: Interface(t, strides=None),
            lambda t: Interface(t, strides=strides_of(t)),
            Packed,
            lambda t: Packed(t, strides=strides_of(t)),
            lambda t: Packed(t, offset=256),
        ],
    )
    def test_tensors_of_any_library(
        self,
        segmenter: Segmenter,
        caller: Caller,
        image: DeviceTensor,
        mask: DeviceTensor,
        wrap: Any,
    ) -> None:
        caller.write(image, frames(), 0)
        segmenter.run_device({"image": wrap(image)}, {"mask": wrap(mask)}, stream=0)
        caller.wait(0)
        np.testing.assert_array_equal(caller.read(mask), artifacts.expected_frames_mask(frames()))

    @pytest.mark.parametrize("wrap", [Interface, Packed])
    def test_strides_of_a_single_image(
        self, segmenter: Segmenter, caller: Caller, wrap: Any
    ) -> None:
        image, mask = caller.tensor(1, 6, 5, 3), caller.tensor(1, 6, 5)
        given = [wrap(tensor, strides=strides_of(tensor)) for tensor in (image, mask)]
        segmenter.run_device({"image": given[0]}, {"mask": given[1]}, stream=0)
        caller.wait(0)

    def test_a_real_library_s_capsule(self) -> None:
        torch = pytest.importorskip("torch")

        class OnHost:
            """PyTorch on the host takes no stream."""

            def __init__(self, tensor: Any) -> None:
                self._tensor = tensor

            def __dlpack__(self, stream: int) -> Any:
                return self._tensor.__dlpack__()

        whole = torch.zeros(4, 6, 10, dtype=torch.float16)
        for tensor in (whole, whole[1:], whole.transpose(0, 2), whole[:, ::2]):
            header = dlpack.read(OnHost(tensor))
            assert header.pointer == tensor.data_ptr()
            assert header.shape == tuple(tensor.shape)
            assert header.strides == tensor.stride()
            assert header.dtype == "float16"
        assert dlpack.device_kind(whole) == 1
        names = {torch.uint8: "uint8", torch.bfloat16: "bfloat16", torch.bool: "bool"}
        for dtype, name in names.items():
            assert dlpack.read(OnHost(torch.zeros(1, dtype=dtype))).dtype == name

    @pytest.mark.parametrize(
        "make",
        [
            lambda handle: handle,
            np.int64,
            lambda handle: SimpleNamespace(cuda_stream=handle),
            lambda handle: SimpleNamespace(ptr=handle),
            lambda handle: SimpleNamespace(handle=handle),
            lambda handle: SimpleNamespace(handle=ctypes.c_void_p(handle)),
            lambda handle: SimpleNamespace(__cuda_stream__=lambda: (0, handle)),
            lambda handle: SimpleNamespace(__cuda_stream__=(0, handle)),
        ],
    )
    def test_streams_of_any_library(
        self,
        segmenter: Segmenter,
        machine: Machine,
        caller: Caller,
        image: DeviceTensor,
        mask: DeviceTensor,
        make: Any,
    ) -> None:
        handle = caller.stream.handle
        segmenter.run_device({"image": image}, {"mask": mask}, stream=make(handle))
        assert machine.context.enqueued == [(handle, 2)]

    def test_numba_s_default_stream(self) -> None:
        assert stream_handle(SimpleNamespace(handle=ctypes.c_void_p(0))) == 0

    def test_a_stream_of_cuda_python(self) -> None:
        driver = pytest.importorskip("cuda.bindings.driver")
        assert stream_handle(driver.CUstream(4711)) == 4711

    @pytest.mark.parametrize(
        "stream",
        [
            *(None, "0", object(), SimpleNamespace(handle="0"), SimpleNamespace(ptr=b"")),
            *(SimpleNamespace(__cuda_stream__=5), SimpleNamespace(__cuda_stream__=lambda: 1 / 0)),
        ],
    )
    def test_no_stream(
        self, segmenter: Segmenter, image: DeviceTensor, mask: DeviceTensor, stream: Any
    ) -> None:
        with pytest.raises(BackendError, match=r"give a stream of PyTorch, .* or its handle"):
            segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)


@pytest.mark.parametrize("flavor", Flavor)
class TestRefusals:
    def refused(
        self, segmenter: Segmenter, image: Any, mask: Any, match: str, **names: Any
    ) -> None:
        given = names or {"image": image}
        with pytest.raises(ImageError, match=match) as caught:
            segmenter.run_device(given, {"mask": mask}, stream=0)
        assert "\n" not in str(caught.value)

    def test_names(self, segmenter: Segmenter, image: DeviceTensor, mask: DeviceTensor) -> None:
        self.refused(segmenter, image, mask, "inputs are picture and .* has image:", picture=image)
        with pytest.raises(ImageError, match="outputs are none and this engine has mask:"):
            segmenter.run_device({"image": image}, {}, stream=0)

    def test_type(self, segmenter: Segmenter, caller: Caller, mask: DeviceTensor) -> None:
        floats = caller.tensor(2, 6, 5, 3, dtype="float32")
        for tensor in (floats, Interface(floats), Packed(floats, dtype=(2, 32))):
            self.refused(segmenter, tensor, mask, "image is of type float32 and .* takes uint8")
        other = Interface(floats, typestr=">f4")
        self.refused(segmenter, other, mask, "image is of type >f4")

    @pytest.mark.parametrize(
        ("shape", "match"),
        [
            ((5, 6, 5, 3), r"shape 5×6×5×3 and .* takes 1 to 4×1 to 64×1 to 64×3: .*`--batch`"),
            ((0, 6, 5, 3), r"shape 0×6×5×3"),
            ((1, 65, 5, 3), r"shape 1×65×5×3 .* another `--batch` or `--size`"),
            ((2, 6, 5, 4), r"shape 2×6×5×4"),
            ((6, 5, 3), r"has 3 dimensions, 6×5×3, and this engine has batch×height×width×3"),
        ],
    )
    def test_shape(
        self,
        segmenter: Segmenter,
        image: DeviceTensor,
        mask: DeviceTensor,
        shape: tuple[int, ...],
        match: str,
    ) -> None:
        self.refused(segmenter, DeviceTensor(image.pointer, shape, "uint8"), mask, match)

    def test_shape_of_the_output(
        self, segmenter: Segmenter, caller: Caller, image: DeviceTensor
    ) -> None:
        for shape in ((2, 5, 6), (1, 6, 5)):
            wrong = caller.tensor(*shape)
            self.refused(segmenter, image, wrong, "mask has shape .*: .* give one of 2×6×5")

    def test_gaps(self, segmenter: Segmenter, image: DeviceTensor, mask: DeviceTensor) -> None:
        planar = (90, 5, 1, 30)
        self.refused(segmenter, Packed(image, strides=planar), mask, "make it contiguous")
        self.refused(segmenter, Interface(image, strides=planar), mask, "make it contiguous")
        self.refused(
            segmenter, image, Interface(mask, strides=(60, 10, 2)), "mask is not contiguous"
        )

    def test_alignment(self, segmenter: Segmenter, caller: Caller, mask: DeviceTensor) -> None:
        large = caller.tensor(4, 6, 5, 3)
        second = DeviceTensor(large.pointer + 90, (2, 6, 5, 3), "uint8")
        self.refused(
            segmenter,
            second,
            mask,
            "address of image is not a multiple of 256, .*: copy it to a new tensor",
        )

    def test_managed_memory(
        self, segmenter: Segmenter, image: DeviceTensor, mask: DeviceTensor
    ) -> None:
        self.refused(segmenter, Packed(image, kind=13), mask, "image is not in GPU memory: copy")

    def test_host_memory(self, segmenter: Segmenter, mask: DeviceTensor) -> None:
        content = frames()
        self.refused(segmenter, content, mask, "image is not in GPU memory: copy it there")
        pointer = content.ctypes.data // 256 * 256
        host = DeviceTensor(pointer, (2, 6, 5, 3), "uint8")
        self.refused(
            segmenter, host, mask, r"not in the memory of GPU 0 \(NVIDIA GeForce RTX 4090\)"
        )

    def test_read_only_output(
        self, segmenter: Segmenter, caller: Caller, image: DeviceTensor, mask: DeviceTensor
    ) -> None:
        self.refused(segmenter, image, Interface(mask, read_only=True), "mask is read-only")
        segmenter.run_device({"image": Interface(image, read_only=True)}, {"mask": mask}, stream=0)
        caller.wait(0)

    def test_what_is_no_tensor(self, segmenter: Segmenter, mask: DeviceTensor) -> None:
        self.refused(segmenter, [1, 2], mask, "image is of type list: use a tensor with")

    def test_a_library_that_refuses(self, segmenter: Segmenter, mask: DeviceTensor) -> None:
        class Refuses:
            @property
            def __cuda_array_interface__(self) -> Any:
                raise RuntimeError("call\ndetach() first")

        self.refused(
            segmenter,
            Refuses(),
            mask,
            r"the memory of image cannot be accessed: call detach\(\) first",
        )
