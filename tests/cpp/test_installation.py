"""The installed library, used by a project of its own: CMake, pkg-config, and as a subproject."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import dsunet_runtime
from tests.cpp.builds import BUILD_VARIABLES, cached
from tests.runtime import artifacts

SOURCES = Path(__file__).parents[2] / "runtime/cpp"
CONSUMER = SOURCES / "tests/consumer"
EXPECTED = f"{dsunet_runtime.__version__} 1\n20\n"
"""Versions, and (8 + 2 · 16 + 5 · 24) / 8."""


def run(*command: str | Path, **variables: str) -> str:
    result = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


def variables_of(build: Path) -> list[str]:
    """Return the options with which another build finds the same headers."""
    return [f"-D{name}={cached(build, name)}" for name in BUILD_VARIABLES]


@pytest.fixture(scope="module")
def prefix(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that was moved after it was made."""
    folder = tmp_path_factory.mktemp("installation")
    run("cmake", "--install", build, "--prefix", folder / "first")
    return (folder / "first").rename(folder / "second place")


@pytest.fixture(scope="module")
def libraries(prefix: Path) -> Path:
    (library,) = prefix.rglob("libdsunet_runtime.so")
    return library.parent


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return artifacts.frames(tmp_path / "a.onnx")


def test_a_project_of_cmake(
    prefix: Path, tmp_path: Path, artifact: Path, onnxruntime_library: Path
) -> None:
    run("cmake", "-S", CONSUMER, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    program = tmp_path / "build/consumer"
    printed = run(program, artifact, DSUNET_ONNXRUNTIME_LIBRARY=str(onnxruntime_library))
    assert printed == EXPECTED
    assert "first" not in run("readelf", "-d", program)


def test_a_command_with_pkg_config(
    libraries: Path, tmp_path: Path, artifact: Path, onnxruntime_library: Path
) -> None:
    flags = run(
        "pkg-config", "--cflags", "--libs", "dsunet_runtime",
        PKG_CONFIG_PATH=str(libraries / "pkgconfig"),
    )  # fmt: skip
    # pkg-config escapes the blank in the folder's name, as a shell expects.
    program = tmp_path / "consumer"
    run("sh", "-c", f"c++ -std=c++17 '{CONSUMER}/consumer.cpp' -o '{program}' {flags}")
    printed = run(
        program, artifact,
        LD_LIBRARY_PATH=str(libraries), DSUNET_ONNXRUNTIME_LIBRARY=str(onnxruntime_library),
    )  # fmt: skip
    assert printed == EXPECTED


def test_versions_that_cmake_accepts(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(one LANGUAGES NONE)\n"
        "foreach(version 0.1 0.2 1.0)\n"
        "  find_package(dsunet_runtime ${version} QUIET)\n"
        '  message(STATUS "${version}: ${dsunet_runtime_FOUND}")\n'
        "endforeach()\n"
    )
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert re.findall(r"^-- (\S+): (\d)$", said, re.M) == [("0.1", "1"), ("0.2", "0"), ("1.0", "0")]


def test_a_subproject(build: Path, tmp_path: Path) -> None:
    """As FetchContent adds it: configured without examples, tests and installation of its own."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(around LANGUAGES C CXX)\n"
        "include(FetchContent)\n"
        f'FetchContent_Declare(dsunet SOURCE_DIR "{SOURCES}")\n'
        "FetchContent_MakeAvailable(dsunet)\n"
        f'add_executable(consumer "{CONSUMER}/consumer.cpp")\n'
        "target_link_libraries(consumer PRIVATE dsunet::runtime)\n"
    )
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", *variables_of(build))
    assert re.search(r"^--   backends: +ONNX Runtime", said, re.M)
    for what in ("examples", "tests", "installation"):
        assert re.search(rf"^--   {what}: +none$", said, re.M)
    targets = run("cmake", "--build", tmp_path / "build", "--target", "help")
    assert {"consumer", "dsunet_runtime", "dsunet_onnxruntime"} <= set(re.findall(r"\w+", targets))
    assert not (tmp_path / "build/_deps/dsunet-build/dsunet_runtime.pc").exists()


def test_a_build_of_several_configurations(build: Path, tmp_path: Path) -> None:
    """As Visual Studio and Xcode make them: each library has the backends beside it."""
    if not shutil.which("ninja"):
        pytest.skip("ninja is not installed: apt-get install ninja-build")
    run(
        "cmake", "-S", SOURCES, "-B", tmp_path, "-G", "Ninja Multi-Config",
        "-DDSUNET_EXAMPLES=OFF", "-DDSUNET_TENSORRT=OFF", *variables_of(build),
    )  # fmt: skip
    targets = run("ninja", "-C", tmp_path, "-f", "build-Release.ninja", "-t", "targets", "all")
    (library,) = re.findall(r"^(\S+)/libdsunet_runtime\.so: ", targets, re.M)
    (backend,) = re.findall(r"^(\S+)/libdsunet_onnxruntime\.so: ", targets, re.M)
    assert backend == f"{library}/dsunet"


def test_an_installation_for_windows(build: Path, tmp_path: Path) -> None:
    """The backends are beside the library there too, which is in another folder than on Linux."""
    compiler = shutil.which("x86_64-w64-mingw32-g++")
    if compiler is None:
        pytest.skip("MinGW is not installed: apt-get install g++-mingw-w64-x86-64")
    run(
        "cmake", "-S", SOURCES, "-B", tmp_path, "-DCMAKE_SYSTEM_NAME=Windows",
        f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_C_COMPILER={compiler.replace('g++', 'gcc')}",
        "-DDSUNET_EXAMPLES=OFF", "-DDSUNET_TENSORRT=OFF", *variables_of(build),
    )  # fmt: skip
    script = (tmp_path / "cmake_install.cmake").read_text()
    pattern = r'DESTINATION "\$\{CMAKE_INSTALL_PREFIX\}/(\S+)" TYPE \S+ FILES "\S+/(\S+\.dll)"'
    places = {name: folder for folder, name in re.findall(pattern, script)}
    assert places == {"libdsunet_runtime.dll": "bin", "dsunet_onnxruntime.dll": "bin/dsunet"}


VERSION_1 = {
    *("dsunet_close", "dsunet_describe", "dsunet_interface_version", "dsunet_last_error"),
    *("dsunet_open", "dsunet_segment", "dsunet_segment_device", "dsunet_selftest"),
    "dsunet_version",
}
"""The functions of symbol version 1, for good: later ones belong to later versions."""


def test_exported_symbols(libraries: Path) -> None:
    header = (SOURCES / "include/dsunet/runtime.h").read_text()
    assert set(re.findall(r"^DSUNET_API .*?\b(dsunet_\w+)\(", header, re.M)) == VERSION_1
    listed = run("nm", "-D", "--defined-only", libraries / "libdsunet_runtime.so").splitlines()
    symbols = {line.split()[-1] for line in listed}
    assert symbols == {"DSUNET_1"} | {f"{name}@@DSUNET_1" for name in VERSION_1}
    for backend in (libraries / "dsunet").iterdir():
        listed = run("nm", "-D", "--defined-only", backend).splitlines()
        symbols = {line.split()[-1] for line in listed}
        assert symbols == {"DSUNET_BACKEND", "dsunet_backend@@DSUNET_BACKEND"}


def test_libraries_that_are_linked(libraries: Path) -> None:
    files = [libraries / "libdsunet_runtime.so", *(libraries / "dsunet").iterdir()]
    assert len(files) >= 2
    for file in files:
        needed = re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-d", file))
        allowed = r"(lib(stdc\+\+|gcc_s|c|m|dl|pthread)|ld-linux.*)\.so\.\d+"
        assert [name for name in needed if not re.fullmatch(allowed, name)] == [], file
    dynamic = run("readelf", "-d", libraries / "libdsunet_runtime.so")
    assert "[libdsunet_runtime.so.1]" in dynamic


def test_size_of_the_core(libraries: Path, tmp_path: Path) -> None:
    copy = shutil.copy(libraries / "libdsunet_runtime.so", tmp_path / "core.so")
    run("strip", copy)
    assert Path(copy).stat().st_size <= 1_000_000


def test_the_wrapper(build: Path, artifact: Path, onnxruntime_library: Path) -> None:
    program = build / "tests/dsunet_test_wrapper"
    if not program.exists():
        pytest.skip("the test programs are not built: run `make test-cpp`")
    run(program, artifact, DSUNET_ONNXRUNTIME_LIBRARY=str(onnxruntime_library))


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_headers_alone(compiler: str, tmp_path: Path) -> None:
    """Nothing of a third party is needed; C99 and C++17."""
    is_c = compiler == "cc"
    source = tmp_path / ("a.c" if is_c else "a.cpp")
    header, standard = ("runtime.h", "c99") if is_c else ("runtime.hpp", "c++17")
    source.write_text(f'#include "dsunet/{header}"\n')
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-std={standard}"]
    run(compiler, *flags, f"-I{SOURCES}/include", source)


def test_the_programs_of_the_manual(
    prefix: Path,
    libraries: Path,
    tmp_path: Path,
    onnxruntime_library: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (SOURCES.parents[1] / "docs/cpp.md").read_text()
    files = {"c": "main.c", "cpp": "main.cpp", "cmake": "CMakeLists.txt"}
    for language, name in files.items():
        (block,) = re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)
        (tmp_path / name).write_text(block)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    paths = [f"-I{prefix}/include", f"-L{libraries}", "-ldsunet_runtime"]
    run("cc", "-std=c99", tmp_path / "main.c", "-o", tmp_path / "main", *paths)
    artifacts.frames(tmp_path / "nano.onnx")
    variables = {
        "DSUNET_ONNXRUNTIME_LIBRARY": str(onnxruntime_library),
        "LD_LIBRARY_PATH": str(libraries),
    }
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path / "build/example", **variables) == "0\n"
    assert run(tmp_path / "main", **variables) == ""
