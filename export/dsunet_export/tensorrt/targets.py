"""Select the flavor of TensorRT and the GPUs of an engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.flavors import flavor_title, import_flavor, rtx_compute_capabilities
from dsunet_export.tensorrt.gpus import find_gpu
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.errors import BackendError, MissingExtraError
from dsunet_runtime.extras import install_command
from dsunet_runtime.message_text import quote

if TYPE_CHECKING:
    from dsunet_runtime.cuda import Gpu

Hardware: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of GPUs by compute capability (`8.9`), ascending.  No names: all GPUs that have it."""

_TURING = "7.5"


@dataclass(frozen=True, slots=True)
class Target:
    """The flavor that an engine is built with, and the GPUs that it is built for."""

    flavor: Flavor
    hardware: Hardware
    """The requested GPUs; the GPU of this machine if none was requested, and always for classic
    TensorRT."""
    reason: str
    """Why this flavor was selected, as text."""

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """Ascending, for example `8.9`."""
        return tuple(self.hardware)

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names of GPUs; empty if only compute capabilities were requested."""
        return tuple(name for names in self.hardware.values() for name in names)


def choose_target(
    gpus: Sequence[str] = (),
    compute_capabilities: Sequence[str] = (),
    *,
    flavor: Flavor | None = None,
    options: EngineOptions,
) -> Target:
    """Choose the flavor of TensorRT for an engine, and the GPUs that the engine is built for.

    Args:
        gpus: Names of GPUs, such as `rtx4090`.  Without any, and without `compute_capabilities`,
            the engine is for the GPU of this machine.
        compute_capabilities: The same as numbers, such as `8.9`.
        flavor: The flavor, or None for the first that is installed and can build this.
        options: The options that the engine will be built with.

    Returns:
        The target, for `build_engine`.

    Raises:
        ExportError: A name is unknown, or no installed flavor can build such an engine.
    """
    return select_target(flavor, parse_hardware(gpus, compute_capabilities), options)


def parse_hardware(gpus: Sequence[str], compute_capabilities: Sequence[str]) -> Hardware:
    """Parse GPU names and compute capabilities.  Raises ExportError for unknown ones."""
    named = dict.fromkeys(find_gpu(text) for text in gpus)
    numbers = {gpu.compute_capability for gpu in named}
    numbers |= {parse_compute_capability(text) for text in compute_capabilities}
    return {
        number: tuple(gpu.name for gpu in named if gpu.compute_capability == number)
        for number in sorted(numbers, key=float)
    }


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


def local_gpu() -> Gpu:
    """Return CUDA's first GPU on this machine.  Raises BackendError if CUDA finds none."""
    from dsunet_runtime.cuda import find

    gpus = find().gpus()
    if not gpus:
        raise BackendError("CUDA finds no GPU")
    return gpus[0]


def select_target(flavor: Flavor | None, requested: Hardware, options: EngineOptions) -> Target:
    """Select the requested flavor, or the first installed one that supports GPUs and options.

    TensorRT for RTX is preferred: it needs no GPU, its engines run on several GPU models, and it
    builds in a fraction of the time.

    Raises MissingExtraError if no flavor, or not the requested one, is installed, and ExportError
    with the reason if none supports GPUs and options.
    """
    if flavor is not None:
        import_flavor(flavor)
        return Target(flavor, _HARDWARE[flavor](requested, options), "as requested")
    installed = [candidate for candidate in Flavor if find_spec(candidate.module)]
    if not installed:
        raise MissingExtraError(
            f"TensorRT is not installed: {install_command('rtx')} for GeForce RTX and RTX "
            f"workstation cards, or {install_command('tensorrt,cuda')} for the GPU of this machine"
        )
    reason = "preferred" if len(installed) > 1 else "the installed one"
    refusals: list[str] = []
    for candidate in installed:
        try:
            import_flavor(candidate)
            return Target(candidate, _HARDWARE[candidate](requested, options), reason)
        except ExportError as error:
            refusals.append(str(error))
            reason = f"because {error}"
    raise ExportError("; ".join(refusals))


