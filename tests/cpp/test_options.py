"""Options, backends and libraries that cannot be used: a status and one line, never a crash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import dsunet_runtime
from tests.cpp.both import of_c
from tests.cpp.builds import WITH_ALL_HEADERS
from tests.cpp.c_interface import ARGUMENT, BACKEND, CallError, Library


@WITH_ALL_HEADERS
class TestOptions:
    OPTIONS = (
        ({"threads": -1}, ARGUMENT, "^threads is -1: use 1 to 1,024, or 0 for one per core$"),
        ({"threads": 1025}, ARGUMENT, "^threads is 1025: use 1 to 1,024"),
        ({"device": -1}, ARGUMENT, "^device is -1: it must be the number of a CUDA device"),
        ({"selftest": 3}, ARGUMENT, "^unknown selftest 3: use a dsunet_selftest_policy"),
        ({"provider": "x\x1b[2J"}, BACKEND, r"^unknown provider 'x\\x1b\[2J': use one of cpu, cu"),
        ({"provider": "cuda"}, BACKEND, "^ONNX Runtime .* has no provider 'cuda', only cpu: use"),
        ({"provider": "tensorrt"}, BACKEND, "^ONNX Runtime .* has no provider 'tensorrt', only c"),
        ({"backends": "/nowhere"}, BACKEND, "^/nowhere/libdsunet_onnxruntime.so: the backend that"),
        ({"library": "/nowhere/libx.so"}, BACKEND, "^/nowhere/libx.so: ONNX Runtime cannot be l"),
        ({"library": "libm.so.6"}, BACKEND, "^the library that was loaded is not ONNX Runtime: i"),
        ({"library": "/etc/passwd"}, BACKEND, "^/etc/passwd: ONNX Runtime cannot be loaded: "),
    )

    @pytest.mark.parametrize(("options", "status", "match"), OPTIONS)
    def test_are_refused(
        self, library: Library, path: Path, options: dict[str, Any], status: int, match: str
    ) -> None:
        with pytest.raises(CallError, match=match) as caught:
            library.open(path, **options)
        assert caught.value.status == status
        assert str(caught.value).isprintable()
        assert list(path.parent.iterdir()) == [path]  # no folder for what a provider compiles

    def test_of_providers_on_a_gpu(self, library: Library, path: Path) -> None:
        with pytest.raises(dsunet_runtime.BackendError) as expected:
            dsunet_runtime.load(path, allow_cpu_fallback=True)
        assert of_c(library, path, allow_cpu_fallback=1) == str(expected.value)

    def test_the_plugin_without_a_gpu(self, library: Library, path: Path) -> None:
        plugin = pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx")
        if _has_gpu():
            pytest.skip("this machine has a GPU")
        message = of_c(library, path, provider="rtx", provider_library=plugin.get_library_path())
        assert message is not None
        assert "'rtx' does not start" in message or (
            "such as 'rtx' need those of 1.22" in message and not has_newest_headers(library)
        )
        assert message.isprintable()
        assert of_c(library, path) is None  # and other providers go on

    @pytest.mark.parametrize("plugin", [None, "/nowhere/libx.so", "/etc/passwd"])
    def test_no_plugin(
        self, library: Library, path: Path, plugin: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DSUNET_RTX_PROVIDER_LIBRARY", raising=False)
        message = of_c(library, path, provider="rtx", provider_library=plugin)
        assert "the provider 'rtx'" in str(message) or (
            "plugins such as 'rtx'" in str(message) and not has_newest_headers(library)
        )
        assert list(path.parent.iterdir()) == [path]


def has_newest_headers(library: Library) -> bool:
    return library.backends is not None and library.backends.name == "newest"


def _has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()


BACKENDS = {
    "of another version": (
        "struct table { int version; };"
        "const struct table *dsunet_backend(void) { static struct table t = {99}; return &t; }"
    ),
    "without an entry": "int dsunet_other;",
    "that gives nothing": "void *dsunet_backend(void) { return 0; }",
}


@pytest.mark.parametrize("kind", BACKENDS)
def test_backends(library: Library, path: Path, tmp_path: Path, kind: str) -> None:
    _compile(tmp_path / "libdsunet_onnxruntime.so", BACKENDS[kind], "-shared", "-fPIC")
    with pytest.raises(CallError, match="is not a backend of this version of dsunet") as caught:
        library.open(path, backends=tmp_path)
    assert caught.value.status == BACKEND


PROGRAM = """
#include <stdio.h>
#include "dsunet/runtime.h"
typedef dsunet_status open_function(const char *, const dsunet_options *, dsunet_segmenter **);
open_function *volatile open_ = dsunet_open;
int main(int count, char **arguments) {
  dsunet_segmenter *segmenter = NULL;
  dsunet_status status = open_(arguments[count - 1], NULL, &segmenter);
  printf("%d %s", status, dsunet_last_error());
  dsunet_close(&segmenter);
  return status;
}
"""


@pytest.mark.parametrize("option", ["-pie", "-no-pie"])
def test_backends_are_beside_the_library_in_any_program(
    library: Library, build: Path, path: Path, tmp_path: Path, option: str
) -> None:
    """In programs with fixed addresses, that of dsunet_open is in the program."""
    program = _program(tmp_path, build, option)
    done = subprocess.run([program, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0 ")


def test_no_onnx_runtime(build: Path, path: Path, tmp_path: Path) -> None:
    """In a process that has not loaded it."""
    program = _program(tmp_path, build)
    done = subprocess.run([program, path], capture_output=True, text=True, env={})
    if done.returncode == 0:
        pytest.skip("the loader finds a library of ONNX Runtime")
    assert done.returncode == BACKEND
    beginning = "3 ONNX Runtime is not found (libonnxruntime.so.1: cannot open shared object file"
    assert done.stdout.startswith(beginning)
    assert "the environment variable DSUNET_ONNXRUNTIME_LIBRARY" in done.stdout


def _program(folder: Path, build: Path, *options: str) -> Path:
    include = Path(__file__).parents[2] / "runtime/cpp/include"
    beside = (f"-I{include}", f"-L{build}", f"-Wl,-rpath,{build}")
    _compile(folder / "program", PROGRAM, *beside, *options, last=("-ldsunet_runtime",))
    return folder / "program"


def _compile(output: Path, source: str, *options: str, last: tuple[str, ...] = ()) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    command = [compiler, *options, "-x", "c", "-", "-o", str(output), *last]
    subprocess.run(command, input=source, text=True, check=True)
