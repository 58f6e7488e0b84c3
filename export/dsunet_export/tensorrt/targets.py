"""Select the flavour of TensorRT and the targets of an engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet_export.errors import ExportError, MissingExtraError
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.flavors import Kit, LocalGpus, Target, Wanted, load
from dsunet_export.tensorrt.gpus import find_gpu
from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import install_command
from dsunet_runtime.flavor import Flavor
from dsunet_runtime.message_text import quote


@dataclass(frozen=True, slots=True)
class Choice:
    """A selected flavour of TensorRT with its targets."""

    kit: Kit
    target: Target
    reason: str
    """Why this flavour was selected, as text."""


def local_gpus() -> LocalGpus:
    """Return the GPUs of this machine, or why CUDA cannot list them."""
    from dsunet_runtime.cuda import find

    try:
        return LocalGpus(find().gpus())
    except BackendError as error:
        return LocalGpus((), str(error))


def parse_wanted(gpus: Sequence[str], compute_capabilities: Sequence[str]) -> Wanted:
    """Parse GPU names and compute capabilities.  Raises ExportError for unknown ones."""
    named = tuple(dict.fromkeys(find_gpu(text) for text in gpus))
    numbers = {gpu.compute_capability for gpu in named}
    numbers |= {parse_compute_capability(text) for text in compute_capabilities}
    return Wanted(tuple(sorted(numbers, key=float)), named)


def parse_compute_capability(text: str) -> str:
    """Parse `8.9`, `89`, `sm89` or `sm_89` as `8.9`.  Raises ExportError for any other text."""
    match = re.fullmatch(r"(?:sm|compute)?_?(\d{1,2})\.?(\d)", text.strip().casefold())
    # Without a minimum, two digits such as 10 would be 1.0; 5 is older than all supported ones.
    if match is None or int(match[1]) < 5:
        raise ExportError(
            f"{quote(text)} is not a compute capability: write it as NVIDIA does, for example 8.9 "
            "or 12.0"
        )
    return f"{match[1]}.{match[2]}"


def choose_target(
    gpus: Sequence[str] = (),
    compute_capabilities: Sequence[str] = (),
    *,
    flavor: Flavor | None = None,
    options: EngineOptions,
) -> Choice:
    """Choose the flavor of TensorRT for an engine, and the GPUs that the engine is built for.

    Args:
        gpus: Names of GPUs, such as `rtx4090`.  Without any, and without `compute_capabilities`,
            the engine is for the GPUs of this machine.
        compute_capabilities: The same as numbers, such as `8.9`.
        flavor: The flavor, or None for the first that is installed and can build this.
        options: The options that the engine will be built with.

    Returns:
        What `build_engine` takes.

    Raises:
        ExportError: A name is unknown, or no installed flavor can build such an engine.
    """
    return choose(flavor, parse_wanted(gpus, compute_capabilities), options)


def choose(flavor: Flavor | None, wanted: Wanted, options: EngineOptions) -> Choice:
    """Select the requested flavour, or the first installed one that supports target and options.

    TensorRT for RTX is preferred: it needs no GPU, its engines run on several GPU models, and it
    builds in a fraction of the time.

    Raises MissingExtraError if no flavour, or not the requested one, is installed, and ExportError
    with the reason if none supports target and options.
    """
    here = local_gpus()
    if flavor is not None:
        kit = load(flavor)
        return Choice(kit, _target(kit, wanted, options, here), "as requested")
    kits = [load(flavor) for flavor in Flavor if _is_installed(flavor)]
    if not kits:
        raise MissingExtraError(
            f"TensorRT is not installed: {install_command('rtx')} for GeForce RTX and RTX "
            f"workstation cards, or {install_command('tensorrt,cuda')} for the GPU of this machine"
        )
    refusals: list[str] = []
    for kit in kits:
        try:
            target = _target(kit, wanted, options, here)
        except ExportError as error:
            refusals.append(str(error))
            continue
        if refusals:
            return Choice(kit, target, f"because {refusals[0]}")
        return Choice(kit, target, "preferred" if len(kits) > 1 else "the installed one")
    raise ExportError("; ".join(refusals))


def _target(kit: Kit, wanted: Wanted, options: EngineOptions, here: LocalGpus) -> Target:
    """Select the targets of a flavour.  Raises ExportError if it does not support the request."""
    target = kit.target(wanted, here)
    if options.timing_cache is not None:
        kit.check_timing_cache()
    if options.strip_weights:
        kit.check_strip_weights(target, here)
    return target


def _is_installed(flavor: Flavor) -> bool:
    try:
        flavor.load()
    except (ImportError, OSError):
        return False
    return True
