"""The text of a manifest: a JSON object whose last field is the SHA-256 of all other fields.

The *canonical form* of a document is its text without white space (space, tab, line feed, carriage
return) outside strings.  It ends in

    ,"manifest_sha256":"<64 lower-case hexadecimal digits>"}

and those digits are the SHA-256 of the UTF-8 bytes of everything before the comma, followed by `}`.
That is the canonical form of the document without this field.  A reader in any language can compare
it on the text, before parsing and without formatting numbers.  A reader that does not compare it
sees one more field.

An ONNX file contains the canonical form.  Beside an engine, the document is indented for reading,
and any other indentation is valid too.  The digest covers the order of the keys and the spelling of
numbers and strings.  It detects damage and edits, but it is not a signature, since anyone can
compute it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from dsunet_runtime.json_text import JsonError

DIGEST_FIELD = "manifest_sha256"

# The text is valid JSON, in which a quotation mark outside a string always starts one.
_STRING_OR_SPACE = re.compile(r'("(?:[^"\\]|\\.)*+")|[ \t\n\r]+')


def seal(values: dict[str, Any], indent: int | None = None) -> str:
    """Return the document of these values with their digest, in canonical form or indented.

    Raises JsonError for a value that JSON cannot represent: a number that is not finite, or text
    that is not valid Unicode, such as some file names.
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
