"""Small groups of jobs, as workers receive them.

A unit consists of whole batches, so that the batches are the same as in one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.prediction.jobs import Job, Output, OutputKind

_PER_WORKER = 16
"""Units per worker, if there are enough images; at the end, a worker waits for at most one unit."""
_MOST_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Item:
    """A job without its kinds of output, which all jobs share and which may contain an image."""

    image: Path
    paths: tuple[Path, ...]
    content: bytes | None

    @classmethod
    def of(cls, job: Job) -> Item:
        """Create the item of a job."""
        return cls(job.image, tuple(output.path for output in job.outputs), job.content)

    def job(self, kinds: Sequence[OutputKind]) -> Job:
        """Return the job, with the kinds of output of all jobs."""
        outputs = (Output(kind, path) for kind, path in zip(kinds, self.paths, strict=True))
        return Job(self.image, tuple(outputs), self.content)


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive jobs."""

    first: int
    """Index of the first one among all jobs."""
    items: tuple[Item, ...]

    @property
    def indices(self) -> range:
        """Indices of the jobs among all jobs."""
        return range(self.first, self.first + len(self.items))

    def split(self, size: int) -> Iterator[Unit]:
        """Split the unit into units of `size` jobs; the last one may be smaller."""
        for start in range(0, len(self.items), size):
            yield Unit(self.first + start, self.items[start : start + size])


def divide(jobs: Sequence[Job], batch: int, workers: int) -> list[Unit]:
    """Divide jobs into units for a number of workers that compute batches."""
    wanted = min(_MOST_IMAGES, len(jobs) // (_PER_WORKER * workers))
    whole = Unit(0, tuple(map(Item.of, jobs)))
    return [*whole.split(max(1, wanted // batch) * batch)]
