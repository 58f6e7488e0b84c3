"""TensorRT's log; the runtime uses only its errors."""

from __future__ import annotations

import functools
import threading
from typing import Any

from dsunet_runtime.message_text import printable


@functools.cache
def log_of(trt: Any) -> Any:
    """Return the logger of a flavour, which prints nothing.

    All engines share it, because TensorRT uses the first logger of a process for all.  Messages are
    kept per thread: call `clear()` before an operation; `reason()` then returns the first error of
    the operation in this thread, as one line.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._here = threading.local()

        def log(self, severity: Any, message: str) -> None:
            errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)
            if severity in errors and not hasattr(self._here, "error"):
                self._here.error = printable(message)

        def clear(self) -> None:
            self._here.__dict__.clear()

        def reason(self) -> str:
            return getattr(self._here, "error", "no reason given")

    return Log()
