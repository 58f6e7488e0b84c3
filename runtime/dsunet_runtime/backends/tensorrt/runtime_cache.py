"""What TensorRT for RTX compiled on this GPU, kept beside the engine for the next process."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from dsunet_runtime.cuda import Gpu
from dsunet_runtime.errors import OutputError
from dsunet_runtime.writing import write_whole


class RuntimeCache:
    """TensorRT's cache of an engine's kernels, and the file that it is loaded from and saved to.

    TensorRT itself refuses what another GPU, driver or release wrote.  A file that cannot be read
    or written is no failure: kernels are compiled again.
    """

    def __init__(self, config: Any, file: Path) -> None:
        """Load the cache, and make it the one of a runtime configuration, which this keeps."""
        self._config = config
        self._native = native = config.create_runtime_cache()
        self._file = file
        with contextlib.suppress(OSError):
            native.deserialize(file.read_bytes())
        self._saved_size = len(self._content())
        config.set_runtime_cache(native)

    def save(self) -> None:
        """Write the file, if there is more in the cache than when it was loaded or last saved."""
        content = self._content()
        if len(content) == self._saved_size:
            return
        with contextlib.suppress(OutputError):
            write_whole(self._file, lambda file: file.write(content))
            self._saved_size = len(content)

    def _content(self) -> bytes:
        content = self._native.serialize()
        return b"" if content is None else bytes(content)


def cache_file(engine: Path, gpu: Gpu, driver: str, tensorrt_version: str) -> Path:
    """Where an engine's runtime cache lies for a GPU, a driver and a release of TensorRT."""
    key = re.sub(r"[^\w.]+", "-", f"{gpu.name}_{driver}_{tensorrt_version}")
    return engine.with_name(f"{engine.name}.{key}.cache")
