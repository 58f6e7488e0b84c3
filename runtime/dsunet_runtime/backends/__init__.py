"""What a backend is: the one contract between `Segmenter` and whatever computes the network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import BackendError

Tensors = dict[str, NDArray[Any]]
"""Arrays by the name of the input or output."""


def closed() -> BackendError:
    """The error for a call that comes after `close`."""
    return BackendError("this segmenter is closed: load the artifact again")


class Backend(Closeable):
    """One artifact, loaded and ready to compute.  A context manager: leaving it closes it."""

    concurrency: int = 1
    """How many calls of `infer`, each from a thread of its own, are faster than one by one."""

    @abstractmethod
    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Compute every output from one batch.

        `inputs` has one contiguous array for each of the manifest's inputs, of its type and shape,
        batch axis included.  The backend only reads them, and not after it returns.  The arrays
        returned belong to the caller: no later call writes to them.

        Raises BackendError if the computation fails.
        """

    def infer_each(self, batches: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[Tensors]:
        """`infer` for every batch, in order, and with as much overlap as the backend is able to.

        A batch may be taken before the results of those before it are given.  Go through the
        results without waiting for other calls of the backend in between, or close the iterator.
        """
        for batch in batches:
            yield self.infer(batch)

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], stream: Any
    ) -> None:
        """What `Segmenter.run_device` says.  Raises BackendError where the backend has no way."""
        raise BackendError(
            "ONNX Runtime does not compute on tensors that are on the GPU already: build an engine "
            "with `dsunet-export trt` and load that"
        )

    @abstractmethod
    def close(self) -> None:
        """Free what the backend holds; closing twice does nothing.  No `infer` after it."""
