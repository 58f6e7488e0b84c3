"""Pools of worker processes.  Must not import NumPy, which reads the thread limits set here."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Open a pool of spawned processes with one thread each.

    Processes are not forked, because threads of PyTorch, ONNX Runtime and CUDA do not survive it.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_prepare)


def _prepare() -> None:
    for name in _THREADS:
        os.environ[name] = "1"
    # Ctrl-C reaches all processes of a terminal; the parent reports it and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent is killed, which does not close the pool."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
