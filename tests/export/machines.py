"""Simulated machines, for the tests of `dsunet-export doctor`."""

from __future__ import annotations

import dataclasses
from typing import Any

from typer.testing import CliRunner

from dsunet_export.cli import app
from dsunet_export.doctor.machine import (
    Cpu,
    InstalledProvider,
    InstalledTensorRT,
    InstalledTorch,
    LocalGpu,
    Machine,
    NvidiaDriver,
)
from dsunet_export.doctor.packages import Package, PackageState, find_packages
from dsunet_export.doctor.tasks import check_tasks
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.provider import Provider

RTX_KNOWS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


def doctor(*arguments: str) -> str:
    """Run the command in this process; return what it prints."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def made_up(
    *gpus: Gpu, without: tuple[str, ...] = (), broken: tuple[str, ...] = (), **changes: Any
) -> Machine:
    """A machine with all packages, CUDA 13 and these GPUs, except for what the arguments change."""
    packages = {
        name: Package(
            package.title,
            package.distribution,
            package.extra,
            PackageState.MISSING
            if name in without
            else PackageState.BROKEN
            if name in broken
            else PackageState.LOADS,
            None if name in without else "1.2.3",
            "libx.so.1: cannot open shared object file" if name in broken else None,
        )
        for name, package in find_packages().items()
    }
    installed = {f for f in Flavor if packages[f.distribution].state is PackageState.LOADS}
    machine = Machine(
        python="3.11.7",
        platform="linux x86_64",
        cpu=Cpu("Xeon", ("amx_bf16", "amx_int8", "avx512_bf16")),
        driver=NvidiaDriver("580.95.05", "13.0", None),
        gpus=tuple(LocalGpu(gpu, gpu.memory - (1 << 30)) for gpu in gpus),
        packages=packages,
        onnxruntimes=("onnxruntime-gpu",),
        providers={provider: InstalledProvider(starts=True) for provider in Provider},
        tensorrt={
            flavor: InstalledTensorRT(13, RTX_KNOWS if flavor is Flavor.RTX else None)
            for flavor in Flavor
            if flavor in installed
        },
        torch=InstalledTorch("13.0", sees_gpu=True),
    )
    return dataclasses.replace(machine, **changes)


def impossible(machine: Machine) -> set[str]:
    return {task.name for task in check_tasks(machine) if not task.possible}


def lacks(machine: Machine, name: str) -> list[tuple[str | None, str | None]]:
    """Return the missing requirements of a task, with the remedies."""
    (task,) = (task for task in check_tasks(machine) if task.name == name)
    return [(need.missing, need.remedy) for need in task.needs if need.missing is not None]
