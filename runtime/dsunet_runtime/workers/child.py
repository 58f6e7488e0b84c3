"""Child processes with a pipe to their parent, which ends them.

Ctrl-C, and the signals that end a terminal or a service, reach all processes of a group.  Only the
parent reacts: it closes the pipe, and a child then finishes the file that it is writing.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import RuntimeFault

_END_SECONDS = 20
"""Time for a child to finish the file that it is writing."""
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Child(Closeable):
    """A process that runs `target(connection, *arguments)`.

    Processes are spawned, because threads of ONNX Runtime and CUDA do not survive a fork.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(target, theirs, *arguments), daemon=True)
        with _blocked_signals():
            self.process.start()
        theirs.close()  # so that reading fails when the child has ended

    def receive(self) -> Any:
        """Return the next message of the child.

        Raises EOFError if the child has ended, and the exception that the child has raised.
        """
        try:
            message = self.connection.recv()
        except OSError:  # in the middle of a message
            raise EOFError from None
        if isinstance(message, BaseException):
            raise message
        return message

    def send(self, message: Any) -> None:
        """Send a message to the child.  If the child has ended, `receive` raises EOFError."""
        with suppress(OSError):
            self.connection.send(message)

    def close(self) -> None:
        end_children([self])


def end_children(children: list[Child]) -> None:
    """End several children at once, by force those that do not end in time."""
    try:
        for child in children:
            child.connection.close()
        latest = time.monotonic() + _END_SECONDS
        for child in children:
            child.process.join(max(0, latest - time.monotonic()))
    finally:  # also after another Ctrl-C
        for child in children:
            child.process.kill()
            child.process.join()


def _run(target: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    """Run in the child."""
    for number in _SIGNALS:
        # Not SIG_IGN, which programs started by the child would inherit.
        signal.signal(number, _ignore)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        target(connection, *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has closed the pipe, or was killed
    except Exception as error:
        with suppress(OSError):
            connection.send(portable(error))


def portable(error: Exception) -> Exception:
    """Return an exception that can be pickled: a foreign one as RuntimeError with its traceback."""
    if isinstance(error, RuntimeFault | MemoryError):
        return type(error)(*error.args)
    return RuntimeError("".join(traceback.format_exception(error)))


def _ignore(number: int, frame: object) -> None:
    pass


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block signals inside the context; processes started in it inherit that."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # started later, by the first child, it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
