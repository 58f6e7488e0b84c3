"""The OpenVINO backend, on the CPU."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import re
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.integrity import weights_files
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.backends.cache_folder import cache_folder
from dsunet_runtime.backends.graph_names import check_names
from dsunet_runtime.backends.interface import Backend, Tensors
from dsunet_runtime.errors import ArtifactError, BackendError, OutputError
from dsunet_runtime.extras import does_not_load, install_command, is_absent
from dsunet_runtime.files import (
    is_unicode,
    link_or_copy,
    open_regular,
    resolved,
    staging_folder,
    write_whole,
)
from dsunet_runtime.message_text import printable, reason
from dsunet_runtime.processor import fast_instructions
from dsunet_runtime.provider import Provider

_DEVICE = "CPU"
_PRECISION, _THREADS = "INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS"
_PINNING = "ENABLE_CPU_PINNING"
_starting = threading.Lock()
_DIGEST = hashlib.sha256().digest_size
# OpenVINO's messages begin with locations in its source.
_LOCATION = re.compile(r"(Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:)\s*")


class OpenVinoBackend(Backend):
    """An ONNX file that OpenVINO has compiled for this CPU.

    The artifact determines the precision.  bfloat16 artifacts are computed in bfloat16 if the CPU
    supports it, including the parts that the file keeps in float32.  All others are computed in the
    types of the file, but float16 in float32: on the CPU tested, OpenVINO computes float16 as
    bfloat16, which is outside the tolerance of such artifacts.

    `threads` is the number of CPU threads; None for one per core.

    Raises BackendError if OpenVINO is missing or cannot load the file, and ArtifactError if the
    file is not a valid model or does not match the manifest.
    """

    def __init__(self, path: Path, manifest: Manifest, threads: int | None = None) -> None:
        core, processor = start()
        precision = _precision(core, manifest)
        version = import_openvino().__version__
        # Virtual machines on different processors may report one name.
        processor = " ".join((processor, *fast_instructions()))
        self.machine = (f"OpenVINO {version}", processor, f"precision {precision}")
        options = {_PRECISION: precision}
        if threads is not None:
            # With pinning, several processes would all use the first cores of the machine.
            options |= {_THREADS: str(threads), _PINNING: "NO"}
        file = _cache_file(path, manifest, self.machine)
        self._compiled = _load_cached(core, file, options)
        if self._compiled is None:
            self._compiled = _compile(core, path, manifest, options)
            _save(self._compiled, file)
        check_names(path, manifest, _names(self._compiled.inputs), _names(self._compiled.outputs))
        self._outputs = [spec.name for spec in manifest.outputs]
        self._idle: deque[Any] = deque()

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            results = request.infer(dict(inputs), share_inputs=True)
        except Exception as error:  # its exceptions have no common base class
            raise BackendError(f"OpenVINO failed: {_reason(error)}") from error
        found = {name: results[name] for name in self._outputs}
        self._idle.append(request)
        return found

    def close(self) -> None:
        self._idle.clear()
        self._compiled = None


def import_openvino() -> Any:
    """Import the package.  Raises BackendError if it is not installed or does not load."""
    try:
        import openvino
    except (ImportError, OSError) as error:
        command = install_command("openvino")
        if is_absent("openvino", error):
            raise BackendError(f"OpenVINO is not installed: {command}") from error
        raise BackendError(does_not_load("OpenVINO", error, command)) from error
    return openvino


def is_installed() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def start() -> tuple[Any, str]:
    """Return OpenVINO's core, one for the whole process, and the name of the CPU.

    A core's CPU plugin installs a new stack for signal handlers in its thread, and restores the
    former one at its end.  With two cores, the last one would restore a stack that the first has
    freed, and the next signal, such as Ctrl-C, would be a segmentation fault (OpenVINO 2026.4).

    Raises BackendError if OpenVINO is not installed, does not load or does not find the CPU.
    """
    with _starting:
        return _start()


@functools.cache
def _start() -> tuple[Any, str]:
    openvino = import_openvino()
    try:
        core = openvino.Core()
        return core, core.get_property(_DEVICE, "FULL_DEVICE_NAME")
    except RuntimeError as error:
        raise BackendError(f"OpenVINO does not start: {_reason(error)}") from error


def _precision(core: Any, manifest: Manifest) -> str:
    """Return the precision hint, without which OpenVINO computes float32 as bfloat16."""
    is_bfloat16 = manifest.precision.compute == Compute.BF16.element_type
    computes_it = "BF16" in core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return "bf16" if is_bfloat16 and computes_it else "f32"


def _compile(core: Any, path: Path, manifest: Manifest, options: Mapping[str, str]) -> Any:
    """Compile a graph.  Only OpenVINO's reader of ONNX files sees it: others would print errors."""
    from openvino.frontend import FrontEndManager

    if not is_unicode(path):
        raise ArtifactError(
            f"{path}: OpenVINO cannot open a path that is not UTF-8: rename the file or folder"
        )
    reader = FrontEndManager().load_by_framework("onnx")
    with _without_links(path, manifest) as unlinked:
        try:
            model = reader.convert(reader.load(str(unlinked)))
        except Exception as error:  # its exceptions have no common base class
            raise ArtifactError(f"{path}: OpenVINO cannot read it: {_reason(error)}") from error
        try:
            return core.compile_model(model, _DEVICE, dict(options))
        except Exception as error:  # of any type, as above
            raise BackendError(f"{path}: OpenVINO cannot compile it: {_reason(error)}") from error


