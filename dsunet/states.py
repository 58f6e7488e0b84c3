"""The networks among the tensors of a weight file, wherever a training program put them.

A network is known by some of its keys, not by the name of what holds it: so `{"model": …}`,
`{"state_dict": {"model.…": …}}`, `{"ema": …}` and DINOv2's `{"teacher": {"backbone.…": …}}` are all
read, and what lies beside it (an optimizer, another network's heads) is left alone.  Names that
PyTorch puts in between, of compiled and parallel modules, count for nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dsunet.errors import CheckpointError
from dsunet.run_checkpoint import Notice
from dsunet.weight_files import WeightFile
from dsunet_runtime.message_text import printable, quote, shorten

_WRAPPER = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""torch.compile's, DataParallel's, FSDP's and activation checkpointing's, anywhere in a key."""

_AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa|avg|averaged?|teacher)(?:$|[._])", re.IGNORECASE)

_AVERAGE_COUNT = "n_averaged"
"""What PyTorch's AveragedModel has beside the module that it wraps."""

_WHOLE_FILE = "."
_MOST_NETWORKS = 100
"""In one mapping; training programs keep two or three."""


class Network(enum.StrEnum):
    """The networks that are known by their keys."""

    DSU_NET = "DSU-Net"
    SAM2 = "SAM2"
    DINOV2 = "DINOv2"

    @property
    def marker(self) -> str:
        """What follows the prefix in some of its keys, as a regular expression."""
        return {
            Network.DSU_NET: r"(?:backbone_sam|hiera|rfb)\.",
            Network.SAM2: r"(?:image_encoder\.trunk\.|pos_embed_window$)",
            Network.DINOV2: r"cls_token$",
        }[self]


@dataclass(frozen=True, slots=True)
class State:
    """The tensors of one network in a file, under the names that the network gives them."""

    path: Path
    name: str
    """Where in the file they are, for `--weights`: `ema`, `state_dict.model`; `.` for all of it."""
    network: Network
    tensors: dict[str, Tensor]

    @property
    def is_averaged(self) -> bool:
        """Whether its name says that it is an average over the training."""
        return _AVERAGED.search(self.name) is not None


def find_states(file: WeightFile) -> list[State]:
    """All networks in a file, in its order.

    Raises CheckpointError if one has a key twice, which only wrappers told apart.
    """
    states = []
    for place, tensors in file.groups.items():
        group = {
            key: tensor
            for key, tensor in tensors.items()
            if key.rpartition(".")[2] != _AVERAGE_COUNT
        }
        keys = {_WRAPPER.sub("", key): key for key in group}
        if len(keys) < len(group):
            twice = next(key for key in group if keys[_WRAPPER.sub("", key)] != key)
            raise CheckpointError(f"{file.path} holds {quote(_WRAPPER.sub('', twice))} twice")
        roots = _roots(keys)
        if len(roots) > _MOST_NETWORKS:
            raise CheckpointError(f"{file.path} holds {len(roots):,} networks: save them apart")
        for root, network in roots.items():
            inner = tuple(other for other in roots if other != root and other.startswith(root))
            under_root = {
                key.removeprefix(root): group[whole]
                for key, whole in keys.items()
                if key.startswith(root) and not (inner and key.startswith(inner))
            }
            name = ".".join(filter(None, (place, root.rstrip("."))))
            states.append(State(file.path, name or _WHOLE_FILE, network, under_root))
    return states


def choose_state(
    states: Sequence[State],
    network: Network,
    weights: str | None = None,
    notice: Notice | None = None,
) -> State | None:
    """The state of a network among those of a file, or None if it has none.

    Of several, the one that `weights` names; or else the only one that is an average over the
    training (ema, swa, teacher), as timm, BasicSR and DINOv2 take it, and `notice` is told so.
    Raises CheckpointError if that leaves several, if `weights` names none, or if a tensor is not a
    plain array of numbers.
    """
    found = [state for state in states if state.network is network]
    if not found:
        return None
    if weights is not None:
        state = _named(found, weights)
    else:
        state = _default(found)
        if len(found) > 1 and notice is not None:
            others = " or ".join(printable(s.name, 80) for s in found if s is not state)
            option = "--weights " if network is Network.DSU_NET else "not "
            notice(
                f"{state.path}: taking the weights {printable(state.name, 80)}, an average over "
                f"the training ({option}{others})"
            )
    return replace(state, tensors=_plain(state))


def _roots(keys: dict[str, str]) -> dict[str, Network]:
    """The prefixes under which networks are, and which; an encoder of a DSU-Net is no other one."""
    roots: dict[str, Network] = {}
    for network in Network:
        pattern = re.compile(rf"((?:[^.]+\.)*?){network.marker}")
        within = tuple(
            root + part
            for root in roots
            for part in ("backbone_sam.", "backbone_dino.", "hiera.", "dino.")
        )
        for key in keys:
            match = pattern.match(key)
            if match is not None and not (within and key.startswith(within)):
                roots.setdefault(match[1], network)
    return roots


def _named(found: list[State], weights: str) -> State:
    """The state of exactly this name, or else the only one with such a part of its name."""
    exact = [state for state in found if state.name == weights]
    partly = [state for state in found if weights in state.name.split(".")]
    for fitting in (exact, partly):
        if len(fitting) == 1:
            return fitting[0]
    raise CheckpointError(f"{found[0].path} has no weights {quote(weights)}: {_listed(found)}")


def _default(found: list[State]) -> State:
    fitting = [state for state in found if state.is_averaged] or found
    if len(fitting) == 1:
        return fitting[0]
    name = printable(fitting[0].name, 80)
    choice = (
        f"choose one, for example with --weights {name}"
        if fitting[0].network is Network.DSU_NET
        else "save the one to use in a file of its own"
    )
    raise CheckpointError(f"{found[0].path} is ambiguous: {_listed(found)}; {choice}")


def _listed(found: list[State]) -> str:
    return f"it holds {shorten((state.name for state in found), 8)}"


def _plain(state: State) -> dict[str, Tensor]:
    """The tensors by themselves, or CheckpointError if one is not a plain array of numbers."""
    for key, tensor in state.tensors.items():
        oddity = _oddity(tensor)
        if oddity is not None:
            raise CheckpointError(
                f"{state.path} holds a tensor that is {oddity}, {printable(key, 80)}: save plain "
                "dense tensors"
            )
    return {key: tensor.detach() for key, tensor in state.tensors.items()}


def _oddity(tensor: Tensor) -> str | None:
    """What keeps a tensor from being a plain array of numbers in its file."""
    if tensor.is_nested:
        return "nested"
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"a {type(tensor).__name__}"
    if tensor.layout is not torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')})"
    if tensor.device.type != "cpu":
        return f"without values (on the device {tensor.device.type})"
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_complex() or tensor.is_neg():
        return "complex, or negated only when read"
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > stored:
        return f"{tensor.numel():,} numbers, of which the file holds {stored:,}"
    return None
