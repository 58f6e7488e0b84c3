"""TensorRT's log.  It prints nothing; the runtime uses its errors, and a build all messages."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dsunet_runtime.message_text import printable


@functools.cache
def log_of(trt: Any) -> Any:
    """Return the only logger of a flavour, for engines that are built and that are run.

    TensorRT uses the first logger of a process for everything, as long as an object made with it
    exists.  Errors are kept per thread: call `clear()` before an operation; `reason()` then returns
    the first error of the operation in this thread, as one line.  Inside `forwarding_to(receive)`,
    messages of all threads also go to `receive(severity, message)`.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._here = threading.local()
            self._receive: Callable[[str, str], None] | None = None

        def log(self, severity: Any, message: str) -> None:
            if self._receive is not None:
                self._receive(severity.name, message)
            errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)
            if severity in errors and not hasattr(self._here, "error"):
                self._here.error = printable(message)

        def clear(self) -> None:
            self._here.__dict__.clear()

        def reason(self) -> str:
            return getattr(self._here, "error", "no reason given")

        @contextmanager
        def forwarding_to(self, receive: Callable[[str, str], None]) -> Iterator[None]:
            self._receive = receive
            try:
                yield
            finally:
                self._receive = None

    return Log()