@contextlib.contextmanager
def _without_links(path: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield the artifact's path, or that of a temporary hard link or copy if its weights are links.

    OpenVINO rejects weights in another folder, because a graph may name any file.  These names are
    in the manifest, the links are next to the artifact, and the hashes are verified.
    """
    files = weights_files(path, manifest)
    home = resolved(path.parent)
    if all(resolved(file).parent == home for file in files.values()):
        yield path
        return
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(staging_folder(path.parent))
        except OSError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for name, file in {path.name: path, **files}.items():
                link_or_copy(resolved(file), folder / name)
        except OSError as error:
            raise BackendError(
                f"{path}: its weights are links, of which OpenVINO needs a copy: {reason(error)}"
            ) from error
        yield folder / path.name


def _cache_file(path: Path, manifest: Manifest, parts: tuple[str, ...]) -> Path | None:
    """Return the cache file for a version, CPU and precision; None if caching is not possible."""
    folder = cache_folder(path, manifest, Provider.OPENVINO)
    if folder is None:
        return None
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return folder / f"{key}.blob"


def _load_cached(core: Any, file: Path | None, options: Mapping[str, str]) -> Any:
    """Load a compiled graph; None if there is none, or the file is damaged."""
    if file is None:
        return None
    try:
        with open_regular(file) as opened:
            digest, content = opened.read(_DIGEST), opened.read()
    except OSError:
        return None
    if hashlib.sha256(content).digest() != digest:
        return None
    with contextlib.suppress(RuntimeError):
        return core.import_model(content, _DEVICE, dict(options))
    return None


def _save(compiled: Any, file: Path | None) -> None:
    """Cache a compiled graph with its SHA-256.  If that fails, it is compiled again next time."""
    if file is None:
        return
    with contextlib.suppress(OSError, OutputError, RuntimeError):
        stream = io.BytesIO()
        compiled.export_model(stream)
        content = stream.getbuffer()
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(
            file,
            lambda opened: (opened.write(hashlib.sha256(content).digest()), opened.write(content)),
        )


def _names(ports: Any) -> list[str]:
    return [port.any_name for port in ports]


def _reason(error: Exception) -> str:
    """Return OpenVINO's message without locations in its source."""
    return printable(_LOCATION.sub("", str(error))) or reason(error)
