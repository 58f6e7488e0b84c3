"""The command `dsunet demonstration`."""

from __future__ import annotations

from dsunet.commands.checkpoint_options import CheckpointToWrite
from dsunet_runtime.commands.app import examples
from dsunet_runtime.message_text import readable

EXAMPLES = examples("dsunet demonstration -o demonstration.safetensors")


def demonstration(output: CheckpointToWrite) -> None:
    """Write the demonstration checkpoint that ships with dsunet.

    It is the preset nano, trained from scratch on images of `dsunet generate`.
    """
    from dsunet import demonstration_checkpoint
    from dsunet_runtime.files import make_folder, write_whole

    make_folder(output.parent)
    content = demonstration_checkpoint().read_bytes()
    write_whole(output, lambda file: file.write(content))
    print(f"{readable(output)}: {len(content) / 1e6:,.1f} MB")
