"""Worker processes on this machine, each with its own GPU or its share of the cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from dsunet_runtime.errors import BackendError
from dsunet_runtime.prediction.predict import Outcome
from dsunet_runtime.scale.child import Child, end
from dsunet_runtime.scale.units import Unit
from dsunet_runtime.scale.worker import MOST_ATTEMPTS, Indexed, Work, Worker

Environment = Mapping[str, str]
"""Variables of a worker, set before it loads a library."""


@dataclass(slots=True)
class _Member:
    child: Child
    environment: Environment
    unit: Unit | None = None
    is_loaded: bool = False


def predict(
    work: Work, units: Sequence[Unit], environments: Sequence[Environment], *, first_alone: bool
) -> Generator[Indexed, None, None]:
    """Compute units in a process for each environment, and yield the outcomes in order.

    A process that ends is replaced.  With `first_alone`, the others start when the first one has
    loaded the artifact, tested it and kept what it compiled.

    Raises BackendError if processes end while they load the artifact, and what loading raises.
    """
    pool = _Pool(work, units)
    try:
        waiting = deque(environments)
        held: dict[int, Outcome] = {}
        position, total = 0, sum(len(unit.items) for unit in units)
        while position < total:
            while waiting and (pool.is_empty or pool.has_loaded or not first_alone):
                pool.start(waiting.popleft())
            held.update(pool.receive())
            while position in held:
                yield position, held.pop(position)
                position += 1
    finally:
        pool.close()


class _Pool:
    def __init__(self, work: Work, units: Sequence[Unit]) -> None:
        self._work = work
        self._waiting = deque(units)
        self._members: dict[Connection, _Member] = {}
        self._done: set[int] = set()
        self._starts_failed = 0
        self.has_loaded = False

    @property
    def is_empty(self) -> bool:
        return not self._members

    def start(self, environment: Environment) -> None:
        child = Child(_serve, dict(environment), self._work)
        self._members[child.connection] = _Member(child, environment)

    def receive(self) -> list[Indexed]:
        """Wait for members, give units to those that have none, and return new outcomes."""
        found: list[Indexed] = []
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
                found.append(message)
        for member in self._members.values():
            if member.is_loaded and member.unit is None and self._waiting:
                member.unit = self._waiting.popleft()
                member.child.send(member.unit)
        return found

    def close(self) -> None:
        end([member.child for member in self._members.values()])

    def _replace(self, member: _Member) -> None:
        """Start another process, and divide what the ended one had not finished."""
        del self._members[member.child.connection]
        member.child.close()
        if not member.is_loaded:
            self._starts_failed += 1
            if self._starts_failed >= MOST_ATTEMPTS:
                raise BackendError(
                    f"{self._work.loading.artifact}: {MOST_ATTEMPTS} worker processes have ended "
                    f"while they loaded it (the last: {_end_of(member.child)}): use fewer "
                    f"--workers, or none"
                )
        if member.unit is not None:
            parts = [*member.unit.split(self._work.batch)]
            unfinished = [part for part in parts if not self._done.issuperset(part.indices)]
            self._waiting.extendleft(reversed(unfinished))
        self.start(member.environment)


def _end_of(child: Child) -> str:
    code = child.process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _serve(connection: Connection, environment: Environment, work: Work) -> None:
    """Run in a worker process: None asks for a unit, whose outcomes are sent one by one."""
    os.environ.update(environment)
    with Worker(work) as worker:
        while True:
            connection.send(None)
            for indexed in worker.run(connection.recv()):
                connection.send(indexed)
