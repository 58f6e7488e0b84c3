"""The metadata of a dsunet checkpoint, in the header of its safetensors file.

It is one JSON document under `METADATA_KEY`: a checksum of the whole file (`checksum`), the
format version, the configuration, whether the file includes the frozen encoders, and the content
hashes of the encoders (`pretrained.encoder_hashes`).  Version 1 had no checksum, and versions 1 and
2 had no choice of the decoder; both are still read.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from dsunet.checkpoints.checksum import PLACEHOLDER
from dsunet.checkpoints.pretrained import ENCODER_PREFIXES
from dsunet.checkpoints.weight_files import WeightFile
from dsunet.errors import CheckpointError, ConfigError
from dsunet.network.config import ABSENT_IN_EARLIER_FILES, DSUNetConfig
from dsunet_runtime.json_text import parse_object
from dsunet_runtime.message_text import reason
from dsunet_runtime.plain_values import decode, encode

METADATA_KEY = "dsunet"
FORMAT_VERSION = 3
WITHOUT_CHECKSUM = 1
_READABLE = range(WITHOUT_CHECKSUM, FORMAT_VERSION + 1)

_CHECKSUM = "checksum"


class Content(enum.StrEnum):
    """Which part of a model a file contains."""

    WHOLE = "whole"
    TRAINED = "trained"
    """Everything except the two frozen encoders."""

    def holds(self, key: str) -> bool:
        """Whether a file with this content includes the tensor `key` of a DSUNet's state dict."""
        frozen = key.startswith(tuple(ENCODER_PREFIXES.values()))
        return self is Content.WHOLE or not frozen

    def select(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a DSUNet's state dict that a file with this content includes."""
        return {key: tensor for key, tensor in state.items() if self.holds(key)}


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata document of one file."""

    config: DSUNetConfig
    content: Content
    encoders: dict[str, str]
    """Content hashes of the encoders, by the names of `ENCODER_PREFIXES`."""
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, file: WeightFile) -> Self | None:
        """Read the metadata of a file, or return None if it has none.

        Raises CheckpointError if the metadata is damaged or of a later format version.
        """
        if METADATA_KEY not in file.metadata:
            return None
        try:
            document = parse_object(file.metadata[METADATA_KEY])
            document.pop(_CHECKSUM, None)
            version = document.get("format_version", FORMAT_VERSION)
            version = decode(int, version, exact=True, path="format_version")
            if version not in _READABLE:
                raise CheckpointError(
                    f"{file.path} has format version {version}, but this dsunet "
                    f"reads up to version {FORMAT_VERSION}: update dsunet"
                )
            if version == WITHOUT_CHECKSUM:
                document.pop("sha256", None)  # of the tensors, in a few files of this version
            if version < FORMAT_VERSION and isinstance(document.get("config"), dict):
                document["config"] = ABSENT_IN_EARLIER_FILES | document["config"]
            header = decode(cls, document, exact=True)
        except (ConfigError, ValueError) as error:
            raise CheckpointError(f"{file.path} has damaged metadata: {reason(error)}") from error
        if version != WITHOUT_CHECKSUM and not file.is_verified:
            raise CheckpointError(f"{file.path} has lost its checksum: get the file again")
        return header

    def to_text(self) -> str:
        """The document as JSON, with a placeholder for the checksum."""
        return json.dumps({_CHECKSUM: PLACEHOLDER} | encode(self))
