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
from dsunet_runtime.prediction.predict_jobs import Outcome, check_batch, predict_jobs
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter
from dsunet_runtime.selftest.policy import SelfTestPolicy
from dsunet_runtime.workers.attempts import attempt, count_attempts
from dsunet_runtime.workers.units import Unit

MOST_ATTEMPTS = 3
"""Number of workers that may end during one batch, or one image."""

IndexedOutcome = tuple[int, Outcome]
"""The index of a job among all jobs, and its outcome; the job is left out, as it may be large."""
_NO_JOB = Job(Path(), ())


@dataclass(frozen=True, slots=True)
class LoadOptions:
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
class WorkerOptions:
    """The options of all workers of a prediction."""

    load_options: LoadOptions
    manifest_sha256: str
    threads: int | None
    batch: int
    kinds: tuple[OutputKind, ...]
    """Kinds of output for each image."""
    marks: Path
    """Folder of the marks of attempts."""


class Worker(Closeable):
    """A loaded artifact in a process of its own, in which warnings are suppressed.

    Raises RuntimeFault as in `dsunet_runtime.load`, and ArtifactError if the artifact has changed
    since the start of the prediction.
    """

    def __init__(self, options: WorkerOptions) -> None:
        warnings.simplefilter("ignore")  # of Pillow, as in `run_jobs`
        keep_leftovers()
        path = options.load_options.artifact
        if read_manifest(path).sha256 != options.manifest_sha256:
            raise ArtifactError(
                f"{path}: has changed since the start of the prediction: start again"
            )
        self._options = options
        self._segmenter = options.load_options.load(options.threads)
        self._batch_fits = False

    def run(self, unit: Unit) -> Iterator[IndexedOutcome]:
        """Compute a unit, and yield the outcomes of its jobs in order.

        If a worker has ended during a unit, it is computed batch by batch.  If `MOST_ATTEMPTS`
        workers have ended during a batch, it is computed image by image.  If as many have ended
        during an image, its outcome is a BackendError.

        Raises BackendError if batches do not fit into memory.
        """
        if not self._batch_fits:
            check_batch(self._segmenter, self._jobs(unit), self._options.batch)
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
        return [item.job(self._options.kinds) for item in unit.items]

    def _outcomes(self, unit: Unit) -> Iterator[Outcome]:
        marks, name = self._options.marks, f"{unit.first}+{len(unit.items)}"
        batch, size = self._options.batch, len(unit.items)
        before = count_attempts(marks, name)
        if before == 0 or (before < MOST_ATTEMPTS and size <= batch):
            with attempt(marks, name):
                yield from predict_jobs(self._segmenter, self._jobs(unit), batch)
        elif size > 1:
            for part in unit.split(batch if size > batch else 1):
                yield from self._outcomes(part)
        else:
            yield Outcome(_NO_JOB, _fatal_image(unit.items[0].image), seconds=0)


def _fatal_image(image: Path) -> BackendError:
    return BackendError(
        f"{image}: {MOST_ATTEMPTS} worker processes have ended while they computed it: killed, out "
        f"of memory or crashed: try it alone, without --workers and --ray"
    )
