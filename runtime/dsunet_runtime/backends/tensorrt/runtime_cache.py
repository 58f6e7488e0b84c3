"""Runtime cache: kernels compiled by TensorRT for RTX on this GPU, kept next to the engine."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

from dsunet_runtime.cuda import Gpu
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular, write_whole

_SUFFIX = ".cache"


class RuntimeCache:
    """TensorRT's cache of compiled kernels, and the file that it is loaded from and saved to.

    TensorRT itself rejects caches of another GPU, driver or release.  If the file cannot be read or
    written, kernels are compiled again.
    """

    def __init__(self, config: Any, file: Path) -> None:
        """Load the cache and attach it to a runtime configuration."""
        self._native = native = config.create_runtime_cache()
        self._file = file
        with contextlib.suppress(OSError), open_regular(file) as opened:
            native.deserialize(opened.read())
        self._saved = _hash(self._content())
        config.set_runtime_cache(native)

    def save(self) -> None:
        """Write the file if the cache has changed since it was loaded or saved.

        Caches of other drivers and releases for the same engine and GPU are then deleted.
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
    """Return the path of an engine's runtime cache for a GPU, a driver and a TensorRT release."""
    parts = (re.sub(r"[^a-zA-Z0-9.]+", "-", part) for part in (gpu.name, driver, tensorrt_version))
    return engine.with_name(f"{engine.name}.{'_'.join(parts)}{_SUFFIX}")


def _delete_older(file: Path) -> None:
    """Delete caches whose names differ only in driver and release."""
    engine_and_gpu = file.name.rsplit("_", 2)[0]
    with contextlib.suppress(OSError):
        for other in file.parent.iterdir():
            same = other.name.rsplit("_", 2)[0] == engine_and_gpu
            if same and other.suffix == _SUFFIX and other.name != file.name:
                other.unlink()


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
