"""Format the report of `dsunet-export doctor` as a table and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from dsunet_export.doctor.machine import LocalGpu, Machine
from dsunet_export.doctor.packages import Package, PackageState
from dsunet_export.doctor.tasks import Task
from dsunet_runtime.provider import Provider

_WIDTH = 100
_MARGIN = "  "
_TITLE = 25
_VALUE = 13
_GIB = 1 << 30

Row = tuple[str, str, str]
"""Title, short value, description."""


def report_document(machine: Machine, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """Convert the report to JSON values.  Sizes are in bytes; null means unknown."""
    torch = machine.torch
    return {
        "python": machine.python,
        "platform": machine.platform,
        "cpu": {
            "name": machine.cpu.name,
            "fast_instructions": machine.cpu.fast_instructions,
            "openvino_gain": machine.cpu.openvino_gain,
        },
        "driver": {
            "version": machine.driver.version,
            "cuda": machine.driver.cuda,
            "problem": machine.driver.problem,
        },
        "gpus": [
            {
                "name": present.gpu.name,
                "compute_capability": present.gpu.compute_capability,
                "memory": present.gpu.memory,
                "free_memory": present.free_memory,
            }
            for present in machine.gpus
        ],
        "packages": {
            name: {
                "distribution": package.distribution,
                "state": package.state,
                "version": package.version,
                "reason": package.reason,
            }
            for name, package in machine.packages.items()
        },
        "onnxruntimes": machine.onnxruntimes,
        "providers": {
            provider: {"starts": found.starts, "problem": found.problem}
            for provider, found in machine.providers.items()
        },
        "tensorrt": {
            flavor: {"cuda": trt.cuda, "compute_capabilities": trt.compute_capabilities}
            for flavor, trt in machine.tensorrt.items()
        },
        "torch": torch
        and {"cuda": torch.cuda, "sees_gpu": torch.sees_gpu, "problem": torch.problem},
        "tasks": {
            task.name: {
                "possible": task.possible,
                "needs": [
                    {"what": need.what, "missing": need.missing, "remedy": need.remedy}
                    for need in task.needs
                ],
                "remark": task.remark,
            }
            for task in tasks
        },
    }


def format_report(machine: Machine, tasks: tuple[Task, ...]) -> str:
    """Format the report in lines of at most 100 columns; commands are not wrapped."""
    lines = ["This machine"]
    for row in _machine_rows(machine):
        lines += _wrap(row)
    lines += ["", "Tasks and their requirements"]
    for task in tasks:
        lines += _wrap(_describe(task))
    remedies = _by_remedy(tasks)
    if remedies:
        lines += ["", "Missing, with the remedy"]
    for remedy, reasons in remedies.items():
        lines += textwrap.wrap(
            "; ".join(reasons), _WIDTH, initial_indent=_MARGIN, subsequent_indent=_MARGIN
        )
        lines.append(_MARGIN * 3 + remedy)
    return "\n".join(lines)


def _machine_rows(machine: Machine) -> Iterator[Row]:
    driver = machine.driver
    yield "Python", machine.python, ""
    yield "platform", machine.platform, ""
    yield "CPU", "", f"{machine.cpu.name}; {machine.cpu.openvino_gain}"
    known = driver.version or ("installed" if driver.is_installed else "missing")
    yield "NVIDIA driver", known, driver.problem or ""
    if driver.cuda is not None:
        yield "CUDA of the driver", driver.cuda, "newest supported version"
    for index, present in enumerate(machine.gpus):
        yield f"GPU {index}", present.gpu.compute_capability, _memory(present)
    for package in machine.packages.values():
        yield package.title, package.version or package.state, _state(package, machine)


def _memory(present: LocalGpu) -> str:
    free = "" if present.free_memory is None else f", {present.free_memory / _GIB:.1f} GiB free"
    return f"{present.gpu.name}, {present.gpu.memory / _GIB:.1f} GiB{free}"


def _state(package: Package, machine: Machine) -> str:
    """Describe a package beside its version."""
    if package.state is PackageState.MISSING:
        return ""
    if not package.works:
        return f"{package.state}: {package.reason}"
    match package.distribution:
        case "torch":
            return _torch(machine)
        case "onnxruntime" | "onnxruntime-gpu":
            return _onnxruntime(machine)
    for flavor, trt in machine.tensorrt.items():
        if flavor.distribution == package.distribution:
            of = f"for CUDA {trt.cuda}" if trt.cuda else ""
            known = trt.compute_capabilities
            builds = f"builds for {', '.join(known)}" if known else ""
            return ", ".join(filter(None, (of, builds)))
    return ""


def _torch(machine: Machine) -> str:
    if machine.torch is None:
        return ""
    built = f"for CUDA {machine.torch.cuda}" if machine.torch.cuda else "without CUDA"
    sees = {None: "", True: ", finds a GPU", False: ", finds no GPU"}[machine.torch.sees_gpu]
    problem = f" ({machine.torch.problem})" if machine.torch.problem else ""
    return built + sees + problem


def _onnxruntime(machine: Machine) -> str:
    words = {None: " (not tested)", True: "", False: " (does not start)"}
    providers = ", ".join(
        f"{provider}{words[found.starts]}"
        for provider, found in machine.providers.items()
        if provider is not Provider.OPENVINO
    )
    both = " and ".join(machine.onnxruntimes)
    doubled = f"; {both} overwrite each other" if len(machine.onnxruntimes) > 1 else ""
    return f"{both or 'not from pip'}, providers: {providers}{doubled}"


def _describe(task: Task) -> Row:
    words = f"needs {', '.join(need.what for need in task.needs)}"
    if task.possible:
        return task.title, "yes", "; ".join(filter(None, (task.remark, words)))
    lacks = ", ".join(need.what for need in task.needs if need.missing is not None)
    return task.title, "no", f"{words}; missing: {lacks}"


def _by_remedy(tasks: tuple[Task, ...]) -> dict[str, list[str]]:
    """Group everything that is missing by its remedy; one command often fixes several."""
    remedies: dict[str, list[str]] = {}
    for need in (need for task in tasks for need in task.needs):
        if need.missing is not None and need.remedy is not None:
            reasons = remedies.setdefault(need.remedy, [])
            if need.missing not in reasons:
                reasons.append(need.missing)
    return remedies


def _wrap(row: Row) -> list[str]:
    title, value, words = row
    start = f"{_MARGIN}{title:<{_TITLE}} {value:<{_VALUE}} "
    wrapped = textwrap.wrap(words, _WIDTH - len(start), break_on_hyphens=False) or [""]
    rest = " " * len(start)
    return [((rest if index else start) + line).rstrip() for index, line in enumerate(wrapped)]
