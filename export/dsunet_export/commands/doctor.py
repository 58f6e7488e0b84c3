"""The command `dsunet-export doctor`, which needs only the base dependencies."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated

import typer

from dsunet_runtime.commands.app import examples

EXAMPLES = examples(
    "dsunet-export doctor",
    "dsunet-export doctor --json > doctor.json",
)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report hardware, packages, and which tasks can run.

    For each task that cannot run, prints what is missing and the command that installs it.  Changes
    nothing on this machine.  PyTorch is imported only if there is an NVIDIA driver, because that
    takes seconds.  The exit code is 0 even if something is missing.
    """
    from dsunet_export.doctor.doctor_report import format_report, report_document
    from dsunet_export.doctor.machine import inspect_machine
    from dsunet_export.doctor.tasks import check_tasks

    # Packages may print while they are imported; keep that out of the report.
    with contextlib.redirect_stdout(sys.stderr):
        machine = inspect_machine()
    tasks = check_tasks(machine)
    if as_json:
        print(json.dumps(report_document(machine, tasks), indent=2))
    else:
        print(format_report(machine, tasks))