def _rtx_hardware(requested: Hardware, options: EngineOptions) -> Hardware:
    """Return the requested hardware, which may be any supported one, on any machine.

    Raises ExportError with the reason if TensorRT for RTX cannot build with these options.
    """
    hardware = requested
    if not requested:
        try:
            here = local_gpu()
        except BackendError as error:
            raise ExportError(
                f"this machine has no GPU to build for ({error}): name one with --gpu, for example "
                f"`--gpu rtx4090` (`--gpu list` prints all)"
            ) from error
        hardware = {here.compute_capability: (here.name,)}
    known = rtx_compute_capabilities(Flavor.RTX.load())
    unknown = [
        f"{number} ({', '.join(names)})" if names else number
        for number, names in hardware.items()
        if number not in known
    ]
    if unknown:
        raise ExportError(
            f"{flavor_title(Flavor.RTX)} does not build for {', '.join(unknown)}, only for "
            f"{', '.join(known)}: {'' if len(unknown) == len(hardware) else 'omit it, or '}"
            "use --flavor tensorrt on a machine with that GPU"
        )
    if _TURING in hardware and len(hardware) > 1:
        others = ", ".join(number for number in hardware if number != _TURING)
        raise ExportError(
            f"an engine for Turing ({_TURING}) and later GPUs may be slower on the later ones, "
            f"so NVIDIA advises against it: build one engine for {_TURING} and another for {others}"
        )
    if options.timing_cache is not None:
        raise ExportError(
            "--timing-cache is for --flavor tensorrt: TensorRT for RTX times no kernels while it "
            "builds, because it selects them on the GPU that runs the engine"
        )
    for option, is_given, otherwise in (
        ("--strip-weights", options.strip_weights, "keep the weights"),
        ("--refit", options.refit, "build an engine for each domain"),
    ):
        if is_given:
            _check_refittable(option, hardware, otherwise)
    return hardware


def _check_refittable(option: str, hardware: Hardware, otherwise: str) -> None:
    """Raise ExportError unless TensorRT for RTX can build a refittable engine here."""
    try:
        local_gpu()
    except BackendError as error:
        raise ExportError(
            f"{option} needs a GPU on this machine ({error}), because TensorRT for RTX compiles "
            f"refittable engines with the CUDA driver: build on a machine with a GPU, or "
            f"{otherwise}"
        ) from error
    if len(hardware) > 1:
        raise ExportError(
            f"with TensorRT for RTX, {option} takes one compute capability, not "
            f"{', '.join(hardware)}: build one engine for each, or {otherwise}"
        )


def _classic_hardware(requested: Hardware, options: EngineOptions) -> Hardware:
    """Return the local GPU, the only possible one: kernels are selected by timing them on it.

    Raises ExportError if there is none, or if another one was requested.
    """
    try:
        here = local_gpu()
    except BackendError as error:
        raise ExportError(
            f"TensorRT builds on the target GPU itself, and this machine has none ({error}): build "
            f"on a machine with that GPU, or use --flavor rtx ({install_command('rtx')})"
        ) from error
    number = here.compute_capability
    others = [other for other in requested if other != number]
    try:
        known = find_gpu(here.name).name
        others += [name for name in requested.get(number, ()) if name != known]
    except ExportError:
        pass  # a GPU that is not in the table may have any of the requested names
    if others:
        raise ExportError(
            f"TensorRT builds for the GPU that it runs on, {here.name} ({number}), not for "
            f"{', '.join(others)}: build on a machine with that GPU (CUDA_VISIBLE_DEVICES selects "
            f"among several), or use --flavor rtx"
        )
    return {number: (here.name,)}


_HARDWARE = {Flavor.RTX: _rtx_hardware, Flavor.TENSORRT: _classic_hardware}
