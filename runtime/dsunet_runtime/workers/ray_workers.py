"""Workers on a Ray cluster, through Ray Data.

Ray runs in a child process: its output is discarded, the time to connect is bounded, and if it
aborts, only the child ends.
"""

from __future__ import annotations

import os
import pickle
import platform
import signal
import socket
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dsunet_runtime.errors import BackendError, RuntimeFault
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import counted, printable, reason
from dsunet_runtime.prediction.jobs import Job
from dsunet_runtime.workers.attempts import attempt, count_attempts
from dsunet_runtime.workers.child import Child, portable
from dsunet_runtime.workers.devices import cores
from dsunet_runtime.workers.parallelism import LOCAL
from dsunet_runtime.workers.units import divide
from dsunet_runtime.workers.worker import MOST_ATTEMPTS, IndexedOutcome, Worker, WorkerOptions

_CONNECT_SECONDS = 90
"""A local cluster starts in about 10 seconds on two cores."""
_ANSWER_SECONDS = 10
_OBJECT_STORE = 100 << 20
"""Bytes of shared memory, which contains only paths."""
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster, and the resources of its workers."""

    address: str
    workers: int | None
    """Number of workers; None for as many as fit."""
    needs_gpu: bool
    """Whether a worker uses a GPU, or CPU cores."""


def predict_on_ray(
    options: WorkerOptions, jobs: Sequence[Job], cluster: Cluster
) -> Generator[IndexedOutcome, None, None]:
    """Compute jobs on a cluster, and yield their outcomes in the order of completion.

    Ray replaces workers that end.

    Raises:
        BackendError: There is no cluster, or it has no room for a worker.
        MissingExtraError: Ray is not installed.
        RuntimeFault: As in `dsunet_runtime.load`.
    """
    if not jobs:
        return
    child = Child(_drive, options, tuple(jobs), cluster)
    done: set[int] = set()
    try:
        if not child.connection.poll(_CONNECT_SECONDS):
            child.process.kill()
            raise BackendError(
                f"--ray {cluster.address}: Ray has not answered in {_CONNECT_SECONDS} s: check "
                f"that the cluster is running"
            )
        while len(done) < len(jobs):
            for index, outcome in child.receive():
                if index not in done:
                    done.add(index)
                    yield index, outcome
    except EOFError:
        raise BackendError(
            f"--ray {cluster.address}: Ray has ended: see its logs in /tmp/ray/session_latest/logs"
        ) from None
    finally:
        child.close()


def _drive(
    connection: Connection, options: WorkerOptions, jobs: Sequence[Job], cluster: Cluster
) -> None:
    """Run in the child: connect to the cluster, and send lists of indexed outcomes."""
    _silence()
    with needs_extra("ray"):
        import ray
        import ray.data
    with _connected(ray, cluster.address):
        _stop_with_parent(connection)
        connection.send([])
        try:
            for row in _dataset(ray, options, jobs, cluster).iter_rows():
                answer = pickle.loads(row["answer"])
                if isinstance(answer, Exception):
                    raise answer
                connection.send(answer)
        except ray.exceptions.RayError as error:
            cause = printable(str(error).strip().splitlines()[-1])  # below a traceback
            raise BackendError(
                f"--ray {cluster.address}: Ray failed: {cause}; every machine needs the same "
                f"versions of dsunet, Python and Ray"
            ) from error


def _silence() -> None:
    """Discard the output of Ray's libraries, in Python and in C++."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _stop_with_parent(connection: Connection) -> None:
    """Raise KeyboardInterrupt in this thread when the parent closes the pipe.

    Do not call it while Ray starts: an interruption would leave some of its processes running.
    """
    closed = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if closed.is_set():  # only the parent reacts to Ctrl-C
            closed.clear()
            raise KeyboardInterrupt

    def watch() -> None:
        with suppress(OSError, EOFError):
            connection.recv()
        closed.set()
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.get_ident()
    signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    options = {"address": address, "log_to_driver": False}
    if address == LOCAL:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        options |= {
            "num_cpus": cores(),
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
        }
    try:
        _check_answers(address)
        ray.init(**options)
    except Exception as error:  # its exceptions have no common base class
        raise BackendError(
            f"--ray {address}: no connection to a Ray cluster: {reason(error)}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise OSError if nothing listens at an address; Ray itself would retry for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()


def _dataset(ray: Any, options: WorkerOptions, jobs: Sequence[Job], cluster: Cluster) -> Any:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if cluster.needs_gpu:
        resources = {"num_gpus": 1}
        room = sum(int(machine.get("GPU", 0)) for machine in machines)
        size = "1 GPU"
    else:
        sizes = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
        threads = options.threads or min([_THREADS, *sizes])
        options = replace(options, threads=threads)
        resources = {"num_cpus": threads}
        room = sum(size // threads for size in sizes)
        size = counted(threads, "core")
    workers = cluster.workers or room
    if not 1 <= workers <= room:
        raise BackendError(
            f"--ray {cluster.address}: the cluster has room for "
            f"{counted(room, 'worker')} of {size}: "
            f"use fewer --workers{'' if cluster.needs_gpu else ', or fewer --threads-per-worker'}"
        )
    units = divide(jobs, options.batch, workers)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items(
        [{"unit": pickle.dumps(unit)} for unit in units], override_num_blocks=len(units)
    )
    return rows.map(
        _RayWorker,
        fn_constructor_args=(options, workers, Path.cwd(), platform.node()),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(units))),
        **resources,
    )


class _RayWorker:
    """Actor on the cluster: converts rows with a unit to rows with an answer.

    An answer is a list of indexed outcomes, or the exception that ends the run.
    """

    def __init__(self, options: WorkerOptions, workers: int, folder: Path, machine: str) -> None:
        self._prefix = "" if platform.node() == machine else f"{platform.node()}: "
        with suppress(OSError):  # absolute paths need no working folder
            os.chdir(folder)
        self._fault: Exception | None = None
        try:
            self._worker = _open(options, MOST_ATTEMPTS + workers)
        except Exception as error:
            self._fault = self._with_machine(portable(error))

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        answer: Exception | list[IndexedOutcome]
        if self._fault is not None:
            answer = self._fault
        else:
            try:
                answer = [*self._worker.run(pickle.loads(row["unit"]))]
            except Exception as error:
                answer = self._with_machine(portable(error))
        return {"answer": pickle.dumps(answer)}

    def _with_machine(self, error: Exception) -> Exception:
        """Prefix the message with the name of this machine, unless the command runs on it."""
        return type(error)(f"{self._prefix}{error}") if isinstance(error, RuntimeFault) else error


def _open(options: WorkerOptions, most_attempts: int) -> Worker:
    """Load the artifact, unless too many workers have ended while loading it."""
    try:
        if count_attempts(options.marks, "load") >= most_attempts:
            raise BackendError(
                f"{options.load_options.artifact}: worker processes have ended while they loaded "
                f"it: killed, out of memory or crashed: use fewer --workers"
            )
        with attempt(options.marks, "load"):
            return Worker(options)
    except OSError as error:
        raise BackendError(
            f"{options.marks.parent}: cannot be written ({reason(error)}): artifact, images and "
            f"masks must be on storage that all machines mount under the same path"
        ) from error
