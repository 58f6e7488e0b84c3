"""Jobs in small groups, as workers receive them.

A unit holds whole batches, so that every image is computed in the batch in which one process
computes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.prediction.jobs import Job, Output, OutputKind

_PER_WORKER = 16
"""Units of each worker, if there are enough images: the last ones to finish wait for 1/16."""
_MOST_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Item:
    """A job without what all jobs of a run have in common, which may be large: an image."""

    image: Path
    paths: tuple[Path, ...]
    content: bytes | None

    @classmethod
    def of(cls, job: Job) -> Item:
        """Take what differs between jobs."""
        return cls(job.image, tuple(output.path for output in job.outputs), job.content)

    def job(self, kinds: Sequence[OutputKind]) -> Job:
        """Return the job again."""
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
        """Divide it into units of `size` jobs; the last may be smaller."""
        for start in range(0, len(self.items), size):
            yield Unit(self.first + start, self.items[start : start + size])


def divide(jobs: Sequence[Job], batch: int, workers: int) -> list[Unit]:
    """Divide jobs into units for a number of workers that compute batches."""
    wanted = min(_MOST_IMAGES, len(jobs) // (_PER_WORKER * workers))
    whole = Unit(0, tuple(map(Item.of, jobs)))
    return [*whole.split(max(1, wanted // batch) * batch)]
