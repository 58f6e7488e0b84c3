"""What TensorRT for RTX compiled on this GPU, kept beside the engine for the next process."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

from dsunet_runtime.cuda import Gpu
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular
from dsunet_runtime.output_files import write_whole

_SUFFIX = ".cache"


class RuntimeCache:
    """TensorRT's cache of an engine's kernels, and the file that it is loaded from and saved to.

    TensorRT itself refuses what another GPU, driver or release wrote.  A file that cannot be read
    or written is no failure: kernels are compiled again.
    """

    def __init__(self, config: Any, file: Path) -> None:
        """Load the cache, and make it the one of a runtime configuration."""
        self._native = native = config.create_runtime_cache()
        self._file = file
        with contextlib.suppress(OSError), open_regular(file) as opened:
            native.deserialize(opened.read())
        self._saved = _hash(self._content())
        config.set_runtime_cache(native)

    def save(self) -> None:
        """Write the file, if the cache has changed since it was loaded or last saved.

        What an older driver left of the same engine and GPU is deleted then.
        """
        content = self._content()
        found = _hash(content)
        if found == self._saved:
            return
        with contextlib.suppress(OutputError):
            write_whole(self._file, lambda file: file.write(content))
            self._saved = found
            _delete_older(self._file)

    def _content(self) -> bytes:
        content = self._native.serialize()
        return b"" if content is None else bytes(content)


def cache_file(engine: Path, gpu: Gpu, driver: str, tensorrt_version: str) -> Path:
    """Where an engine's runtime cache lies for a GPU, a driver and a release of TensorRT."""
    parts = (re.sub(r"[^a-zA-Z0-9.]+", "-", part) for part in (gpu.name, driver, tensorrt_version))
    return engine.with_name(f"{engine.name}.{'_'.join(parts)}{_SUFFIX}")


def _delete_older(file: Path) -> None:
    """Delete caches whose names differ in driver and release only."""
    engine_and_gpu = file.name.rsplit("_", 2)[0]
    with contextlib.suppress(OSError):
        for other in file.parent.iterdir():
            same = other.name.rsplit("_", 2)[0] == engine_and_gpu
            if same and other.suffix == _SUFFIX and other.name != file.name:
                other.unlink()


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
