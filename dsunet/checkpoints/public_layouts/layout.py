"""The key names of a network's published code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dsunet.network.config import NETWORKS, Decoder, Injection

RFB_KEYS: tuple[tuple[str, str], ...] = (
    (r"rfb\.(\d)\.branches\.0\.(\d)\.", r"rfb<\1>.branch0.0.[\2]."),
    (r"rfb\.(\d)\.branches\.(\d)\.(\d)\.(\d)\.", r"rfb<\1>.branch\2.\3.[\4]."),
    (r"rfb\.(\d)\.merge\.(\d)\.", r"rfb<\1>.conv_cat.[\2]."),
    (r"rfb\.(\d)\.shortcut\.(\d)\.", r"rfb<\1>.conv_res.[\2]."),
)
HEAD_KEYS: tuple[tuple[str, str], ...] = (
    (r"heads\.0\.", r"side1."),
    (r"heads\.1\.", r"side2."),
    (r"heads\.2\.", r"head."),
)
"""Parts that all published codes name alike."""


def hiera_keys(prefix: str) -> tuple[tuple[str, str], ...]:
    """The parts of Hiera, whose published code has the adapters within the blocks."""
    return (
        (r"hiera\.trunk\.blocks\.(\d+)\.", rf"{prefix}blocks.\1.block."),
        (r"hiera\.trunk\.", prefix),
        (r"hiera\.adapters\.(\d+)\.down\.", rf"{prefix}blocks.\1.prompt_learn.0."),
        (r"hiera\.adapters\.(\d+)\.up\.", rf"{prefix}blocks.\1.prompt_learn.2."),
    )


@dataclass(frozen=True, slots=True)
class PublicLayout:
    """The translation of dsunet's keys to those of one network's published code."""

    network: str
    """One of `NETWORKS`, which has the parts that the published code supports."""
    marker: str
    """Regular expression for the start of a key that only this network's files have."""
    parts: tuple[tuple[str, str], ...]
    """Prefixes of dsunet, as regular expressions, and of the published code; the first match is
    used.  `<n>` counts from 1 in the published code and from 0 in dsunet.  `[n]` is an index into a
    pair of convolution and batch norm, which the published code names `conv` and `bn`."""
    unused: tuple[str, ...] = ()
    """Prefixes of keys that a file may have, and that the network does not use."""
    haar_filters: tuple[str, ...] = ()
    """Keys of constants that a file may have: they must equal `WTConv.filters`."""

    @property
    def injection(self) -> Injection:
        """The only injection that the published code supports."""
        return NETWORKS[self.network][0]

    @property
    def decoder(self) -> Decoder:
        """The only decoder that the published code supports."""
        return NETWORKS[self.network][1]

    def is_of(self, keys: Iterable[str]) -> bool:
        """Whether the keys of a file are those of this published code."""
        return any(re.match(self.marker, key) for key in keys)

    def key(self, ours: str) -> str:
        """Translate a key of dsunet.  Raises KeyError if the published code has no such tensor."""
        for pattern, theirs in self.parts:
            renamed, count = re.subn("^" + pattern, theirs, ours)
            if count:
                renamed = re.sub(r"<(\d)>", lambda m: str(int(m[1]) + 1), renamed)
                return re.sub(r"\[(\d)\]", lambda m: ("conv", "bn")[int(m[1])], renamed)
        raise KeyError(ours)

    def is_unused(self, key: str) -> bool:
        """Whether a model does not need the tensor with this key of a file."""
        return key.startswith(self.unused) or key in self.haar_filters
