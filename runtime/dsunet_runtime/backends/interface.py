"""The interface between `Segmenter` and the backends, which run the network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import BackendError

Tensors = dict[str, NDArray[Any]]
"""Arrays by name of the input or output."""


def closed() -> BackendError:
    """Return the error for a call after `close`."""
    return BackendError("this segmenter is closed: load the artifact again")


class Backend(Closeable):
    """A loaded artifact.  A context manager, which closes it."""

    concurrency: int = 1
    """Number of concurrent calls of `infer`, one thread each, that increase the throughput."""

    machine: tuple[str, ...] = ()
    """Device, driver and libraries, on which the outputs depend besides the artifact; empty for
    ONNX Runtime's CPU provider, with which artifacts are verified."""

    @abstractmethod
    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Compute all outputs for one batch.

        Args:
            inputs: One contiguous array for each input of the manifest, of its type and shape with
                batch axis.  The backend does not modify them, and does not read them after it
                returns.

        Returns:
            The outputs by name.  Later calls do not write to these arrays.

        Raises:
            BackendError: The computation fails.
        """

    def infer_each(self, batches: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[Tensors]:
        """Call `infer` for every batch, in order, overlapped as far as the backend supports it.

        A batch may be consumed before the results of earlier batches are yielded.  Between two
        results, do not wait for other calls of this backend, which could deadlock; or close the
        iterator first.
        """
        for batch in batches:
            yield self.infer(batch)

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], stream: Any
    ) -> None:
        """See `Segmenter.run_device`.  Raises BackendError if the backend does not support it."""
        raise BackendError(
            "run_device supports TensorRT engines only, and this is an ONNX file: build an engine "
            "with `dsunet-export trt` and load that"
        )

    @abstractmethod
    def close(self) -> None:
        """Release all resources.  Closing twice has no effect.  Do not call `infer` afterwards."""
