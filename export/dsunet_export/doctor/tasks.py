"""The tasks of this project, and whether a machine meets their requirements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsunet_export.doctor.machine import Machine
from dsunet_export.doctor.packages import Package, PackageState
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.extras import install_command
from dsunet_runtime.provider import Provider

_DRIVERS = "https://www.nvidia.com/drivers"
_TORCH = ("torch", "torchvision", "timm", "sam2", "PyWavelets", "safetensors")
_METRICS = "pysodmetrics"
_TRAINING = (_METRICS, "lightning-fabric", "matplotlib")
_ONNX = ("onnx", "onnx-ir")
_RTX_PLUGIN = "onnxruntime-ep-nv-tensorrt-rtx"


@dataclass(frozen=True, slots=True)
class Need:
    """A requirement of a task."""

    what: str
    missing: str | None = None
    """Reason why it is not met; None if it is met, or if that is unknown."""
    remedy: str | None = None
    """Remedy, if possible a command."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that this project can do, with its requirements."""

    name: str
    """Key in the JSON report; the same in every version."""
    title: str
    needs: tuple[Need, ...]
    remark: str | None = None
    """Further information if the task can run."""

    @property
    def possible(self) -> bool:
        return all(need.missing is None for need in self.needs)


_GPU = "NVIDIA GPU with driver"
_NO_DRIVER = Need(_GPU, "there is no NVIDIA driver", f"install NVIDIA's driver: {_DRIVERS}")


def check_tasks(machine: Machine) -> tuple[Task, ...]:
    """Check all tasks, in the order in which they are used."""
    return (
        Task("load_checkpoints", "load checkpoints", _packages(machine, *_TORCH)),
        Task("train", "train", _packages(machine, *_TORCH, *_TRAINING), _device(machine)),
        Task(
            "evaluate_checkpoints",
            "evaluate checkpoints",
            _packages(machine, *_TORCH, _METRICS),
            _device(machine),
        ),
        Task("evaluate_masks", "evaluate masks", _packages(machine, _METRICS)),
        Task(
            "explain",
            "explain (Figs. 1 and 2)",
            _packages(machine, *_TORCH, "matplotlib", "scikit-learn"),
        ),
        Task(
            "export_onnx",
            "export to ONNX, verified",
            _packages(machine, *_TORCH, *_ONNX, "onnxscript", "onnxruntime"),
        ),
        Task(
            "convert_precision",
            "convert to FP16 or BF16",
            _packages(machine, *_ONNX, "onnxruntime"),
        ),
        Task(
            "build_rtx",
            "build engines, rtx",
            (_flavor(machine, Flavor.RTX),),
            _targets(machine),
        ),
        Task(
            "build_tensorrt",
            "build engines, tensorrt",
            (
                _flavor(machine, Flavor.TENSORRT),
                *_gpu(machine),
                *_driver_version(machine, Flavor.TENSORRT),
            ),
            f"for this {machine.gpus[0].title}" if machine.gpus else None,
        ),
        Task("run_onnx_cpu", "run ONNX, cpu", _provider(machine, Provider.CPU)),
        Task("run_onnx_cuda", "run ONNX, cuda", _provider(machine, Provider.CUDA)),
        Task("run_onnx_tensorrt", "run ONNX, tensorrt", _provider(machine, Provider.TENSORRT)),
        Task("run_onnx_rtx", "run ONNX, rtx", _rtx_provider(machine)),
        Task("run_onnx_openvino", "run ONNX, openvino", _openvino(machine)),
        Task(
            "run_engine_rtx",
            "run engines, rtx",
            (
                _flavor(machine, Flavor.RTX),
                *_gpu(machine),
                *_driver_version(machine, Flavor.RTX),
                *_known_gpu(machine),
            ),
        ),
        Task(
            "run_engine_tensorrt",
            "run engines, tensorrt",
            (
                _flavor(machine, Flavor.TENSORRT),
                *_gpu(machine),
                *_driver_version(machine, Flavor.TENSORRT),
            ),
        ),
    )


def _packages(machine: Machine, *names: str) -> tuple[Need, ...]:
    gpu_onnxruntime = "onnxruntime-gpu" in machine.onnxruntimes
    needs = []
    for name in names:
        package = machine.packages[name]
        need = _package(package)
        if need.missing and package.extra == "export" and gpu_onnxruntime:
            # The extra would install the CPU build of ONNX Runtime over the GPU build.
            need = Need(need.what, need.missing, f"pip install {package.distribution}")
        needs.append(need)
    return tuple(needs)


def _package(package: Package) -> Need:
    if package.works:
        return Need(package.title)
    if package.state is PackageState.MISSING:
        return Need(package.title, f"{package.title} is not installed", package.remedy)
    state = "does not load" if package.state is PackageState.BROKEN else "is too old"
    missing = f"{package.title} {package.version or ''} {state} ({package.reason})"
    return Need(package.title, " ".join(missing.split()), package.remedy)


def _device(machine: Machine) -> str | None:
    """Describe the device on which PyTorch computes."""
    if machine.torch is None:
        return None
    return "on a GPU" if machine.torch.sees_gpu else "on the CPU: PyTorch finds no GPU"


def _flavor(machine: Machine, flavor: Flavor) -> Need:
    return _package(machine.packages[flavor.distribution])


