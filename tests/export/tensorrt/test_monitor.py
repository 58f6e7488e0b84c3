"""Progress of a build, and its cancellation."""

from __future__ import annotations

import io
import os
import signal
import threading
import time

import pytest

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.configuration import EngineOptions, configure
from dsunet_export.tensorrt.monitor import BuildProgress, make_monitor, run_cancellable
from dsunet_export.tensorrt.targets import Target
from dsunet_runtime.artifact.flavor import Flavor, typed_network
from dsunet_runtime.backends.tensorrt.log import log_of


class TestProgress:
    def test_nested_phases(self) -> None:
        progress = BuildProgress()
        assert progress.state() == (0, "Reading the graph")
        progress.start("Building", 4)
        assert progress.step("Building", 0)
        progress.start("Timing", 2)
        progress.step("Timing", 0)
        fraction, phase = progress.state()
        assert fraction == pytest.approx((1 + 1 / 2) / 4)
        assert phase == "Timing"
        progress.finish("Timing")
        progress.step("Building", 1)
        assert progress.state() == (0.5, "Building")
        progress.cancelled.set()
        assert not progress.step("Building", 2)

    def test_drawn(self) -> None:
        progress = BuildProgress()

        def work() -> int:
            progress.start("Timing tactics", 2)
            progress.step("Timing tactics", 0)
            time.sleep(0.3)
            return 7

        terminal = Terminal()
        assert run_cancellable(work, progress, terminal, draw=True) == 7
        assert "█" * 15 + "·" * 15 + " Timing tactics  0 s" in terminal.getvalue()
        assert terminal.getvalue().endswith("\r\x1b[K")
        for stream, draw in ((Terminal(), False), (io.StringIO(), True)):
            run_cancellable(lambda: 7, progress, stream, draw=draw)
            assert "Timing" not in stream.getvalue()

    def test_failure(self) -> None:
        def work() -> None:
            raise ExportError("said in the thread")

        with pytest.raises(ExportError, match="said in the thread"):
            run_cancellable(work, BuildProgress(), io.StringIO(), draw=True)

    def test_interruption(self) -> None:
        """The build is cancelled, and has ended when the interruption is raised again."""
        progress = BuildProgress()
        ended = threading.Event()

        def work() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            progress.cancelled.wait(10)
            time.sleep(0.2)
            ended.set()

        stream = io.StringIO()
        with pytest.raises(KeyboardInterrupt):
            run_cancellable(work, progress, stream, draw=True)
        assert ended.is_set()
        assert stream.getvalue().startswith("stopping at TensorRT's next step")

    def test_second_interruption(self) -> None:
        """It does not wait for the build."""
        progress = BuildProgress()
        leave = threading.Event()

        def work() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            progress.cancelled.wait(10)
            os.kill(os.getpid(), signal.SIGINT)
            leave.wait(10)

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run_cancellable(work, progress, io.StringIO(), draw=True)
        assert time.monotonic() - began < 5
        leave.set()

    def test_of_tensorrt(self) -> None:
        """The monitor receives every phase, and a cancelled build returns nothing."""
        trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

        class Recorder(BuildProgress):
            def __init__(self) -> None:
                super().__init__()
                self.phases: list[str] = []
                self.fractions: list[float] = []

            def start(self, name: str, steps: int) -> None:
                super().start(name, steps)
                self.phases.append(name)

            def step(self, name: str, index: int) -> bool:
                go_on = super().step(name, index)
                self.fractions.append(self.state()[0])
                return go_on

        for cancelled in (False, True):
            builder = trt.Builder(log_of(trt))
            network = typed_network(trt, builder)
            image = network.add_input("image", trt.float16, (1, 8))
            network.mark_output(
                network.add_activation(image, trt.ActivationType.RELU).get_output(0)
            )
            target = Target(Flavor.RTX, {"8.9": ()}, "a test")
            config = configure(builder, target, EngineOptions(), ())
            progress = Recorder()
            if cancelled:
                progress.cancelled.set()
            monitor = make_monitor(trt, progress)
            config.progress_monitor = monitor
            serialized = builder.build_serialized_network(network, config)
            assert (serialized is None) == cancelled
            assert progress.phases[0] == "Building engine"
            assert progress.state()[1] == "Reading the graph"  # every phase has ended
            assert all(0 <= fraction <= 1 for fraction in progress.fractions)
            if not cancelled:
                assert progress.fractions == sorted(progress.fractions)
                assert progress.fractions[-1] > 0.8


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
