"""What a checkpoint of our own says about itself, in a safetensors file's metadata.

One JSON document under `METADATA_KEY`: the format's version, the configuration, whether the file
holds everything or only what was trained, the content hashes of the encoders
(`pretrained.encoder_hashes`), and a digest over this document and all other tensors.  So every
number in the file, and every word of the document, is under some hash.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from dsunet.config import DSUNetConfig
from dsunet.errors import CheckpointError, ConfigError
from dsunet.pretrained import ENCODER_PREFIXES, content_sha256, encoder_hashes
from dsunet_runtime.json_text import parse_object
from dsunet_runtime.quoting import printable, quote, reason, shorten

METADATA_KEY = "dsunet"
FORMAT_VERSION = 1

_FIELDS = {"format_version", "config", "content", "encoders"}
_DIGEST = "sha256"
"""Files of before November 2026 have none."""


class Content(enum.StrEnum):
    """How much of a model a file holds."""

    WHOLE = "whole"
    TRAINED = "trained"
    """All but the two frozen encoders."""

    def holds(self, key: str) -> bool:
        """Whether a file with this content has the tensor that a DSUNet's state names `key`."""
        frozen = key.startswith(tuple(ENCODER_PREFIXES.values()))
        return self is Content.WHOLE or not frozen


@dataclass(frozen=True, slots=True)
class Header:
    """The document of one file."""

    config: DSUNetConfig
    content: Content
    encoders: dict[str, str]
    """The encoders' content hashes, by the names of `ENCODER_PREFIXES`."""
    sha256: str | None = None
    """Over the rest of the document, and the tensors of no encoder; None in older files."""

    @classmethod
    def of(cls, state: Mapping[str, Tensor], config: DSUNetConfig, content: Content) -> Self:
        """For the whole state of a model, of which a file will hold this much."""
        bare = cls(config, content, encoder_hashes(state))
        return cls(config, content, bare.encoders, bare._digest(state))

    @classmethod
    def read(cls, path: Path, metadata: Mapping[str, str]) -> Self | None:
        """What a file says about itself, or None if it says nothing.

        Raises CheckpointError if that is damaged, or of another version.
        """
        if METADATA_KEY not in metadata:
            return None
        try:
            document = parse_object(metadata[METADATA_KEY])
            version = document.get("format_version")
            if version is not None and version != FORMAT_VERSION:
                raise CheckpointError(
                    f"{path} has format version {printable(version, 20)}, and this dsunet reads "
                    f"version {FORMAT_VERSION}: update dsunet"
                )
            return cls._from_document(document)
        except (ConfigError, ValueError) as error:
            raise CheckpointError(f"{path} has damaged metadata: {reason(error)}") from error

    def to_text(self) -> str:
        """The document, as `read` reads it."""
        return json.dumps(self._document() | ({_DIGEST: self.sha256} if self.sha256 else {}))

    def check_tensors(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Raise CheckpointError if the file's tensors are not those that were written.

        Takes 1.2 s for `large`'s 2.1 GB.
        """
        if self.sha256 is None:
            return
        encoders = encoder_hashes(tensors)
        known = self.encoders if self.content is Content.WHOLE else {}
        if encoders != known or self._digest(tensors) != self.sha256:
            raise CheckpointError(
                f"{path} is damaged, or was altered after dsunet wrote it: its content does not "
                "have the SHA-256 that it names; take another copy"
            )

    def _digest(self, state: Mapping[str, Tensor]) -> str:
        trained = {key: tensor for key, tensor in state.items() if Content.TRAINED.holds(key)}
        return content_sha256(trained, json.dumps(self._document(), sort_keys=True).encode())

    def _document(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "content": self.content.value,
            "encoders": self.encoders,
        }

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Self:
        """Raises ValueError or ConfigError if it is not what `to_text` wrote."""
        if missing := _FIELDS - document.keys():
            raise ValueError(f"it lacks {shorten(sorted(missing), 4)}")
        if unknown := document.keys() - _FIELDS - {_DIGEST}:
            raise ValueError(f"it has unknown fields: {shorten(sorted(unknown))}")
        encoders = document["encoders"]
        if not isinstance(encoders, dict) or not all(isinstance(h, str) for h in encoders.values()):
            raise ValueError("its encoders have no hashes")
        content = document["content"]
        if content not in list(Content):
            known = " or ".join(Content)
            raise ValueError(f"its content is {quote(content)}, where {known} are known")
        config = DSUNetConfig.from_dict(document["config"])
        return cls(config, Content(content), encoders, document.get(_DIGEST))
