"""The metadata of a dsunet checkpoint, in the header of its safetensors file.

It is one JSON document under `METADATA_KEY`: a checksum of the whole file (`dsunet.checksum`), the
format version, the configuration, whether the file includes the frozen encoders, and the content
hashes of the encoders (`pretrained.encoder_hashes`).  Version 1 had no checksum and is still read.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any, Self

from dsunet.checksum import PLACEHOLDER
from dsunet.config import DSUNetConfig
from dsunet.errors import CheckpointError, ConfigError
from dsunet.pretrained import ENCODER_PREFIXES
from dsunet.weight_files import WeightFile
from dsunet_runtime.json_text import parse_object
from dsunet_runtime.message_text import printable, quote, reason, shorten

METADATA_KEY = "dsunet"
FORMAT_VERSION = 2
_WITHOUT_CHECKSUM = 1

_FIELDS = {"format_version", "config", "content", "encoders"}
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


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata document of one file."""

    config: DSUNetConfig
    content: Content
    encoders: dict[str, str]
    """Content hashes of the encoders, by the names of `ENCODER_PREFIXES`."""

    @classmethod
    def read(cls, file: WeightFile) -> Self | None:
        """Read the metadata of a file, or return None if it has none.

        Raises CheckpointError if the metadata is damaged or of a later format version.
        """
        if METADATA_KEY not in file.metadata:
            return None
        try:
            document = parse_object(file.metadata[METADATA_KEY])
            version = document.get("format_version", FORMAT_VERSION)
            if version not in (FORMAT_VERSION, _WITHOUT_CHECKSUM):
                raise CheckpointError(
                    f"{file.path} has format version {printable(version, 20)}, but this dsunet "
                    f"reads up to version {FORMAT_VERSION}: update dsunet"
                )
            header = cls._from_document(document)
        except (ConfigError, ValueError) as error:
            raise CheckpointError(f"{file.path} has damaged metadata: {reason(error)}") from error
        if version == FORMAT_VERSION and not file.is_verified:
            raise CheckpointError(f"{file.path} has lost its checksum: get the file again")
        return header

    def to_text(self) -> str:
        """The document as JSON, with a placeholder for the checksum."""
        return json.dumps(
            {
                _CHECKSUM: PLACEHOLDER,
                "format_version": FORMAT_VERSION,
                "config": self.config.to_dict(),
                "content": self.content.value,
                "encoders": self.encoders,
            }
        )

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Self:
        """Read a document.  Raises ValueError or ConfigError if it is invalid."""
        if missing := _FIELDS - document.keys():
            raise ValueError(f"it lacks {shorten(sorted(missing), 4)}")
        if unknown := document.keys() - _FIELDS - {_CHECKSUM}:
            raise ValueError(f"it has unknown fields: {shorten(sorted(unknown))}")
        encoders = document["encoders"]
        if not isinstance(encoders, dict) or not all(isinstance(h, str) for h in encoders.values()):
            raise ValueError("its encoders have no hashes")
        content = document["content"]
        if content not in list(Content):
            known = " or ".join(Content)
            raise ValueError(f"its content is {quote(content)}, not {known}")
        return cls(DSUNetConfig.from_dict(document["config"]), Content(content), encoders)
