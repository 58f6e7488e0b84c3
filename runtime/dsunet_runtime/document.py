"""The text of a manifest: a JSON object whose last field is the SHA-256 of all the others.

The *canonical form* of a document is its text without white space (space, tab, line feed, carriage
return) outside strings.  It ends in

    ,"manifest_sha256":"<64 lower-case hexadecimal digits>"}

and those digits are the SHA-256 of the UTF-8 bytes of the canonical form of the document without
that field, which is everything before the comma, and `}`.  So a reader in any language checks it on
the text, before it parses anything and without printing a single number, and a reader that does not
care sees one more field.

An ONNX file contains the canonical form.  Next to an engine, the document is indented for reading,
and stays valid with any other indentation; the order of the keys and the spelling of
numbers and strings are covered.  The digest detects damage and edits; it is not a signature,
since anyone can compute it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from dsunet_runtime.json_text import JsonError

DIGEST_FIELD = "manifest_sha256"

# The text is JSON already, so that a quotation mark outside a string always begins one.
_STRING_OR_SPACE = re.compile(r'("(?:[^"\\]|\\.)*+")|[ \t\n\r]+')


def seal(values: dict[str, Any], indent: int | None = None) -> str:
    """The document of these values with their digest, in canonical form or indented for people.

    Raises JsonError if JSON cannot hold a value: a number that is not finite, or text that is not
    Unicode, as a file's name may be.
    """
    try:
        body = json.dumps(values, separators=(",", ":"), allow_nan=False)
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise JsonError(str(error)) from error
    sealed = {**values, DIGEST_FIELD: _sha256(body)}
    separators = (",", ":") if indent is None else None
    return json.dumps(sealed, indent=indent, separators=separators)


def is_whole(text: str) -> bool:
    """Whether a JSON document ends in the digest of what comes before it."""
    canonical = canonical_form(text)
    length = len(_ending(_sha256("")))
    return canonical[-length:] == _ending(_sha256(canonical[:-length] + "}"))


def canonical_form(text: str) -> str:
    """Remove white space outside strings from a JSON document."""
    return _STRING_OR_SPACE.sub(lambda found: found[1] or "", text)


def _ending(sha256: str) -> str:
    return f',"{DIGEST_FIELD}":"{sha256}"}}'


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
