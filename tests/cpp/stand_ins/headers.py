"""Headers for the stand-ins of TensorRT's libraries, made of NVIDIA's when the tests are built.

    python headers.py unused INCLUDE OUT     # classes whose functions end the process
    python headers.py rtx INCLUDE OUT        # a folder of headers like those of TensorRT for RTX

NVIDIA publishes the headers of TensorRT for RTX in its SDK only.  What the backend calls of them is
added to those of TensorRT here, as NVIDIA documents it, under a major version that no release has:
so a backend that was built for tests refuses the real library.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

CLASSES = ("Runtime", "CudaEngine", "ExecutionContext", "RuntimeConfig", "RuntimeCache")
MAJOR = 99

_CLASS = re.compile(r"^class V(\w+) : public VRoot\n\{\npublic:\n(.*?)^\};", re.M | re.S)
_FUNCTION = re.compile(r"virtual\s+([^;]*?)\s*=\s*0;", re.S)

_ENUMS = """
enum class EngineValidity : int32_t { kVALID = 0, kSUBOPTIMAL = 1, kINVALID = 2 };
enum class EngineInvalidityDiagnostics : uint64_t {
  kVERSION_MISMATCH = 1, kUNSUPPORTED_CC = 2, kOLD_CUDA_DRIVER = 4, kOLD_CUDA_RUNTIME = 8,
  kINSUFFICIENT_GPU_MEMORY = 16, kMALFORMED_ENGINE = 32, kCUDA_ERROR = 64
};
enum class CudaGraphStrategy : int32_t { kDISABLED = 0, kWHOLE_GRAPH_CAPTURE = 1 };

class IRuntimeCache : public INoCopy
{
public:
    virtual ~IRuntimeCache() noexcept = 0;
    IHostMemory* serialize() const noexcept { return mImpl->serialize(); }
    bool deserialize(void const* blob, size_t size) noexcept
    {
        return mImpl->deserialize(blob, size);
    }

protected:
    apiv::VRuntimeCache* mImpl;
};
inline IRuntimeCache::~IRuntimeCache() noexcept = default;

"""

_CACHE = """
class VRuntimeCache : public VRoot
{
public:
    virtual IHostMemory* serialize() const noexcept = 0;
    virtual bool deserialize(void const* blob, size_t size) noexcept = 0;
};

"""

_VALIDITY = """
    EngineValidity getEngineValidity(
        void const* blob, int64_t size, uint64_t* diagnostics) const noexcept
    {
        return mImpl->getEngineValidity(blob, size, diagnostics);
    }
"""

_CONFIG = """
    IRuntimeCache* createRuntimeCache() const noexcept { return mImpl->createRuntimeCache(); }
    bool setRuntimeCache(IRuntimeCache const& cache) noexcept
    {
        return mImpl->setRuntimeCache(cache);
    }
    bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept
    {
        return mImpl->setCudaGraphStrategy(strategy);
    }
"""


def unused(include: Path, out: Path) -> None:
    """Write classes that override each function of TensorRT's virtual classes."""
    text = (include / "NvInferImpl.h").read_text()
    lines = ["#pragma once", "#include <NvInferRuntime.h>", "#include <cstdlib>", ""]
    lines.append("namespace nvinfer1::apiv {")
    for name, body in _CLASS.findall(re.sub(r"//.*", "", text)):
        if name in CLASSES:
            lines.append(f"class Unused{name} : public V{name} {{")
            lines.append(" public:")
            for function in _FUNCTION.findall(body):
                lines.append(f"  {' '.join(function.split())} override {{ std::abort(); }}")
            lines.append("};")
    lines.append("}")
    out.write_text("\n".join(lines) + "\n")


def rtx(include: Path, out: Path) -> None:
    """Write headers with what the backend calls of TensorRT for RTX."""
    shutil.copytree(include, out, dirs_exist_ok=True)
    version = (out / "NvInferVersion.h").read_text().replace("_ENTERPRISE", "_RTX")
    version = re.sub(r"(define TRT_MAJOR_RTX) \d+", rf"\1 {MAJOR}", version)
    (out / "NvInferVersion.h").write_text(version)

    implementation = (out / "NvInferImpl.h").read_text()
    names = "class IRuntimeCache;\nenum class EngineValidity : int32_t;\n"
    names += "enum class CudaGraphStrategy : int32_t;\n\nnamespace apiv\n"
    implementation = _replaced(implementation, "namespace apiv\n", names)
    implementation = _with_functions(
        implementation,
        "class VRuntime : public VRoot",
        "virtual EngineValidity getEngineValidity("
        "void const* blob, int64_t size, uint64_t* diagnostics) const noexcept = 0;",
    )
    implementation = _with_functions(
        implementation,
        "class VRuntimeConfig : public VRoot",
        "virtual IRuntimeCache* createRuntimeCache() const noexcept = 0;\n"
        "virtual bool setRuntimeCache(IRuntimeCache const& cache) noexcept = 0;\n"
        "virtual bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept = 0;",
    )
    before = "class VRuntime : public VRoot"
    implementation = _replaced(implementation, before, _CACHE + before)
    (out / "NvInferImpl.h").write_text(implementation)

    runtime = (out / "NvInferRuntime.h").read_text()
    for declaration, added in (
        ("class IRuntime : public INoCopy\n{\npublic:", _VALIDITY),
        ("class IRuntimeConfig : public INoCopy\n{\npublic:", _CONFIG),
    ):
        runtime = _replaced(runtime, declaration, declaration + added)
    before = "class IRuntime : public INoCopy\n"
    (out / "NvInferRuntime.h").write_text(_replaced(runtime, before, _ENUMS + before))


def _with_functions(text: str, declaration: str, functions: str) -> str:
    """Add functions to the end of a class."""
    start = text.index(declaration)
    end = text.index("\n};", start)
    return f"{text[:end]}\n{functions}{text[end:]}"


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise SystemExit(f"these headers have no {old.strip()!r}: use those of TensorRT 11")
    return text.replace(old, new, 1)


if __name__ == "__main__":
    kind, source, target = sys.argv[1:]
    {"unused": unused, "rtx": rtx}[kind](Path(source), Path(target))
