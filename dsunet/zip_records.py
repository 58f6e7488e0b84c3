"""The zip archive that `torch.save` writes, checked record by record.

PyTorch maps the archive into memory and compares no checksum, so that a flipped bit would pass for
a weight.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from dsunet.errors import CheckpointError
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import reason

_CHUNK = 1 << 20


def check_records(path: Path) -> None:
    """Compare every record of a PyTorch archive with its checksum.

    Takes about a second for `large`, 2.1 GB.  An archive that was written without checksums
    (`torch.serialization.set_crc32_options(False)`) is taken as it is.

    Raises CheckpointError if a record is damaged or compressed, which none of PyTorch's is, or if
    this is another archive.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if not any(record.filename.rpartition("/")[2] == "data.pkl" for record in records):
                raise CheckpointError(f"{path} is a zip archive, not a checkpoint")
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise CheckpointError(
                    f"{path} is compressed, as torch.save never does: unpack it, or save it again "
                    "with torch.save"
                )
            for record in records:
                if record.CRC:
                    _read(archive, record)
    except CheckpointError:
        raise
    except Exception as error:  # the archive's parser raises whatever damage leads it to
        raise CheckpointError(f"{path} is truncated or damaged: {reason(error)}") from error


def _read(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    """Read a record to its end, where its checksum is compared."""
    with archive.open(record) as content:
        while content.read(_CHUNK):
            pass
