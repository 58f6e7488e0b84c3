"""A worker: one loaded artifact, which computes units."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dsunet_runtime
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import ArtifactError, BackendError, OutputError
from dsunet_runtime.files import keep_leftovers
from dsunet_runtime.message_text import reason
from dsunet_runtime.prediction.jobs import Job, OutputKind
from dsunet_runtime.prediction.predict import Outcome, check_batch, predict
from dsunet_runtime.provider import Provider
from dsunet_runtime.scale.attempts import attempt, attempts
from dsunet_runtime.scale.units import Unit
from dsunet_runtime.segmenter import Segmenter
from dsunet_runtime.selftest.schedule import SelfTestPolicy

MOST_ATTEMPTS = 3
"""Workers that may end during one batch, or one image."""

Indexed = tuple[int, Outcome]
"""The index of a job among all jobs, and its outcome without the job, which may be large."""
_NO_JOB = Job(Path(), ())


@dataclass(frozen=True, slots=True)
class Loading:
    """Arguments of `dsunet_runtime.load`."""

    artifact: Path
    provider: Provider | None
    selftest: SelfTestPolicy
    allow_cpu_fallback: bool
    domain: Path | None

    def load(self, threads: int | None = None) -> Segmenter:
        """Load the artifact; see `dsunet_runtime.load` for errors."""
        return dsunet_runtime.load(
            self.artifact,
            provider=self.provider,
            threads=threads,
            selftest=self.selftest,
            allow_cpu_fallback=self.allow_cpu_fallback,
            domain=self.domain,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What all workers of a run have in common."""

    loading: Loading
    manifest_sha256: str
    threads: int | None
    batch: int
    kinds: tuple[OutputKind, ...]
    """What is written for each image."""
    marks: Path
    """Folder of the marks of attempts."""


class Worker(Closeable):
    """Computes units in a process of its own, in which it suppresses warnings.

    Raises ArtifactError and others like `dsunet_runtime.load`, also if the artifact is another one
    than at the start of the run.
    """

    def __init__(self, work: Work) -> None:
        warnings.simplefilter("ignore")  # of Pillow, as in `prediction_run`
        keep_leftovers()
        path = work.loading.artifact
        if read_manifest(path).sha256 != work.manifest_sha256:
            raise ArtifactError(
                f"{path}: is another artifact than at the start of the run: start again"
            )
        self._work = work
        self._segmenter = work.loading.load(work.threads)
        self._batch_fits = False

    def run(self, unit: Unit) -> Iterator[Indexed]:
        """Compute a unit, and yield the outcomes of its jobs in order.

        A unit during which a worker has ended is computed batch by batch, and a batch during which
        `MOST_ATTEMPTS` workers have ended image by image.  An image during which as many have ended
        is not tried again: its outcome has BackendError.  Raises BackendError if batches do not fit
        into memory.
        """
        if not self._batch_fits:
            check_batch(self._segmenter, self._jobs(unit), self._work.batch)
            self._batch_fits = True
        done = 0
        try:
            for outcome in self._outcomes(unit):
                yield unit.first + done, replace(outcome, job=_NO_JOB)
                done += 1
        except OSError as error:  # no mark can be written, and so no mask
            for item in unit.items[done:]:
                fault = OutputError(f"{item.paths[0]}: cannot be written: {reason(error)}")
                yield unit.first + done, Outcome(_NO_JOB, fault, seconds=0)
                done += 1

    def close(self) -> None:
        self._segmenter.close()

    def _jobs(self, unit: Unit) -> list[Job]:
        return [item.job(self._work.kinds) for item in unit.items]

    def _outcomes(self, unit: Unit) -> Iterator[Outcome]:
        marks, name = self._work.marks, f"{unit.first}+{len(unit.items)}"
        batch, size = self._work.batch, len(unit.items)
        before = attempts(marks, name)
        if before == 0 or (before < MOST_ATTEMPTS and size <= batch):
            with attempt(marks, name):
                yield from predict(self._segmenter, self._jobs(unit), batch)
        elif size > 1:
            for part in unit.split(batch if size > batch else 1):
                yield from self._outcomes(part)
        else:
            yield Outcome(_NO_JOB, _ends_workers(unit.items[0].image), seconds=0)


def _ends_workers(image: Path) -> BackendError:
    return BackendError(
        f"{image}: {MOST_ATTEMPTS} worker processes have ended while they computed it: killed, out "
        f"of memory or crashed: try it alone, without --workers and --ray"
    )
