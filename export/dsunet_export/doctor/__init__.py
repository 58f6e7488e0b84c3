"""The hardware and software of this machine, and the tasks that can run on it.

machine        facts about the hardware, the driver and what works
packages       the installed packages, and whether they load
tasks          the requirements of each task, compared with the facts
doctor_report  the report as a table and as JSON

Needs only the base dependencies and changes nothing.
"""
