"""TensorRT's log, of which the runtime wants errors only."""

from __future__ import annotations

import functools
import threading
from typing import Any

from dsunet_runtime.message_text import printable


@functools.cache
def log_of(trt: Any) -> Any:
    """The logger of a flavour, which prints nothing.

    There is one for all engines, because TensorRT keeps the first logger of a process and may give
    it what a later one should get.  It tells threads apart: `clear()` before a call, and `reason()`
    is the first error that the call gave in this thread, as one line.
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
            return getattr(self._here, "error", "it gives no reason")

    return Log()
