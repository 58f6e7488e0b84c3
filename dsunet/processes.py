"""Pools of worker processes.  Imports nothing heavy: what it sets must be set before NumPy is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def open_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, of one thread each.

    They are spawned, not forked: PyTorch's, ONNX Runtime's and CUDA's threads survive no fork.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_prepare)


def _prepare() -> None:
    for name in _THREADS:
        os.environ[name] = "1"
    # Ctrl-C reaches the whole terminal; the parent says so and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed closes no pool, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
