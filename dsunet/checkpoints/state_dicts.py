"""Find the networks in a weight file, at any place where training programs save them.

A network is recognised by its keys, not by the name of the mapping that contains it.  So
`{"model": …}`, `{"state_dict": {"model.…": …}}`, `{"ema": …}` and DINOv2's
`{"teacher": {"backbone.…": …}}` are all read.  Other content, such as an optimizer or heads of
another network, is ignored, and so are the prefixes of PyTorch's compiled and parallel modules.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dsunet.checkpoints.run_checkpoint import Notice
from dsunet.checkpoints.weight_files import WeightFile
from dsunet.errors import CheckpointError
from dsunet_runtime.message_text import printable, quote, shorten

_WRAPPER = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""Prefixes of torch.compile, DataParallel, FSDP and activation checkpointing, anywhere in a key."""

_AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa|avg|averaged?|teacher)(?:$|[._])", re.IGNORECASE)

_AVERAGE_COUNT = "n_averaged"
"""Key of the counter in PyTorch's AveragedModel."""

_WHOLE_FILE = "."
_MAX_NETWORKS = 100
"""Maximum in one mapping; training programs save two or three."""


class Network(enum.StrEnum):
    """The networks that are recognised by their keys."""

    DSU_NET = "DSU-Net"
    """DSU-Net and its relatives, which have the same RFBs."""
    SAM2 = "SAM2"
    DINOV2 = "DINOv2"

    @property
    def marker(self) -> str:
        """Regular expression for the part after the prefix in some of its keys."""
        return {
            Network.DSU_NET: r"(?:backbone_sam|hiera|rfb1?)\.",
            Network.SAM2: r"(?:image_encoder\.trunk\.|pos_embed_window$)",
            Network.DINOV2: r"cls_token$",
        }[self]


@dataclass(frozen=True, slots=True)
class StateDict:
    """The tensors of one network in a file, by the network's own keys."""

    path: Path
    name: str
    """Path in the file, as for `--weights`: `ema`, `state_dict.model`; `.` for the whole file."""
    network: Network
    tensors: dict[str, Tensor]

    @property
    def is_averaged(self) -> bool:
        """Whether its name is that of averaged weights (EMA, SWA, teacher)."""
        return _AVERAGED.search(self.name) is not None


def find_state_dicts(file: WeightFile) -> list[StateDict]:
    """Find all networks in a file, in its order.

    Raises CheckpointError if two keys differ only in the prefixes of wrappers.
    """
    states = []
    for parent, tensors in file.groups.items():
        group = {
            key: tensor
            for key, tensor in tensors.items()
            if key.rpartition(".")[2] != _AVERAGE_COUNT
        }
        keys = {_WRAPPER.sub("", key): key for key in group}
        if len(keys) < len(group):
            twice = next(key for key in group if keys[_WRAPPER.sub("", key)] != key)
            raise CheckpointError(f"{file.path} has the key {quote(_WRAPPER.sub('', twice))} twice")
        roots = _roots(keys)
        if len(roots) > _MAX_NETWORKS:
            raise CheckpointError(
                f"{file.path} has {len(roots):,} networks: save them in separate files"
            )
        for root, network in roots.items():
            inner = tuple(other for other in roots if other != root and other.startswith(root))
            under_root = {
                key.removeprefix(root): group[whole]
                for key, whole in keys.items()
                if key.startswith(root) and not (inner and key.startswith(inner))
            }
            name = ".".join(filter(None, (parent, root.rstrip("."))))
            states.append(StateDict(file.path, name or _WHOLE_FILE, network, under_root))
    return states


def choose_state_dict(
    states: Sequence[StateDict],
    network: Network,
    weights: str | None = None,
    notice: Notice | None = None,
) -> StateDict | None:
    """Choose the state of a network from those of a file; None if it has none.

    Of several, `weights` selects one by name.  Without it, the only averaged one (EMA, SWA,
    teacher) is chosen, as timm, BasicSR and DINOv2 do, and `notice` receives a line about it.
    Raises CheckpointError if the choice is ambiguous, if no name matches `weights`, or if a tensor
    is not a plain dense array.
    """
    candidates = [state for state in states if state.network is network]
    if not candidates:
        return None
    if weights is not None:
        state = _named(candidates, weights)
    else:
        state = _default(candidates)
        if len(candidates) > 1 and notice is not None:
            others = " or ".join(printable(s.name, 80) for s in candidates if s is not state)
            option = "--weights " if network is Network.DSU_NET else "not "
            notice(
                f"{state.path}: using the averaged weights {printable(state.name, 80)} "
                f"({option}{others})"
            )
    return replace(state, tensors=_plain(state))


def _roots(keys: dict[str, str]) -> dict[str, Network]:
    """The networks by their key prefix; the encoders within another are not counted."""
    roots: dict[str, Network] = {}
    for network in Network:
        pattern = re.compile(rf"((?:[^.]+\.)*?){network.marker}")
        within = tuple(
            root + part
            for root in roots
            for part in ("backbone_sam.", "backbone_dino.", "encoder.", "hiera.", "dino.")
        )
        for key in keys:
            match = pattern.match(key)
            if match is not None and not (within and key.startswith(within)):
                roots.setdefault(match[1], network)
    return roots


def _named(candidates: list[StateDict], weights: str) -> StateDict:
    """The state with exactly this name, or else the only one with this as a part of its name."""
    exact = [state for state in candidates if state.name == weights]
    partial = [state for state in candidates if weights in state.name.split(".")]
    for matching in (exact, partial):
        if len(matching) == 1:
            return matching[0]
    path = candidates[0].path
    raise CheckpointError(f"{path} has no weights {quote(weights)}: {_listed(candidates)}")


def _default(candidates: list[StateDict]) -> StateDict:
    """The only averaged state dict, or else the only one."""
    preferred = [state for state in candidates if state.is_averaged] or candidates
    if len(preferred) == 1:
        return preferred[0]
    first = preferred[0]
    name = printable(first.name, 80)
    choice = (
        f"choose one, for example with --weights {name}"
        if first.network is Network.DSU_NET
        else "save the one to use in a file of its own"
    )
    raise CheckpointError(f"{first.path} is ambiguous: {_listed(candidates)}; {choice}")


def _listed(states: list[StateDict]) -> str:
    return f"it has {shorten((state.name for state in states), 8)}"


def _plain(state: StateDict) -> dict[str, Tensor]:
    """The detached tensors.  Raises CheckpointError if one is not a plain dense array."""
    for key, tensor in state.tensors.items():
        oddity = _oddity(tensor)
        if oddity is not None:
            raise CheckpointError(
                f"{state.path} has a tensor that is {oddity}, {printable(key, 80)}: save plain "
                "dense tensors"
            )
    return {key: tensor.detach() for key, tensor in state.tensors.items()}


def _oddity(tensor: Tensor) -> str | None:
    """Why a tensor is not a plain dense array in its file; None if it is one."""
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
        return f"larger than its data ({tensor.numel():,} values, {stored:,} in the file)"
    return None
