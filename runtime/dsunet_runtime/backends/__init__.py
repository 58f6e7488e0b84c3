"""What a backend is: the one contract between `Segmenter` and whatever computes the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]
"""Arrays by the name of the input or output."""


class Backend(ABC):
    """One artifact, loaded and ready to compute.  A context manager: leaving it closes it."""

    @abstractmethod
    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Compute every output from one batch.

        `inputs` has one contiguous array for each of the manifest's inputs, of its type and shape,
        batch axis included.  The backend only reads them, and not after it returns.  The arrays
        returned belong to the caller: no later call writes to them.

        Raises BackendError if the computation fails.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the backend holds; closing twice does nothing.  No `infer` after it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
