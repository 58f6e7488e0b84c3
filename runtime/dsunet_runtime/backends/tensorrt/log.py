"""TensorRT's logger: prints nothing, keeps errors, and forwards all messages to a build."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dsunet_runtime.message_text import printable

ERRORS = ("INTERNAL_ERROR", "ERROR")
"""Names of the severities that are errors."""


class _Local(threading.local):
    """The log's state in one thread."""

    error: str | None = None
    receive: Callable[[str, str], None] | None = None


@functools.cache
def log_of(trt: Any) -> Any:
    """Return the only logger of a flavor, for engines that are built and that are run.

    TensorRT uses the first logger of a process for everything, as long as an object made with it
    exists.  It reports in the thread that called it, so each thread has its own state: call
    `clear()` before an operation; `reason()` then returns the first error of the operation, as one
    line.  Inside `forwarding_to(receive)`, messages also go to `receive(severity, message)`.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._here = _Local()

        def log(self, severity: Any, message: str) -> None:
            here = self._here
            if here.receive is not None:
                here.receive(severity.name, message)
            if severity.name in ERRORS and here.error is None:
                here.error = printable(message)

        def clear(self) -> None:
            self._here.error = None

        def reason(self) -> str:
            return self._here.error or "no reason given"

        @contextmanager
        def forwarding_to(self, receive: Callable[[str, str], None]) -> Iterator[None]:
            before = self._here.receive
            self._here.receive = receive
            try:
                yield
            finally:
                self._here.receive = before

    return Log()
