"""Progress of a build, and its cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from dsunet_runtime.progress import StatusLine, bar

_REDRAW_SECONDS = 0.1

T = TypeVar("T")


@dataclass(slots=True)
class _Phase:
    name: str
    steps: int
    done: int = 0


class BuildProgress:
    """Progress reported by TensorRT.  Thread-safe."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        """Set it to end the build at its next step."""
        self._phases: list[_Phase] = []
        self._furthest = 0.0
        self._lock = threading.Lock()

    def start(self, name: str, steps: int) -> None:
        """Start a phase, nested in those that have started."""
        with self._lock:
            self._phases.append(_Phase(name, max(steps, 1)))

    def step(self, name: str, index: int) -> bool:
        """Record that step `index`, from 0, of a phase is done; return whether to continue."""
        with self._lock:
            for phase in self._phases:
                if phase.name == name:
                    phase.done = index + 1
        return not self.cancelled.is_set()

    def finish(self, name: str) -> None:
        """End a phase, which may not have completed its steps."""
        with self._lock:
            self._phases = [phase for phase in self._phases if phase.name != name]

    def state(self) -> tuple[float, str]:
        """Return the fraction done, which never decreases, and the name of the current phase."""
        with self._lock:
            fraction = 0.0
            for phase in reversed(self._phases):
                fraction = min((phase.done + fraction) / phase.steps, 1.0)
            self._furthest = max(self._furthest, fraction)
            return self._furthest, self._phases[-1].name if self._phases else "Reading the graph"


def make_monitor(trt: Any, progress: BuildProgress) -> Any:
    """Create a progress monitor for TensorRT that reports to `progress`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.start(name, steps)

        def step_complete(self, name: str, step: int) -> bool:
            return progress.step(name, step)

        def phase_finish(self, name: str) -> None:
            progress.finish(name)

    return Monitor()


def run_cancellable(
    function: Callable[[], T], progress: BuildProgress, stream: TextIO, *, draw: bool
) -> T:
    """Run a function in a thread that can be cancelled, and return its result.

    With `draw`, progress is drawn on `stream` if that is a terminal.

    An interruption or termination cancels the build and is raised again after the build has ended;
    a second one is raised at once.  A separate thread is needed because Python handles signals in
    the main thread: raised inside TensorRT, which calls Python, they would end the process.
    """
    result: list[T] = []
    failure: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:
            failure.append(error)
        finally:
            ended.set()

    began = time.monotonic()
    with StatusLine(stream) as line:
        try:
            threading.Thread(target=run, name="TensorRT", daemon=True).start()
            while not ended.wait(_REDRAW_SECONDS):
                if draw:
                    fraction, phase = progress.state()
                    line.show(f"{bar(fraction)} {phase}  {time.monotonic() - began:.0f} s")
        except (KeyboardInterrupt, SystemExit):
            progress.cancelled.set()
            line.say("stopping at TensorRT's next step; interrupt again to exit at once")
            # A wait without a timeout is not interrupted by a signal that another thread received.
            while not ended.wait(_REDRAW_SECONDS):
                pass
            raise
    if failure:
        raise failure[0]
    return result[0]
