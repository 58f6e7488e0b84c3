"""Changes to files that know what is in them: most of what they write still has the right shape.

A change takes a generator and the bytes of a file, and returns other bytes.  The same generator
state and bytes give the same result in every run, so a case is known by its seed and number.
"""

from __future__ import annotations

from tests.fuzz.mutation.byte_changes import Change, change_bytes, one_of
from tests.fuzz.mutation.forging import change_sealed, forged
from tests.fuzz.mutation.image_files import change_image
from tests.fuzz.mutation.json_documents import change_json
from tests.fuzz.mutation.protobuf import change_protobuf
from tests.fuzz.mutation.safetensors_files import change_safetensors
from tests.fuzz.mutation.text_lists import change_lines
from tests.fuzz.mutation.torch_files import change_pickle, change_torch_zip

__all__ = [
    "Change",
    "change_bytes",
    "change_image",
    "change_json",
    "change_lines",
    "change_pickle",
    "change_protobuf",
    "change_safetensors",
    "change_sealed",
    "change_torch_zip",
    "forged",
    "one_of",
]
