"""`runtime/cpp/tests/exercise.cpp`, built with sanitizers, on good and bad files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cpp.builds import ROOT, build_with, find_clang, run
from tests.runtime import artifacts

# Findings inside ONNX Runtime's library, which is not built with sanitizers.
SUPPRESSIONS = {
    # Its atomics are not seen, so that whatever it hands from thread to thread seems to be a race.
    "thread": "called_from_lib:libonnxruntime.so\nrace:libonnxruntime.so\n"
    "race:onnxruntime_pybind11_state\n",
    # Its singletons live until the process ends.
    "leak": "leak:libonnxruntime.so\n",
}
KINDS = {"address": "address,undefined", "thread": "thread"}
RUNTIMES = {
    "address": ("libclang_rt.asan-x86_64.so", ()),
    "thread": ("libtsan.so", ("-k", "threads or lane")),
}
"""The library of each sanitizer, and the tests in which it may find something."""
ENGINES = (
    "dsunet_runtime", "dsunet_tensorrt", "stand_in_cuda", "stand_in_tensorrt",
    "stand_in_tensorrt_rtx",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What exercise.cpp reads."""
    bad = tmp_path / "bad"
    bad.mkdir()
    whole = artifacts.frames(tmp_path / "good.onnx").read_bytes()
    artifacts.frames(tmp_path / "fixed.onnx", batch=3)
    for length in range(0, len(whole) - 1, 200):
        (bad / f"{length}.onnx").write_bytes(whole[:length])
    for place in range(0, len(whole), 97):
        changed = bytes([whole[place] ^ 1])
        (bad / f"edited-{place}.onnx").write_bytes(whole[:place] + changed + whole[place + 1 :])
    for place in range(0, len(whole), 97):  # a weight or a name may change, and it is an artifact
        if works(bad / f"edited-{place}.onnx"):
            (bad / f"edited-{place}.onnx").unlink()
    artifacts.tensors(bad / "tensors.onnx")
    (bad / "text.onnx").write_text("hello\n")
    (bad / "a.engine").write_bytes(b"ftrt" + bytes(100))
    (bad / "folder.onnx").mkdir()
    return tmp_path


def works(path: Path) -> bool:
    """Whether the manifest, which has the hashes, is that of before."""
    import dsunet_runtime

    try:
        dsunet_runtime.read_manifest(path)
    except dsunet_runtime.ArtifactError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_find_nothing(
    build: Path, onnxruntime_library: Path, folder: Path, tmp_path: Path, kind: str
) -> None:
    sanitized = build_with(
        build, f"cpp-{kind}", ("dsunet_exercise", "dsunet_onnxruntime"),
        f"-DDSUNET_SANITIZE={KINDS[kind]}", "-DDSUNET_TESTS=ON",
    )  # fmt: skip
    for name, text in SUPPRESSIONS.items():
        (tmp_path / name).write_text(text)
    output = run(
        sanitized / "dsunet_exercise",
        folder,
        DSUNET_ONNXRUNTIME_LIBRARY=str(onnxruntime_library),
        ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1",
        LSAN_OPTIONS=f"suppressions={tmp_path / 'leak'}",
        TSAN_OPTIONS=f"suppressions={tmp_path / 'thread'}:ignore_noninstrumented_modules=1",
    )
    assert "0 failures" in output


def runtime_of(kind: str) -> str:
    """The sanitizer's library for a program that has none: Clang's one of threads crashes there."""
    compiler = find_clang() if kind == "address" else "cc"
    library = run(compiler, f"-print-file-name={RUNTIMES[kind][0]}").strip()
    if not Path(library).is_absolute():
        pytest.skip(f"{compiler} has no {library}")
    return library


@pytest.mark.parametrize("kind", KINDS)
def test_find_nothing_in_the_tests_of_engines(build: Path, tmp_path: Path, kind: str) -> None:
    """The tests of the TensorRT backend, in a Python into which the sanitizer is loaded."""
    if not (build / "stand_ins").exists():
        pytest.skip("the stand-ins of TensorRT are not built: they need NVIDIA's headers")
    sanitized = build_with(
        build, f"cpp-{kind}", ENGINES, f"-DDSUNET_SANITIZE={KINDS[kind]}", "-DDSUNET_TESTS=ON"
    )
    (tmp_path / "thread").write_text(SUPPRESSIONS["thread"])
    output = run(
        sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--capture=sys",
        *sorted((ROOT / "tests/cpp").glob("test_engines_*.py")), *RUNTIMES[kind][1],
        DSUNET_CPP_BUILD=str(sanitized),
        LD_PRELOAD=runtime_of(kind),
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1",
        TSAN_OPTIONS=f"suppressions={tmp_path / 'thread'}",
    )  # fmt: skip
    assert " passed" in output
