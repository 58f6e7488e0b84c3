"""Changes with a valid checksum, which reach the code after its check."""

from __future__ import annotations

import hashlib
import json
import re
from random import Random

from dsunet.checkpoints.checksum import PLACEHOLDER
from dsunet_runtime.artifact import document
from tests.fuzz.mutation.byte_changes import Change, change_bytes
from tests.fuzz.mutation.json_documents import Pairs, change_value, parse, write

_CHECKSUM = re.compile(rb"dsunet-sha256:[0-9a-f]{64}")


def forged(change: Change) -> Change:
    """Return the change with an updated checksum (`dsunet.checkpoints.checksum`)."""

    def with_checksum(random: Random, data: bytes) -> bytes:
        changed = change(random, data)
        if changed == data:
            return data
        place = _CHECKSUM.search(changed) or _CHECKSUM.search(
            changed := changed + PLACEHOLDER.encode()
        )
        assert place is not None
        start, end = place.end() - 64, place.end()
        digest = hashlib.sha256(changed[:start] + b"0" * 64 + changed[end:]).hexdigest()
        return changed[:start] + digest.encode() + changed[end:]

    return with_checksum


def change_sealed(random: Random, data: bytes) -> bytes:
    """Change a value of a manifest, and update its digest."""
    try:
        values = parse(data.decode())
        others = Pairs(pair for pair in values if pair[0] != document.DIGEST_FIELD)
        for _ in range(random.choice((1, 1, 2))):
            others = change_value(random, others)
        body = document.canonical_form(write(others))
    except (ValueError, TypeError, RecursionError):  # a change before this one left no manifest
        return change_bytes(random, data)
    digest = hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()
    ending = f",{json.dumps(document.DIGEST_FIELD)}:{json.dumps(digest)}}}"
    return (body[:-1] + ending).encode(errors="surrogatepass")
