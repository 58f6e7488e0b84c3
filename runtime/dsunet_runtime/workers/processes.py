"""Worker processes on this machine, each with a GPU or a part of the CPU cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from dsunet_runtime.errors import BackendError
from dsunet_runtime.prediction.predict_jobs import Outcome
from dsunet_runtime.workers.child import Child, end_children
from dsunet_runtime.workers.units import Unit
from dsunet_runtime.workers.worker import MOST_ATTEMPTS, IndexedOutcome, Worker, WorkerOptions

Environment = Mapping[str, str]
"""Environment variables of a worker, set before it loads a library."""


@dataclass(slots=True)
class _Member:
    child: Child
    environment: Environment
    unit: Unit | None = None
    is_loaded: bool = False


def predict_in_processes(
    options: WorkerOptions,
    units: Sequence[Unit],
    environments: Sequence[Environment],
    *,
    first_alone: bool,
) -> Generator[IndexedOutcome, None, None]:
    """Compute units in a process for each environment, and yield the outcomes in order.

    A process that ends unexpectedly is replaced.

    Args:
        options: The options of all workers.
        units: Groups of jobs.
        environments: Environment variables of each process.
        first_alone: Whether the others start after the first one has loaded the artifact, so that
            they use its self-test record and the kernels that it compiled.

    Raises:
        BackendError: Processes end while they load the artifact.
        RuntimeFault: As in `dsunet_runtime.load`.
    """
    pool = _Pool(options, units)
    try:
        waiting = deque(environments)
        early: dict[int, Outcome] = {}
        position, total = 0, sum(len(unit.items) for unit in units)
        while position < total:
            while waiting and (pool.is_empty or pool.has_loaded or not first_alone):
                pool.start(waiting.popleft())
            early.update(pool.receive())
            while position in early:
                yield position, early.pop(position)
                position += 1
    finally:
        pool.close()


class _Pool:
    def __init__(self, options: WorkerOptions, units: Sequence[Unit]) -> None:
        self._options = options
        self._waiting = deque(units)
        self._members: dict[Connection, _Member] = {}
        self._done: set[int] = set()
        self._starts_failed = 0
        self.has_loaded = False

    @property
    def is_empty(self) -> bool:
        return not self._members

    def start(self, environment: Environment) -> None:
        child = Child(_serve, dict(environment), self._options)
        self._members[child.connection] = _Member(child, environment)

    def receive(self) -> list[IndexedOutcome]:
        """Wait for messages, give units to idle members, and return new outcomes."""
        outcomes: list[IndexedOutcome] = []
        for connection in wait(list(self._members)):
            member = self._members[connection]  # type: ignore[index]
            try:
                message = member.child.receive()
            except EOFError:
                self._replace(member)
                continue
            if message is None:
                member.unit, member.is_loaded = None, True
                self.has_loaded = True
            elif message[0] not in self._done:
                self._done.add(message[0])
                outcomes.append(message)
        for member in self._members.values():
            if member.is_loaded and member.unit is None and self._waiting:
                member.unit = self._waiting.popleft()
                member.child.send(member.unit)
        return outcomes

    def close(self) -> None:
        end_children([member.child for member in self._members.values()])

    def _replace(self, member: _Member) -> None:
        """Start another process, and queue the unfinished parts of the unit of the ended one."""
        del self._members[member.child.connection]
        member.child.close()
        if not member.is_loaded:
            self._starts_failed += 1
            if self._starts_failed >= MOST_ATTEMPTS:
                raise BackendError(
                    f"{self._options.load_options.artifact}: {MOST_ATTEMPTS} worker processes have "
                    f"ended while they loaded it (the last: {_exit_text(member.child)}): use fewer "
                    f"--workers, or none"
                )
        if member.unit is not None:
            parts = [*member.unit.split(self._options.batch)]
            unfinished = [part for part in parts if not self._done.issuperset(part.indices)]
            self._waiting.extendleft(reversed(unfinished))
        self.start(member.environment)


def _exit_text(child: Child) -> str:
    code = child.process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _serve(connection: Connection, environment: Environment, options: WorkerOptions) -> None:
    """Run in a worker process: send None to request a unit, then its outcomes one by one."""
    os.environ.update(environment)
    with Worker(options) as worker:
        while True:
            connection.send(None)
            for indexed in worker.run(connection.recv()):
                connection.send(indexed)
