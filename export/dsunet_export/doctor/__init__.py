"""What is on this machine, and what can be done with it.

`look_round` finds out what is here, `judge` says which jobs that is enough for, and the rest puts
both into words.  Needs nothing but the base dependencies, and changes nothing.
"""

from dsunet_export.doctor.jobs import judge
from dsunet_export.doctor.machine import look_round
from dsunet_export.doctor.report import as_document, as_table

__all__ = ["as_document", "as_table", "judge", "look_round"]
