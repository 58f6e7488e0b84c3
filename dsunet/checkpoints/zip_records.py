"""Verify the zip archive that `torch.save` writes, record by record.

PyTorch memory-maps the archive without verifying its checksums, so it would not notice a flipped
bit.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from dsunet.errors import CheckpointError
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import reason

_CHUNK = 1 << 20


def check_records(path: Path) -> None:
    """Verify the CRC of every record of a PyTorch archive.

    This takes about 1 s for `large` (2.1 GB).  Records without a CRC
    (`torch.serialization.set_crc32_options(False)`) are not verified.

    Raises CheckpointError if a record is damaged or compressed, or if the archive is not one of
    `torch.save`.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if not any(record.filename.rpartition("/")[2] == "data.pkl" for record in records):
                raise CheckpointError(f"{path} is not a checkpoint: it is another zip archive")
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise CheckpointError(
                    f"{path} is a compressed archive, which torch.save does not write: unpack it, "
                    "or save the tensors again with torch.save"
                )
            for record in records:
                if record.CRC:
                    _read(archive, record)
    except CheckpointError:
        raise
    except Exception as error:  # the parser raises any type for damaged archives
        raise CheckpointError(f"{path} is truncated or damaged: {reason(error)}") from error


def _read(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    """Read a record to its end, where zipfile verifies its CRC."""
    with archive.open(record) as content:
        while content.read(_CHUNK):
            pass
