"""`dsunet-export doctor`.  Works with the base dependencies alone."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Say what is on this machine, what can be done with it, and what is missing for the rest.

    Each missing thing comes with the command that installs it.  PyTorch, and what imports it, is
    loaded only where there is an NVIDIA driver, since that takes seconds.  The exit code is 0
    whatever is found.
    """
    from dsunet_export.doctor import as_document, as_table, judge, look_round

    # What packages print while they load does not belong into the report.
    with contextlib.redirect_stdout(sys.stderr):
        machine = look_round()
    jobs = judge(machine)
    if as_json:
        print(json.dumps(as_document(machine, jobs), indent=2))
    else:
        print(as_table(machine, jobs))
