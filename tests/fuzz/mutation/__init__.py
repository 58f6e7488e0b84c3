"""Changes to files, by format: most of them leave the structure valid.

byte_changes       bytes of any file
forgery            changes with a valid checksum
image_files        image files
json_documents     JSON
protobuf           protobuf messages
safetensors_files  safetensors files
text_lists         lists with one item a line
torch_files        files of torch.save

A change takes a generator and the bytes of a file, and returns other bytes.  The same generator
state and bytes give the same result in every run, so that a seed and a number identify a case.
"""

from __future__ import annotations

from tests.fuzz.mutation.byte_changes import Change, change_bytes, one_of
from tests.fuzz.mutation.forgery import change_sealed, forged
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
