"""How far a build has come, and how to stop it."""

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
    """What TensorRT's progress monitor has heard.  Called from any thread."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        """Set it, and the build ends at the next step."""
        self._phases: list[_Phase] = []
        self._furthest = 0.0
        self._lock = threading.Lock()

    def start(self, name: str, steps: int) -> None:
        """A phase begins, inside those that have begun."""
        with self._lock:
            self._phases.append(_Phase(name, max(steps, 1)))

    def step(self, name: str, index: int) -> bool:
        """A step of a phase is done, counted from 0; gives whether to go on."""
        with self._lock:
            for phase in self._phases:
                if phase.name == name:
                    phase.done = index + 1
        return not self.cancelled.is_set()

    def finish(self, name: str) -> None:
        """A phase ends, also one that did not get through its steps."""
        with self._lock:
            self._phases = [phase for phase in self._phases if phase.name != name]

    def state(self) -> tuple[float, str]:
        """How much is done, 0 to 1 and never less than before, and what is being done."""
        with self._lock:
            fraction = 0.0
            for phase in reversed(self._phases):
                fraction = min((phase.done + fraction) / phase.steps, 1.0)
            self._furthest = max(self._furthest, fraction)
            return self._furthest, self._phases[-1].name if self._phases else "Reading the graph"


def monitor_of(trt: Any, progress: BuildProgress) -> Any:
    """TensorRT's progress monitor that tells `progress`."""

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


def run_stoppable(
    work: Callable[[], T], progress: BuildProgress, stream: TextIO, *, draw: bool
) -> T:
    """Run `work` in a thread, and give what it gives.

    With `draw`, its progress is drawn on `stream`, if that is a terminal.

    An interruption or termination cancels the build and is raised again when it has ended; a second
    one is raised at once.  It must be a thread of its own: Python hears signals in the main thread
    only, and if that were inside TensorRT, which calls Python, the exception would end the process.
    """
    result: list[T] = []
    failure: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            result.append(work())
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
            line.say("stopping at TensorRT's next step; interrupt again to leave at once")
            # A wait without end does not hear a signal that another thread has received.
            while not ended.wait(_REDRAW_SECONDS):
                pass
            raise
    if failure:
        raise failure[0]
    return result[0]
