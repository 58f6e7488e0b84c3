"""The differences between the flavours of TensorRT, and between TensorRT 10 and 11."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsunet_export.errors import ExportError, MissingExtraError
from dsunet_export.tensorrt.gpus import NamedGpu, find_gpu
from dsunet_runtime.extras import install_command
from dsunet_runtime.flavor import Flavor, rtx_name, typed_network

if TYPE_CHECKING:
    from dsunet_runtime.cuda import Gpu

_TURING = "7.5"


@dataclass(frozen=True, slots=True)
class LocalGpus:
    """The GPUs of this machine."""

    gpus: tuple[Gpu, ...]
    """In CUDA's order."""
    problem: str | None = None
    """Why CUDA finds none, with what to do; None if CUDA works."""

    @property
    def reason(self) -> str:
        """Why there is none, as text."""
        return self.problem or "CUDA finds none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The requested targets of an engine; empty for the local GPU."""

    compute_capabilities: tuple[str, ...]
    """Ascending, including those of `gpus`."""
    gpus: tuple[NamedGpu, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """The selected targets of an engine."""

    compute_capabilities: tuple[str, ...]
    """Ascending, for example `8.9`."""
    gpus: tuple[str, ...]
    """Names of the requested GPUs; that of the local GPU if nothing was requested, and always for
    classic TensorRT; empty if only compute capabilities were requested."""


class Kit(ABC):
    """An installed flavour of TensorRT."""

    flavor: ClassVar[Flavor]
    extras: ClassVar[str]
    """Extras of this distribution that install it and what else it needs to build."""
    fixes_open_sides: ClassVar[bool]
    """Whether it can build for one frame size from a graph with dynamic sizes."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        """The imported package."""

    @property
    def version(self) -> str:
        """For example `1.7.1.116`."""
        return str(self.trt.__version__)

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.flavor.title} {self.version}"

    def create_network(self, builder: Any) -> Any:
        """Create an empty strongly typed network."""
        return typed_network(self.trt, builder)

    @abstractmethod
    def target(self, wanted: Wanted, here: LocalGpus) -> Target:
        """Select the targets, given the GPUs of this machine.

        Raises ExportError with the reason if this flavour cannot build for the requested ones.
        """

    @abstractmethod
    def configure(self, config: Any, target: Target) -> None:
        """Set the builder options that are specific to this flavour, such as the target."""

    @abstractmethod
    def check_timing_cache(self) -> None:
        """Raise ExportError with the reason if the flavour does not use a timing cache."""

    @abstractmethod
    def check_strip_weights(self, target: Target, here: LocalGpus) -> None:
        """Raise ExportError with the reason if the flavour cannot build without weights."""


class RtxKit(Kit):
    """TensorRT for RTX."""

    flavor = Flavor.RTX
    extras = "rtx"
    # 1.7.1 fails with "MyelinCheckException: host_instr.cpp:1573" if one side alone is fixed.
    fixes_open_sides = False

    def target(self, wanted: Wanted, here: LocalGpus) -> Target:
        """Select any supported compute capability, on any machine."""
        asked = wanted.compute_capabilities
        if not asked and not here.gpus:
            raise ExportError(
                f"this machine has no GPU to build for ({here.reason}): name one with --gpu, for "
                f"example `--gpu rtx4090` (`--gpu list` prints all)"
            )
        asked = asked or (here.gpus[0].compute_capability,)
        known = self.compute_capabilities()
        unknown = [cc for cc in asked if cc not in known]
        if unknown:
            raise ExportError(
                f"{self.title} does not build for {_in_words(unknown, wanted)}, only for "
                f"{', '.join(known)}: leave it out, or use --flavor tensorrt on a machine with "
                f"that GPU"
            )
        if _TURING in asked and len(asked) > 1:
            others = ", ".join(cc for cc in asked if cc != _TURING)
            raise ExportError(
                f"an engine for Turing ({_TURING}) and later GPUs may be slower on the later ones, "
                f"so NVIDIA advises against it: build one engine for {_TURING} and another for "
                f"{others}"
            )
        names = tuple(gpu.name for gpu in wanted.gpus)
        return Target(asked, names or (() if wanted.compute_capabilities else (here.gpus[0].name,)))

    def configure(self, config: Any, target: Target) -> None:
        """Set compute capabilities, and require that the runtime allocates all memory."""
        config.num_compute_capabilities = len(target.compute_capabilities)
        for index, cc in enumerate(target.compute_capabilities):
            member = getattr(self.trt.ComputeCapability, rtx_name(cc))
            config.set_compute_capability(member, index)
        # Otherwise it may allocate memory while it runs, which a CUDA graph cannot capture.
        config.set_flag(self.trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def check_timing_cache(self) -> None:
        """Refuse: TensorRT for RTX has no timing cache."""
        raise ExportError(
            "--timing-cache is for --flavor tensorrt: TensorRT for RTX times no kernels while it "
            "builds, because it selects them on the GPU that runs the engine"
        )

    def check_strip_weights(self, target: Target, here: LocalGpus) -> None:
        """Refuse without a GPU or for several compute capabilities, as NVIDIA documents."""
        if not here.gpus:
            raise ExportError(
                f"--strip-weights needs a GPU on this machine ({here.reason}), because TensorRT "
                "for RTX compiles refittable engines with the CUDA driver: build on a machine "
                "with a GPU, or keep the weights"
            )
        if len(target.compute_capabilities) > 1:
            raise ExportError(
                f"with TensorRT for RTX, --strip-weights takes one compute capability, not "
                f"{', '.join(target.compute_capabilities)}: build one engine for each, or keep the "
                f"weights"
            )

    def compute_capabilities(self) -> list[str]:
        """Return the compute capabilities that this version supports, ascending."""
        members = self.trt.ComputeCapability.__members__
        numbers = sorted(int(name[2:]) for name in members if name.startswith("SM"))
        return [f"{number // 10}.{number % 10}" for number in numbers]


class ClassicKit(Kit):
    """TensorRT 10 and 11."""

    flavor = Flavor.TENSORRT
    extras = "tensorrt,cuda"
    fixes_open_sides = True

    def target(self, wanted: Wanted, here: LocalGpus) -> Target:
        """Select CUDA's first GPU, the only one: kernels are selected by timing them on it."""
        if not here.gpus:
            raise ExportError(
                f"TensorRT builds on the target GPU itself, and this machine has none "
                f"({here.reason}): build on a machine with that GPU, or use --flavor rtx (pip "
                f"install 'dsunet[rtx]')"
            )
        gpu = here.gpus[0]
        cc = gpu.compute_capability
        others = [other for other in wanted.compute_capabilities if other != cc]
        others += [named.name for named in wanted.gpus if not _may_be(named, gpu)]
        if others:
            raise ExportError(
                f"TensorRT builds for the GPU that it runs on, {gpu.name} ({cc}), not for "
                f"{', '.join(others)}: build on a machine with that GPU (CUDA_VISIBLE_DEVICES "
                f"selects among several), or use --flavor rtx"
            )
        return Target((cc,), (gpu.name,))

    def configure(self, config: Any, target: Target) -> None:
        """Set nothing: it builds for the local GPU."""

    def check_timing_cache(self) -> None:
        """Accept: it uses a timing cache."""

    def check_strip_weights(self, target: Target, here: LocalGpus) -> None:
        """Accept: it can build without weights on every GPU."""


KITS: dict[Flavor, type[Kit]] = {kit.flavor: kit for kit in (RtxKit, ClassicKit)}


def load(flavor: Flavor) -> Kit:
    """Load a flavour to build with.  Raises MissingExtraError if it is not installed."""
    kit = KITS[flavor]
    try:
        return kit(flavor.load())
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{flavor.title} is not installed: {install_command(kit.extras)}"
        ) from error
    except (ImportError, OSError) as error:
        raise ExportError(
            f"{flavor.title} is installed but does not load ({error}): install it again with "
            f"`{install_command(kit.extras)} --force-reinstall`"
        ) from error


def _in_words(ccs: list[str], wanted: Wanted) -> str:
    """Format compute capabilities with the names of the GPUs that were requested."""
    names = {cc: [g.name for g in wanted.gpus if g.compute_capability == cc] for cc in ccs}
    return ", ".join(f"{cc} ({', '.join(names[cc])})" if names[cc] else cc for cc in ccs)


def _may_be(named: NamedGpu, gpu: Gpu) -> bool:
    """Return whether a local GPU may be the named one."""
    if named.compute_capability != gpu.compute_capability:
        return True  # reported by its compute capability
    try:
        return find_gpu(gpu.name) == named
    except ExportError:
        return True  # not in the table
