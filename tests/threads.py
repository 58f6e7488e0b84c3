"""The number of threads in tests.

Small models gain nothing from several, and with as many test processes as cores the threads of one
wait for those of the other: a run of `nano` in ONNX Runtime takes twice the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for PyTorch, in tests that import this fixture into their conftest."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def one_thread_per_session() -> Iterator[None]:
    """One thread for ONNX Runtime's sessions in the process of the tests, unless they choose."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions

    class OneThread(options):
        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", OneThread)
        yield