def _gpu(machine: Machine) -> Iterator[Need]:
    """Yield the needs for a GPU and a Python binding, without which GPUs cannot be found."""
    cuda_python, pycuda = machine.packages["cuda-python"], machine.packages["pycuda"]
    # The order of `dsunet_runtime.cuda.find`.
    binding = pycuda if cuda_python.state is PackageState.MISSING and pycuda.works else cuda_python
    yield _package(binding)
    if not machine.driver.is_installed:
        yield _NO_DRIVER
    elif binding.works and machine.driver.problem is not None:
        remedy = f"check CUDA_VISIBLE_DEVICES, or install a driver for this GPU: {_DRIVERS}"
        yield Need(_GPU, machine.driver.problem, remedy)
    elif binding.works and not machine.gpus:
        yield Need(_GPU, "CUDA finds no GPU", "check CUDA_VISIBLE_DEVICES")
    else:
        yield Need(_GPU)


def _driver_version(machine: Machine, flavor: Flavor) -> Iterator[Need]:
    """Yield the need for a new enough driver, if both versions are known."""
    trt, driver = machine.tensorrt.get(flavor), machine.driver.cuda
    if trt is None or trt.cuda is None or driver is None:
        return
    what = f"a driver for CUDA {trt.cuda}"
    if int(driver.partition(".")[0]) >= trt.cuda:
        yield Need(what)
    else:
        yield Need(
            what,
            f"the driver supports CUDA up to {driver}, and this {flavor.title} needs {trt.cuda}",
            f"install a newer driver: {_DRIVERS}",
        )


def _known_gpu(machine: Machine) -> Iterator[Need]:
    """Yield the need for a first GPU, which runs engines, that TensorRT for RTX supports."""
    trt = machine.tensorrt.get(Flavor.RTX)
    if trt is None or trt.compute_capabilities is None or not machine.gpus:
        return
    what = f"a GPU of compute capability {', '.join(trt.compute_capabilities)}"
    first = machine.gpus[0]
    if first.gpu.compute_capability in trt.compute_capabilities:
        yield Need(what)
    else:
        yield Need(
            what,
            f"{Flavor.RTX.title} does not support this {first.title}, only "
            f"{', '.join(trt.compute_capabilities)}",
            "build with --flavor tensorrt"
            if Flavor.TENSORRT in machine.tensorrt
            else machine.packages[Flavor.TENSORRT.distribution].remedy,
        )


def _targets(machine: Machine) -> str | None:
    """Describe the targets of TensorRT for RTX."""
    trt = machine.tensorrt.get(Flavor.RTX)
    if trt is None or trt.compute_capabilities is None:
        return None
    targets = f"for {', '.join(trt.compute_capabilities)}"
    if not machine.gpus:
        return f"{targets}; --strip-weights and --refit need a GPU on this machine"
    known = [g.gpu.compute_capability in trt.compute_capabilities for g in machine.gpus]
    gpus = (
        f"{'' if ok else 'not '}for this {gpu.title}"
        for gpu, ok in zip(machine.gpus, known, strict=True)
    )
    return f"{targets}: {', '.join(gpus)}"


def _provider(machine: Machine, provider: Provider) -> tuple[Need, ...]:
    """Return the needs for running ONNX Runtime with an execution provider."""
    runtime, found = machine.packages["onnxruntime"], machine.providers.get(provider)
    installed = _package(runtime)
    if provider is Provider.CPU:
        return (installed, *([_started(provider, found.problem)] if found else []))
    driver = Need(_GPU) if machine.driver.is_installed else _NO_DRIVER
    if runtime.state is PackageState.MISSING:
        return (Need(installed.what, installed.missing, install_command("gpu")), driver)
    if not runtime.works:
        return (installed, driver)
    if found is None:
        what = f"provider {provider}"
        names = " ".join(machine.onnxruntimes) or "onnxruntime"
        missing = f"the installed ONNX Runtime was built without {what}"
        remedy = f"pip uninstall -y {names} && {install_command('gpu')}"
        return (installed, Need(what, missing, remedy), driver)
    return (installed, _started(provider, found.problem), driver)


def _rtx_provider(machine: Machine) -> tuple[Need, ...]:
    """Return the needs for running ONNX Runtime with its plugin for TensorRT for RTX."""
    needs = [_package(machine.packages[name]) for name in ("onnxruntime", _RTX_PLUGIN)]
    found = machine.providers.get(Provider.RTX)
    if found is not None and machine.driver.is_installed:
        needs.append(_started(Provider.RTX, found.problem))
    return (*needs, Need(_GPU) if machine.driver.is_installed else _NO_DRIVER)


def _openvino(machine: Machine) -> tuple[Need, ...]:
    found = machine.providers.get(Provider.OPENVINO)
    started = [_started(Provider.OPENVINO, found.problem)] if found else []
    return (_package(machine.packages["openvino"]), *started)


def _started(provider: Provider, problem: str | None) -> Need:
    what = f"provider {provider}"
    if problem is None:
        return Need(what)
    remedy = {
        Provider.CPU: "pip install --force-reinstall onnxruntime",
        Provider.CUDA: "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        Provider.TENSORRT: "install the libraries of TensorRT 10 and add their folder to "
        "LD_LIBRARY_PATH",
        Provider.RTX: f"pip install --upgrade {_RTX_PLUGIN}, and the onnxruntime or "
        "onnxruntime-gpu that is installed",
        Provider.OPENVINO: "pip install --force-reinstall openvino",
    }[provider]
    return Need(what, problem, remedy)
