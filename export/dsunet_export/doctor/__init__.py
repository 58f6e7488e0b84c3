"""The hardware and software of this machine, and the tasks that can run on it.

`inspect_machine` collects the facts, `check_tasks` compares them with what each task needs, and
`doctor_report` formats both.  Needs only the base dependencies and changes nothing.
"""

from dsunet_export.doctor.doctor_report import as_document, as_table
from dsunet_export.doctor.machine import inspect_machine
from dsunet_export.doctor.tasks import check_tasks

__all__ = ["as_document", "as_table", "check_tasks", "inspect_machine"]
